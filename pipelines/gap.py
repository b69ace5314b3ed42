"""Gaps: media that the recording does not hold, and what viewers have in their place."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

#: In the place of a track's name: every track of the movie.
ALL_TRACKS = "all"
#: What a track lacks before or after a gap of all tracks is told when it is longer (seconds).
TOLD = Fraction(1, 2)


class GapCause(StrEnum):
    """Why the media is not there."""

    SEGMENT_LOST = "segment_lost"  #: listed segments, of which nothing could be packaged
    SEGMENT_DAMAGED = "segment_damaged"  #: parts of listed segments, which are left out
    NOT_IN_SOURCE = (
        "not_in_source"  #: the source's clock goes on later: never listed, or never made
    )
    TRACK_ABSENT = "track_absent"  #: the source has other tracks there, and not this one
    WALL_CLOCK = "wall_clock"  #: nothing was recorded: EXT-X-PROGRAM-DATE-TIME jumps forward


class GapDone(StrEnum):
    """What was done about it."""

    HELD = "held"  #: the last picture lasts longer, sound (where there is any) is encoded silence
    SILENCE = "silence"  #: encoded silence
    COLLAPSED = "collapsed"  #: what follows moved up
    REPORTED = "reported"  #: nothing: the movie begins later, ends earlier, or never had it


@dataclass(frozen=True)
class GapReason:
    """Why there is a hole: the cause, a sentence for people, and the segments concerned."""

    cause: GapCause
    detail: str
    segments: tuple[int, ...] = ()  #: media sequence numbers


@dataclass(frozen=True)
class Hole:
    """Where one track has nothing of the source; exact media seconds."""

    begin: Fraction
    end: Fraction
    reason: GapReason
    done: GapDone


@dataclass(frozen=True)
class Gap:
    """Media that the recording does not hold, as the report tells it; seconds."""

    track: str  #: ``ALL_TRACKS``, or the name of the one that lacks it
    at: float  #: media time at which it begins
    duration: float  #: of what is missing; of no movie time when it is collapsed or reported
    cause: GapCause
    detail: str
    done: GapDone
    wall_clock: float | None = None  #: Unix seconds at which it begins, when the recording tells
    segments: tuple[int, ...] = ()  #: media sequence numbers of the segments concerned


def gaps_of(holes: Mapping[str, Sequence[Hole]]) -> list[tuple[str, Hole]]:
    """The holes of all tracks, told once where they are common; with the track, in order of time.

    What a track lacks beside a common hole is told where it is longer than ``TOLD``.
    """
    if not holes:
        return []
    common = _common([sorted(each, key=lambda hole: hole.begin) for each in holes.values()])
    found = [(ALL_TRACKS, hole) for hole in common]
    for name, own in holes.items():
        for hole in own:
            found += [(name, rest) for rest in _rests(hole, common)]
    return sorted(found, key=lambda gap: (gap[1].begin, gap[0] != ALL_TRACKS, gap[0]))


def _common(holes: Sequence[Sequence[Hole]]) -> list[Hole]:
    """Where every track has a hole, for the reason of the shortest one that names segments."""
    common = list(holes[0])
    for others in holes[1:]:
        common = list(_both(common, others))
    return common


def _both(some: Sequence[Hole], others: Sequence[Hole]) -> Iterator[Hole]:
    """Where holes of two tracks, each in the order of time, lie over each other."""
    one = other = 0
    while one < len(some) and other < len(others):
        a, b = some[one], others[other]
        if min(a.end, b.end) > max(a.begin, b.begin):
            yield _joined(a, b)
        one, other = (one + 1, other) if a.end <= b.end else (one, other + 1)


def _joined(one: Hole, other: Hole) -> Hole:
    # The shorter hole is of this and nothing else; the longer one may have further causes.
    near, far = sorted((one, other), key=lambda hole: hole.end - hole.begin)
    reason = far.reason if far.reason.segments and not near.reason.segments else near.reason
    done = GapDone.HELD if GapDone.HELD in (one.done, other.done) else one.done
    return Hole(max(one.begin, other.begin), min(one.end, other.end), reason, done)


def _rests(hole: Hole, common: Sequence[Hole]) -> Iterator[Hole]:
    """A hole without the parts that are common to all tracks."""
    begin, touched = hole.begin, False
    for each in common[bisect_right(common, hole.begin, key=lambda gap: gap.end) :]:
        if each.begin >= hole.end:
            break
        if each.begin - begin > TOLD:
            yield Hole(begin, each.begin, hole.reason, hole.done)
        begin, touched = each.end, True
    if (hole.end - begin > TOLD) or not touched:
        yield Hole(begin, hole.end, hole.reason, hole.done)
