"""What the fragments of a run hold before anything is cut out of them: the yardstick of fMP4."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pipelines.mp4.samples import starts
from pipelines.packaged_slice import Expectation
from pipelines.payload_hash import UNKNOWN_HASH, sample_hashes

if TYPE_CHECKING:
    from pipelines.mp4.movie_fragment import Fragment, TrackFragment


@dataclass
class _Units:
    """What was seen of one track, an array per fragment."""

    dts: list[np.ndarray] = field(default_factory=list)
    pts: list[np.ndarray] = field(default_factory=list)
    sync: list[np.ndarray] = field(default_factory=list)
    sizes: list[np.ndarray] = field(default_factory=list)
    hashes: list[np.ndarray] = field(default_factory=list)


class FragmentUnits:
    """Collects every sample that the source's fragments hold, with the hash of its bytes."""

    def __init__(self) -> None:
        self._tracks: dict[int, _Units] = {}

    def take(self, fragment: Fragment) -> None:
        """Note all samples of the next fragment; a track without a decode time is left out."""
        for track in fragment.tracks:
            if track.base_decode_time is None or not len(track):
                continue
            seen = self._tracks.setdefault(track.track_id, _Units())
            dts = track.base_decode_time + starts(track.durations)
            seen.dts.append(dts)
            seen.pts.append(dts + track.composition)
            seen.sync.append(track.sync)
            seen.sizes.append(track.sizes.astype(np.int64))
            seen.hashes.append(_hashes(track, fragment.payload))

    def expectation(self, track_id: int, timescale: int, shift: int) -> Expectation:
        """What was seen of one track, ``shift`` ticks later than its fragments say."""
        seen = self._tracks.get(track_id, _Units())
        return Expectation(
            timescale,
            _joined(seen.dts, np.int64) + shift,
            _joined(seen.pts, np.int64) + shift,
            _joined(seen.sync, np.bool_),
            _joined(seen.sizes, np.int64),
            _joined(seen.hashes, np.uint64),
        )


def _hashes(track: TrackFragment, payload: memoryview) -> np.ndarray:
    """The hash of each sample, uint64[n]."""
    hashes = np.full(len(track), UNKNOWN_HASH, np.uint64)
    for run in track.runs:
        own = slice(run.first_sample, run.first_sample + run.count)
        data = payload[run.offset : run.offset + run.size]
        hashes[own] = sample_hashes(data, track.sizes[own])
    return hashes


def _joined(pieces: list[np.ndarray], kind: type) -> np.ndarray:
    return np.concatenate(pieces).astype(kind) if pieces else np.zeros(0, kind)
