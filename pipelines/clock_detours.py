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
        away = back.jump - (now - self.since)
        return back.relation is not Relation.RESET and min(abs(back.jump), abs(away)) <= GAP


@dataclass(frozen=True)
class _Held:
    """A jump forward that was taken for lost time."""

    left: _Clock
    place: Place
    run: Mapping[str, Span]  #: what begins behind it

    def is_filled_by(self, run: Mapping[str, Span], *, wraps: bool, max_hole: Fraction) -> bool:
        """Whether a run lies just in what the jump left out."""
        sides = (self.left.ends, run), (run, self.run)
        steps = [step(one, other, wraps=wraps, max_hole=max_hole) for one, other in sides]
        return all(each.relation is Relation.CONTINUES for each in steps)


class ClockDetours:
    """Finds them while runs are placed. That a jump was none may be known only when it is taken
    back: what was placed behind it is to be placed again."""

    def __init__(self, max_hole: Fraction) -> None:
        self._max_hole = max_hole
        self._held: _Held | None = None  # the last jump, if it was one forward
        self._ahead: _Clock | None = None  # where the clock was before it last stepped back
        self.found: dict[Place, str] = {}  #: what begins behind a jump that is none, and why it is

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
            if self._goes_on(self._ahead, run, end, wraps):
                self.found.setdefault(place, "to where it was before it stepped back")
            self._held = _Held(_Clock(before, end + placed.hole), place, run)
        elif placed.step.relation is Relation.RESET:
            held, self._held = self._held, None
            if held and self._goes_on(held.left, run, end, wraps):
                self.found[held.place] = self._why(held, place, run, wraps)
            self._ahead = _Clock(before, end)

    def forget(self) -> None:
        """Forget all clocks: behind a tag, or a jump that the clock on the wall confirms."""
        self._held = self._ahead = None

    def _why(self, held: _Held, place: Place, run: Mapping[str, Span], wraps: bool) -> str:
        if not held.is_filled_by(run, wraps=wraps, max_hole=self._max_hole):
            return "and is taken back later"
        swapped = f"segment {place.sequence} goes before segment {held.place.sequence}"
        return f"and is taken back: by the clock, {swapped}; both are kept as listed"

    def _goes_on(
        self, clock: _Clock | None, run: Mapping[str, Span], now: Fraction, wraps: bool
    ) -> bool:
        return clock is not None and clock.goes_on_with(
            run, now, wraps=wraps, max_hole=self._max_hole
        )
