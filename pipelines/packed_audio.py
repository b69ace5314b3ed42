"""Packed audio (RFC 8216, 3.4): segments of bare frames behind an ID3 tag that tells their time.

They are put into a transport stream of one track before anything else sees them, so that there is
one way for all sound: frames keep their bytes, the clock is that of the tag, and everything that is
known of MPEG-TS (indexes, seams, proof) holds for them.
"""

from __future__ import annotations

import itertools
import math
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.mpegts.ac3 import Ac3
from pipelines.mpegts.adts import Adts
from pipelines.mpegts.frames import first_frame, next_header
from pipelines.mpegts.mpeg_audio import MpegAudio
from pipelines.mpegts.packets import PACKET, SYNC_BYTE
from pipelines.mpegts.transport_writer import ROOM, TransportWriter, made_tables
from pipelines.mpegts.units import UNIT_LIMIT
from pipelines.segment_index import TS_TIMESCALE, TS_WRAP

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.media import Codec
    from pipelines.mpegts.frames import AudioFormat, FrameSyntax

#: Owner of the ID3 frame that holds the time: 8 bytes, the upper 31 bits zero.
TIMESTAMP_OWNER = b"com.apple.streaming.transportStreamTimestamp\0"
#: Most bytes of tags that are looked at before the frames: attached pictures may be large.
MAX_TAG_BYTES = 16 << 20
#: PID that the frames are given.
PID = 0x100
#: Frames in one PES packet, and most bytes of them: its stamp is exact, times within it are counted.
FRAMES_PER_PES = 16
PES_BYTES = 0xFF00
#: Bytes of a PES header with one time stamp, and values of a continuity counter.
PES_HEADER, COUNTERS = 14, 16

_SYNC = bytes((SYNC_BYTE,))  # of a transport stream, which may stand behind a tag too
_ID3_HEADER = 10
_ID3_FOOTER = 0x10  # flag
_SYNTAXES: tuple[FrameSyntax, ...] = (Adts(), MpegAudio(), Ac3())


@dataclass(frozen=True)
class _Tags:
    """The ID3 tags at the start of a segment: where they end, and the time that one tells."""

    end: int
    time: int | None  #: 33 bits of 90 kHz, of the first sample


@dataclass(frozen=True)
class PackedAudio:
    """Frames of a segment: the byte at which each of them starts, the last of which ends at
    ``end``, and its ticks (90 kHz) since the first; of more than ``UNIT_LIMIT`` the first.

    Bytes that are no frame belong to the unit before them. ``is_cut``: the last unit is cut off by
    the segment's end, and may go on in the next.
    """

    data: bytes
    tags_end: int
    time: int | None
    codec: Codec
    starts: array[int]
    end: int
    ticks: array[int]
    duration: int  #: ticks, of all frames
    is_cut: bool

    @property
    def begins(self) -> int:
        """Where the first frame begins: behind tags, and the end of a frame of the segment before."""
        return self.starts[0]


def read_packed(data: bytes) -> PackedAudio | None:
    """The frames of a segment of packed audio; None for anything else.

    Without a tag that tells the time, frames must begin at once.
    """
    tags = _tags(data)
    syntax = None if data[tags.end : tags.end + 1] == _SYNC else _syntax(data, tags)
    if syntax is None:
        return None
    body = data[tags.end :]
    first = first_frame(body, syntax)
    if first is None or (first > 0 and tags.time is None):
        return None
    walk = _Walk(body, syntax)
    end = walk.run(first)
    return PackedAudio(
        data=data,
        tags_end=tags.end,
        time=tags.time,
        codec=syntax.describe(body, first).codec,
        starts=array("q", (tags.end + start for start in walk.starts)),
        end=tags.end + end,
        ticks=walk.ticks,
        duration=walk.elapsed,
        is_cut=walk.is_cut,
    )


def in_transport_stream(packed: PackedAudio, time: int) -> bytes:
    """The same frames in MPEG-TS, of which the first begins at ``time`` (90 kHz)."""
    writer = TransportWriter()
    writer.rest(PID, packed.data[packed.tags_end : packed.begins])
    for ticks, begin, end in _pes_payloads(packed):
        goes_on = packed.is_cut and end == packed.end
        if goes_on:
            _align(writer, end - begin)
        pts = time + ticks
        writer.unit(PID, packed.codec, packed.data[begin:end], pts, pts, goes_on=goes_on)
    return made_tables({PID: packed.codec}) + writer.data


def _pes_payloads(packed: PackedAudio) -> Iterator[tuple[int, int, int]]:
    """Frames in groups: the ticks at which each begins, and from where to where it goes."""
    first, begin, frames = 0, packed.begins, 0
    ends = itertools.chain(itertools.islice(packed.starts, 1, None), (packed.end,))
    for start, end, ticks in zip(packed.starts, ends, packed.ticks, strict=True):
        if frames and (frames == FRAMES_PER_PES or end - begin > PES_BYTES):
            yield first, begin, start
            frames = 0
        if not frames:
            first, begin = ticks, start
        frames += 1
    yield first, begin, packed.end


def _align(writer: TransportWriter, last: int) -> None:
    """Fill up, so that continuity counters are at their start again behind a PES packet of ``last``
    bytes: the next segment, which begins at 0, then goes on with it."""
    packets = len(writer.data) // PACKET - (-(PES_HEADER + last) // ROOM)
    for _ in range(-packets % COUNTERS):
        writer.stop(PID)


class Unpacking:
    """Puts segments of packed audio into MPEG-TS, one after the other; leaves all others alone.

    One whose tag tells no time goes on where the one before ended; the first, and one behind a loss,
    begins where it is listed: neighbours that are read alone then lie where they belong.
    """

    def __init__(self) -> None:
        self._end: int | None = None  # of the segment before, 33 bits of 90 kHz
        #: Whether nothing but its place in the list tells when the last one is heard.
        self.untimed = False

    def unpacked(self, data: bytes, listed: float = 0.0) -> bytes:
        """The bytes of the next segment, before which ``listed`` seconds are; b"" of a lost one."""
        packed = read_packed(data)
        self.untimed = packed is not None and packed.time is None
        if packed is None:
            self._end = None
            return data
        begin = packed.time
        if begin is None:
            begin = round(listed * TS_TIMESCALE) % TS_WRAP if self._end is None else self._end
        self._end = (begin + packed.duration) % TS_WRAP
        return in_transport_stream(packed, begin)


def _tags(data: bytes) -> _Tags:
    """Go over the ID3v2 tags (id3.org, ID3v2.4 section 3.1) at the start of a segment."""
    at, time = 0, None
    while data[at : at + 3] == b"ID3" and at + _ID3_HEADER <= min(len(data), MAX_TAG_BYTES):
        size = _syncsafe(data[at + 6 : at + 10])
        footer = _ID3_HEADER if data[at + 5] & _ID3_FOOTER else 0
        end = at + _ID3_HEADER + size + footer
        if time is None:
            time = _timestamp(data[at:end])
        at = end
    return _Tags(min(at, len(data)), time)


def _syncsafe(octets: bytes) -> int:
    """A number of four times seven bits."""
    number = 0
    for octet in octets:
        number = number << 7 | octet & 0x7F
    return number


def _timestamp(tag: bytes) -> int | None:
    at = tag.find(TIMESTAMP_OWNER)
    value = tag[at + len(TIMESTAMP_OWNER) :][:8]
    if at < 0 or len(value) < 8:
        return None
    return int.from_bytes(value, "big") % TS_WRAP


def _syntax(data: bytes, tags: _Tags) -> FrameSyntax | None:
    """How the frames look: by the first of them, or by the first that can be found at all."""
    body = data[tags.end :]
    if tags.time is None:
        return next((each for each in _SYNTAXES if _begins_with(body, 0, each)), None)
    places = [(first_frame(body, each), number) for number, each in enumerate(_SYNTAXES)]
    found = [
        (at, number)
        for at, number in places
        if at is not None and _begins_with(body, at, _SYNTAXES[number])
    ]
    return _SYNTAXES[min(found)[1]] if found else None


def _begins_with(body: bytes, at: int, syntax: FrameSyntax) -> bool:
    """Whether a frame begins there; the layer bits tell ADTS (0) from MPEG audio."""
    if at + syntax.header_bytes > len(body) or syntax.header(body, at) is None:
        return False
    layered = bool(body[at + 1] & 0x06)
    return {Adts: not layered, MpegAudio: layered}.get(type(syntax), True)


class _Walk:
    """The way over the frames of a segment, from header to header."""

    def __init__(self, body: bytes, syntax: FrameSyntax) -> None:
        self.starts = array("q")
        self.ticks = array("q")
        # Ticks of all frames so far, in parts of one: so many fit a tick of every format that was met.
        self._passed, self._parts = 0, 1
        self.is_cut = False
        self._body = body
        self._syntax = syntax
        self._formats: dict[int, AudioFormat] = {}

    def run(self, at: int) -> int:
        """Go from the frame at ``at`` to the end, or as far as units are read; returns where that is.

        What is cut off at the end counts as a unit.
        """
        body, syntax = self._body, self._syntax
        while at < len(body):
            whole = at + syntax.header_bytes <= len(body)
            header = syntax.header(body, at) if whole else None
            if header is None:
                after = next_header(body, syntax, at)
                end = len(body) if after is None else after
                self.is_cut = after is None  # perhaps in its header
            else:
                # A dependent substream belongs to the frame before it.
                if header.begins_unit or not self.starts:
                    if len(self.starts) == UNIT_LIMIT:
                        break
                    self.starts.append(at)
                    self.ticks.append(self.elapsed)
                    self._pass(header.identity, at)
                end = min(at + header.size, len(body))
                self.is_cut = at + header.size > len(body)
            at = end
        return at

    @property
    def elapsed(self) -> int:
        """Ticks (90 kHz) of all frames so far, to the nearest."""
        return (2 * self._passed + self._parts) // (2 * self._parts)

    def _pass(self, identity: int, at: int) -> None:
        """Count the time of the frame at ``at``, exactly."""
        if identity not in self._formats:
            self._formats[identity] = form = self._syntax.describe(self._body, at)
            parts = math.lcm(self._parts, form.sample_rate)
            self._passed, self._parts = self._passed * (parts // self._parts), parts
        form = self._formats[identity]
        self._passed += form.samples * TS_TIMESCALE * (self._parts // form.sample_rate)
