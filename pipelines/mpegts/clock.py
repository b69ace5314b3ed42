"""Times of access units: PES time stamps laid upon them, and unwrapped around one reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipelines.segment_index import NO_TIME, TS_TIMESCALE, TS_WRAP

if TYPE_CHECKING:
    from pipelines.mpegts.packets import Offsets
    from pipelines.mpegts.pes import ElementaryStream
    from pipelines.mpegts.units import Units


def near(values: Offsets, reference: Offsets | int) -> Offsets:
    """The 33-bit values nearest to ``reference``: they may go below 0 or above 2^33."""
    half = TS_WRAP // 2
    unwrapped = reference + (values - reference + half) % TS_WRAP - half
    known = (values != NO_TIME) & (reference != NO_TIME)
    return np.where(known, unwrapped, NO_TIME)


def first_stamp(stream: ElementaryStream) -> tuple[int, int] | None:
    """``(byte in the segment, 33-bit DTS)`` of the first PES packet that has a time stamp."""
    stamped = np.flatnonzero(stream.dts != NO_TIME)
    if not len(stamped):
        return None
    return int(stream.pes_offsets[stamped[0]]), int(stream.dts[stamped[0]])


def stamps(stream: ElementaryStream, units: Units) -> tuple[Offsets, Offsets]:
    """DTS and PTS per unit as the PES headers say.

    A PES packet's stamps belong to the first unit that starts in it (ISO/IEC 13818-1, 2.4.3.7).
    """
    pes = np.searchsorted(stream.pes_starts, units.stamped_at, side="right") - 1
    first = pes >= 0
    first[1:] &= pes[1:] != pes[:-1]
    dts = np.full(len(units), NO_TIME, np.int64)
    pts = dts.copy()
    dts[first] = stream.dts[pes[first]]
    pts[first] = stream.pts[pes[first]]
    return dts, pts


def count_frames(times: Offsets, samples: int, sample_rate: int) -> Offsets:
    """Times of all audio frames: from each stamped one on, frames are counted, not summed up."""
    index = np.arange(len(times), dtype=np.int64)
    anchor = np.maximum.accumulate(np.where(times != NO_TIME, index, -1))
    ticks = frame_ticks(index - anchor, samples, sample_rate)
    return np.where(anchor >= 0, times[np.maximum(anchor, 0)] + ticks, NO_TIME)


def frame_ticks(frames: Offsets, samples: int, sample_rate: int) -> Offsets:
    """The duration of a number of frames in 90 kHz ticks, rounded."""
    return (2 * frames * samples * TS_TIMESCALE + sample_rate) // (2 * sample_rate)
