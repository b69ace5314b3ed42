"""Who of a process's slices begins: one after the other, so that they do not keep in step."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Seconds after which a slice begins although the one before has nothing to upload yet: its source
#: may be slow, or away.
LONGEST_SECONDS = 10.0
#: Seconds between two checkpoints of who waits.
POLL_SECONDS = 0.5


class HeadStart:
    """Lets one slice at a time read until it has something to upload.

    A slice reads alone at its beginning, and writes alone at its end. Slices that begin together
    share the link to the store evenly, and so stay in step: all of them read, then all of them
    write, and half of the link is idle. Safe to share between threads.
    """

    def __init__(self) -> None:
        self._holder: object | None = None
        self._left = threading.Condition()

    @contextlib.contextmanager
    def given(self, checkpoint: Callable[[], None]) -> Iterator[Callable[[], None]]:
        """Wait until no other slice begins, ``LONGEST_SECONDS`` at most; gives what ends the
        beginning of this one, as the end of the block does.

        ``checkpoint`` is called while it waits, and raises to give up.
        """
        mine = object()
        latest = time.monotonic() + LONGEST_SECONDS
        while not self._take(mine, latest):
            checkpoint()
        try:
            yield lambda: self._leave(mine)
        finally:
            self._leave(mine)

    def _take(self, mine: object, latest: float) -> bool:
        """Begin, if it is possible within the time between checkpoints, or ``latest`` is over."""
        with self._left:
            is_free = self._left.wait_for(lambda: self._holder is None, POLL_SECONDS)
            if is_free or time.monotonic() >= latest:
                self._holder = mine
                return True
            return False

    def _leave(self, mine: object) -> None:
        with self._left:
            if self._holder is mine:
                self._holder = None
                self._left.notify()
