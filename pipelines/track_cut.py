"""Cutting a packaged track: a stretch of its samples, with where they lie and what is expected."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pipelines.media import Codec, TrackKind
from pipelines.mp4.samples import starts
from pipelines.packaged_slice import Expectation, Placement, Samples

if TYPE_CHECKING:
    from pipelines.packaged_slice import PackagedTrack

#: Codecs whose frames may last unlike each other, so that a late one need not mean a hole.
UNEVEN = frozenset({Codec.OPUS, Codec.FLAC})
#: Pictures of which there are fewer in a second come as something changes: a pause is no hole.
SLOW = 4
#: One picture in so many may come late without the others being uneven.
FEW = 50


def cut(track: PackagedTrack, begin: int, end: int) -> PackagedTrack:
    """The track with its samples from number ``begin`` up to ``end`` (0-based) alone.

    Its expectation is cut alike: packaging has compared them one by one. Hashes of groups that are
    cut stand for bytes that are not all the track's any more; those of the whole track are to be
    compared with the payload.
    """
    if (begin, end) == (0, len(track.samples)):
        return track
    return replace(
        track,
        samples=_samples(track, begin, end),
        placement=cut_placement(track.placement, track.samples.sizes, begin, end),
        expected=_expected(track.expected, begin, end),
    )


def usual_duration(track: PackagedTrack) -> int:
    """Ticks that a sample of the track lasts as a rule."""
    samples = track.samples
    known = track.kind is TrackKind.AUDIO and samples.last_duration > 0
    if known or len(samples) < 2:
        return samples.last_duration
    return int(np.median(np.diff(samples.dts)))


def even_duration(track: PackagedTrack) -> int | None:
    """Ticks that every sample of the track lasts; None where they are not alike, so that a late one
    need not mean that any is missing. Holes and jitter make no track uneven."""
    usual = usual_duration(track)
    if track.codec in UNEVEN or usual <= 0:
        return None
    if track.kind is TrackKind.AUDIO:
        return usual
    if usual * SLOW > track.timescale:
        return None
    steps = np.diff(track.samples.dts)
    odd = int(np.count_nonzero(np.abs(steps - usual) > usual // 2))
    return usual if len(steps) and odd <= 1 + len(steps) // FEW else None


def cut_placement(placement: Placement, sizes: np.ndarray, begin: int, end: int) -> Placement:
    """Where samples number ``begin`` up to ``end`` lie, of all that have these ``sizes``."""
    counts = placement.counts.astype(np.int64)
    firsts = starts(counts)
    kept = (firsts < end) & (firsts + counts > begin)
    first, count = firsts[kept], counts[kept]
    before = np.clip(begin - first, 0, None)
    behind = np.clip(first + count - end, 0, None)
    offsets = placement.offsets[kept].copy()
    if len(offsets):
        skipped = sizes[first[0] : first[0] + before[0]]
        offsets[0] += int(skipped.sum(dtype=np.int64))
    left = (count - before - behind).astype(np.uint32)
    return Placement(offsets, left, placement.hashes[kept])


def _samples(track: PackagedTrack, begin: int, end: int) -> Samples:
    samples = track.samples
    last = samples.last_duration if end == len(samples) else usual_duration(track)
    return Samples(
        samples.dts[begin:end],
        samples.composition[begin:end],
        samples.sizes[begin:end],
        samples.sync[begin:end],
        last,
    )


def _expected(expected: Expectation, begin: int, end: int) -> Expectation:
    return Expectation(
        expected.timescale,
        expected.dts[begin:end],
        expected.pts[begin:end],
        expected.sync[begin:end],
        expected.sizes[begin:end],
        expected.hashes[begin:end],
    )
