"""Jumps of the source's clock that it takes back: errors of the clock, in which no time was lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from pipelines.timeline import GAP, Relation, step

if TYPE_CHECKING:
    from collections.abc import Mapping
    from fractions import Fraction

    from pipelines.timeline import PlacedRun, Span


class Place(NamedTuple):
    """Where a stretch of media begins: the segment, the part of it, and the stretch of that run."""

    sequence: int
    piece: int
    stretch: int


@dataclass(frozen=True)
class _Clock:
    """A clock that was left."""

    ends: Mapping[str, Span]  #: the last of each track, on that clock
    since: Fraction  #: media seconds at which what came instead begins

    def goes_on_with(
        self, run: Mapping[str, Span], now: Fraction, *, wraps: bool, max_hole: Fraction
    ) -> bool:
        """Whether the clock goes on with a run at media time ``now``, as if it had never been left:
        from where it stood, or with the time in between."""
        back = step(self.ends, run, wraps=wraps, max_hole=max_hole)
        return back.relation is not Relation.RESET and back.jump <= now - self.since + GAP


class ClockDetours:
    """Finds them while runs are placed. That a jump was none is known only when it is taken back,
    and from then on: what was placed behind it is to be placed again."""

    def __init__(self, max_hole: Fraction) -> None:
        self._max_hole = max_hole
        self._left: tuple[_Clock, Place] | None = None  # before the last jump that was held
        self._wrong: _Clock | None = None  # where the last one that was taken back led to
        self.found: set[Place] = set()  #: what begins behind a jump that is none

    def note(
        self,
        place: Place,
        before: Mapping[str, Span],
        run: Mapping[str, Span],
        placed: PlacedRun,
        end: Fraction,
        *,
        wraps: bool,
    ) -> None:
        """Note that an untagged run was placed behind the clock ``before``, where media ended at
        ``end`` seconds."""
        if placed.step is None:
            return
        if placed.step.relation is Relation.GAP and placed.step.jump > GAP:
            if self._goes_on(self._wrong, run, end, wraps):
                self.found.add(place)
            self._left = _Clock(before, end + placed.hole), place
        elif placed.step.relation is Relation.RESET:
            left, self._left = self._left, None
            if left and self._goes_on(left[0], run, end, wraps):
                self.found.add(left[1])
                self._wrong = _Clock(before, end)

    def forget(self) -> None:
        """Forget all clocks: behind a tag, or a jump that the clock on the wall confirms."""
        self._left = self._wrong = None

    def _goes_on(
        self, clock: _Clock | None, run: Mapping[str, Span], now: Fraction, wraps: bool
    ) -> bool:
        return clock is not None and clock.goes_on_with(
            run, now, wraps=wraps, max_hole=self._max_hole
        )
