"""Reading a recording's playlists from where they lie, checked before anything is done with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipelines.errors import ErrorCode, PermanentError
from pipelines.m3u8 import parse, parse_media
from pipelines.playlist import ByteRange, MultivariantPlaylist, Recording, recording
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

    Media playlists of variants, of sound and of subtitles are read, each once. Segments, keys and
    playlists may lie in the playlist's own folder and below ``permitted``. All playlists together
    may list as many segments as one may. Raises ``PermanentError``: ``playlist_missing``,
    ``playlist_invalid``, ``recording_too_long``, ``uri_refused`` or ``encryption_unsupported``;
    sound and subtitles whose playlist is missing or invalid are left unread.
    """
    allowed = [location.folder, *permitted]
    first = parse(_read(reader, location), location, allowed=allowed)
    if not isinstance(first, MultivariantPlaylist):
        return recording(first)
    media = _MediaPlaylists(reader, location, allowed)
    for each in first.media_locations:
        media.read(each)
    for each in (*first.sound_locations, *first.subtitle_locations):
        media.read_if_there(each)
    return recording(first, media.found)


@dataclass
class _MediaPlaylists:
    """The media playlists of one multivariant playlist, as they are read."""

    reader: SourceReader
    location: Location  #: of the multivariant playlist
    allowed: Sequence[Location]
    found: dict[Location, MediaPlaylist] = field(default_factory=dict)
    listed: int = 0  #: segments so far

    def read(self, location: Location) -> None:
        """Read one, unless it was read; raises as ``read_recording`` does."""
        if location in self.found:
            return
        playlist = parse_media(_read(self.reader, location), location, allowed=self.allowed)
        self.listed += len(playlist.segments)
        if self.listed > MAX_SEGMENTS:
            message = (
                f"the playlists of {self.location} list more than {MAX_SEGMENTS} segments in all;"
                " record fewer variants, or longer segments"
            )
            raise PermanentError(ErrorCode.RECORDING_TOO_LONG, message)
        self.found[location] = playlist

    def read_if_there(self, location: Location) -> None:
        """Read one of sound or subtitles; it stays unread when it is missing or no playlist."""
        try:
            self.read(location)
        except PermanentError as error:
            if error.code not in (ErrorCode.PLAYLIST_MISSING, ErrorCode.PLAYLIST_INVALID):
                raise


def _read(reader: SourceReader, location: Location) -> bytes:
    try:
        data = reader.read(location, ByteRange(0, MAX_PLAYLIST_BYTES + 1), PLAYLIST)
    except ObjectMissing:
        message = f"there is no playlist at {location}"
        raise PermanentError(ErrorCode.PLAYLIST_MISSING, message) from None
    if len(data) > MAX_PLAYLIST_BYTES:
        message = (
            f"the playlist {location} has more than the {MAX_PLAYLIST_BYTES} bytes that are read"
        )
        raise PermanentError(ErrorCode.PLAYLIST_INVALID, message)
    return data
