"""Reading a recording's playlists from where they lie, checked before anything is done with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.errors import ErrorCode, PermanentError
from pipelines.m3u8 import parse, parse_media
from pipelines.playlist import MultivariantPlaylist, Recording, recording
from pipelines.playlist_text import MAX_SEGMENTS
from pipelines.source import MAX_PLAYLIST_BYTES, PLAYLIST
from pipelines.store_errors import ObjectMissing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.location import Location
    from pipelines.playlist import MediaPlaylist
    from pipelines.source import SourceReader


def read_recording(
    reader: SourceReader, location: Location, permitted: Sequence[Location]
) -> Recording:
    """The recording whose (multivariant or media) playlist lies at ``location``.

    Segments, keys and playlists may lie in the playlist's own folder and below ``permitted``.
    All variants together may list as many segments as one may. Raises ``PermanentError``:
    ``playlist_missing``, ``playlist_invalid``, ``recording_too_long``, ``uri_refused`` or
    ``encryption_unsupported``.
    """
    allowed = [location.folder, *permitted]
    first = parse(_read(reader, location), location, allowed=allowed)
    if not isinstance(first, MultivariantPlaylist):
        return recording(first)
    media: dict[Location, MediaPlaylist] = {}
    listed = 0
    for each in first.media_locations:
        media[each] = parse_media(_read(reader, each), each, allowed=allowed)
        listed += len(media[each].segments)
        if listed > MAX_SEGMENTS:
            message = (
                f"the variants of {location} list more than {MAX_SEGMENTS} segments in all;"
                " record fewer variants, or longer segments"
            )
            raise PermanentError(ErrorCode.RECORDING_TOO_LONG, message)
    return recording(first, media)


def _read(reader: SourceReader, location: Location) -> bytes:
    try:
        size = reader.size(location)
        if size > MAX_PLAYLIST_BYTES:
            message = f"the playlist {location} has {size} bytes, more than is read"
            raise PermanentError(ErrorCode.PLAYLIST_INVALID, message)
        return reader.read(location, allowed=PLAYLIST)
    except ObjectMissing:
        message = f"there is no playlist at {location}"
        raise PermanentError(ErrorCode.PLAYLIST_MISSING, message) from None
