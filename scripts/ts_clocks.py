"""Moves the clocks and counters of MPEG-TS packets on, so that one segment can follow another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterable

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]

#: MPEG-TS packets and clocks (ISO/IEC 13818-1, 2.4.3): bytes, ticks per second, modulus of clocks.
PACKET = 188
CLOCK = 90_000
WRAP = 1 << 33

_SYNC = 0x47
_NULL_PID = 0x1FFF
#: Bytes of a PES header before its optional fields, and of one PTS or DTS.
_PES_FIXED = 9
_STAMP = 5
_CUT_HEADER = "A PES header goes on in a second packet, which is not supported."


def shift_clocks(segment: bytes, ticks: int, counters: dict[int, int]) -> bytes:
    """Move every PTS, DTS and PCR of a segment on by ``ticks`` of 1/90000 s, modulo 2^33.

    ``counters`` says, by PID, how far the continuity counters move on. Nothing else changes.
    Raises ValueError for what is not whole MPEG-TS packets, or a PES header cut by a packet's end.
    """
    packets = _packets(segment).copy()
    pids = _pids(packets)
    for pid, step in counters.items():
        mine = np.flatnonzero(pids == pid)
        counter = (packets[mine, 3].astype(np.int64) + step) & 0x0F
        packets[mine, 3] = (packets[mine, 3] & 0xF0) | counter.astype(np.uint8)
    _shift_pcr(packets, ticks)
    _shift_pes(packets, ticks)
    return packets.tobytes()


def _packets(segment: bytes) -> Bytes:
    if not segment or len(segment) % PACKET:
        raise ValueError(f"{len(segment)} bytes are no whole number of MPEG-TS packets.")
    packets = np.frombuffer(segment, dtype=np.uint8).reshape(-1, PACKET)
    if np.any(packets[:, 0] != _SYNC):
        raise ValueError("An MPEG-TS packet does not begin with its sync byte.")
    return packets


def _pids(packets: Bytes) -> Ints:
    return ((packets[:, 1].astype(np.int64) & 0x1F) << 8) | packets[:, 2]


def _shift_pcr(packets: Bytes, ticks: int) -> None:
    """Adaptation fields (2.4.3.5): the PCR's base is 33 bits, its 9 bit extension stays."""
    has_field = (packets[:, 3] & 0x20 != 0) & (packets[:, 4] > 0)
    rows = np.flatnonzero(has_field & (packets[:, 5] & 0x10 != 0))
    field = packets[rows, 6:11].astype(np.int64)
    base = (
        (field[:, 0] << 25) | (field[:, 1] << 17) | (field[:, 2] << 9)
        | (field[:, 3] << 1) | (field[:, 4] >> 7)
    )  # fmt: skip
    base = (base + ticks) % WRAP
    for column, shift in enumerate((25, 17, 9, 1)):
        packets[rows, 6 + column] = (base >> shift) & 0xFF
    packets[rows, 10] = (field[:, 4] & 0x7F) | ((base & 1) << 7)


def _shift_pes(packets: Bytes, ticks: int) -> None:
    """PES headers (2.4.3.6): each begins a packet whose payload_unit_start_indicator is set."""
    adaptation = np.where(packets[:, 3] & 0x20 != 0, packets[:, 4].astype(np.int64) + 1, 0)
    starts = 4 + adaptation
    rows = np.flatnonzero((packets[:, 1] & 0x40 != 0) & (packets[:, 3] & 0x10 != 0))
    starts = starts[rows]
    if np.any(starts + _PES_FIXED > PACKET):
        raise ValueError(_CUT_HEADER)
    prefix = _columns(packets, rows, starts, 4)
    is_pes = (prefix[:, :3] == (0, 0, 1)).all(axis=1) & _is_timed(prefix[:, 3])
    rows, starts = rows[is_pes], starts[is_pes]
    flags = _columns(packets, rows, starts + 7, 1)[:, 0] >> 6
    for timed, offset in ((flags >= 2, _PES_FIXED), (flags == 3, _PES_FIXED + _STAMP)):
        _shift_stamps(packets, rows[timed], starts[timed] + offset, ticks)


def _is_timed(stream_id: Ints) -> npt.NDArray[np.bool_]:
    """Audio, video, private stream 1 and extended stream ids: those whose PES may have a PTS."""
    return ((stream_id >= 0xC0) & (stream_id <= 0xEF)) | np.isin(stream_id, (0xBD, 0xFD))


def _shift_stamps(packets: Bytes, rows: Ints, starts: Ints, ticks: int) -> None:
    """Time stamps of 33 bits in 5 bytes, with marker bits between (table 2-21)."""
    if np.any(starts + _STAMP > PACKET):
        raise ValueError(_CUT_HEADER)
    field = _columns(packets, rows, starts, _STAMP)
    stamp = (
        ((field[:, 0] >> 1 & 0x07) << 30) | (field[:, 1] << 22) | (field[:, 2] >> 1 << 15)
        | (field[:, 3] << 7) | (field[:, 4] >> 1)
    )  # fmt: skip
    stamp = (stamp + ticks) % WRAP
    field[:, 0] = (field[:, 0] & 0xF1) | ((stamp >> 30 & 0x07) << 1)
    field[:, 1] = stamp >> 22 & 0xFF
    field[:, 2] = (field[:, 2] & 0x01) | ((stamp >> 15 & 0x7F) << 1)
    field[:, 3] = stamp >> 7 & 0xFF
    field[:, 4] = (field[:, 4] & 0x01) | ((stamp & 0x7F) << 1)
    packets[rows[:, None], starts[:, None] + np.arange(_STAMP)] = field


def _columns(packets: Bytes, rows: Ints, starts: Ints, width: int) -> Ints:
    found: Ints = packets[rows[:, None], starts[:, None] + np.arange(width)].astype(np.int64)
    return found


def continuity_advance(segments: Iterable[bytes]) -> dict[int, int]:
    """By how much each PID's continuity counter is further on after the segments, modulo 16.

    Raises ValueError for what is not whole MPEG-TS packets.
    """
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for segment in segments:
        packets = _packets(segment)
        packets = packets[packets[:, 3] & 0x10 != 0]  # packets without payload do not count
        pids = _pids(packets)
        for pid in np.unique(pids[pids != _NULL_PID]):
            counters = packets[pids == pid, 3] & 0x0F
            first.setdefault(int(pid), int(counters[0]))
            last[int(pid)] = int(counters[-1])
    return {pid: (last[pid] + 1 - first[pid]) % 16 for pid in first}
