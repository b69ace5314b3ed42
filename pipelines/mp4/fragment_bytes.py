"""A movie fragment as bytes: for programs that read what was kept of a damaged segment."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from pipelines.mp4.boxes import box, full_box

if TYPE_CHECKING:
    from pipelines.mp4.movie_fragment import Fragment, TrackFragment

_BASE_IS_MOOF = 0x020000  # tfhd (ISO/IEC 14496-12, 8.8.7)
_EVERYTHING = 0x000F01  # trun: data offset, and all columns (8.8.8)
_SYNC, _NON_SYNC = 0x02000000, 0x01010000  # sample flags (8.8.3.1): depends on none, or on others
_ROW = np.dtype([("duration", ">u4"), ("size", ">u4"), ("flags", ">u4"), ("composition", ">i4")])


def fragment_bytes(fragment: Fragment) -> bytes:
    """``moof`` and ``mdat`` of a fragment, all of whose tracks have decode times.

    Its samples lie track by track, each told in full.
    """
    payload = b"".join(_payload(track, fragment.payload) for track in fragment.tracks)
    behind = len(_moof(fragment, 0)) + 8
    return _moof(fragment, behind) + box(b"mdat", payload)


def _moof(fragment: Fragment, offset: int) -> bytes:
    """The tables, when the payload lies ``offset`` bytes behind their beginning."""
    trafs = []
    for track in fragment.tracks:
        trafs.append(_traf(track, offset))
        offset += track.byte_count
    return box(b"moof", full_box(b"mfhd", 0, 0, struct.pack(">I", fragment.sequence)), *trafs)


def _traf(track: TrackFragment, offset: int) -> bytes:
    rows = np.empty(len(track), _ROW)
    rows["duration"], rows["size"] = track.durations, track.sizes
    rows["flags"] = np.where(track.sync, _SYNC, _NON_SYNC)
    rows["composition"] = track.composition
    run = struct.pack(">Ii", len(track), offset) + rows.tobytes()
    return box(
        b"traf",
        full_box(b"tfhd", 0, _BASE_IS_MOOF, struct.pack(">I", track.track_id)),
        full_box(b"tfdt", 1, 0, struct.pack(">q", track.base_decode_time or 0)),
        full_box(b"trun", 1, _EVERYTHING, run),
    )


def _payload(track: TrackFragment, payload: memoryview) -> bytes:
    return b"".join(payload[run.offset : run.offset + run.size] for run in track.runs)
