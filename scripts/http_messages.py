"""HTTP/1.1 messages on a socket as a proxy meets them: their heads, and how their bodies end."""

from __future__ import annotations

import select
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

_END = b"\r\n\r\n"
_LINE = b"\r\n"
_HEAD_LIMIT = 1 << 16
_READ = 1 << 18


class BrokenMessage(Exception):
    """Raised when a peer closed the connection inside a message, or does not speak HTTP/1.1."""


@dataclass(frozen=True)
class Head:
    """The first line of a message and its header fields; names of fields are in lower case."""

    line: str
    fields: tuple[tuple[str, str], ...]

    @classmethod
    def parse(cls, raw: bytes) -> Head:
        """Read a head without the empty line that ends it."""
        line, *lines = raw.decode("latin-1").split("\r\n")
        pairs = (each.partition(":")[::2] for each in lines)
        return cls(line, tuple((name.lower(), value.strip()) for name, value in pairs))

    def field(self, name: str) -> str | None:
        """The value of the first field of that name."""
        return next((value for each, value in self.fields if each == name), None)

    def without(self, name: str) -> Head:
        """The same head without the fields of that name."""
        return Head(self.line, tuple(each for each in self.fields if each[0] != name))

    def to_bytes(self) -> bytes:
        """The head as it is sent, with the empty line."""
        lines = [self.line, *(f"{name}: {value}" for name, value in self.fields)]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    @property
    def chunked(self) -> bool:
        """Whether the body is in chunks (RFC 9112, 7.1)."""
        return "chunked" in (self.field("transfer-encoding") or "").lower()

    @property
    def length(self) -> int | None:
        """``Content-Length``, if it is told."""
        told = self.field("content-length")
        return None if told is None else int(told)

    @property
    def closes(self) -> bool:
        """Whether the connection ends with this message."""
        return (self.field("connection") or "").lower() == "close"

    @property
    def status(self) -> int:
        """The status code of an answer."""
        return int(self.line.split(" ", 2)[1])


class Peer:
    """One end of a proxied connection, read message by message."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._buffer = bytearray()

    def send(self, data: bytes | bytearray) -> None:
        """Send all of it."""
        self.connection.sendall(data)

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    def is_gone(self) -> bool:
        """Whether the other end, which has nothing to say now, has closed the connection."""
        return bool(select.select([self.connection], [], [], 0)[0])

    def head(self) -> Head | None:
        """The next message's head; None when the peer has closed the connection between two."""
        while (end := self._buffer.find(_END)) < 0:
            if len(self._buffer) > _HEAD_LIMIT:
                raise BrokenMessage("a head without an end")
            if not self._fill():
                if self._buffer:
                    raise BrokenMessage("a head that is cut off")
                return None
        return Head.parse(self._take(end + len(_END))[:end])

    def body(self, length: int) -> Iterator[bytes]:
        """A body of so many bytes, as they come."""
        while length:
            if not self._buffer and not self._fill():
                raise BrokenMessage("a body that is cut off")
            piece = self._take(min(length, len(self._buffer)))
            length -= len(piece)
            yield piece

    def chunks(self) -> Iterator[bytes]:
        """A body in chunks, exactly as it is sent: sizes and trailer too."""
        while True:
            line = self._line()
            yield line
            size = int(line.split(b";")[0], 16)
            if not size:
                break
            yield from self.body(size + len(_LINE))
        while True:
            trailer = self._line()
            yield trailer
            if trailer == _LINE:
                return

    def rest(self) -> Iterator[bytes]:
        """A body that ends with the connection."""
        while self._buffer or self._fill():
            yield self._take(len(self._buffer))

    def _line(self) -> bytes:
        while (end := self._buffer.find(_LINE)) < 0:
            if len(self._buffer) > _HEAD_LIMIT or not self._fill():
                raise BrokenMessage("a chunk that is cut off")
        return self._take(end + len(_LINE))

    def _fill(self) -> bool:
        data = self.connection.recv(_READ)
        self._buffer += data
        return bool(data)

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken


def request_body(peer: Peer, head: Head) -> Iterator[bytes]:
    """The body of a request with that head, as it is sent."""
    return peer.chunks() if head.chunked else peer.body(head.length or 0)


def answer_body(peer: Peer, head: Head, method: str) -> Iterator[bytes]:
    """The body of an answer to ``method`` with that head, as it is sent (RFC 9112, 6.3)."""
    if method == "HEAD" or head.status in (204, 304):
        return iter(())
    if head.chunked:
        return peer.chunks()
    return peer.rest() if head.length is None else peer.body(head.length)


def ends_connection(head: Head, method: str) -> bool:
    """Whether nothing can follow an answer with that head on its connection."""
    bodiless = method == "HEAD" or head.status in (204, 304)
    return head.closes or not (bodiless or head.chunked or head.length is not None)
