"""Hashes of access units as MP4 holds them, taken from the source's own bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipelines.mpegts.nal import LENGTH_BYTES, START_CODE, NalUnits, SampleSizes, code_starts
from pipelines.payload_hash import UNKNOWN_HASH, payload_hash
from pipelines.segment_index import UNKNOWN_SIZE

if TYPE_CHECKING:
    from pipelines.mpegts.packets import Offsets


def picture_hashes(
    nals: NalUnits, begins: Offsets, bytes_of: SampleSizes
) -> npt.NDArray[np.uint64]:
    """The hash of each access unit as a sample: every NAL unit behind four bytes of length.

    ``begins`` are the numbers of the NAL units that begin access units. ``UNKNOWN_HASH`` where a
    muxer may leave bytes out, and for the last one where its end cannot be told; what the next
    segment adds to the last one is not in its hash.
    """
    view = memoryview(nals.data)
    first = (nals.codes + len(START_CODE)).tolist()
    ends = [*code_starts(nals)[1:].tolist(), len(nals.data)]
    numbers = [*begins.tolist(), len(first)]
    told = (bytes_of.sizes != UNKNOWN_SIZE) & (bytes_of.optional == 0) & (bytes_of.padding == 0)
    hashes = np.full(len(begins), UNKNOWN_HASH, np.uint64)
    for unit in np.flatnonzero(told).tolist():
        value = 0
        for nal in range(numbers[unit], numbers[unit + 1]):
            begin, end = first[nal], ends[nal]
            value = payload_hash((end - begin).to_bytes(LENGTH_BYTES, "big"), value)
            value = payload_hash(view[begin:end], value)
        hashes[unit] = value
    return hashes


def frame_hashes(
    data: bytes | bytearray, starts: Offsets, frames: Offsets, sizes: Offsets
) -> npt.NDArray[np.uint64]:
    """The hash of each frame of sound as a sample: its last ``sizes`` bytes, without its header.

    ``frames`` are the bytes of whole frames. ``UNKNOWN_HASH`` where a size is, and for a frame that
    goes on in the next segment.
    """
    view, ends = memoryview(data), starts + frames
    hashes = np.full(len(starts), UNKNOWN_HASH, np.uint64)
    told = (sizes != UNKNOWN_SIZE) & (frames != UNKNOWN_SIZE) & (ends <= len(data))
    for unit in np.flatnonzero(told).tolist():
        end = int(ends[unit])
        hashes[unit] = payload_hash(view[end - int(sizes[unit]) : end])
    return hashes
