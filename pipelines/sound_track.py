"""A track of sound whose frames lie in memory: cut, joined and placed by the frame."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from pipelines.errors import ErrorCode, ToolError
from pipelines.mp4.sample_entry import configuration_fingerprint
from pipelines.mp4.samples import starts
from pipelines.packaged_slice import Expectation, PackagedTrack, Placement, Samples
from pipelines.payload_hash import joined_hash, payload_hash

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

#: Seconds of sound in one group of the payload, so that pictures can be put between them.
GROUP_SECONDS = 1


@dataclass(frozen=True, eq=False)
class SoundTrack:
    """A packaged track, and where in memory each group of its placement lies.

    ``places`` are int64[k], bytes in the memory that holds its frames. While nothing is written,
    they are the placement's own offsets.
    """

    track: PackagedTrack
    places: np.ndarray

    def leads_to(self, following: SoundTrack) -> bool:
        """Whether one track can hold both, one behind the other: of one kind, forward in time."""
        one, other = self.track, following.track
        if not len(one.samples) or not len(other.samples):
            return _kind(one) == _kind(other)
        last = Fraction(int(one.samples.dts[-1]), one.timescale)
        return _kind(one) == _kind(other) and begin_of(other) > last

    def moved(self, by: Fraction) -> SoundTrack:
        """The same sound ``by`` seconds later: in another round of its clock."""
        if not by:
            return self
        track = self.track
        samples = replace(track.samples, dts=track.samples.dts + round(by * track.timescale))
        moved = replace(track, samples=samples, expected=track.expected.moved(by))
        return replace(self, track=moved)

    def first_from(self, at: Fraction) -> int:
        """The number of the first sample that begins at or behind a time of the clock, seconds."""
        ticks = -(-at.numerator * self.track.timescale // at.denominator)
        return int(np.searchsorted(self.track.samples.dts, ticks))

    def pieces(self) -> Iterator[tuple[int, int]]:
        """Where each group of frames begins and ends in memory."""
        yield from zip(self.places.tolist(), (self.places + self._sizes()).tolist(), strict=True)

    def placed_at(self, offsets: Sequence[int]) -> PackagedTrack:
        """The track, now that its groups were written at these offsets."""
        placement = replace(self.track.placement, offsets=np.array(offsets, np.int64))
        return replace(self.track, placement=placement)

    def _sizes(self) -> np.ndarray:
        """Bytes of each group, int64[k]."""
        counts = self.track.placement.counts.astype(np.int64)
        if not len(counts):
            return counts
        return np.add.reduceat(self.track.samples.sizes, starts(counts), dtype=np.int64)


def begin_of(track: PackagedTrack) -> Fraction:
    """Seconds of its clock at which a track is first seen or heard."""
    return Fraction(int(track.samples.pts.min()), track.timescale)


def end_of(track: PackagedTrack) -> Fraction:
    """Seconds of its clock at which a track of sound ends."""
    return Fraction(int(track.samples.dts[-1]) + track.samples.last_duration, track.timescale)


def regrouped(track: PackagedTrack, held: bytes | bytearray) -> SoundTrack:
    """A track whose groups, in memory, last GROUP_SECONDS at most.

    Raises ``ToolError`` when memory does not hold what was packaged.
    """
    before = SoundTrack(track, track.placement.offsets)
    if _hashes(held, before.pieces()) != track.placement.hashes.tolist():
        raise _changed(track)
    sizes = track.samples.sizes.astype(np.int64)
    counts = track.placement.counts.astype(np.int64)
    firsts = starts(counts)
    inside = starts(sizes) - np.repeat(starts(sizes)[firsts], counts)
    offsets = np.repeat(track.placement.offsets, counts) + inside
    seconds = (track.samples.dts - track.samples.dts[0]) // (GROUP_SECONDS * track.timescale)
    begins = np.ones(len(sizes), np.bool_)
    begins[1:] = (np.diff(seconds) != 0) | (np.diff(offsets) != sizes[:-1])
    return _grouped(track, np.flatnonzero(begins), offsets, held)


def _grouped(
    track: PackagedTrack, firsts: np.ndarray, offsets: np.ndarray, held: bytes | bytearray
) -> SoundTrack:
    """The track with groups that begin with these samples; ``offsets`` are those of all samples."""
    places = offsets[firsts]
    sizes = np.add.reduceat(track.samples.sizes, firsts, dtype=np.int64)
    pieces = zip(places.tolist(), (places + sizes).tolist(), strict=True)
    hashes = _hashes(held, pieces)
    counts = np.diff(np.append(firsts, len(offsets))).astype(np.uint32)
    placement = Placement(places, counts, np.array(hashes, np.uint64))
    return SoundTrack(replace(track, placement=placement), places)


def _hashes(held: bytes | bytearray, pieces: Iterable[tuple[int, int]]) -> list[int]:
    """The hash of each piece of memory, given by where it begins and ends."""
    with memoryview(held) as view:
        return [payload_hash(view[begin:end]) for begin, end in pieces]


def _changed(track: PackagedTrack) -> ToolError:
    message = f"sound {track.track:#x} of a playlist of its own is not what was packaged any more"
    return ToolError(ErrorCode.VERIFICATION_FAILED, message)


def parted(sound: SoundTrack, at: int, held: bytes) -> tuple[SoundTrack, SoundTrack]:
    """The frames before number ``at``, and those from it on, wherever they are written by now.

    Raises ``ToolError`` when memory does not hold what was packaged.
    """
    track = sound.track
    counts = track.placement.counts.astype(np.int64)
    ends = np.cumsum(counts)
    group = int(np.searchsorted(ends, at, side="right"))
    inside = at - int(ends[group] - counts[group]) if group < len(counts) else 0
    placement, places = track.placement, sound.places
    if inside:
        placement, places = _split(sound, group, inside, held)
        group += 1
    before, behind = slice(0, group), slice(group, None)
    first, second = slice(0, at), slice(at, None)
    return (
        SoundTrack(_part(track, first, _some(placement, before)), places[before]),
        SoundTrack(_part(track, second, _some(placement, behind)), places[behind]),
    )


def _split(sound: SoundTrack, group: int, inside: int, held: bytes) -> tuple[Placement, np.ndarray]:
    """Placement and places with one group made two, the first of ``inside`` frames."""
    placement = sound.track.placement
    first = int(placement.counts[:group].sum())
    taken = int(sound.track.samples.sizes[first : first + inside].sum(dtype=np.int64))
    begin, end = list(sound.pieces())[group]
    hashes = _hashes(held, [(begin, begin + taken), (begin + taken, end)])
    if (
        joined_hash(zip(hashes, (taken, end - begin - taken), strict=True))
        != placement.hashes[group]
    ):
        raise _changed(sound.track)
    offset, count = int(placement.offsets[group]), int(placement.counts[group])
    return (
        Placement(
            _replaced(placement.offsets, group, [offset, offset + taken]),
            _replaced(placement.counts, group, [inside, count - inside]),
            _replaced(placement.hashes, group, hashes),
        ),
        _replaced(sound.places, group, [begin, begin + taken]),
    )


def _replaced(values: np.ndarray, at: int, by: Sequence[int]) -> np.ndarray:
    return np.concatenate((values[:at], np.array(by, values.dtype), values[at + 1 :]))


def _some(placement: Placement, which: slice) -> Placement:
    return Placement(placement.offsets[which], placement.counts[which], placement.hashes[which])


def _part(track: PackagedTrack, which: slice, placement: Placement) -> PackagedTrack:
    samples, expected = track.samples, track.expected
    return replace(
        track,
        samples=replace(
            samples,
            dts=samples.dts[which],
            composition=samples.composition[which],
            sizes=samples.sizes[which],
            sync=samples.sync[which],
        ),
        placement=placement,
        expected=replace(
            expected,
            dts=expected.dts[which],
            pts=expected.pts[which],
            sync=expected.sync[which],
            sizes=expected.sizes[which] if len(expected.sizes) else expected.sizes,
            hashes=expected.hashes[which] if len(expected.hashes) else expected.hashes,
        ),
    )


def joined(before: SoundTrack, behind: SoundTrack) -> SoundTrack:
    """One track of both, which must fit: frames behind frames, groups behind groups."""
    one, other = before.track, behind.track
    samples = Samples(
        _chained(one.samples.dts, other.samples.dts),
        _chained(one.samples.composition, other.samples.composition),
        _chained(one.samples.sizes, other.samples.sizes),
        _chained(one.samples.sync, other.samples.sync),
        other.samples.last_duration,
    )
    placement = Placement(
        _chained(one.placement.offsets, other.placement.offsets),
        _chained(one.placement.counts, other.placement.counts),
        _chained(one.placement.hashes, other.placement.hashes),
    )
    expected = Expectation(
        one.expected.timescale,
        _chained(one.expected.dts, other.expected.dts),
        _chained(one.expected.pts, other.expected.pts),
        _chained(one.expected.sync, other.expected.sync),
        _chained(one.expected.sizes, other.expected.sizes),
        _chained(one.expected.hashes, other.expected.hashes),
    )
    track = replace(one, samples=samples, placement=placement, expected=expected)
    return SoundTrack(track, _chained(before.places, behind.places))


def _chained(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.concatenate((one, other))


def _kind(track: PackagedTrack) -> tuple[object, ...]:
    """What must be the same in all of a track."""
    return (
        track.track,
        track.codec,
        track.timescale,
        configuration_fingerprint(track.sample_entry),
        track.edit_start,
        track.made,
        track.expected.timescale,
        len(track.expected.sizes) > 0,
        len(track.expected.hashes) > 0,
    )
