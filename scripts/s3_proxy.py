"""A proxy before an S3 server: passes every request on as it is, over links as slow and as faulty
as it is told, and counts what passes.

Signatures stay good: the client signs the proxy's address, and the server checks the ``Host`` that
it is told. Faults are decided request by request by a ``Rule``, which may be replaced at any time.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self, TypeAlias

from scripts.http_messages import (
    BrokenMessage,
    Head,
    Peer,
    answer_body,
    ends_connection,
    request_body,
)
from scripts.ports import LOOPBACK
from scripts.s3_request import S3Request

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

_GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"
_BACKLOG = 256
#: What the kernel keeps of a connection for us: little, so that a slow link is felt at once.
_KERNEL_BYTES = 1 << 18
#: How far behind its rate a link may catch up, seconds: sleeping is never exact.
_SLACK_S = 0.05
_CONNECT_S = 5.0


@dataclass(frozen=True)
class Link:
    """The way to the store, as one connection sees it: the same both ways, one not slowing the other.

    ``bytes_per_second`` None is as fast as the machine; ``latency`` is added to every request, in
    seconds, as one round trip. All connections together get ``bytes_per_second_of_all`` each way.
    Slow start of TCP is not imitated.
    """

    bytes_per_second: float | None = None
    latency: float = 0.0
    bytes_per_second_of_all: float | None = None


@dataclass(frozen=True)
class Refusal:
    """An answer that the server never gave, such as 503 ``SlowDown``; it does not get the request."""

    status: int
    code: str
    retry_after: int | None = None  #: seconds, as the ``Retry-After`` field


@dataclass(frozen=True)
class LostRequest:
    """The connection breaks before the server gets the request."""


@dataclass(frozen=True)
class LostAnswer:
    """The server does what is asked; the connection breaks before its answer arrives."""


@dataclass(frozen=True)
class Wait:
    """The request gets to the server so many seconds later."""

    seconds: float


Fault: TypeAlias = Refusal | LostRequest | LostAnswer | Wait
#: Says what goes wrong with a request; None: nothing. Called by many threads at once.
Rule: TypeAlias = Callable[[S3Request], Fault | None]


@dataclass
class Traffic:
    """What has passed: requests by operation, faults by kind, bytes of bodies up and down."""

    requests: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    up: int = 0
    down: int = 0


def no_faults(_request: S3Request) -> Fault | None:
    """The rule of a store in order."""
    return None


class S3Proxy:
    """A proxy before the S3 server on ``upstream`` (a port of the loopback interface).

    A context: it listens inside of it, on ``port`` (0: any free one), and every connection ends
    with it. The server need not run yet, and may come and go: connections then break.
    """

    def __init__(
        self, upstream: int, *, port: int = 0, link: Link | None = None, rule: Rule = no_faults
    ) -> None:
        self.link = link or Link()
        self.rule = rule
        self._upstream = upstream
        rate = self.link.bytes_per_second_of_all
        self.up_of_all, self.down_of_all = Pace(rate), Pace(rate)
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _KERNEL_BYTES)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_BYTES)
        self._listener.bind((LOOPBACK, port))
        self._traffic = Traffic()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._ended = threading.Event()
        self._acceptor = threading.Thread(target=self._accept, name="s3-proxy", daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def endpoint(self) -> str:
        """Its address for S3 clients."""
        return f"http://{LOOPBACK}:{self.port}"

    def __enter__(self) -> Self:
        self._listener.listen(_BACKLOG)
        self._acceptor.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        with contextlib.suppress(OSError):  # shutdown wakes the thread that accepts
            self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()
        self.break_connections()

    def break_connections(self) -> None:
        """Break every connection that is open, whatever is under way on it."""
        with self._lock:
            connections = [*self._open]
        for connection in connections:
            with contextlib.suppress(OSError):  # it has just ended by itself
                connection.shutdown(socket.SHUT_RDWR)

    def traffic(self) -> Traffic:
        """What has passed so far."""
        with self._lock:
            now = self._traffic
            return replace(now, requests=Counter(now.requests), faults=Counter(now.faults))

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed: the proxy ends
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        self._note_open(connection)
        relay = _Relay(self, Peer(connection))
        try:
            while relay.exchange():
                pass
        except (BrokenMessage, OSError):  # either end is gone: so is the connection
            return
        finally:
            relay.close()
            self._note_closed(connection)

    def _note_open(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.add(connection)

    def _note_closed(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.discard(connection)

    def connect(self) -> socket.socket:
        """A new connection to the server; raises OSError when it is away."""
        connection = socket.create_connection((LOOPBACK, self._upstream), _CONNECT_S)
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._note_open(connection)
        return connection

    def disconnect(self, connection: socket.socket) -> None:
        """Close what ``connect`` made."""
        self._note_closed(connection)
        connection.close()

    def judge(self, request: S3Request) -> Fault | None:
        """Count a request, and ask the rule what goes wrong with it."""
        fault = self.rule(request)
        with self._lock:
            self._traffic.requests[request.operation] += 1
            if fault is not None:
                self._traffic.faults[type(fault).__name__] += 1
        return fault

    def count(self, *, up: int = 0, down: int = 0) -> None:
        """Count bytes of bodies."""
        with self._lock:
            self._traffic.up += up
            self._traffic.down += down

    def wait(self, seconds: float) -> None:
        """Wait, unless the proxy ends."""
        self._ended.wait(seconds)


class Pace:
    """How long to wait after each piece that passes, so that a rate is kept on the average."""

    def __init__(self, bytes_per_second: float | None) -> None:
        self._rate = bytes_per_second
        self._due = 0.0
        self._lock = threading.Lock()

    def pause(self, size: int, now: float) -> float:
        """Seconds to wait at ``now``, after ``size`` more bytes."""
        if self._rate is None:
            return 0.0
        with self._lock:
            self._due = max(self._due, now - _SLACK_S) + size / self._rate
            return max(0.0, self._due - now)


class _Relay:
    """One client's connection and the one to the server behind it, exchange by exchange."""

    def __init__(self, proxy: S3Proxy, client: Peer) -> None:
        self._proxy = proxy
        self._client = client
        self._server: Peer | None = None
        self._busy = False  #: whether the server owes an answer
        rate = proxy.link.bytes_per_second
        self._up = Pace(rate), proxy.up_of_all
        self._down = Pace(rate), proxy.down_of_all

    def close(self) -> None:
        self._client.close()
        self._leave_server()

    def exchange(self) -> bool:
        """Pass one request and its answer on; whether another one may follow."""
        head = self._client.head()
        if head is None:
            return False
        if (head.field("expect") or "").lower() == "100-continue":
            self._client.send(_GO_ON)
            head = head.without("expect")
        if self._proxy.link.latency:
            self._proxy.wait(self._proxy.link.latency)
        body = request_body(self._client, head)
        posted = b"".join(body) if head.line.startswith("POST ") else b""
        request = S3Request.of(head, posted)
        fault = self._proxy.judge(request)
        if isinstance(fault, Wait):
            self._proxy.wait(fault.seconds)
        if isinstance(fault, LostRequest):
            return False
        if isinstance(fault, Refusal):
            for piece in body:
                self._passed(self._up, len(piece))
            self._client.send(_refusal(fault, request.method))
            return True
        self._forward(head, [posted] if posted else body)
        return self._answered(request.method, lost=isinstance(fault, LostAnswer))

    def _forward(self, head: Head, body: Iterable[bytes]) -> None:
        server = self._connected()
        try:
            server.send(head.to_bytes())
            for piece in body:
                server.send(piece)
                self._proxy.count(up=len(piece))
                self._passed(self._up, len(piece))
        except BrokenPipeError:
            return  # a server may answer early and close: what it said is still to be read

    def _answered(self, method: str, *, lost: bool) -> bool:
        server = self._connected()
        head = server.head()
        while head is not None and head.status < 200:
            head = server.head()
        if head is None:
            return False
        if not lost:
            self._client.send(head.to_bytes())
        for piece in answer_body(server, head, method):
            self._proxy.count(down=len(piece))
            if not lost:
                self._client.send(piece)
                self._passed(self._down, len(piece))
        self._busy = False
        return not lost and not ends_connection(head, method)

    def _connected(self) -> Peer:
        if self._server is not None and not self._busy and self._server.is_gone():
            self._leave_server()
        self._busy = True
        if self._server is None:
            self._server = Peer(self._proxy.connect())
        return self._server

    def _leave_server(self) -> None:
        if self._server is not None:
            self._proxy.disconnect(self._server.connection)
            self._server = None

    def _passed(self, paces: Iterable[Pace], size: int) -> None:
        now = time.monotonic()
        pause = max(pace.pause(size, now) for pace in paces)
        if pause:
            self._proxy.wait(pause)


def _refusal(fault: Refusal, method: str) -> bytes:
    """The answer that a refusal is, with S3's XML unless it answers HEAD."""
    said = f"<Error><Code>{fault.code}</Code><Message>Refused by a proxy.</Message></Error>"
    body = b"" if method == "HEAD" else said.encode()
    fields = [("content-type", "application/xml"), ("content-length", str(len(body)))]
    if fault.retry_after is not None:
        fields.append(("retry-after", str(fault.retry_after)))
    return Head(f"HTTP/1.1 {fault.status} Refused", tuple(fields)).to_bytes() + body
