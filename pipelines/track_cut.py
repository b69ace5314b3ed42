"""Cutting a packaged track: a stretch of its samples, with where they lie and what is expected."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pipelines.media import TrackKind
from pipelines.mp4.samples import starts
from pipelines.packaged_slice import Expectation, Placement, Samples

if TYPE_CHECKING:
    from pipelines.packaged_slice import PackagedTrack


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
    )
