"""Outages as a process's log tells of them: once when one begins, once when it is over."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from pipelines.errors import ErrorCode, TransientError

log = structlog.get_logger(__name__)


class Outages:
    """The outages that this process knows of, by code; safe to share between threads.

    Each session tells of its own in its events and by ``waitingFor``: a thousand that wait for the
    same store are one outage.
    """

    def __init__(self) -> None:
        self._known: set[ErrorCode] = set()
        self._lock = threading.Lock()

    def tell(self, error: TransientError) -> None:
        """Tell of an outage, unless it is told of already."""
        with self._lock:
            is_new = error.code not in self._known
            self._known.add(error.code)
        line = log.warning if is_new else log.debug
        line("Work has to wait.", action="outage", code=error.code, reason=error.message)

    def over(self) -> None:
        """Tell that work succeeds again, if it did not."""
        with self._lock:
            ended, self._known = sorted(self._known), set()
        if ended:
            log.info("Work goes on again.", action="outage_over", codes=ended)
