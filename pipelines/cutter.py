"""Cutting a slice's own samples out of fragments: their payload goes on, their tables are kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

import numpy as np

from pipelines.mp4.boxes import Mp4Error
from pipelines.mp4.samples import starts
from pipelines.packaged_slice import Placement, Samples
from pipelines.payload_hash import payload_hash, sample_hashes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipelines.mp4.movie_fragment import Fragment, Run, TrackFragment

#: Bytes of neighbouring samples that have a hash together: what the proof reads back at a place.
GROUP_BYTES = 128 << 10

_FIRST = np.iinfo(np.int64).min
_LAST = np.iinfo(np.int64).max


class PayloadWriter(Protocol):
    """Where payload goes."""

    def write(self, data: memoryview) -> int:
        """Append ``data``; its offset in the payload."""
        ...


@dataclass
class Window:
    """The decode times of one track that a slice owns, both ends included; lead-in and lead-out
    lie outside. It widens while segments are indexed: ``last`` is final before the lead-out is
    fed."""

    first: int = _FIRST
    last: int = _LAST

    def keeps(self, dts: np.ndarray) -> np.ndarray:
        """Which of these decode times are the slice's own, bool[n]."""
        return (dts >= self.first) & (dts <= self.last)


@dataclass
class _Collected:
    """What was cut of one track so far, a piece per fragment."""

    dts: list[np.ndarray] = field(default_factory=list)
    composition: list[np.ndarray] = field(default_factory=list)
    sizes: list[np.ndarray] = field(default_factory=list)
    sync: list[np.ndarray] = field(default_factory=list)
    last_duration: int = 0
    offsets: list[int] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    hashes: list[int] = field(default_factory=list)
    sample_hashes: list[np.ndarray] = field(default_factory=list)


class SampleCutter:
    """Takes fragments in order, writes the payload of the samples inside each track's window."""

    def __init__(self, writer: PayloadWriter, windows: Mapping[int, Window]) -> None:
        self._writer = writer
        self._windows = windows
        self._tracks = {track_id: _Collected() for track_id in windows}

    def take(self, fragment: Fragment) -> None:
        """Keep what is ours of one fragment, in the order of its bytes.

        Raises ``Mp4Error`` when a track has no decode time, or one that was not announced.
        """
        cuts: list[tuple[Run, TrackFragment, np.ndarray]] = []
        for track in fragment.tracks:
            kept = self._keep(track)
            cuts += [(run, track, kept) for run in track.runs]
        for run, track, kept in sorted(cuts, key=lambda cut: cut[0].offset):
            self._write(fragment.payload, run, track, kept)

    def samples(self, track_id: int) -> Samples:
        """All samples that were kept of a track."""
        kept = self._tracks[track_id]
        return Samples(
            _joined(kept.dts, np.int64),
            _joined(kept.composition, np.int32),
            _joined(kept.sizes, np.uint32),
            _joined(kept.sync, np.bool_),
            kept.last_duration,
        )

    def placement(self, track_id: int) -> Placement:
        """Where they lie in the slice's payload."""
        kept = self._tracks[track_id]
        return Placement(
            np.array(kept.offsets, np.int64),
            np.array(kept.counts, np.uint32),
            np.array(kept.hashes, np.uint64),
        )

    def hashes(self, track_id: int) -> np.ndarray:
        """CRC-64/NVME of every sample that was kept of a track, uint64[n]."""
        return _joined(self._tracks[track_id].sample_hashes, np.uint64)

    def _keep(self, track: TrackFragment) -> np.ndarray:
        window = self._windows.get(track.track_id)
        if window is None or track.base_decode_time is None:
            raise Mp4Error(f"track {track.track_id} of a fragment has no place or no decode time")
        dts = track.base_decode_time + starts(track.durations)
        kept = window.keeps(dts)
        if kept.any():
            collected = self._tracks[track.track_id]
            collected.dts.append(dts[kept])
            collected.composition.append(track.composition[kept])
            collected.sizes.append(track.sizes[kept])
            collected.sync.append(track.sync[kept])
            collected.last_duration = int(track.durations[kept][-1])
        return kept

    def _write(self, payload: memoryview, run: Run, track: TrackFragment, kept: np.ndarray) -> None:
        """Write the kept samples of one run; inside a run they are neighbours."""
        own = np.flatnonzero(kept[run.first_sample : run.first_sample + run.count])
        if not len(own):
            return
        sizes = track.sizes[run.first_sample : run.first_sample + run.count]
        if len(own) == run.count:
            begin, end = run.offset, run.offset + run.size
        else:
            begin = run.offset + int(sizes[: own[0]].sum(dtype=np.int64))
            end = begin + int(sizes[own[0] : own[-1] + 1].sum(dtype=np.int64))
        data = payload[begin:end]
        offset = self._writer.write(data)
        collected = self._tracks[track.track_id]
        firsts = _groups(sizes[own])
        begins = [*starts(sizes[own])[firsts].tolist(), len(data)]
        collected.offsets += [offset + begin for begin in begins[:-1]]
        collected.counts += np.diff([*firsts.tolist(), len(own)]).tolist()
        collected.hashes += [payload_hash(data[at:end]) for at, end in pairwise(begins)]
        collected.sample_hashes.append(sample_hashes(data, sizes[own]))


def _groups(sizes: np.ndarray) -> np.ndarray:
    """The first sample of each group of neighbours that have about ``GROUP_BYTES`` together."""
    group = np.maximum(np.cumsum(sizes, dtype=np.int64) - 1, 0) // GROUP_BYTES
    return np.append(0, np.flatnonzero(np.diff(group)) + 1)


def _joined(pieces: list[np.ndarray], kind: type) -> np.ndarray:
    return np.concatenate(pieces).astype(kind) if pieces else np.zeros(0, kind)
