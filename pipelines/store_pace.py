"""How many calls one store is sent at once: fewer when it asks for that, more while it copes.

Additive increase, multiplicative decrease, as TCP finds its share of a link (RFC 5681, 3.1).
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.store_errors import Throttled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Calls that a store is sent at once while it copes: as many connections as its client keeps.
MOST_CALLS = 32
#: What is left of the limit after the store has asked to slow down.
DECREASE = 0.5


@dataclass(frozen=True)
class Pace:
    """The limit of calls in flight, and when it was last lowered (s, on the caller's clock)."""

    limit: float = float(MOST_CALLS)
    lowered_at: float | None = None

    @property
    def calls(self) -> int:
        """Calls that may be in flight."""
        return int(self.limit)

    def throttled(self, begun: float, in_flight: int, now: float) -> Pace:
        """The pace once a call begun at ``begun`` was refused while ``in_flight`` were under way.

        Refusals of calls that were begun before the limit was last lowered tell nothing new.
        """
        if self.lowered_at is not None and begun <= self.lowered_at:
            return self
        return Pace(max(1.0, min(self.limit, in_flight) * DECREASE), now)

    def answered(self) -> Pace:
        """The pace after a call that the store has answered: one call more for each full round."""
        if self.limit >= MOST_CALLS:
            return self
        limit = min(float(MOST_CALLS), self.limit + 1 / self.limit)
        return Pace(limit, None if limit >= MOST_CALLS else self.lowered_at)

    @property
    def slowed(self) -> bool:
        """Whether fewer calls are sent than usually."""
        return self.limit < MOST_CALLS


class StorePace:
    """Lets the calls of all threads of a process to one store pass, as many at once as it copes
    with. ``told`` is called whenever it begins (True) or ends (False) to be slowed down."""

    def __init__(self, told: Callable[[bool], None] = lambda _slowed: None) -> None:
        self._told = told
        self._pace = Pace()
        self._in_flight = 0
        self._free = threading.Condition()

    @property
    def pace(self) -> Pace:
        """The pace as it is now."""
        return self._pace

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until the call inside may be made; ``Throttled`` raised inside lowers the limit."""
        with self._free:
            self._free.wait_for(lambda: self._in_flight < self._pace.calls)
            self._in_flight += 1
        begun = time.monotonic()
        try:
            yield
        except Throttled:
            self._end(lambda pace: pace.throttled(begun, self._in_flight, time.monotonic()))
            raise
        except BaseException:
            self._end(lambda pace: pace)
            raise
        self._end(Pace.answered)

    def _end(self, learned: Callable[[Pace], Pace]) -> None:
        with self._free:
            before, self._pace = self._pace, learned(self._pace)
            self._in_flight -= 1
            self._free.notify_all()
        if before.slowed != self._pace.slowed:
            self._told(self._pace.slowed)
