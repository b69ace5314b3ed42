"""Segments that slid out of a live window: which of them their source does not hold any more."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from pipelines.store_errors import ObjectMissing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.playlist import Recording, Segment
    from pipelines.source import SourceReader


def gone_from_source(reader: SourceReader, recording: Recording) -> frozenset[tuple[int, str]]:
    """Media sequence and location of all that are gone, of every playlist.

    Origins that forget segments delete the oldest first: some twenty questions find the border,
    however many there are. Raises ``TransientError`` when the source does not answer.
    """
    return frozenset(
        (each.sequence, str(each.location))
        for playlist in recording.media_playlists
        for each in _gone(reader, playlist.slid)
    )


def _gone(reader: SourceReader, slid: tuple[Segment, ...]) -> Iterator[Segment]:
    def is_there(segment: Segment) -> bool:
        try:
            return reader.size(segment.location) > 0
        except ObjectMissing:
            return False

    asked = [each for each in slid if not each.gap]
    if asked and not is_there(asked[0]):
        yield from asked[: bisect_left(asked, True, lo=1, key=is_there)]
