"""Sample tables: what is known of each sample of one track, and run-length encoding of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, eq=False)
class SampleTable:
    """The samples of one track in decode order: four arrays of one length.

    ``durations`` (int64) and ``composition`` (int32, pts minus dts) are in ticks of the track,
    ``sizes`` (uint32) in bytes; ``sync`` (bool) marks samples at which decoding can start.
    """

    durations: np.ndarray
    composition: np.ndarray
    sizes: np.ndarray
    sync: np.ndarray

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def duration(self) -> int:
        """Ticks from the first sample's decode time to the end of the last."""
        return int(self.durations.sum())

    @property
    def byte_count(self) -> int:
        """Bytes of all samples together."""
        return int(self.sizes.sum(dtype=np.int64))

    @property
    def decode_offsets(self) -> np.ndarray:
        """Decode time of each sample (int64), counted from the first."""
        return starts(self.durations)

    @property
    def sync_numbers(self) -> np.ndarray:
        """1-based numbers (uint32) of the sync samples, as ``stss`` lists them."""
        return sync_numbers(self.sync)


def concatenate(tables: Iterable[SampleTable]) -> SampleTable:
    """The samples of several tables, one after the other."""
    every = tuple(tables) or (_NO_SAMPLES,)
    if len(every) == 1:
        return every[0]
    return SampleTable(
        np.concatenate([table.durations for table in every]),
        np.concatenate([table.composition for table in every]),
        np.concatenate([table.sizes for table in every]),
        np.concatenate([table.sync for table in every]),
    )


_NO_SAMPLES = SampleTable(
    np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, np.uint32), np.zeros(0, np.bool_)
)


def sync_numbers(sync: np.ndarray) -> np.ndarray:
    """1-based numbers (uint32) of the sync samples of a track, as ``stss`` lists them."""
    return (np.flatnonzero(sync) + 1).astype(np.uint32)


def starts(lengths: np.ndarray) -> np.ndarray:
    """Where each of consecutive ``lengths`` starts (int64): 0, l0, l0 + l1, …"""
    begins = np.zeros(len(lengths), np.int64)
    np.cumsum(lengths[:-1], out=begins[1:])
    return begins


def run_lengths(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Run-length encoding: how often (int64) each value is repeated, and the values."""
    if len(values) == 0:
        return np.zeros(0, np.int64), values
    first = np.concatenate(([0], np.flatnonzero(values[1:] != values[:-1]) + 1))
    return np.diff(first, append=len(values)), values[first]


class RunLengths:
    """Builds the run-length encoding of values that arrive slice by slice.

    Runs merge where two slices meet, so that the result does not depend on how the values were
    cut; memory grows with the runs, not with the values.
    """

    def __init__(self) -> None:
        self._counts: list[np.ndarray] = []
        self._values: list[np.ndarray] = []

    def append(self, values: np.ndarray) -> None:
        """Add values in full."""
        self.append_runs(*run_lengths(values))

    def append_runs(self, counts: np.ndarray, values: np.ndarray) -> None:
        """Add values that are run-length encoded already (they may be split into more runs)."""
        counts, values = _merged(counts, values)
        if len(counts) == 0:
            return
        if self._values and self._values[-1][-1] == values[0]:
            last = self._counts[-1].astype(np.int64)
            last[-1] += counts[0]
            self._counts[-1] = narrowed(last)
            counts, values = counts[1:], values[1:]
        if len(counts):
            self._counts.append(narrowed(counts))
            self._values.append(narrowed(values))

    def encoded(self) -> tuple[np.ndarray, np.ndarray]:
        """Counts and values of all that was added, int64 unless all of them have room in int32; not
        to be changed, since they are held on to."""
        if not self._counts:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        self._counts, self._values = [np.concatenate(self._counts)], [np.concatenate(self._values)]
        return self._counts[0], self._values[0]


def narrowed(values: np.ndarray) -> np.ndarray:
    """The same integers in 32 bits where they have room."""
    limits = np.iinfo(np.int32)
    fits = not len(values) or (limits.min <= values.min() and values.max() <= limits.max)
    return values.astype(np.int32) if fits else values


def _merged(counts: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Own int64 copies of the runs, without empty runs and equal neighbours."""
    filled = counts > 0
    counts, values = counts[filled], values[filled]
    if len(counts) == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    lengths, merged = run_lengths(values)
    totals = np.add.reduceat(counts, starts(lengths), dtype=np.int64)
    return totals, merged.astype(np.int64)
