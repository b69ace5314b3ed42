"""Transport streams written byte by byte, so that a test says exactly what a segment holds."""

from collections import Counter
from collections.abc import Iterable

from pipelines.mpegts.tables import crc32_mpeg

PMT_PID = 0x1000
VIDEO, AUDIO = 0x100, 0x101
H264, HEVC, AAC, MP3, ID3 = 0x1B, 0x24, 0x0F, 0x03, 0x15

#: 320x180, High, 4:2:0, 8 bits: written by x264.
SPS = bytes.fromhex("6764000cacd941419f9f011000000300100000030320f1429960")
PPS = bytes.fromhex("68ef8fcb")
DELIMITER = b"\x09\xf0"
IDR = b"\x65\x88\x84\x00\x33"
SLICE = b"\x41\x9a\x24\x6c"
#: first_mb_in_slice is 120: not the first of its picture.
LATER_SLICE = b"\x41\x01\xe5\x9a\x24"
RECOVERY_POINT = b"\x06\x06\x01\xc4\x80"
USER_DATA = b"\x06\x05\x02\xaa\xbb\x80"


def packet(
    pid: int,
    payload: bytes = b"",
    *,
    start: bool = False,
    counter: int = 0,
    scrambling: int = 0,
    discontinuity: bool = False,
) -> bytes:
    """One packet; an adaptation field fills what the payload leaves."""
    room = 184 - len(payload)
    assert room >= 0
    field = b""
    if room or discontinuity:
        flags = bytes([0x80 * discontinuity]) if room > 1 or discontinuity else b""
        field = bytes([room - 1]) + flags + b"\xff" * (room - 1 - len(flags))
    control = scrambling << 6 | (0x20 if field else 0) | (0x10 if payload else 0) | counter % 16
    return bytes([0x47, 0x40 * start | pid >> 8, pid & 0xFF, control]) + field + payload


def section(table: int, body: bytes, *, version: int = 0) -> bytes:
    """A table section with its CRC, behind a pointer_field of zero."""
    size = len(body) + 9
    head = bytes([table, 0xB0 | size >> 8, size & 0xFF, 0, 1, 0xC1 | version << 1, 0, 0])
    return b"\0" + head + body + crc32_mpeg(head + body).to_bytes(4, "big")


def pat() -> bytes:
    """A program association table with one program."""
    return section(0, bytes([0, 1, 0xE0 | PMT_PID >> 8, PMT_PID & 0xFF]))


def pmt(streams: Iterable[tuple[int, int]], *, version: int = 0, descriptors: bytes = b"") -> bytes:
    """A program map of (stream_type, PID), each stream with the same descriptors."""
    body = bytes([0xE0 | VIDEO >> 8, VIDEO & 0xFF, 0xF0, 0])
    for kind, pid in streams:
        body += bytes([kind, 0xE0 | pid >> 8, pid & 0xFF, 0xF0, len(descriptors)]) + descriptors
    return section(2, body, version=version)


def stamp(prefix: int, ticks: int) -> bytes:
    """The five bytes of a PTS or DTS."""
    return bytes(
        [
            prefix << 4 | ticks >> 29 & 0x0E | 1,
            ticks >> 22 & 0xFF,
            ticks >> 14 & 0xFE | 1,
            ticks >> 7 & 0xFF,
            ticks << 1 & 0xFE | 1,
        ]
    )


def pes(
    payload: bytes, pts: int | None = None, dts: int | None = None, *, declared: int = 0
) -> bytes:
    """A PES packet; ``declared`` is the payload size that its header promises, 0 says nothing."""
    stamps = b""
    if pts is not None:
        stamps = stamp(2, pts) if dts is None else stamp(3, pts) + stamp(1, dts)
    flags = (0x80 if pts is not None else 0) | (0x40 if dts is not None else 0)
    length = declared + 3 + len(stamps) if declared else 0
    head = b"\0\0\1\xe0" + length.to_bytes(2, "big") + bytes([0x80, flags, len(stamps)])
    return head + stamps + payload


def unit(*nals: bytes, prefix: bytes = b"\0\0\0\1") -> bytes:
    """NAL units with their start codes."""
    return b"".join(prefix + nal for nal in nals)


def adts(size: int = 100, *, rate_index: int = 3, channels: int = 2) -> bytes:
    """An AAC-LC frame of so many bytes, header included; 48 kHz stereo unless told."""
    head = bytes(
        [
            0xFF,
            0xF1,
            1 << 6 | rate_index << 2 | channels >> 2,
            (channels & 3) << 6 | size >> 11,
            size >> 3 & 0xFF,
            (size & 7) << 5 | 0x1F,
            0xFC,
        ]
    )
    return head + bytes(size - 7)


class Segment:
    """A segment that grows packet by packet, with continuity counters that go on."""

    def __init__(self, *streams: tuple[int, int]) -> None:
        self.data = b""
        self._counters: Counter[int] = Counter()
        if streams:
            self.tables(*streams)

    def tables(self, *streams: tuple[int, int]) -> "Segment":
        """Add a PAT and a PMT."""
        return self.add(0, pat()).add(PMT_PID, pmt(streams))

    def add(self, pid: int, payload: bytes, *, start: bool = True, **fields: int) -> "Segment":
        """Add one payload, in as many packets as it takes."""
        for at in range(0, len(payload), 184):
            piece = payload[at : at + 184]
            counter = self._counters[pid]
            self.data += packet(pid, piece, start=start and not at, counter=counter, **fields)
            self._counters[pid] += 1
        return self

    def lose(self, pid: int, packets: int = 1) -> "Segment":
        """Let the continuity counter go on as if packets had been there."""
        self._counters[pid] += packets
        return self
