"""Keeps work that may kill its worker apart from other work: it is done alone in its process.

A process that dies takes all of its work with it, and nobody can tell whose fault it was. What was
there when a worker fell silent is therefore done alone from then on: then the innocent gets done, and
only the guilty goes on failing.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Seconds between two looks at whether the process stops.
_POLL_S = 0.2


class Isolation:
    """Admits work side by side, but for suspects, each of which is admitted alone.

    Suspects go first. Safe to share between threads; whoever waits must hold no lease yet, since a
    suspect that kills the process would take that with it.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._suspects = 0  # inside, and waiting

    @contextlib.contextmanager
    def entered(self, stop: threading.Event, *, alone: bool) -> Iterator[bool]:
        """Wait until the work may begin; whether it may: not when ``stop`` is set first."""
        admitted = False
        with self._changed:
            self._suspects += alone
        try:
            admitted = self._admitted(stop, alone=alone)
            yield admitted
        finally:
            with self._changed:
                self._inside -= admitted
                self._suspects -= alone
                self._changed.notify_all()

    def _admitted(self, stop: threading.Event, *, alone: bool) -> bool:
        with self._changed:
            while not self._admits(alone=alone):
                if stop.is_set():
                    return False
                self._changed.wait(_POLL_S)
            self._inside += 1
            return True

    def _admits(self, *, alone: bool) -> bool:
        return self._inside == 0 if alone else self._suspects == 0
