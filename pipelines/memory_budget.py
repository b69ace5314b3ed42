"""What the slices of one process may take of its memory together, and the queue of those that wait."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Seconds between two checkpoints of who waits.
POLL_SECONDS = 0.5


class MemoryBudget:
    """Admits work in the order in which it asks, as long as all of it needs at most ``limit`` bytes.

    Work that needs more than that by itself is admitted alone; ``None`` admits everything. Safe to
    share between threads; whoever is admitted must not ask again before it is done.
    """

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit
        self._taken = 0
        self._waiting: deque[object] = deque()
        self._freed = threading.Condition()

    @property
    def taken(self) -> int:
        """Bytes that those who were admitted need."""
        return self._taken

    @contextlib.contextmanager
    def admitted(self, need: int, checkpoint: Callable[[], None]) -> Iterator[None]:
        """Wait until ``need`` bytes may be taken, and hold them inside.

        ``checkpoint`` is called while it waits, and raises to give up. Those who came before go
        first, so that small work never keeps large work out for ever.
        """
        self._wait(need, checkpoint)
        try:
            yield
        finally:
            with self._freed:
                self._taken -= need
                self._freed.notify_all()

    def _wait(self, need: int, checkpoint: Callable[[], None]) -> None:
        mine = object()
        with self._freed:
            self._waiting.append(mine)
        try:
            while not self._take(mine, need):
                checkpoint()
        except BaseException:
            with self._freed:
                self._waiting.remove(mine)
                self._freed.notify_all()
            raise

    def _take(self, mine: object, need: int) -> bool:
        """Take ``need`` bytes if it is the turn of ``mine`` within the time between checkpoints."""
        with self._freed:
            may = self._freed.wait_for(
                lambda: self._waiting[0] is mine and self._admits(need), POLL_SECONDS
            )
            if may:
                self._waiting.popleft()
                self._taken += need
                self._freed.notify_all()
            return may

    def _admits(self, need: int) -> bool:
        return self._limit is None or not self._taken or self._taken + need <= self._limit
