"""Reading a recording: bytes of playlists and segments from S3 or HTTP(S), fetched ahead in order."""

from __future__ import annotations

import contextlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import urllib3

from pipelines.errors import ErrorCode, PermanentError, TransientError
from pipelines.object_store import ObjectMissing, ObjectStore
from pipelines.playlist import ByteRange
from pipelines.retry import retrying

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from pipelines.location import Location
    from pipelines.playlist import Segment

#: Fetches of one slice that run at once.
FETCHES = 4
#: Bytes of fetched segments that may wait for ffmpeg, per slice.
READ_AHEAD_BYTES = 12 << 20
#: The largest segment that is taken into memory.
MAX_SEGMENT_BYTES = 512 << 20
#: The largest playlist that is read.
MAX_PLAYLIST_BYTES = 64 << 20

_TIMEOUT = urllib3.Timeout(connect=5, read=30)


class SourceReader:
    """Reads whole objects or byte ranges of a recording's source; never follows a redirect.

    Raises ``ObjectMissing`` when there is no such object and ``TransientError`` for outages.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._http = urllib3.PoolManager(retries=False, timeout=_TIMEOUT, maxsize=16, block=False)

    def read(self, location: Location, byte_range: ByteRange | None = None) -> bytes:
        """The bytes at ``location``, or of a range of it: fewer when the object ends in it."""
        if location.is_s3:
            if byte_range is None:
                return self._store.read(location)
            return self._store.read(location, start=byte_range.offset, length=byte_range.length)
        return retrying(lambda: self._read_http(location, byte_range))

    def size(self, location: Location) -> int:
        """The size of an object in bytes, by HEAD."""
        if location.is_s3:
            return self._store.head(location).size
        return retrying(lambda: self._head_http(location))

    def _read_http(self, location: Location, byte_range: ByteRange | None) -> bytes:
        headers = {}
        if byte_range is not None:
            last = byte_range.offset + byte_range.length - 1
            headers["Range"] = f"bytes={byte_range.offset}-{last}"
        answer = self._request("GET", location, headers)
        if answer.status == 416:  # the object ends before the range begins
            return b""
        body = answer.data
        if byte_range is not None and answer.status == 200:
            body = body[byte_range.offset : byte_range.offset + byte_range.length]
        return body

    def _head_http(self, location: Location) -> int:
        length = self._request("HEAD", location, {}).headers.get("Content-Length", "")
        if not length.isdigit():
            raise TransientError(f"{location} came without a Content-Length")
        return int(length)

    def _request(
        self, method: str, location: Location, headers: Mapping[str, str]
    ) -> urllib3.BaseHTTPResponse:
        try:
            answer = self._http.request(method, location.url, headers=headers, redirect=False)
        except urllib3.exceptions.HTTPError as error:
            name = type(error).__name__
            raise TransientError(f"the server of {location} did not answer ({name})") from None
        if answer.status in (404, 410):
            raise ObjectMissing(location)
        if 300 <= answer.status < 400:
            message = f"{location} redirects elsewhere; redirects are not followed"
            raise PermanentError(ErrorCode.URI_REFUSED, message)
        if answer.status not in (200, 206, 416):
            raise TransientError(f"the server of {location} answered {answer.status}")
        return answer


@dataclass(frozen=True)
class FetchedSegment:
    """A segment and its bytes."""

    segment: Segment
    data: bytes


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


def fetch_segment(reader: SourceReader, segment: Segment) -> bytes:
    """The whole segment; ``segment_missing`` when it is not there, ``segment_damaged`` when its
    byte range reaches beyond its object."""
    try:
        data = reader.read(segment.location, segment.byte_range)
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
                ahead += sizes[segment.sequence]
                waiting.append((segment, pool.submit(fetch_segment, reader, segment)))
            segment, future = waiting.popleft()
            data = future.result()
            yield FetchedSegment(segment, data)
            del data, future
            ahead -= sizes[segment.sequence]
