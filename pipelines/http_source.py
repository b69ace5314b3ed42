"""Reading objects and byte ranges by HTTP(S): bounded in bytes and time, never redirected."""

from __future__ import annotations

import contextlib
import functools
import io
import socket
import threading
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from pipelines.errors import ErrorCode, PermanentError, TransientError
from pipelines.store_errors import ObjectMissing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from urllib3.response import HTTPResponse

    from pipelines.location import Location
    from pipelines.playlist import ByteRange

#: Seconds to connect, and for the whole head of an answer to arrive.
CONNECT_SECONDS = 5.0
HEAD_SECONDS = 30.0
#: Seconds in which the whole body must arrive.
BODY_SECONDS = 120.0

_PIECE = 1 << 20
#: Ours is the size of the bytes as they are stored: a small compressed body may be a huge one.
_HEADERS = {"Accept-Encoding": "identity"}
_MISSING = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)


@dataclass(frozen=True)
class Allowance:
    """How many bytes an object may have, and the code under which a larger one is refused."""

    size: int
    refusal: ErrorCode


class Unfit(PermanentError):
    """An object that is compressed, or larger than it may be."""


class HttpReader:
    """Reads what lies on HTTP(S) servers, which are not trusted to end or to tell the truth.

    Raises ``ObjectMissing`` when there is no such object, ``Unfit`` for one that is compressed or
    larger than allowed, ``PermanentError`` for one elsewhere (``uri_refused``), and ``TransientError`` for
    outages: no answer, another status, a body cut short or one that takes longer than
    ``body_seconds``.
    """

    def __init__(
        self, head_seconds: float = HEAD_SECONDS, body_seconds: float = BODY_SECONDS
    ) -> None:
        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=head_seconds)
        self._http = urllib3.PoolManager(retries=False, timeout=timeout, maxsize=16, block=False)
        self._http.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
        self._body_seconds = body_seconds

    def read(self, location: Location, allowed: Allowance) -> bytes:
        """The whole object."""
        with self._answer("GET", location) as answer:
            _require(answer, location, HTTPStatus.OK)
            _refuse_unfit(answer, location, allowed)
            body = self._body(answer, location, allowed.size + 1)
        if len(body) > allowed.size:
            message = f"{location} holds more than the {allowed.size} bytes that it may have"
            raise Unfit(allowed.refusal, message)
        return body

    def read_range(self, location: Location, byte_range: ByteRange, allowed: Allowance) -> bytes:
        """The bytes of a range: fewer when the object ends in it. Servers may ignore the range."""
        header = {"Range": f"bytes={byte_range.offset}-{byte_range.end - 1}"}
        with self._answer("GET", location, header) as answer:
            if answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                return b""  # the object ends before the range begins
            _require(answer, location, HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT)
            _refuse_unfit(answer, location, allowed)
            skipped = byte_range.offset
            if answer.status == HTTPStatus.PARTIAL_CONTENT:
                skipped = 0
                stated = answer.headers.get("Content-Range", "").lower()
                if not stated.startswith(f"bytes {byte_range.offset}-"):
                    raise TransientError(f"the server of {location} sent another range than asked")
            return self._body(answer, location, byte_range.length, skipped)

    def size(self, location: Location) -> int:
        """The size of an object in bytes, by HEAD."""
        with self._answer("HEAD", location) as answer:
            _require(answer, location, HTTPStatus.OK)
            self._body(answer, location, 1)
            length = answer.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            raise TransientError(f"{location} came without a Content-Length")
        return int(length)

    @contextlib.contextmanager
    def _answer(
        self, method: str, location: Location, headers: dict[str, str] | None = None
    ) -> Iterator[HTTPResponse]:
        """An answer whose body is still to be read; its connection is given back, or closed."""
        try:
            answer: HTTPResponse = self._http.request(  # type: ignore[assignment]
                method,
                location.url,
                headers=_HEADERS | (headers or {}),
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
            try:
                yield answer
            finally:
                if not answer.closed:  # what is left of the body is not waited for
                    answer.close()
                answer.release_conn()
        except urllib3.exceptions.HTTPError as error:
            name = type(error).__name__
            message = f"the server of {location} did not answer in full ({name})"
            raise TransientError(message) from None

    def _body(
        self, answer: HTTPResponse, location: Location, limit: int, skipped: int = 0
    ) -> bytes:
        """At most ``limit`` bytes after those ``skipped``; too slow is an outage."""
        began = time.monotonic()
        body = io.BytesIO()
        with _ended_after(self._body_seconds, answer.shutdown):
            for size in _pieces(skipped):
                if not answer.read(size):
                    break
            while (left := limit - body.tell()) > 0:
                piece = answer.read(min(left, _PIECE))
                if not piece:
                    break
                body.write(piece)
        if time.monotonic() - began >= self._body_seconds:
            raise TransientError(f"the server of {location} sent its answer too slowly")
        return body.getvalue()


class _HeadInTime(HTTPConnection):
    """A connection whose timeout counts for the head of an answer as a whole, not per byte."""

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # as its parent has it
        if self.sock is None or not isinstance(self.timeout, int | float):
            return super().getresponse()
        began = time.monotonic()
        with _ended_after(self.timeout, functools.partial(self.sock.shutdown, socket.SHUT_RD)):
            answer = super().getresponse()
        # A head that is cut off reads like one that says less.
        if time.monotonic() - began >= self.timeout:
            answer.close()
            raise TimeoutError
        return answer


class _SecureHeadInTime(_HeadInTime, HTTPSConnection):
    """The same over TLS."""


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _HeadInTime


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _SecureHeadInTime


@contextlib.contextmanager
def _ended_after(seconds: float, shut: Callable[[], None]) -> Iterator[None]:
    """Shut a socket from aside when the time is over: a read that gets a byte now and then has no
    end of its own."""

    def end() -> None:
        with contextlib.suppress(OSError, ValueError, RuntimeError):  # it has ended by itself
            shut()

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _pieces(size: int) -> Iterator[int]:
    """Sizes that add up to ``size``, each fit for memory."""
    for at in range(0, size, _PIECE):
        yield min(_PIECE, size - at)


def _require(answer: HTTPResponse, location: Location, *statuses: int) -> None:
    if answer.status in _MISSING:
        raise ObjectMissing(location)
    if 300 <= answer.status < 400:
        message = f"{location} redirects elsewhere; redirects are not followed"
        raise PermanentError(ErrorCode.URI_REFUSED, message)
    if answer.status not in statuses:
        raise TransientError(f"the server of {location} answered {answer.status}")


def _refuse_unfit(answer: HTTPResponse, location: Location, allowed: Allowance) -> None:
    """Refuse a body that is compressed, or of which nobody could say that it is whole."""
    encoding = answer.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        message = f"{location} is sent compressed, which was not asked for: serve it as it is"
        raise Unfit(allowed.refusal, message)
    if answer.length_remaining is None and not answer.chunked:
        raise TransientError(f"{location} came without a Content-Length")
