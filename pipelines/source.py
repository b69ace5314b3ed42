"""Reading a recording: bytes of playlists and segments from S3 or HTTP(S), fetched ahead in order."""

from __future__ import annotations

import contextlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random

from pipelines.encryption import BLOCK, Keys, NotDecrypted
from pipelines.errors import ErrorCode, PermanentError, TransientError
from pipelines.http_source import Allowance, HttpReader, Unfit
from pipelines.loss import NOT_THERE, Loss, LossCause
from pipelines.packed_audio import Unpacking
from pipelines.playlist import ByteRange
from pipelines.retry import retrying
from pipelines.store_errors import ObjectMissing

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from pipelines.location import Location
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
#: How often an object is asked for before it counts as missing.
TRIES = 3
#: When so many of a slice in a row are missing, others are asked for once: they were not forgotten
#: in a list, they are gone.
MANY_MISSING = 20

#: What is read when nothing else is said.
SEGMENT = Allowance(MAX_SEGMENT_BYTES, ErrorCode.SEGMENT_DAMAGED)
PLAYLIST = Allowance(MAX_PLAYLIST_BYTES, ErrorCode.PLAYLIST_INVALID)
KEY = Allowance(BLOCK + 1, ErrorCode.ENCRYPTION_UNSUPPORTED)

_Result = TypeVar("_Result")


class SourceReader:
    """Reads whole objects or byte ranges of a recording's source; never follows a redirect.

    Raises ``ObjectMissing`` when there is no such object and ``TransientError`` for outages.
    """

    def __init__(self, store: ObjectStore, http: HttpReader | None = None) -> None:
        self._store = store
        self._http = http or HttpReader()
        #: Decrypts what this reader reads.
        self.keys = Keys(lambda location: self.read(location, ByteRange(0, KEY.size), KEY))

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
    """A segment and its bytes in the clear; ``data`` is empty where ``loss`` says why.

    ``untimed``: it is packed audio that tells no time, and lies where it is listed.
    """

    segment: Segment
    data: bytes
    loss: Loss | None = None
    untimed: bool = False


def measure(
    reader: SourceReader, segments: Sequence[Segment], *, missing_is_final: bool = True
) -> dict[int, int]:
    """Size in bytes of every segment by media sequence, several HEADs at a time.

    Those that are not there have 0. Raises ``TransientError`` for one of them unless that
    ``missing_is_final``, ``PermanentError`` (``bitrate_too_high``) for one that is too large.
    """

    patience = Patience(final=missing_is_final)

    def size(segment: Segment) -> int:
        if segment.gap:
            return 0
        if segment.byte_range is not None:
            return segment.byte_range.length
        try:
            return patience.ask(lambda: reader.size(segment.location))
        except ObjectMissing:
            _missing(segment, final=missing_is_final)
            return 0

    with ThreadPoolExecutor(FETCHES * 2, thread_name_prefix="measure") as pool:
        sizes = dict(zip((s.sequence for s in segments), pool.map(size, segments), strict=True))
    for segment in segments:
        if sizes[segment.sequence] > MAX_SEGMENT_BYTES:
            message = f"segment {segment.sequence} ({segment.location}) is larger than 512 MiB"
            raise PermanentError(ErrorCode.BITRATE_TOO_HIGH, message)
    return sizes


def fetch_segment(
    reader: SourceReader,
    segment: Segment,
    size: int = MAX_SEGMENT_BYTES,
    *,
    missing_is_final: bool = True,
    patience: Patience | None = None,
) -> FetchedSegment:
    """The whole segment, of at most ``size`` bytes as it was measured, or its loss.

    Its bytes are in the clear, and in MPEG-TS where they are packed audio. A byte range that
    reaches beyond its object gives what is there of it. Raises ``TransientError`` for outages, and
    for a segment or key that is not there unless that ``missing_is_final``, as it always is of a
    segment that slid out of its live window.
    """
    fetched = fetch_clear(
        reader, segment, size, missing_is_final=missing_is_final, patience=patience
    )
    return _unpacked(fetched, Unpacking())


def fetch_clear(
    reader: SourceReader,
    segment: Segment,
    size: int = MAX_SEGMENT_BYTES,
    *,
    missing_is_final: bool = True,
    patience: Patience | None = None,
) -> FetchedSegment:
    """As ``fetch_segment``, with packed audio left as it is."""
    if segment.gap:
        return _lost(segment, LossCause.GAP_TAG, "marked as missing by EXT-X-GAP")
    if segment.given_up:
        return _lost(segment, LossCause.SEGMENT_DAMAGED, segment.given_up)
    patience = patience or Patience(final=missing_is_final)
    try:
        data = patience.ask(
            lambda: _body(reader, segment, size or MAX_SEGMENT_BYTES), once=size == 0
        )
    except ObjectMissing:
        return _missing(segment, final=missing_is_final)
    except Unfit as error:
        return _lost(segment, LossCause.SEGMENT_UNREADABLE, error.message)
    if not data:
        return _lost(segment, *_why_empty(segment))
    if segment.encryption is None:
        return FetchedSegment(segment, data)
    try:
        clear = reader.keys.whole(data, segment.encryption, segment.sequence)
    except ObjectMissing as missing:
        return _without_key(segment, missing.location, final=missing_is_final)
    except NotDecrypted as error:
        return _lost(segment, LossCause.NOT_DECRYPTED, str(error))
    return FetchedSegment(segment, clear)


def _body(reader: SourceReader, segment: Segment, size: int) -> bytes:
    """The bytes of a segment; ``Unfit`` when its server sends more than it announces.

    One that has grown since its ``size`` was told is measured again, a few times.
    """
    for _ in range(TRIES - 1):
        try:
            return reader.read(segment.location, segment.byte_range, _allowance(size))
        except Unfit:
            grown = min(reader.size(segment.location), MAX_SEGMENT_BYTES)
            if grown <= size:
                raise
            size = grown
    return reader.read(segment.location, segment.byte_range, _allowance(size))


def _allowance(size: int) -> Allowance:
    return Allowance(size, ErrorCode.SEGMENT_DAMAGED)


def fetch_head(reader: SourceReader, segment: Segment, length: int) -> FetchedSegment:
    """At most the first ``length`` bytes of a segment, as ``fetch_segment`` gives it, or its loss.

    An encrypted one may give a block more, and fewer bytes than it has.
    """
    if segment.gap:
        return _lost(segment, LossCause.GAP_TAG, "marked as missing by EXT-X-GAP")
    if segment.given_up:
        return _lost(segment, LossCause.SEGMENT_DAMAGED, segment.given_up)
    whole, encryption = segment.byte_range, segment.encryption
    start = whole.offset if whole else 0
    length += -length % BLOCK if encryption else 0
    wanted = min(length, whole.length) if whole else length
    try:
        data = reader.read(segment.location, ByteRange(start, wanted))
        if data and encryption:
            data = reader.keys.beginning(data, encryption, segment.sequence)
    except ObjectMissing as missing:
        if missing.location == segment.location:
            return _missing(segment, final=True)
        return _without_key(segment, missing.location, final=True)
    except NotDecrypted as error:
        return _lost(segment, LossCause.NOT_DECRYPTED, str(error))
    except Unfit as error:
        return _lost(segment, LossCause.SEGMENT_UNREADABLE, error.message)
    if not data:
        return _lost(segment, *_why_empty(segment))
    return _unpacked(FetchedSegment(segment, data), Unpacking())


def _unpacked(fetched: FetchedSegment, unpacking: Unpacking) -> FetchedSegment:
    data = unpacking.unpacked(fetched.data, fetched.segment.elapsed)
    return replace(fetched, data=data, untimed=unpacking.untimed)


class Patience:
    """Asks for the objects of a slice ``patiently``, and for each once when many lack in a row."""

    def __init__(self, *, final: bool) -> None:
        self._final = final
        self._missed = 0

    def ask(self, call: Callable[[], _Result], *, once: bool = False) -> _Result:
        """What ``call`` gives; raises what it raises."""
        final = self._final and not once and self._missed < MANY_MISSING
        try:
            result = patiently(call, final=final)
        except ObjectMissing:
            self._missed += 1
            raise
        self._missed = 0
        return result


def patiently(call: Callable[[], _Result], *, final: bool) -> _Result:
    """Ask a few times before an object counts as missing for good: some stores list late."""
    policy = Retrying(
        stop=stop_after_attempt(TRIES if final else 1),
        wait=wait_random(0.1, 0.4),
        retry=retry_if_exception_type(ObjectMissing),
        reraise=True,
    )
    return policy(call)


def _lost(segment: Segment, cause: LossCause, detail: str) -> FetchedSegment:
    loss = Loss(
        segment.sequence, str(segment.location), cause, detail, whole=True, seconds=segment.duration
    )
    return FetchedSegment(segment, b"", loss)


def _missing(segment: Segment, *, final: bool) -> FetchedSegment:
    if final or segment.slid:
        return _lost(segment, LossCause.SEGMENT_MISSING, "listed, and not there")
    message = f"segment {segment.sequence} ({segment.location}) is listed and not there yet"
    raise TransientError(message, ErrorCode.SEGMENT_MISSING)


def _without_key(segment: Segment, key: Location, *, final: bool) -> FetchedSegment:
    if final or segment.slid:
        return _lost(segment, LossCause.NOT_DECRYPTED, f"its key {key} {NOT_THERE}")
    message = f"the key {key} of segment {segment.sequence} ({segment.location}) is not there yet"
    raise TransientError(message, ErrorCode.SEGMENT_MISSING)


def _why_empty(segment: Segment) -> tuple[LossCause, str]:
    if segment.byte_range is None:
        return LossCause.SEGMENT_EMPTY, "the object holds no bytes"
    return LossCause.SEGMENT_UNREADABLE, "its byte range lies beyond its object"


def read_ahead(
    reader: SourceReader,
    segments: Sequence[Segment],
    sizes: Mapping[int, int],
    *,
    missing_is_final: bool = True,
) -> Generator[FetchedSegment]:
    """Every segment in order, fetched several at a time, with bounded bytes in waiting.

    One segment is always under way, however large; a failed fetch is raised in its turn. Close it
    when it is left before its end, or its threads and bytes stay until it is collected.
    """

    patience = Patience(final=missing_is_final)

    def fetch(segment: Segment) -> FetchedSegment:
        size = sizes[segment.sequence]
        return fetch_clear(
            reader, segment, size, missing_is_final=missing_is_final, patience=patience
        )

    unpacking = Unpacking()
    waiting: deque[tuple[Segment, Future[FetchedSegment]]] = deque()
    ahead = 0
    todo = deque(segments)
    with contextlib.ExitStack() as stack:
        pool = ThreadPoolExecutor(FETCHES, thread_name_prefix="fetch")
        stack.callback(pool.shutdown, wait=True, cancel_futures=True)
        while todo or waiting:
            while todo and (not waiting or ahead + sizes[todo[0].sequence] <= READ_AHEAD_BYTES):
                segment = todo.popleft()
                ahead += sizes[segment.sequence]
                waiting.append((segment, pool.submit(fetch, segment)))
            segment, future = waiting.popleft()
            yield _unpacked(future.result(), unpacking)
            del future
            ahead -= sizes[segment.sequence]
