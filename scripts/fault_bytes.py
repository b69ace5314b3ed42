"""Puts faults into MPEG-TS segments, packet by packet (ISO/IEC 13818-1, 2.4.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipelines.mpegts.tables import crc32_mpeg
from scripts.ts_clocks import PACKET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy.typing as npt

#: Of every segment that ffmpeg writes: the PIDs of its pictures, its sound, and its tables.
VIDEO_PID, AUDIO_PID = 0x100, 0x101
PAT_PID, PMT_PID = 0x0000, 0x1000
#: stream_type of metadata in PES packets (timed ID3), of SCTE-35 sections, of private data.
TIMED_ID3, SCTE_35, PRIVATE = 0x15, 0x86, 0x06

_SYNC = 0x47
_START_CODE = b"\x00\x00\x01"
_SPS, _PPS, _FILLER = (0x67, 0x27), (0x68, 0x28), 0x0C


def packets_of(segment: bytes) -> npt.NDArray[np.uint8]:
    """The packets of a segment, uint8[n, 188]; a copy that may be changed."""
    return np.frombuffer(segment, np.uint8).reshape(-1, PACKET).copy()


def pids_of(packets: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """The PID of every packet, int64[n]."""
    return (packets[:, 1].astype(np.int64) & 0x1F) << 8 | packets[:, 2]


def without_pid(segment: bytes, pid: int) -> bytes:
    """A segment without the packets of one PID, which its tables still announce."""
    packets = packets_of(segment)
    return bytes(packets[pids_of(packets) != pid])


def tables(segment: bytes) -> bytes:
    """The packets at the front that hold the tables: a stream can be told from there on."""
    packets = packets_of(segment)
    media = np.flatnonzero(~np.isin(pids_of(packets), (PAT_PID, PMT_PID, 0x11)))
    return bytes(packets[: int(media[0])])


def without_bytes(segment: bytes, pid: int, begin: int, end: int) -> bytes:
    """A segment without those packets of one PID that begin between two of its bytes."""
    packets = packets_of(segment)
    offsets = np.arange(len(packets)) * PACKET
    lost = (pids_of(packets) == pid) & (offsets >= begin) & (offsets < end)
    return bytes(packets[~lost])


def without_parameter_sets(segment: bytes) -> bytes:
    """A segment whose H.264 parameter sets are filler data: as many bytes, and no meaning."""
    data = bytearray(segment)
    at = data.find(_START_CODE)
    while at >= 0 and at + 3 < len(data):
        if data[at + 3] in (*_SPS, *_PPS):
            data[at + 3] = _FILLER
        at = data.find(_START_CODE, at + 1)
    return bytes(data)


def with_stamps(
    segment: bytes, pid: int, change: Callable[[int, int, int], tuple[int, int] | None]
) -> bytes:
    """A segment whose PES packets of one PID have other time stamps.

    ``change`` gets the number of the PES packet, its PTS and its DTS, and gives PTS and DTS in ticks
    of 90 kHz, or None for no stamps at all. The DTS of one that has none is its PTS, and stays so.
    """
    packets = packets_of(segment)
    for number, (row, at) in enumerate(_pes_headers(packets, pid)):
        field = packets[row, at:]
        if (flags := int(field[7]) >> 6) < 2:
            continue
        end = 19 if flags == 3 else 14
        changed = change(number, _stamp(field[9:14]), _stamp(field[end - 5 : end]))
        if changed is None:
            field[7] &= 0x3F
            field[9:end] = 0xFF
            continue
        field[9:14] = _stamp_bytes(flags, changed[0])
        if flags == 3:
            field[14:19] = _stamp_bytes(1, changed[1])
    return bytes(packets)


def with_streams(segment: bytes, streams: Sequence[tuple[int, int, bytes]]) -> bytes:
    """A segment in which further PIDs are announced and sent: ``(PID, stream_type, payload)``.

    A payload is a PES packet or a section that fits into one packet of the stream.
    """
    packets = packets_of(segment)
    pmt = int(np.flatnonzero(pids_of(packets) == PMT_PID)[0])
    announced = _announcing(packets[pmt].tobytes(), [(pid, kind) for pid, kind, _ in streams])
    packets[pmt] = np.frombuffer(announced, np.uint8)
    added = b"".join(_packet(pid, payload) for pid, _, payload in streams)
    at = (pmt + 1) * PACKET
    data = bytes(packets)
    return data[:at] + added + data[at:]


def pes_packet(stream_id: int, pts: int, payload: bytes) -> bytes:
    """A PES packet with a PTS in ticks of 90 kHz."""
    body = b"\x80\x80\x05" + bytes(_stamp_bytes(2, pts)) + payload
    return _START_CODE + bytes([stream_id]) + len(body).to_bytes(2, "big") + body


def splice_section() -> bytes:
    """An SCTE-35 splice_null section, behind its pointer_field."""
    body = b"\xfc\x30\x11\x00\x00\x00\x00\x00\x00\x00\xff\xf0\x00\x00\x00\x00"
    return b"\x00" + body + crc32_mpeg(body).to_bytes(4, "big")


def _pes_headers(packets: npt.NDArray[np.uint8], pid: int) -> Iterator[tuple[int, int]]:
    """Row and column at which each PES packet of a PID begins."""
    starts = (pids_of(packets) == pid) & (packets[:, 1] & 0x40 != 0)
    for row in np.flatnonzero(starts).tolist():
        adaptation = int(packets[row, 4]) + 1 if packets[row, 3] & 0x20 else 0
        yield row, 4 + adaptation


def _stamp(field: npt.NDArray[np.uint8]) -> int:
    a, b, c, d, e = (int(octet) for octet in field)
    return (a >> 1 & 7) << 30 | b << 22 | c >> 1 << 15 | d << 7 | e >> 1


def _stamp_bytes(prefix: int, ticks: int) -> list[int]:
    """A time stamp of 33 bits in five bytes, with marker bits between (table 2-21)."""
    ticks %= 1 << 33
    return [
        prefix << 4 | ticks >> 30 << 1 | 1,
        ticks >> 22 & 0xFF,
        (ticks >> 15 & 0x7F) << 1 | 1,
        ticks >> 7 & 0xFF,
        (ticks & 0x7F) << 1 | 1,
    ]


def _packet(pid: int, payload: bytes) -> bytes:
    """A payload in a packet of its own, with an adaptation field that fills it up."""
    room = PACKET - 4 - len(payload)
    if room < 1:
        raise ValueError(f"{len(payload)} bytes do not fit into one packet.")
    field = bytes([room - 1]) + (b"\x00" + b"\xff" * (room - 2) if room > 1 else b"")
    return bytes([_SYNC, 0x40 | pid >> 8, pid & 0xFF, 0x30]) + field + payload


def _announcing(pmt: bytes, streams: Sequence[tuple[int, int]]) -> bytes:
    """The packet of a program map table that announces further streams (2.4.4.8)."""
    at = 5 + pmt[4]  # behind the pointer_field
    length = (pmt[at + 1] & 0x0F) << 8 | pmt[at + 2]
    section = pmt[at : at + 3 + length - 4]
    for pid, kind in streams:
        section += bytes([kind, 0xE0 | pid >> 8, pid & 0xFF, 0xF0, 0x00])
    length = len(section) - 3 + 4
    section = section[:1] + bytes([0xB0 | length >> 8, length & 0xFF]) + section[3:]
    packet = pmt[:at] + section + crc32_mpeg(section).to_bytes(4, "big")
    return packet.ljust(PACKET, b"\xff")
