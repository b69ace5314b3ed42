"""The media initialization sections of a recording (EXT-X-MAP, RFC 8216, 4.3.2.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.encryption import NotDecrypted
from pipelines.errors import ErrorCode, PermanentError, TransientError
from pipelines.http_source import Allowance
from pipelines.loss import NOT_THERE
from pipelines.mp4.boxes import Mp4Error
from pipelines.mp4.fragments import read_header_section
from pipelines.source import patiently
from pipelines.store_errors import ObjectMissing

if TYPE_CHECKING:
    from pipelines.mp4.movie_header import MovieHeader
    from pipelines.playlist import InitSection, Segment
    from pipelines.source import SourceReader

#: The largest media initialization section that is read.
MAX_INIT_BYTES = 16 << 20


class InitUnreadable(Exception):
    """Raised when a section is missing or damaged; says which, and what is wrong with it."""


class InitSections:
    """Reads and checks each section once.

    Raises ``PermanentError`` for what cannot be packaged as it is (``encryption_unsupported``,
    ``codec_unsupported``, ``rendition_unsupported``), and ``TransientError`` for outages and for a
    section that is not there, unless that ``missing_is_final``.
    """

    def __init__(self, reader: SourceReader, *, missing_is_final: bool = True) -> None:
        self._reader = reader
        self.missing_is_final = missing_is_final
        self._read: dict[InitSection, tuple[bytes, MovieHeader] | InitUnreadable] = {}

    def movie(self, segment: Segment) -> MovieHeader:
        """The header that a segment's samples refer to; raises ``InitUnreadable``."""
        return self._checked(segment)[1]

    def data(self, segment: Segment) -> bytes:
        """The bytes of that section in the clear, for programs that read it themselves."""
        return self._checked(segment)[0]

    def _checked(self, segment: Segment) -> tuple[bytes, MovieHeader]:
        section = segment.init_section
        if section is None:
            message = f"segment {segment.sequence} is fragmented MP4 without EXT-X-MAP"
            raise PermanentError(ErrorCode.PLAYLIST_INVALID, message)
        if section not in self._read:
            self._read[section] = self._opened(section, segment)
        found = self._read[section]
        if isinstance(found, InitUnreadable):
            raise found
        return found

    def _opened(
        self, section: InitSection, segment: Segment
    ) -> tuple[bytes, MovieHeader] | InitUnreadable:
        where = f"its initialization section {section.location}"
        try:
            data = self._fetched(section)
            movie = read_header_section(data)
        except ObjectMissing as missing:
            own = missing.location == section.location
            what = where if own else f"{where} cannot be read: its key {missing.location}"
            return InitUnreadable(f"{what} {NOT_THERE}")
        except (NotDecrypted, Mp4Error) as error:
            return InitUnreadable(f"{where} cannot be read: {error}")
        _refuse_unsupported(movie, f"segment {segment.sequence} ({segment.location})")
        return data, movie

    def _fetched(self, section: InitSection) -> bytes:
        """Its bytes in the clear; too many of them are none of a section."""
        final = self.missing_is_final
        try:
            size = section.byte_range.length if section.byte_range else None
            size = size or patiently(lambda: self._reader.size(section.location), final=final)
            if size > MAX_INIT_BYTES:
                raise Mp4Error("it is larger than 16 MiB")
            allowed = Allowance(MAX_INIT_BYTES, ErrorCode.SEGMENT_DAMAGED)
            data = self._reader.read(section.location, section.byte_range, allowed)
            if section.encryption:
                data = self._reader.keys.init_section(data, section.encryption)
        except ObjectMissing as missing:
            if final:
                raise
            message = f"{missing.location}, which segments need, is not there yet"
            raise TransientError(message, ErrorCode.SEGMENT_MISSING) from None
        return data


def _refuse_unsupported(movie: MovieHeader, where: str) -> None:
    for track in movie.tracks:
        if track.encrypted:
            message = f"{where}: track {track.track_id} is encrypted ({track.four_cc})"
            raise PermanentError(ErrorCode.ENCRYPTION_UNSUPPORTED, message)
        if track.kind is not None and track.codec is None:
            message = f"{where}: codec {track.four_cc} is not supported"
            raise PermanentError(ErrorCode.CODEC_UNSUPPORTED, message)
    if sum(track.kind == "video" for track in movie.tracks) > 1:
        message = f"{where} holds more than one video track"
        raise PermanentError(ErrorCode.RENDITION_UNSUPPORTED, message)
