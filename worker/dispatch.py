"""How work is handed on: reconcile decides what is missing, a dispatcher brings it to a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from worker.work import Claim


class Dispatcher(Protocol):
    """Brings hints to workers; one that is lost costs a sweep, nothing else."""

    def reconcile(self, session_id: str) -> None:
        """Have the session looked at."""
        ...

    def perform(self, claim: Claim) -> None:
        """Have a claimed item of work done."""
        ...
