"""Segments of fragments that begin with the end of the one before: what came before is left out."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pipelines.mp4.fragment_bytes import fragment_bytes
from pipelines.mp4.movie_fragment import part_of
from pipelines.mp4.samples import starts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipelines.fmp4_stream import Fmp4Segment
    from pipelines.mp4.movie_fragment import Fragment, TrackFragment


def repeated_samples(segment: Fmp4Segment, before: Fmp4Segment) -> Mapping[int, int]:
    """How many first samples of each track, by track_ID, are those that ``before`` ends with.

    Empty unless all that lies within the time of ``before`` is the same, by time and byte for byte:
    else it is another take of that time.
    """
    ends = {number: _times(tracks[-1])[-1] for number, tracks in _by_track(before).items()}
    counts = Counter[int]()
    for number, tracks in _by_track(segment).items():
        for track in tracks if number in ends else ():
            counts[number] += int(np.searchsorted(_times(track), ends[number], side="right"))
    if segment.movie != before.movie or not counts.total():
        return {}
    known = dict(_samples(before, {}))
    if any(known.get(place) != data for place, data in _samples(segment, counts)):
        return {}
    return {number: count for number, count in counts.items() if count}


def without_first(segment: Fmp4Segment, counts: Mapping[int, int]) -> Fmp4Segment | None:
    """The segment without so many first samples of its tracks, by track_ID; None when none is left."""
    left = Counter(counts)
    kept = []
    for fragment in segment.fragments:
        tracks = []
        for track in fragment.tracks:
            gone = min(left[track.track_id], len(track))
            left[track.track_id] -= gone
            if gone < len(track):
                tracks.append(part_of(track, gone, len(track)) if gone else track)
        if tracks:
            kept.append(replace(fragment, tracks=tuple(tracks)))
    if not kept:
        return None
    return replace(segment, fragments=tuple(kept), data=b"".join(map(fragment_bytes, kept)))


def _by_track(segment: Fmp4Segment) -> dict[int, list[TrackFragment]]:
    """The parts of each track that have samples, in order, by track_ID."""
    found: dict[int, list[TrackFragment]] = {}
    for fragment in segment.fragments:
        for track in fragment.tracks:
            if len(track):
                found.setdefault(track.track_id, []).append(track)
    return found


def _times(track: TrackFragment) -> np.ndarray:
    """Decode times of the samples, int64[n], ticks of the track."""
    times: np.ndarray = (track.base_decode_time or 0) + starts(track.durations)
    return times


def _samples(
    segment: Fmp4Segment, counts: Mapping[int, int]
) -> Iterator[tuple[tuple[int, int], memoryview]]:
    """Track_ID and decode time of samples with their bytes: so many of each track, or all."""
    left = Counter(counts)
    for fragment in segment.fragments:
        for track in fragment.tracks:
            for time, data in zip(_times(track).tolist(), _payloads(fragment, track), strict=True):
                if not counts or left[track.track_id] > 0:
                    yield (track.track_id, time), data
                left[track.track_id] -= 1


def _payloads(fragment: Fragment, track: TrackFragment) -> Iterator[memoryview]:
    """The bytes of each sample of a track."""
    for run in track.runs:
        at = run.offset
        for size in track.sizes[run.first_sample : run.first_sample + run.count].tolist():
            yield fragment.payload[at : at + size]
            at += size
