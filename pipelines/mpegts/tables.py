"""Program tables of a transport stream: which PIDs carry media, and in which codec."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.media import Codec
from pipelines.mpegts.packets import HEADER, PACKET, Packets

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PAT_PID = 0
PAT_TABLE = 0x00
PMT_TABLE = 0x02
STUFFING = 0xFF
#: Most sections that are read of one PID, most programs, most streams: more is no recording.
SECTION_LIMIT, PROGRAM_LIMIT, STREAM_LIMIT = 256, 16, 64

PRIVATE_DATA = 0x06
#: stream_type (ISO/IEC 13818-1 table 2-34, ATSC A/52 annex A) of the codecs that are indexed;
#: MPEG audio may turn out to be layer II.
STREAM_TYPES = {
    0x02: Codec.MPEG2_VIDEO,
    0x03: Codec.MP3,
    0x04: Codec.MP3,
    0x0F: Codec.AAC,
    0x1B: Codec.H264,
    0x24: Codec.HEVC,
    0x81: Codec.AC3,
    0x87: Codec.EAC3,
}
#: Private data says what it is in a descriptor: tag, beginning of its payload.
PRIVATE_CODECS = (
    (0x05, b"AC-3", Codec.AC3),
    (0x05, b"EAC3", Codec.EAC3),
    (0x05, b"HEVC", Codec.HEVC),
    (0x6A, b"", Codec.AC3),
    (0x7A, b"", Codec.EAC3),
)


@dataclass(frozen=True)
class Stream:
    """One entry of a PMT; ``codec`` is None for what is not indexed."""

    pid: int
    stream_type: int
    codec: Codec | None


@dataclass(frozen=True)
class Section:
    """An undamaged section of a table, with its CRC, and the packet in which it begins."""

    pid: int
    packet: int
    data: bytes


def announced_streams(packets: Packets) -> tuple[Stream, ...]:
    """All streams of all programs, in the order of the tables; every version of a PMT counts.

    A PID that is announced twice with different types appears twice.
    """
    return streams_of(program_sections(packets))


def streams_of(sections: Sequence[Section]) -> tuple[Stream, ...]:
    """The streams that these sections announce, as ``announced_streams`` tells them."""
    streams: dict[Stream, None] = {}
    for section in sections:
        if section.pid != PAT_PID:
            streams.update(dict.fromkeys(_program_streams(section.data[:-4])))
    return tuple(streams)[:STREAM_LIMIT]


def program_sections(packets: Packets) -> tuple[Section, ...]:
    """All different sections of the PAT, then of each PMT that it names."""
    found = list(_sections(packets, PAT_PID, PAT_TABLE))
    programs: dict[int, None] = {}
    for section in found:
        programs.update(dict.fromkeys(_program_pids(section.data[:-4])))
    for pid in list(programs)[:PROGRAM_LIMIT]:
        found += _sections(packets, pid, PMT_TABLE)
    return tuple(found)


def program_changes(sections: Sequence[Section]) -> tuple[int, ...]:
    """The packets in which a table withdraws what the one before it had announced.

    A program or a stream of media that is not there any more, or of another type, is withdrawn;
    one that comes in addition withdraws nothing.
    """
    changes: set[int] = set()
    before: dict[int, set[object]] = {}
    for section in sections:
        body = section.data[:-4]
        media: set[object] = (
            set(_program_pids(body))
            if section.pid == PAT_PID
            else {stream for stream in _program_streams(body) if stream.codec}
        )
        if before.get(section.pid, set()) - media:
            changes.add(section.packet)
        before[section.pid] = media
    return tuple(sorted(changes))


def _sections(packets: Packets, pid: int, table: int) -> Iterator[Section]:
    """Distinct, current and undamaged sections of a table."""
    seen: set[bytes] = set()
    for packet, section in _raw_sections(packets, pid):
        if section in seen:
            continue
        seen.add(section)
        if len(seen) > SECTION_LIMIT:
            return
        current = len(section) >= 12 and section[0] == table and section[5] & 1
        if current and crc32_mpeg(section) == 0:
            yield Section(pid, packet, section)


def _raw_sections(packets: Packets, pid: int) -> Iterator[tuple[int, bytes]]:
    """Sections put together from the packets of a PID (ISO/IEC 13818-1, 2.4.4), each with the
    packet in which it begins."""
    pending, begun = b"", 0
    before = b""
    for number in packets.of(pid).tolist():
        packet = packets.rows[number].tobytes()
        payload = _payload(packet)
        starts = packet[1] & 0x40
        if not payload or (starts and not pending and payload == before):
            continue
        if not starts:
            pending = pending + payload if pending else b""
        else:
            before, pointer = payload, 1 + payload[0]
            ended = _split(pending + payload[1:pointer] if pending else b"")[0]
            yield from ((begun, section) for section in ended)
            pending, begun = payload[pointer:], number
        complete, pending = _split(pending)
        yield from ((begun, section) for section in complete)
        begun = number if complete else begun


def _payload(packet: bytes) -> bytes:
    if not packet[3] & 0x10:
        return b""
    start = HEADER + (1 + packet[HEADER] if packet[3] & 0x20 else 0)
    return packet[start:PACKET]


def _split(pending: bytes) -> tuple[list[bytes], bytes]:
    """The complete sections at the start of some bytes, and the unfinished rest."""
    sections: list[bytes] = []
    while len(pending) >= 3 and pending[0] != STUFFING:
        size = 3 + ((pending[1] & 0x0F) << 8 | pending[2])
        if len(pending) < size:
            return sections, pending
        sections.append(pending[:size])
        pending = pending[size:]
    return sections, b"" if pending[:1] == bytes([STUFFING]) else pending


def _program_pids(section: bytes) -> Iterator[int]:
    for at in range(8, len(section) - 3, 4):
        if section[at] or section[at + 1]:  # program 0 is the network table
            yield (section[at + 2] & 0x1F) << 8 | section[at + 3]


def _program_streams(section: bytes) -> Iterator[Stream]:
    at = 12 + ((section[10] & 0x0F) << 8 | section[11]) if len(section) >= 12 else len(section)
    while at + 5 <= len(section):
        stream_type = section[at]
        pid = (section[at + 1] & 0x1F) << 8 | section[at + 2]
        size = (section[at + 3] & 0x0F) << 8 | section[at + 4]
        descriptors = section[at + 5 : at + 5 + size]
        yield Stream(pid, stream_type, _codec(stream_type, descriptors))
        at += 5 + size


def _codec(stream_type: int, descriptors: bytes) -> Codec | None:
    if stream_type != PRIVATE_DATA:
        return STREAM_TYPES.get(stream_type)
    at = 0
    while at + 2 <= len(descriptors):
        tag, size = descriptors[at], descriptors[at + 1]
        content = descriptors[at + 2 : at + 2 + size]
        for known, prefix, codec in PRIVATE_CODECS:
            if tag == known and content.startswith(prefix):
                return codec
        at += 2 + size
    return None


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = (value << 1 ^ 0x04C11DB7 if value & 0x80000000 else value << 1) & 0xFFFFFFFF
        table.append(value)
    return tuple(table)


_CRC_TABLE = _crc_table()


def crc32_mpeg(data: bytes) -> int:
    """The CRC of ISO/IEC 13818-1 annex A; 0 over a whole undamaged section."""
    value = 0xFFFFFFFF
    for byte in data:
        value = (value << 8 & 0xFFFFFFFF) ^ _CRC_TABLE[value >> 24 ^ byte]
    return value
