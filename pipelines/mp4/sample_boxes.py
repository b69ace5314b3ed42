"""The boxes of a sample table (``stbl``), written from whole arrays at once."""

from __future__ import annotations

import struct

import numpy as np

from pipelines.mp4.boxes import Mp4Error, container
from pipelines.mp4.samples import run_lengths

_UINT32 = (0, 2**32 - 1)
_INT32 = (-(2**31), 2**31 - 1)


def time_to_sample(counts: np.ndarray, deltas: np.ndarray) -> list[bytes]:
    """``stts`` (ISO/IEC 14496-12, 8.6.1.2) from runs of sample durations."""
    _within(deltas, _UINT32, "a sample's duration")
    return container(b"stts", _pairs(0, counts, deltas, ">u4"))


def composition_offsets(counts: np.ndarray, offsets: np.ndarray) -> list[bytes]:
    """``ctts`` (8.6.1.3) from runs of pts minus dts: version 1 only when one is negative."""
    version = int(len(offsets) > 0 and offsets.min() < 0)
    _within(offsets, _INT32, "a composition offset")
    return container(b"ctts", _pairs(version, counts, offsets, ">i4"))


def sync_samples(numbers: np.ndarray) -> list[bytes]:
    """``stss`` (8.6.2) from the 1-based numbers of sync samples."""
    return container(b"stss", [struct.pack(">II", 0, len(numbers)), _packed(numbers, ">u4")])


def sample_to_chunk(chunk_samples: np.ndarray) -> list[bytes]:
    """``stsc`` (8.7.4) from the number of samples of every chunk, all of sample entry 1."""
    counts, samples = run_lengths(chunk_samples)
    rows = np.ones((len(counts), 3), ">u4")
    rows[1:, 0] += np.cumsum(counts[:-1]).astype(np.uint32)
    rows[:, 1] = samples
    return container(b"stsc", [struct.pack(">II", 0, len(rows)), rows.tobytes()])


def sample_sizes(sizes: np.ndarray) -> list[bytes]:
    """``stsz`` (8.7.3.2): a table, or one number when all sizes are equal (and not 0)."""
    _within(sizes, _UINT32, "a sample's size")
    if len(sizes) and sizes[0] and (sizes == sizes[0]).all():
        return container(b"stsz", [struct.pack(">III", 0, int(sizes[0]), len(sizes))])
    return container(b"stsz", [struct.pack(">III", 0, 0, len(sizes)), _packed(sizes, ">u4")])


def chunk_offsets(offsets: np.ndarray, width: int) -> list[bytes]:
    """``stco`` (8.7.5) for a ``width`` of 4 bytes, ``co64`` for one of 8."""
    name = {4: b"stco", 8: b"co64"}[width]
    return container(name, [struct.pack(">II", 0, len(offsets)), _packed(offsets, f">u{width}")])


def chunk_offsets_size(count: int, width: int) -> int:
    """Bytes of the box that ``chunk_offsets`` makes of ``count`` offsets."""
    return 16 + width * count


def _pairs(version: int, counts: np.ndarray, values: np.ndarray, dtype: str) -> list[bytes]:
    _within(counts, _UINT32, "a run of samples")
    rows = np.empty(len(counts), [("count", ">u4"), ("value", dtype)])
    rows["count"], rows["value"] = counts, values
    return [struct.pack(">II", version << 24, len(rows)), rows.tobytes()]


def _packed(values: np.ndarray, dtype: str) -> bytes:
    return values.astype(dtype).tobytes()


def _within(values: np.ndarray, limits: tuple[int, int], what: str) -> None:
    """Numpy would wrap silently what does not fit."""
    if len(values) and not limits[0] <= values.min() <= values.max() <= limits[1]:
        raise Mp4Error(
            f"{what} must lie from {limits[0]} to {limits[1]}, not at "
            f"{values.min() if values.min() < limits[0] else values.max()}"
        )
