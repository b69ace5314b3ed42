"""Whether samples are what they must be made of: NAL units that fill them (ISO/IEC 14496-15, 5.3.4.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pipelines.mp4.movie_fragment import TrackFragment


def well_framed(track: TrackFragment, payload: memoryview, length_size: int) -> np.ndarray:
    """Which samples of a track are filled exactly by their NAL units, bool[n].

    ``length_size``: bytes of the length before each unit. Samples of no bytes are.
    """
    fitting = np.ones(len(track), np.bool_)
    for run in track.runs:
        at = run.offset
        for number in range(run.first_sample, run.first_sample + run.count):
            end = at + int(track.sizes[number])
            fitting[number] = _end_of_units(payload, at, end, length_size) == end
            at = end
    return fitting


def _end_of_units(payload: memoryview, at: int, end: int, length_size: int) -> int:
    """Where the last unit that begins before ``end`` ends."""
    while at < end:
        begin = at + length_size
        at = begin + int.from_bytes(payload[at:begin], "big")
    return at
