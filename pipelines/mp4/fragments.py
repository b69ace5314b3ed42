"""Reading fragmented MP4 from a stream of bytes, as ffmpeg writes it: anything else is an error."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.mp4.boxes import BoxHeader, Mp4Error, printable, read_header
from pipelines.mp4.movie_fragment import (
    MAX_PAYLOAD,
    SPARE_SAMPLES,
    Fragment,
    TrackFragment,
    placed,
    read_movie_fragment,
)
from pipelines.mp4.movie_header import MovieHeader, read_movie_header

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Most bytes of a ``moov`` or ``moof``; those of fragmented movies have kilobytes.
MAX_TABLES = 32 << 20
#: Most ``mdat`` boxes of one fragment; all but a few writers need one.
MAX_BODIES = 16
#: Top-level boxes that say nothing about samples; all others but moov, moof and mdat are refused.
_SKIPPED = frozenset(
    (b"ftyp", b"styp", b"sidx", b"ssix", b"emsg", b"prft", b"free", b"skip", b"wide", b"mfra",
     b"uuid", b"udta", b"meta", b"pdin")
)  # fmt: skip
_LIMITS = {b"moov": MAX_TABLES, b"moof": MAX_TABLES, b"mdat": MAX_PAYLOAD}
_LONGEST_HEADER = 16


@dataclass(frozen=True)
class Header:
    """A ``moov`` arrived: what follows are samples of its tracks."""

    movie: MovieHeader


@dataclass(frozen=True)
class _Open:
    """A ``moof`` that waits for its payload; offsets of its runs are positions in the file."""

    sequence: int
    tracks: tuple[TrackFragment, ...]

    @property
    def sample_count(self) -> int:
        """Samples of all tracks."""
        return sum(len(track) for track in self.tracks)


class FragmentReader:
    """Cuts a stream of fragmented MP4 into its header and its fragments, without trust.

    At most one fragment is held. What is fed is kept, not copied, until its fragment is out: do not
    write to it. A payload that was fed in one piece is a view of that piece, else it is joined once.
    A reader that raised ``Mp4Error`` is of no further use.
    """

    def __init__(self) -> None:
        self._movie: MovieHeader | None = None
        self._position = 0  # of the first byte not yet taken
        self._pieces: deque[memoryview] = deque()
        self._held = 0
        self._box: BoxHeader | None = None
        self._box_position = 0
        self._open: _Open | None = None
        self._bodies: list[tuple[int, memoryview]] = []

    def feed(self, data: bytes | bytearray | memoryview) -> Iterator[Header | Fragment]:
        """Take the next bytes, of any number; the result yields what they complete.

        Raises ``Mp4Error`` (while the result is iterated) for what is damaged or unexpected.
        """
        if len(data):
            self._pieces.append(memoryview(data))
            self._held += len(data)
        return self._completed()

    def close(self) -> None:
        """Say that nothing follows; ``Mp4Error`` when a box or a fragment is unfinished."""
        if self._box is not None:
            raise Mp4Error(f"the stream ends inside its box {printable(self._box.name)!r}")
        if self._held:
            raise Mp4Error("the stream ends inside the header of a box")
        if self._open is not None:
            raise self._without_payload()

    def _completed(self) -> Iterator[Header | Fragment]:
        while (box := self._box or self._next_box()) is not None:
            self._box = box
            if box.name in _SKIPPED:
                left = self._box_position + box.size - self._position
                self._drop(min(left, self._held))
                if self._position < self._box_position + box.size:
                    return
                self._box = None
                continue
            if self._held < box.body_size:
                return
            body = self._take(box.body_size)
            self._box = None
            event = self._event(box, body)
            if event is not None:
                yield event

    def _next_box(self) -> BoxHeader | None:
        head = b"".join(self._peek(_LONGEST_HEADER))
        box = read_header(memoryview(head))
        if box is None:
            return None
        limit = _LIMITS.get(box.name)
        if limit is None and box.name not in _SKIPPED:
            raise Mp4Error(f"box {printable(box.name)!r} at byte {self._position} is unexpected")
        if limit is not None and box.size > limit:
            raise Mp4Error(f"box {printable(box.name)!r} of {box.size} bytes exceeds {limit}")
        self._box_position = self._position
        self._drop(box.header_size)
        return box

    def _event(self, box: BoxHeader, body: memoryview) -> Header | Fragment | None:
        if box.name == b"mdat":
            self._bodies.append((self._position - len(body), body))
            return self._fragment()
        if self._open is not None:
            raise self._without_payload()
        if box.name == b"moov":
            self._movie = read_movie_header(body)
            return Header(self._movie)
        if self._movie is None:
            raise Mp4Error("a fragment came before the header of its movie")
        self._open = _Open(*read_movie_fragment(body, self._box_position, self._movie))
        return None

    def _fragment(self) -> Fragment | None:
        """The open fragment, once all its samples have arrived."""
        if self._open is None:
            raise Mp4Error("media data without a fragment: this is no fragmented MP4")
        size = sum(len(body) for _, body in self._bodies)
        if size > MAX_PAYLOAD or len(self._bodies) > MAX_BODIES:
            raise Mp4Error(
                f"the media data of one fragment exceeds {MAX_PAYLOAD} bytes or {MAX_BODIES} boxes"
            )
        extents = [(position, len(body)) for position, body in self._bodies]
        tracks = [placed(track, extents) for track in self._open.tracks]
        complete = tuple(track for track in tracks if track is not None)
        if len(complete) < len(tracks):
            return None  # the rest may be in a further mdat
        if self._open.sample_count > size + SPARE_SAMPLES:
            raise Mp4Error(f"a fragment claims more samples than its {size} bytes of media hold")
        bodies = [body for _, body in self._bodies]
        payload = bodies[0] if len(bodies) == 1 else memoryview(b"".join(bodies))
        fragment = Fragment(self._open.sequence, complete, payload)
        self._open, self._bodies = None, []
        return fragment

    def _without_payload(self) -> Mp4Error:
        if not self._bodies:
            return Mp4Error("a fragment came without its media data")
        return Mp4Error("a fragment claims samples outside of its media data")

    def _peek(self, size: int) -> Iterator[memoryview]:
        for piece in self._pieces:
            yield piece[:size]
            size -= min(size, len(piece))
            if size == 0:
                return

    def _drop(self, size: int) -> None:
        self._position += size
        self._held -= size
        while size:
            piece = self._pieces.popleft()
            if size < len(piece):
                self._pieces.appendleft(piece[size:])
            size -= min(size, len(piece))

    def _take(self, size: int) -> memoryview:
        first = self._pieces[0][:size] if size else memoryview(b"")
        taken = first if len(first) == size else memoryview(b"".join(self._peek(size)))
        self._drop(size)
        return taken


def read_header_section(section: bytes) -> MovieHeader:
    """The header in a media initialization section (EXT-X-MAP, RFC 8216, 3.3).

    Raises ``Mp4Error`` when there is none, or when it is damaged.
    """
    view, position = memoryview(section), 0
    while (header := read_header(view, position)) is not None:
        end = position + header.size
        if header.name == b"moov" and end <= len(section):
            return read_movie_header(view[position + header.header_size : end])
        position = end
    raise Mp4Error("it has no whole 'moov'")
