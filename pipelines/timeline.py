"""The recording's one timeline: which runs share a clock, where periods begin, how far each shifts.

Times are exact fractions of seconds. A *clock* time is the source's own; a *media* time is the
published one, where the first picture or sound of the recording is at 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING, TypeVar

from pipelines.segment_index import TS_TIMESCALE, TS_WRAP

if TYPE_CHECKING:
    from collections.abc import Mapping

#: A tagged discontinuity whose clock goes on within this shifts nothing.
SAME_CLOCK = Fraction(50, 1000)
#: A forward jump of every track by more than this, on the same clock, is a gap.
GAP = Fraction(1, 2)
#: Seconds of one round of the MPEG-TS clock.
WRAP = Fraction(TS_WRAP, TS_TIMESCALE)

_ZERO = Fraction(0)
#: How tracks are told apart: by PID within one clock, by name across the whole recording.
_Track = TypeVar("_Track", int, str)


@dataclass(frozen=True)
class Span:
    """From where to where one track of a run or segment goes, in clock time."""

    first_dts: Fraction
    last_dts: Fraction
    end_dts: Fraction
    first_pts: Fraction  #: when its presentation starts: the earliest picture or sound
    end_pts: Fraction

    def moved(self, by: Fraction) -> Span:
        """The same span on another clock."""
        return Span(
            self.first_dts + by,
            self.last_dts + by,
            self.end_dts + by,
            self.first_pts + by,
            self.end_pts + by,
        )


class Relation(StrEnum):
    """How media goes on after other media of the same recording."""

    CONTINUES = "continues"  #: the same clock, within a frame or two
    GAP = "gap"  #: the same clock, every track later than its end by more than ``GAP``
    RESET = "reset"  #: another clock


@dataclass(frozen=True)
class Step:
    """The relation, and what to add to the following clock so that it counts as the previous."""

    relation: Relation
    unwrap: Fraction
    jump: Fraction  #: seconds between the end of the one and the start of the other, unwrapped


def step(
    previous: Mapping[_Track, Span],
    following: Mapping[_Track, Span],
    *,
    wraps: bool,
    max_hole: Fraction,
) -> Step:
    """Decide how ``following`` goes on after ``previous`` (spans by track).

    ``wraps``: the clock is MPEG-TS's, which starts again at 0 after 26.5 hours; the round nearest
    to the end of ``previous`` is meant. A track that would step back, or every track jumping
    forward by more than ``max_hole`` seconds, is another clock.
    """
    common = [(previous[track], following[track]) for track in previous if track in following]
    pairs = common or [(a, b) for a in previous.values() for b in following.values()]
    jumps = [after.first_dts - before.end_dts for before, after in pairs]
    unwrap = -_rounds(min(jumps, key=lambda jump: abs(jump - _rounds(jump)))) if wraps else _ZERO
    jumps = [jump + unwrap for jump in jumps]
    nearest, ahead = min(jumps, key=abs), min(jumps)
    back = any(after.first_dts + unwrap <= before.last_dts for before, after in common)
    if back or ahead > max_hole or (not common and ahead < -GAP):
        return Step(Relation.RESET, _ZERO, nearest)
    return Step(Relation.GAP if ahead > GAP else Relation.CONTINUES, unwrap, nearest)


def _rounds(jump: Fraction) -> Fraction:
    """The whole rounds of the MPEG-TS clock that are nearest to ``jump``, in seconds."""
    return WRAP * round(jump / WRAP)


@dataclass(frozen=True)
class PlacedRun:
    """Where a run comes to lie: ``shift`` turns its clock times into media times."""

    period: int
    starts_period: bool
    shift: Fraction
    step: Step | None  #: None for the first run


class Timeline:
    """Places runs one after the other; keeps only the end of the last, whatever the length.

    A period keeps its own clock and is shifted as one, all tracks together, so that it starts
    where the previous one ended and no track overlaps.
    """

    def __init__(self, max_hole: Fraction) -> None:
        self._max_hole = max_hole
        self._period = -1
        self._shift = Fraction(0)
        self._clock: dict[str, Span] = {}

    def relate(self, run: Mapping[str, Span], *, wraps: bool) -> Step | None:
        """How the run goes on after the last one placed; None when it is the first."""
        if not self._clock:
            return None
        return step(self._clock, run, wraps=wraps, max_hole=self._max_hole)

    def place(self, run: Mapping[str, Span], related: Step | None, *, tagged: bool) -> PlacedRun:
        """Give the run its place: in the period that is open, or at the start of a new one."""
        unwrap = related.unwrap if related else Fraction(0)
        moved = {track: span.moved(unwrap) for track, span in run.items()}
        if related is None:
            self._shift = -min(span.first_pts for span in moved.values())
        elif related.relation is Relation.RESET or (tagged and abs(related.jump) > SAME_CLOCK):
            unwrap, moved = Fraction(0), dict(run)
            self._shift += self._no_overlap(moved)
        starts = related is None or tagged or related.relation is Relation.RESET
        if starts:
            self._period += 1
            self._clock = {} if self._is_far(related, tagged) else self._clock
        self._clock |= moved
        return PlacedRun(self._period, starts, self._shift + unwrap, related)

    def _is_far(self, related: Step | None, tagged: bool) -> bool:
        """Whether the new period runs on another clock, so that the old ends no longer count."""
        if related is None or related.relation is Relation.RESET:
            return True
        return tagged and abs(related.jump) > SAME_CLOCK

    def _no_overlap(self, run: Mapping[str, Span]) -> Fraction:
        """What to add to the shift so that no track of ``run`` begins before its last one ended."""
        common = [(self._clock[track], span) for track, span in run.items() if track in self._clock]
        if not common:
            end = max(span.end_pts for span in self._clock.values())
            return end - min(span.first_pts for span in run.values())
        return max(
            max(before.end_dts - after.first_dts, before.end_pts - after.first_pts)
            for before, after in common
        )
