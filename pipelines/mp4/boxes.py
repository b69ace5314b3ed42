"""Boxes of the ISO base media file format: walked without trust, built without copies."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

#: Bytes of a box header with a 32-bit size.
SHORT_HEADER = 8
#: Bytes of a box header with a 64-bit size.
LONG_HEADER = 16
#: Most boxes side by side in one box: a list of empty boxes costs time, not memory.
MAX_CHILDREN = 1 << 16


class Mp4Error(ValueError):
    """Raised when bytes are not the MP4 that they claim to be, or a movie cannot be written as one."""


@dataclass(frozen=True)
class BoxHeader:
    """Name and extent of a box (ISO/IEC 14496-12, 4.2)."""

    name: bytes  #: four-character code
    header_size: int
    size: int  #: with the header

    @property
    def body_size(self) -> int:
        """Bytes after the header."""
        return self.size - self.header_size


@dataclass(frozen=True)
class Box:
    """A box that lies completely inside the bytes that were walked."""

    name: bytes  #: four-character code
    body: memoryview
    extent: memoryview  #: the box with its header


def printable(name: bytes) -> str:
    """A four-character code as text; quote it (``!r``) in messages."""
    return name.decode("ascii", "backslashreplace")


def read_header(data: memoryview, position: int = 0) -> BoxHeader | None:
    """The header of the box at ``position``; None when more bytes are needed to tell.

    Raises ``Mp4Error`` for size 0 ("to the end of the file": it has no end on a pipe, and ffmpeg
    leaves it behind when it cannot seek back) and for a size that its own header does not fit.
    """
    if len(data) - position < SHORT_HEADER:
        return None
    size, name = struct.unpack_from(">I4s", data, position)
    if size != 1:
        header = BoxHeader(name, SHORT_HEADER, size)
    elif len(data) - position < LONG_HEADER:
        return None
    else:
        header = BoxHeader(name, LONG_HEADER, struct.unpack_from(">Q", data, position + 8)[0])
    if header.size < header.header_size:
        raise Mp4Error(f"box {printable(name)!r} has the impossible size {header.size}")
    return header


def walk(data: memoryview, *, zero_ended: bool = False) -> Iterator[Box]:
    """The boxes that fill ``data``, in order; ``Mp4Error`` when they do not fit it exactly.

    ``zero_ended`` accepts the 32-bit zero with which QuickTime ends some lists of boxes.
    """
    position = count = 0
    while position < len(data):
        count += 1
        if count > MAX_CHILDREN:
            raise Mp4Error(f"a box holds more than {MAX_CHILDREN} boxes")
        if zero_ended and data[position:] == bytes(4):
            return
        header = read_header(data, position)
        if header is None:
            raise Mp4Error(f"{len(data) - position} bytes at the end of a box are no box")
        if header.size > len(data) - position:
            raise Mp4Error(
                f"box {printable(header.name)!r} claims {header.size} bytes "
                f"where {len(data) - position} are left"
            )
        extent = data[position : position + header.size]
        yield Box(header.name, extent[header.header_size :], extent)
        position += header.size


def find(data: memoryview, *path: bytes) -> Box | None:
    """The first box at ``path`` below ``data``, or None."""
    box = next((child for child in walk(data) if child.name == path[0]), None)
    return box if box is None or len(path) == 1 else find(box.body, *path[1:])


def require(data: memoryview, *path: bytes) -> Box:
    """The first box at ``path`` below ``data``; ``Mp4Error`` when there is none."""
    box = find(data, *path)
    if box is None:
        raise Mp4Error(f"box {'/'.join(map(printable, path))!r} is missing")
    return box


class Fields:
    """Reads the fields of one box in order; ``Mp4Error`` instead of reading beyond its end."""

    def __init__(self, body: memoryview, what: str) -> None:
        self._body = body
        self._what = what
        self.position = 0

    @property
    def remaining(self) -> int:
        """Bytes that have not been read."""
        return len(self._body) - self.position

    def take(self, size: int) -> memoryview:
        """The next ``size`` bytes."""
        if size > self.remaining:
            raise Mp4Error(f"{self._what} ends {size - self.remaining} bytes early")
        self.position += size
        return self._body[self.position - size : self.position]

    def rest(self) -> memoryview:
        """All bytes that have not been read."""
        return self.take(self.remaining)

    def unsigned(self, size: int) -> int:
        """A big-endian unsigned integer of ``size`` bytes."""
        return int.from_bytes(self.take(size), "big")

    def signed(self, size: int) -> int:
        """A big-endian two's complement integer of ``size`` bytes."""
        return int.from_bytes(self.take(size), "big", signed=True)

    def version(self) -> tuple[int, int]:
        """Version and flags of a full box (ISO/IEC 14496-12, 4.2.2)."""
        return self.unsigned(1), self.unsigned(3)

    def table(self, count: int, dtype: npt.DTypeLike) -> np.ndarray:
        """The next ``count`` numbers or records, as a view: nothing is allocated for a lie."""
        body = self.take(count * np.dtype(dtype).itemsize)
        return np.frombuffer(body, dtype, count)


def box(name: bytes, *bodies: bytes) -> bytes:
    """A small box with a 32-bit size."""
    return b"".join(container(name, bodies))


def full_box(name: bytes, version: int, flags: int, *bodies: bytes) -> bytes:
    """A small box that starts with version and flags."""
    return box(name, struct.pack(">I", version << 24 | flags), *bodies)


def container(name: bytes, pieces: Sequence[bytes]) -> list[bytes]:
    """A box around ``pieces``, still in pieces, so that large tables are copied only once."""
    size = SHORT_HEADER + sum(map(len, pieces))
    if size >= 1 << 32:
        raise Mp4Error(f"box {printable(name)!r} would be {size} bytes: more than MP4 allows")
    return [struct.pack(">I4s", size, name), *pieces]
