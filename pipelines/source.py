"""Reading a recording: bytes of playlists and segments from S3 or HTTP(S), fetched ahead in order."""

from __future__ import annotations

import contextlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.errors import ErrorCode, PermanentError
from pipelines.http_source import Allowance, HttpReader
from pipelines.playlist import ByteRange
from pipelines.retry import retrying
from pipelines.store_errors import ObjectMissing

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from pipelines.location import Location
    from pipelines.loss import Loss
    from pipelines.object_store import ObjectStore
    from pipelines.playlist import Segment

#: Fetches of one slice that run at once.
FETCHES = 4
#: Bytes of fetched segments that may wait for ffmpeg, per slice.
READ_AHEAD_BYTES = 12 << 20
#: The largest segment that is taken into memory.
MAX_SEGMENT_BYTES = 512 << 20
#: The largest playlist that is read.
MAX_PLAYLIST_BYTES = 64 << 20

#: What is read when nothing else is said.
SEGMENT = Allowance(MAX_SEGMENT_BYTES, ErrorCode.SEGMENT_DAMAGED)
PLAYLIST = Allowance(MAX_PLAYLIST_BYTES, ErrorCode.PLAYLIST_INVALID)


class SourceReader:
    """Reads whole objects or byte ranges of a recording's source; never follows a redirect.

    Raises ``ObjectMissing`` when there is no such object and ``TransientError`` for outages.
    """

    def __init__(self, store: ObjectStore, http: HttpReader | None = None) -> None:
        self._store = store
        self._http = http or HttpReader()

    def read(
        self,
        location: Location,
        byte_range: ByteRange | None = None,
        allowed: Allowance = SEGMENT,
    ) -> bytes:
        """The bytes at ``location``, or of a range of it: fewer when the object ends in it.

        Objects on S3 are as large as ``size`` says; an HTTP server's body is held to ``allowed``.
        """
        if location.is_s3:
            if byte_range is None:
                return self._store.read(location)
            return self._store.read(location, start=byte_range.offset, length=byte_range.length)
        if byte_range is None:
            return retrying(lambda: self._http.read(location, allowed))
        return retrying(lambda: self._http.read_range(location, byte_range, allowed))

    def size(self, location: Location) -> int:
        """The size of an object in bytes, by HEAD."""
        if location.is_s3:
            return self._store.head(location).size
        return retrying(lambda: self._http.size(location))


@dataclass(frozen=True)
class FetchedSegment:
    """A segment and its bytes in the clear; ``data`` is empty where ``loss`` says why."""

    segment: Segment
    data: bytes
    loss: Loss | None = None


def segment_missing(segment: Segment) -> PermanentError:
    """The refusal for a listed segment that is not there: nothing is ever skipped silently."""
    message = f"segment {segment.sequence} ({segment.location}) is listed but missing"
    return PermanentError(ErrorCode.SEGMENT_MISSING, message)


def measure(reader: SourceReader, segments: Sequence[Segment]) -> dict[int, int]:
    """Size in bytes of every segment by media sequence, several HEADs at a time.

    Raises ``PermanentError`` (``segment_missing``) for one that is listed but not there.
    """

    def size(segment: Segment) -> int:
        if segment.byte_range is not None:
            return segment.byte_range.length
        try:
            return reader.size(segment.location)
        except ObjectMissing:
            raise segment_missing(segment) from None

    with ThreadPoolExecutor(FETCHES * 2, thread_name_prefix="measure") as pool:
        sizes = dict(zip((s.sequence for s in segments), pool.map(size, segments), strict=True))
    for segment in segments:
        if sizes[segment.sequence] > MAX_SEGMENT_BYTES:
            message = f"segment {segment.sequence} ({segment.location}) is larger than 512 MiB"
            raise PermanentError(ErrorCode.BITRATE_TOO_HIGH, message)
    return sizes


def fetch_segment(reader: SourceReader, segment: Segment, size: int = MAX_SEGMENT_BYTES) -> bytes:
    """The whole segment, of at most ``size`` bytes as it was measured.

    Raises ``PermanentError``: ``segment_missing`` when it is not there, ``segment_damaged`` when
    its byte range reaches beyond its object, or an HTTP server sends more than it announced.
    """
    try:
        allowed = Allowance(size, ErrorCode.SEGMENT_DAMAGED)
        data = reader.read(segment.location, segment.byte_range, allowed)
    except ObjectMissing:
        raise segment_missing(segment) from None
    if segment.byte_range is not None and len(data) != segment.byte_range.length:
        message = f"segment {segment.sequence} ({segment.location}) is cut off by its object's end"
        raise PermanentError(ErrorCode.SEGMENT_DAMAGED, message)
    return data


def fetch_head(reader: SourceReader, segment: Segment, length: int) -> bytes:
    """At most the first ``length`` bytes of a segment; ``segment_missing`` when it is not there."""
    whole = segment.byte_range
    start = whole.offset if whole else 0
    wanted = min(length, whole.length) if whole else length
    try:
        return reader.read(segment.location, ByteRange(start, wanted))
    except ObjectMissing:
        raise segment_missing(segment) from None


def read_ahead(
    reader: SourceReader, segments: Sequence[Segment], sizes: Mapping[int, int]
) -> Generator[FetchedSegment]:
    """Every segment in order, fetched several at a time, with bounded bytes in waiting.

    One segment is always under way, however large; a failed fetch is raised in its turn. Close it
    when it is left before its end, or its threads and bytes stay until it is collected.
    """
    waiting: deque[tuple[Segment, Future[bytes]]] = deque()
    ahead = 0
    todo = deque(segments)
    with contextlib.ExitStack() as stack:
        pool = ThreadPoolExecutor(FETCHES, thread_name_prefix="fetch")
        stack.callback(pool.shutdown, wait=True, cancel_futures=True)
        while todo or waiting:
            while todo and (not waiting or ahead + sizes[todo[0].sequence] <= READ_AHEAD_BYTES):
                segment = todo.popleft()
                size = sizes[segment.sequence]
                ahead += size
                waiting.append((segment, pool.submit(fetch_segment, reader, segment, size)))
            segment, future = waiting.popleft()
            data = future.result()
            yield FetchedSegment(segment, data)
            del data, future
            ahead -= sizes[segment.sequence]
