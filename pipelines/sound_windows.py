"""Sound in playlists of its own: which of its segments lie in the time of which slice.

A slice's time is that of the main playlist's segments. Both playlists are laid upon one axis: where
a tagged period begins in the main playlist, and EXTINF from there; wall clocks
(EXT-X-PROGRAM-DATE-TIME) say it more truly where both playlists have them. Only the clocks inside
the media tell exactly what belongs together: a window may be a segment off, and nothing is lost.
"""

from __future__ import annotations

import itertools
import json
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipelines.slices import Placed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipelines.playlist import AudioRendition, MediaPlaylist, Segment
    from pipelines.slices import Slice

#: Seconds by which a wall clock may put a segment outside its period's time and still be believed.
CLOCK_TOLERANCE = 60.0
#: Longest segments by which a period's sound may outlast its pictures and lie in their last slice,
#: once it is known to end.
OVERHANG = 1
#: Seconds by which sums of EXTINF that mean the same time may differ.
ROUNDING = 1e-3


@dataclass(frozen=True)
class SoundWindow:
    """What lies in a slice's time of one audio playlist.

    ``position`` is the rendition's among the variant's sounds (``Variant.sound``), from 0.
    ``work`` holds the segments, with what stands around them in their own playlist, as a slice.
    """

    name: str
    language: str | None  #: as EXT-X-MEDIA has it (RFC 5646)
    default: bool
    position: int
    work: Slice

    @property
    def identity(self) -> str:
        """All that makes it the same window: another one means that the slice is packaged again."""
        named = [self.name, self.language, self.default, self.position]
        return json.dumps([*named, self.work.identity])


def with_sound(
    slices: Sequence[Slice],
    playlist: MediaPlaylist,
    sound: Sequence[AudioRendition],
    *,
    idle: bool,
) -> tuple[Slice, ...]:
    """The slices of ``playlist``, each with its windows of the renditions in ``sound``.

    Every segment of every rendition is in exactly one slice: what comes before the first lies in
    the first, what comes behind the last in the last. While the playlists grow, windows of settled
    slices stay as they are. ``idle`` says that no segment will come, ENDLIST or not.
    """
    found: dict[int, list[SoundWindow]] = {each.number: [] for each in slices}
    settled = {each.number for each in slices if each.settled}
    for position, rendition in enumerate(sound):
        if not slices or rendition.playlist is None:
            continue
        audio = rendition.playlist
        numbers = _slice_numbers(slices, playlist, audio)
        if not audio.ended and not idle:  # a slice is whole once sound of a later one is listed
            settled &= set(range(numbers[-1])) if numbers else set()
        placed = Placed(audio.segments)
        for number, begin, end in _stretches(numbers):
            work = placed.slice(begin, end, number=number, settled=number in settled)
            window = SoundWindow(
                rendition.name, rendition.language, rendition.default, position, work
            )
            found[number].append(window)
    return tuple(
        replace(each, sound=tuple(found[each.number]), settled=each.number in settled)
        for each in slices
    )


def _stretches(numbers: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Slice number, first and behind-last position of neighbours in the same slice."""
    at = 0
    for number, group in itertools.groupby(numbers):
        end = at + sum(1 for _ in group)
        yield number, at, end
        at = end


def _slice_numbers(
    slices: Sequence[Slice], playlist: MediaPlaylist, audio: MediaPlaylist
) -> list[int]:
    """For every segment of ``audio`` the slice in whose time it begins; never a step back."""
    axis = _Axis(playlist.segments, slices[0])
    begins = [each.start for each in slices]
    numbers: list[int] = []
    for at in axis.positions(audio.segments):
        found = max(0, bisect_right(begins, at + ROUNDING) - 1)
        numbers.append(max(slices[found].number, numbers[-1] if numbers else slices[0].number))
    return numbers


class _Axis:
    """Seconds from the main playlist's start, by sums of EXTINF, as ``Slice.start`` counts."""

    def __init__(self, segments: Sequence[Segment], first: Slice) -> None:
        sums = list(itertools.accumulate((each.duration for each in segments), initial=0.0))
        begin = bisect_left(segments, first.segments[0].sequence, key=lambda each: each.sequence)
        zero = sums[begin] - first.start
        self._periods: dict[int, _Period] = {}
        for sequence, group in itertools.groupby(
            range(len(segments)), key=lambda at: segments[at].discontinuity_sequence
        ):
            places = [(segments[at], sums[at] - zero) for at in group]
            self._periods[sequence] = _Period(places)

    def positions(self, audio: Sequence[Segment]) -> Iterator[float]:
        """Where each segment of an audio playlist begins."""
        end = 0.0
        last = audio[-1].discontinuity_sequence if audio else 0
        for sequence, group in itertools.groupby(
            audio, key=lambda segment: segment.discontinuity_sequence
        ):
            period = self._periods.get(sequence)
            at = period.begin if period else end
            for segment in group:
                at = period.by_wall_clock(segment, at) if period else at
                yield period.held(at) if period and sequence < last else at
                at += segment.duration
            end = at


class _Period:
    """A tagged period of the main playlist on the axis, seconds."""

    def __init__(self, places: Sequence[tuple[Segment, float]]) -> None:
        last, self._last = places[-1]
        self.begin = places[0][1]
        self._end = self._last + last.duration
        self._overhang = OVERHANG * max(segment.duration for segment, _ in places)
        clocks = [(each.program_date_time, at) for each, at in places if each.program_date_time]
        self._walls = [wall for wall, _ in clocks]
        self._places = [at for _, at in clocks]

    def held(self, at: float) -> float:
        """The place of sound: what begins a little behind the period is with its last pictures."""
        behind = self._end - ROUNDING <= at < self._end + self._overhang
        return self._last if behind else at

    def by_wall_clock(self, segment: Segment, otherwise: float) -> float:
        """Where a segment of sound begins by its wall clock, if that can be believed."""
        clock = segment.program_date_time
        if clock is None or not self._walls:
            return otherwise
        nearest = max(0, bisect_right(self._walls, clock) - 1)
        at = self._places[nearest] + (clock - self._walls[nearest]).total_seconds()
        believed = self.begin - CLOCK_TOLERANCE <= at <= self._end + CLOCK_TOLERANCE
        return at if believed else otherwise
