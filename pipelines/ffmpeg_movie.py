"""The fragmented MP4 that an ffmpeg writes: read to its end, and refused when it is damaged."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Protocol

from pipelines.errors import ErrorCode, ToolError
from pipelines.mp4.boxes import Mp4Error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.process import FilterProcess


class MovieReader(Protocol):
    """Takes one movie as it is written."""

    def take(self, piece: bytes) -> None:
        """Read the next bytes; ``Mp4Error`` for what is damaged."""

    def close(self) -> None:
        """Say that ffmpeg has ended; ``Mp4Error`` when its output is cut off."""


def read_movie(child: FilterProcess, reader: MovieReader) -> None:
    """Give all that the running child writes to the reader; ``ToolError`` when either fails."""
    with refusing_damage():
        for piece in child.output():
            reader.take(piece)
        child.outcome()
        reader.close()


@contextlib.contextmanager
def refusing_damage() -> Iterator[None]:
    """Make damage of what ffmpeg wrote ffmpeg's failure: a ``ToolError`` (``ffmpeg_failed``)."""
    try:
        yield
    except Mp4Error as error:
        message = f"ffmpeg's output is not what we accept: {error}"
        raise ToolError(ErrorCode.FFMPEG_FAILED, message) from error
