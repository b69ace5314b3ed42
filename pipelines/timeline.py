"""The recording's one timeline: which runs share a clock, where periods begin, how far each shifts.

Times are exact fractions of seconds. A *clock* time is the source's own; a *media* time is the
published one, where the first picture or sound of the recording is at 0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING, TypeVar

from pipelines.segment_index import TS_TIMESCALE, TS_WRAP

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: A tagged discontinuity whose clock goes on within this shifts nothing.
SAME_CLOCK = Fraction(50, 1000)
#: A forward jump of every track by more than this, on the same clock, is a gap at any rate.
GAP = Fraction(1, 2)
#: Where samples last alike, a jump by more than so many of the longest is one.
GAP_SAMPLES = 2
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
    hidden: Fraction = _ZERO  #: seconds of samples before that, which an edit list does not show
    sample: Fraction | None = None  #: seconds that each sample lasts; None: they are not alike
    #: Seconds for which the last of slow pictures is listed to last; None of anything else.
    pause: Fraction | None = None

    def moved(self, by: Fraction) -> Span:
        """The same span on another clock."""
        return replace(
            self,
            first_dts=self.first_dts + by,
            last_dts=self.last_dts + by,
            end_dts=self.end_dts + by,
            first_pts=self.first_pts + by,
            end_pts=self.end_pts + by,
        )

    def joined(self, other: Span) -> Span:
        """From where this one or ``other`` begins to where the later one ends."""
        return Span(
            min(self.first_dts, other.first_dts),
            max(self.last_dts, other.last_dts),
            max(self.end_dts, other.end_dts),
            min(self.first_pts, other.first_pts),
            max(self.end_pts, other.end_pts),
            min((self, other), key=lambda span: span.first_dts).hidden,
            self.sample and other.sample and max(self.sample, other.sample),
        )


class Relation(StrEnum):
    """How media goes on after other media of the same recording."""

    CONTINUES = "continues"  #: the same clock, within a frame or two
    GAP = "gap"  #: the same clock, every track later than its end by more than ``least_gap``
    RESET = "reset"  #: another clock


@dataclass(frozen=True)
class Lost:
    """Listed segments between two runs, of which nothing could be packaged; seconds of EXTINF."""

    seconds: Fraction = _ZERO
    longest: Fraction = _ZERO

    def explains(self, jump: Fraction) -> bool:
        """Whether a jump of the clock is about as long as these segments, to one of them."""
        return jump > 0 and abs(jump - self.seconds) <= self.longest


#: No segment is lost.
NOTHING_LOST = Lost()


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
    unwrap = -rounds(min(jumps, key=lambda jump: abs(jump - rounds(jump)))) if wraps else _ZERO
    jumps = [jump + unwrap for jump in jumps]
    nearest, ahead = min(jumps, key=abs), min(jumps)
    back = any(after.first_dts + unwrap <= before.last_dts for before, after in common)
    if back or ahead > max_hole or (not common and ahead < -GAP):
        return Step(Relation.RESET, _ZERO, nearest)
    least = least_gap(before.sample for before, _ in pairs)
    paused = all(_only_pauses(before, after.moved(unwrap)) for before, after in pairs)
    is_gap = ahead > least and not paused
    return Step(Relation.GAP if is_gap else Relation.CONTINUES, unwrap, nearest)


def _only_pauses(before: Span, after: Span) -> bool:
    """Whether slow pictures come as late as the last one lasts: nothing is missing between them."""
    if before.pause is None or after.pause is None:
        return False
    return after.first_dts - before.last_dts <= before.pause + SAME_CLOCK


def least_gap(samples: Iterable[Fraction | None]) -> Fraction:
    """Seconds beyond which a jump of all tracks together is a gap, by how long samples of each last
    (None: unlike each other). Of a pause one cannot tell what it is if no track is even."""
    known = [sample for sample in samples if sample is not None]
    return min(GAP, max(SAME_CLOCK, GAP_SAMPLES * max(known))) if known else GAP


def rounds(jump: Fraction) -> Fraction:
    """The whole rounds of the MPEG-TS clock that are nearest to ``jump``, in seconds."""
    return WRAP * round(jump / WRAP)


@dataclass(frozen=True)
class PlacedRun:
    """Where a run comes to lie: ``shift`` turns its clock times into media times."""

    period: int
    starts_period: bool
    shift: Fraction
    step: Step | None  #: None for the first run
    hole: Fraction = _ZERO  #: seconds before it that hold no media of any track
    closed: Fraction = _ZERO  #: seconds by which it moved up: such a hole that is not kept
    unwrap: Fraction = _ZERO  #: what makes its clock the period's, which ``shift`` holds already


class Timeline:
    """Places runs one after the other; keeps only the ends of tracks, whatever the length.

    A period keeps its own clock and is shifted as one, all tracks together, so that it starts
    where the previous one ended and no track overlaps. ``collapses``: holes are closed; those of
    more than ``max_hole`` seconds always are.
    """

    def __init__(self, max_hole: Fraction, *, collapses: bool = False) -> None:
        self._max_hole = max_hole
        self._collapses = collapses
        self._period = -1
        self._shift = _ZERO
        self._clock: dict[str, Span] = {}  # of the period that is open
        self._ends: dict[str, Span] = {}  # in media time, of every track there ever was

    @property
    def end(self) -> Fraction:
        """Media seconds up to which anything is seen or heard."""
        return max((span.end_pts for span in self._ends.values()), default=_ZERO)

    @property
    def clock(self) -> Mapping[str, Span]:
        """The last span of each track of the period that is open, in clock time."""
        return self._clock

    def relate(self, run: Mapping[str, Span], *, wraps: bool) -> Step | None:
        """How the run goes on after the last one placed; None when it is the first."""
        if not self._clock:
            return None
        return step(self._clock, run, wraps=wraps, max_hole=self._max_hole)

    def place(
        self,
        run: Mapping[str, Span],
        related: Step | None,
        *,
        tagged: bool,
        lost: Lost = NOTHING_LOST,
        longest: Fraction | None = None,
        detour: bool = False,
    ) -> PlacedRun:
        """Give the run its place: in the period that is open, or at the start of a new one.

        Where the clock goes on, it tells how long a hole is; where it does not, the segments that
        are ``lost`` between the two do. ``longest`` is the longest hole that its tracks can hold,
        in seconds, where that may be less than any hole can be. ``detour``: the clock is wrong here.
        """
        most = self._max_hole if longest is None else min(self._max_hole, longest)

        def closes(hole: Fraction) -> bool:
            return self._collapses or hole > most

        unwrap = related.unwrap if related else _ZERO
        moved = {track: span.moved(unwrap) for track, span in run.items()}
        hole = closed = _ZERO
        same = related is None
        if related is None:
            self._shift = -min(span.first_pts for span in moved.values())
        elif same := not detour and _goes_on(related, tagged, lost):
            hole = related.jump if related.relation is Relation.GAP else _ZERO
            if hole and closes(hole):
                self._shift = self._no_overlap(moved)
        else:
            unwrap, moved, hole = _ZERO, dict(run), lost.seconds
            self._shift = self._no_overlap(moved) + (_ZERO if closes(hole) else hole)
        if closes(hole):
            hole, closed = _ZERO, hole
        starts = not related or tagged or not same or bool(closed)
        if starts:
            self._period += 1
        if not same or closed:
            self._clock = {}
        self._clock |= moved
        self._ends |= {track: span.moved(self._shift) for track, span in moved.items()}
        return PlacedRun(self._period, starts, self._shift + unwrap, related, hole, closed, unwrap)

    def _no_overlap(self, run: Mapping[str, Span]) -> Fraction:
        """The shift by which ``run`` begins where the last one ended, and no sample of any track of
        it is shown before its own last one ended. Decode times give way to that."""
        shifts = [
            self._ends[track].end_pts - (span.first_pts - span.hidden)
            for track, span in run.items()
            if track in self._ends
        ]
        if not run.keys() & self._clock.keys():
            end = max(self._ends[track].end_pts for track in self._clock)
            shifts.append(end - min(span.first_pts for span in run.values()))
        return max(shifts)


def _goes_on(related: Step, tagged: bool, lost: Lost) -> bool:
    """Whether the clock goes on; behind a tag it must do so at once, or explain what is lost."""
    if related.relation is Relation.RESET:
        return False
    return not tagged or abs(related.jump) <= SAME_CLOCK or lost.explains(related.jump)
