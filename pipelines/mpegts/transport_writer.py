"""Writing a transport stream: tables, and PES packets of one access unit each (ISO/IEC 13818-1)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from pipelines.media import Codec, TrackKind
from pipelines.mpegts.packets import HEADER, PACKET, SYNC_BYTE
from pipelines.mpegts.tables import PAT_PID, PAT_TABLE, PMT_TABLE, PRIVATE_DATA, crc32_mpeg
from pipelines.segment_index import NO_TIME, TS_WRAP

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Payload bytes of a packet without adaptation field.
ROOM = PACKET - HEADER
#: Most bytes that a PES header can declare behind its length field (2.4.3.7).
LONGEST_DECLARED = 0xFFFF
#: Where the PMT of tables that had to be made anew lies, unless media is there.
PMT_PIDS = (0x1000, 0x1FF0)
#: PID that says that no packet carries a program clock reference.
NO_CLOCK_PID = 0x1FFF
#: stream_type by codec; the others are private data with a descriptor.
_STREAM_TYPES = {
    Codec.MPEG2_VIDEO: 0x02,
    Codec.MP3: 0x03,
    Codec.MP2: 0x03,
    Codec.AAC: 0x0F,
    Codec.H264: 0x1B,
    Codec.HEVC: 0x24,
}
#: AC-3 and enhanced AC-3 descriptors (ETSI EN 300 468, annex D), without any of their fields.
_DESCRIPTORS = {Codec.AC3: b"\x6a\x01\x00", Codec.EAC3: b"\x7a\x01\x00"}
#: stream_id: 0xe0 pictures, 0xbd private_stream_1, 0xc0 sound.
_PRIVATE_CODECS = (Codec.AC3, Codec.EAC3)
#: A PES packet of padding_stream without a byte: ends what was before it, and what follows is
#: not read until the next PES packet.
_STOP = b"\x00\x00\x01\xbe\x00\x00"


class TransportWriter:
    """Grows a segment packet by packet; every PID's continuity counter begins at 0."""

    def __init__(self) -> None:
        self._packets = bytearray()
        self._counters: Counter[int] = Counter()

    @property
    def data(self) -> bytes:
        """All packets so far."""
        return bytes(self._packets)

    def section(self, pid: int, section: bytes) -> None:
        """Add a section of a table, with its CRC; the rest of its packet is stuffed."""
        payload = b"\x00" + section
        self._add(pid, payload + b"\xff" * (-len(payload) % ROOM), start=True)

    def rest(self, pid: int, payload: bytes) -> None:
        """Add bytes that go on with the PES packet before them."""
        self._add(pid, payload, start=False)

    def unit(
        self, pid: int, codec: Codec, payload: bytes, pts: int, dts: int, *, goes_on: bool = False
    ) -> None:
        """Add a PES packet; times in 90 kHz, ``NO_TIME`` where there is none.

        The length of sound is declared where the field can hold it, unless the packet ``goes_on``
        in the next segment: pictures' never is.
        """
        stamps = _stamps(pts, dts)
        length = 3 + len(stamps) + len(payload)
        if goes_on or codec.kind is TrackKind.VIDEO or length > LONGEST_DECLARED:
            length = 0
        flags = {0: 0x00, 5: 0x80, 10: 0xC0}[len(stamps)]
        head = bytes([0, 0, 1, _stream_id(codec)]) + length.to_bytes(2, "big")
        self._add(pid, head + bytes([0x84, flags, len(stamps)]) + stamps + payload, start=True)

    def stop(self, pid: int) -> None:
        """End the stream of a PID: what the next segment may go on with is not read."""
        self._add(pid, _STOP, start=True)

    def _add(self, pid: int, payload: bytes, *, start: bool) -> None:
        if not payload:
            return
        full, rest = divmod(len(payload), ROOM)
        first = self._counters[pid]
        self._counters[pid] += full + bool(rest)
        rows = np.empty((full + bool(rest), PACKET), np.uint8)
        rows[:, 0], rows[:, 1], rows[:, 2] = SYNC_BYTE, pid >> 8, pid & 0xFF
        rows[:, 3] = 0x10 | (first + np.arange(len(rows))) & 0x0F
        rows[:full, HEADER:] = np.frombuffer(payload, np.uint8, full * ROOM).reshape(full, ROOM)
        if rest:
            rows[-1, 3] |= 0x20
            rows[-1, HEADER:] = np.frombuffer(
                _adaptation(ROOM - rest) + payload[full * ROOM :], np.uint8
            )
        rows[0, 1] |= 0x40 * start
        self._packets += rows.tobytes()


def made_tables(known: Mapping[int, Codec]) -> bytes:
    """Packets of a PAT and a PMT that announce these PIDs."""
    pmt_pid = next(pid for pid in PMT_PIDS if pid not in known)
    body = (0xE000 | NO_CLOCK_PID).to_bytes(2, "big") + b"\xf0\x00"
    for pid, codec in known.items():
        descriptors = _DESCRIPTORS.get(codec, b"")
        kind = _STREAM_TYPES.get(codec, PRIVATE_DATA)
        body += bytes([kind]) + (0xE000 | pid).to_bytes(2, "big")
        body += (0xF000 | len(descriptors)).to_bytes(2, "big") + descriptors
    writer = TransportWriter()
    program = b"\x00\x01" + (0xE000 | pmt_pid).to_bytes(2, "big")
    writer.section(PAT_PID, _section(PAT_TABLE, program))
    writer.section(pmt_pid, _section(PMT_TABLE, body))
    return writer.data


def _section(table: int, body: bytes) -> bytes:
    """A current section of version 0 of program (or transport stream) 1, with its CRC."""
    size = len(body) + 9
    head = bytes([table, 0xB0 | size >> 8, size & 0xFF, 0, 1, 0xC1, 0, 0])
    return head + body + crc32_mpeg(head + body).to_bytes(4, "big")


def _stream_id(codec: Codec) -> int:
    if codec.kind is TrackKind.VIDEO:
        return 0xE0
    return 0xBD if codec in _PRIVATE_CODECS else 0xC0


def _adaptation(size: int) -> bytes:
    """An adaptation field of so many bytes that holds nothing but stuffing."""
    return bytes([size - 1]) + (b"\x00" + b"\xff" * (size - 2) if size > 1 else b"")


def _stamps(pts: int, dts: int) -> bytes:
    """PTS, and DTS where it is another time, in five bytes each."""
    if pts == NO_TIME:
        return b""
    if dts in (NO_TIME, pts):
        return _stamp(2, pts)
    return _stamp(3, pts) + _stamp(1, dts)


def _stamp(prefix: int, ticks: int) -> bytes:
    ticks %= TS_WRAP
    return bytes(
        [
            prefix << 4 | ticks >> 29 & 0x0E | 1,
            ticks >> 22 & 0xFF,
            ticks >> 14 & 0xFE | 1,
            ticks >> 7 & 0xFF,
            ticks << 1 & 0xFE | 1,
        ]
    )
