"""Audio frames in a byte stream: walking from header to header, and finding the first one."""

from __future__ import annotations

import re
from array import array
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from pipelines.mpegts.unit_hashes import frame_hashes
from pipelines.mpegts.units import UNIT_LIMIT, Units, no_units
from pipelines.segment_index import UNKNOWN_SIZE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from pipelines.media import Codec, Configuration
    from pipelines.mpegts.packets import Offsets
    from pipelines.mpegts.pes import ElementaryStream

#: Headers that must follow each other before a place is believed to be a frame's start.
CHAIN = 3
PROVEN = 2 * CHAIN + 1
#: Places that are tried as the first frame's start: the end of a frame has far fewer.
ATTEMPTS = 1 << 14


class Junk(Enum):
    """Whose bytes are those between two frames, in ffmpeg's parser."""

    NEXT = auto()
    PREVIOUS = auto()
    ALONE = auto()


class FrameHeader(NamedTuple):
    """One frame: its size in bytes, and a number for all that must not change within a track."""

    size: int
    identity: int
    begins_unit: bool = True


class AudioFormat(NamedTuple):
    """What the frames of one kind last and sound like."""

    codec: Codec
    samples: int
    sample_rate: int
    configuration: Configuration


def one_of(accepted: Iterable[int]) -> bytes:
    """A regular expression for one byte out of these."""
    return b"[" + b"".join(re.escape(bytes([byte])) for byte in accepted) + b"]"


class FrameSyntax(Protocol):
    """How the frames of one codec family look."""

    header_bytes: int  #: that ``header`` looks at
    sync_word: bytes
    sync: re.Pattern[bytes]
    junk: Junk
    stamp_offset: int  #: byte of a frame whose PES packet stamps it

    def header(self, data: bytes | bytearray, at: int) -> FrameHeader | None:
        """The frame header at an offset with ``header_bytes`` behind it, or None."""

    def describe(self, data: bytes | bytearray, at: int) -> AudioFormat:
        """The meaning of a header that ``header`` has accepted."""

    def sample_sizes(self, data: bytes | bytearray, starts: Offsets, sizes: Offsets) -> Offsets:
        """What MP4 holds of frames of these sizes, ``UNKNOWN_SIZE`` where it cannot be told."""


def index_frames(stream: ElementaryStream, syntax: FrameSyntax, codec: Codec) -> Units:
    """Find the frames as ffmpeg's parser does, from the first that can be told without the past."""
    data = stream.data
    first = first_frame(data, syntax, frozenset(stream.pes_starts.tolist()))
    if first is None:
        return no_units(codec)
    walk = _Walk(data, syntax)
    walk.run(first)
    form, change = walk.format_and_change()
    starts = np.array(walk.starts, np.int64)
    frames = walk.sizes(starts)
    sizes = syntax.sample_sizes(data, starts, frames)
    stamped_at = np.minimum(starts + syntax.stamp_offset, max(len(data) - 1, 0))
    return Units(
        codec=form.codec,
        starts=starts,
        stamped_at=stamped_at,
        sync=np.ones(len(starts), np.bool_),
        sizes=sizes,
        hashes=frame_hashes(data, starts, frames, sizes),
        configuration=form.configuration,
        configuration_change=change,
        starts_clean=True,
        ends_unfinished=walk.unfinished,
        samples=form.samples,
        sample_rate=form.sample_rate,
        limited=len(starts) >= UNIT_LIMIT,
    )


def first_frame(
    data: bytes | bytearray, syntax: FrameSyntax, likely: Collection[int] = ()
) -> int | None:
    """The first offset whose header is followed by others of the same kind.

    At a ``likely`` place, the start of a PES packet, one that follows is enough. Where the stream
    ends before that is shown, the offset with most headers behind it.
    """
    best, most = None, 0
    at = next_header(data, syntax, 0)
    for _ in range(ATTEMPTS):
        if at is None:
            break
        evidence = _evidence(data, syntax, at, 1 if at in likely else CHAIN)
        if evidence > most:
            best, most = at, evidence
        if evidence == PROVEN:
            break
        at = next_header(data, syntax, at + 1)
    return best


def next_header(data: bytes | bytearray, syntax: FrameSyntax, at: int) -> int | None:
    """The first offset from ``at`` on that looks like a frame header."""
    while (found := syntax.sync.search(data, at)) is not None:
        at = found.start()
        if at + syntax.header_bytes > len(data):
            return None
        if syntax.header(data, at) is not None:
            return at
        at += 1
    return None


def _evidence(data: bytes | bytearray, syntax: FrameSyntax, at: int, needed: int) -> int:
    """How surely a frame begins at ``at``: 0 not at all, more for each header behind it.

    Between equal ones, the one whose frames end exactly where the stream does is believed.
    """
    header = first = syntax.header(data, at)
    if header is None or first is None or not first.begins_unit:
        return 0
    for followers in range(needed):
        at += header.size
        if at + syntax.header_bytes > len(data):
            return 1 + 2 * followers + (at == len(data))
        header = syntax.header(data, at)
        if header is None or (header.begins_unit and header.identity != first.identity):
            return 0
    return PROVEN


class _Walk:
    """The way through a stream, frame by frame: where units start, and which formats were met."""

    def __init__(self, data: bytes | bytearray, syntax: FrameSyntax) -> None:
        self.starts = array("q")
        self.unfinished = False
        self._end_known = False  # where the last unit ends, its header says
        self._next = 0
        self._dependent = False  # frames that belong to the unit before them were met
        self._data = data
        self._syntax = syntax
        self._kinds: dict[int, int] = {}  # identity -> offset of its first header

    def run(self, at: int) -> None:
        """Go from the frame at ``at`` to the end of the stream."""
        data, syntax = self._data, self._syntax
        header, kinds, starts = syntax.header, self._kinds, self.starts
        size = len(data)
        last = size - syntax.header_bytes
        while at <= last and len(starts) < UNIT_LIMIT:
            frame = header(data, at)
            if frame is None:
                after = self._pass_junk(at)
                if after is None:
                    return
                at = after
                continue
            if frame.begins_unit:
                starts.append(at)
                if frame.identity not in kinds:
                    kinds[frame.identity] = at
            else:
                self._dependent = True
            at += frame.size
        if at < size:
            self._end(at)
        else:
            self.unfinished = at > size
            self._next, self._end_known = at, not self._dependent

    def _pass_junk(self, at: int) -> int | None:
        """Go over bytes that are no frame to the next header; None at the end of the stream."""
        after = next_header(self._data, self._syntax, at)
        if after is None:
            self._end(at)
            return None
        frame = self._syntax.header(self._data, after)
        if self._syntax.junk is Junk.ALONE:
            self.starts.append(at)
        if self._syntax.junk is not Junk.NEXT or frame is None:
            return after
        self._kinds.setdefault(frame.identity, after)
        self.starts.append(at)
        return after + frame.size

    def _end(self, at: int) -> None:
        """The rest is no whole header: the start of a frame, or junk."""
        rest = self._data[at : at + len(self._syntax.sync_word)]
        if self._syntax.junk is not Junk.PREVIOUS or self._syntax.sync_word.startswith(rest):
            self.starts.append(at)
        self.unfinished = True

    def sizes(self, starts: Offsets) -> Offsets:
        """Bytes of each unit as the headers declare them; the last may be cut, or unknown."""
        sizes = np.diff(starts, append=self._next)
        if not self._end_known:
            sizes[-1] = UNKNOWN_SIZE
        return sizes

    def format_and_change(self) -> tuple[AudioFormat, str | None]:
        """The format of the first frame, and how a later one contradicts it."""
        places = list(self._kinds.values())[:256]
        formats = [self._syntax.describe(self._data, place) for place in places]
        first = formats[0].configuration
        changes = (first.conflict_with(later.configuration) for later in formats[1:])
        return formats[0], next((change for change in changes if change), None)
