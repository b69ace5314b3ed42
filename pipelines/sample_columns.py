"""The columns of one track's sample tables, appended run by run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipelines.entry_points import EntryPoints
from pipelines.media import Codec
from pipelines.mp4.samples import RunLengths, narrowed, starts, sync_numbers

if TYPE_CHECKING:
    from pipelines.packaged_slice import Samples


#: Bytes that a chunk has at most, but for a group: players may read one at once.
CHUNK_BYTES = 4 << 20


class SampleColumns:
    """Times, sizes, sync flags and chunks of all samples of a track; times in ticks of the track.

    Memory grows with runs of equal values. Sizes, sync flags and chunk offsets are the exception:
    4, 1 and about 0.1 bytes a sample.
    """

    def __init__(self, codec: Codec, timescale: int) -> None:
        self._entries = EntryPoints(timescale) if codec is Codec.H264 else None
        self.count = 0
        self.first_dts = 0
        self.first_pts = 0
        self.last_dts = 0
        self.last_duration = 0
        self.end_pts = 0  #: at which the track has been seen or heard to its end
        self._deltas = RunLengths()
        self._composition = RunLengths()
        self._sizes: list[np.ndarray] = []
        self._sync: list[np.ndarray] = []
        self._offsets: list[np.ndarray] = []
        self._counts: list[np.ndarray] = []

    @property
    def end_dts(self) -> int:
        """Where the last sample ends, in decode time."""
        return self.last_dts + self.last_duration

    @property
    def start(self) -> int:
        """When the track is first seen or heard: the movie begins at 0."""
        return max(0, self.first_pts)

    def append(self, samples: Samples, offsets: np.ndarray, counts: np.ndarray) -> None:
        """Add samples, which lie in groups: ``offsets`` in the payload of the movie, and how many
        samples each of them has. Groups that lie one behind the other become one chunk."""
        dts, pts = samples.dts, samples.pts
        if self.count:
            self._deltas.append(np.array([dts[0] - self.last_dts]))
        else:
            self.first_dts = int(dts[0])
            self.first_pts = int(pts.min())
        self._deltas.append(np.diff(dts))
        self._composition.append(samples.composition)
        self._sizes.append(samples.sizes)
        self._sync.append(samples.sync)
        if self._entries is not None:
            self._entries.append(pts, samples.sync)
        first = _chunks(samples.sizes, offsets, counts)
        self._offsets.append(offsets[first])
        self._counts.append(np.add.reduceat(counts, first, dtype=counts.dtype))
        self.last_dts = int(dts[-1])
        self.last_duration = samples.last_duration
        self.end_pts = max(self.end_pts, int(pts.max()) + samples.last_duration)
        self.count += len(dts)

    def hold_last(self, ticks: int) -> None:
        """Let the last sample last longer."""
        self.last_duration += ticks
        self.end_pts += ticks

    def durations(self) -> tuple[np.ndarray, np.ndarray]:
        """Runs of samples that last alike: how many samples, and how long each (``stts``)."""
        durations = RunLengths()
        durations.append_runs(*self._deltas.encoded())
        durations.append(np.array([self.last_duration]))
        return durations.encoded()

    def composition(self) -> tuple[np.ndarray, np.ndarray, int]:
        """Runs of composition offsets that are not negative (``ctts``): how many samples, the offset
        of each, and by how much all of them are decoded earlier for that."""
        counts, offsets = self._composition.encoded()
        earlier = max(0, -int(offsets.min(initial=0)))
        if earlier:
            offsets = narrowed(offsets.astype(np.int64) + earlier)
        return counts, offsets, earlier

    def sync_samples(self) -> np.ndarray | None:
        """Numbers of the key frames that a player may begin with, from 1 on (``stss``); None when
        every sample is one."""
        sync = np.concatenate(self._sync)
        if self._entries is not None:
            sync[self._entries.left_out()] = False
        return None if sync.all() else sync_numbers(sync)

    def sizes(self) -> np.ndarray:
        """Bytes of every sample."""
        return np.concatenate(self._sizes)

    def chunks(self) -> tuple[np.ndarray, np.ndarray]:
        """Where every chunk starts, from the start of slice 0's payload, and its samples."""
        return np.concatenate(self._offsets), np.concatenate(self._counts)

    def release(self) -> None:
        """Forget what only the movie's track is made of, once that is taken."""
        self._deltas, self._composition = RunLengths(), RunLengths()
        self._sizes, self._sync, self._offsets, self._counts = [], [], [], []


def _chunks(sizes: np.ndarray, offsets: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The first group of each chunk: groups that lie one behind the other are one, but for what lies
    on both sides of a multiple of ``CHUNK_BYTES``."""
    ends = offsets + np.add.reduceat(sizes, starts(counts), dtype=np.int64)
    apart = offsets[1:] != ends[:-1]
    beyond = np.diff((ends - 1) // CHUNK_BYTES) != 0
    return np.append(0, np.flatnonzero(apart | beyond) + 1)
