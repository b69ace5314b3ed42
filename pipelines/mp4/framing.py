"""Whether samples are what they must be made of: NAL units that fill them (ISO/IEC 14496-15, 5.3.4.2)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

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
            last = deque(units(payload, at, end, length_size), maxlen=1)
            fitting[number] = not last or last[0].stop == end
            at = end
    return fitting


def units(payload: bytes | memoryview, at: int, end: int, length_size: int) -> Iterator[slice]:
    """Where the NAL units of a sample lie that reaches from ``at`` to ``end``.

    Each stands without the ``length_size`` bytes of its length; the last may end beyond the sample.
    """
    while at < end:
        begin = at + length_size
        at = begin + int.from_bytes(payload[at:begin], "big")
        yield slice(begin, at)
