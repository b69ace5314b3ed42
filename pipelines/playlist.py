"""What a recording is made of: segments in media playlists, media playlists in variants."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from pipelines.errors import ErrorCode, PermanentError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from pipelines.location import Location

#: Name of the only variant of a recording that has no multivariant playlist.
ONLY_VARIANT = "source"


class PlaylistKind(StrEnum):
    """EXT-X-PLAYLIST-TYPE (RFC 8216 section 4.3.3.5); LIVE when there is none."""

    VOD = "vod"
    EVENT = "event"
    LIVE = "live"


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes of an object that make up a segment (EXT-X-BYTERANGE), both in bytes."""

    offset: int
    length: int

    @property
    def end(self) -> int:
        """Offset of the first byte behind the range."""
        return self.offset + self.length


@dataclass(frozen=True, slots=True)
class InitSection:
    """What a decoder reads before an fMP4 segment (EXT-X-MAP)."""

    location: Location
    byte_range: ByteRange | None = None


@dataclass(frozen=True, slots=True)
class Encryption:
    """How a segment is encrypted (EXT-X-KEY); without ``iv`` the media sequence number is it."""

    method: str
    location: Location
    iv: bytes | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment of a media playlist; ``duration`` is what EXTINF says, in seconds: a hint."""

    sequence: int
    location: Location
    duration: float
    byte_range: ByteRange | None = None
    init_section: InitSection | None = None
    encryption: Encryption | None = None
    discontinuity: bool = False  #: an EXT-X-DISCONTINUITY stands before it
    discontinuity_sequence: int = 0
    gap: bool = False  #: EXT-X-GAP: listed, and known not to be there
    program_date_time: datetime | None = None  #: wall clock of its first sample, when tagged

    @property
    def identity(self) -> str:
        """All that makes it the same segment when it is listed again.

        Queries are left out: signed URLs change at every read of a playlist.
        """
        init, key = self.init_section, self.encryption
        return json.dumps(
            [
                self.sequence,
                str(self.location),
                _numbers(self.byte_range),
                [str(init.location), _numbers(init.byte_range)] if init else None,
                [key.method, str(key.location), key.iv.hex() if key.iv else None] if key else None,
                self.discontinuity,
                self.gap,
            ]
        )


def _numbers(byte_range: ByteRange | None) -> list[int] | None:
    return [byte_range.offset, byte_range.length] if byte_range else None


@dataclass(frozen=True)
class MediaPlaylist:
    """The segments of one stream in order; ``ended`` when EXT-X-ENDLIST says that no more come.

    ``target_duration`` is in seconds, and may be a fraction or less than a segment's duration.
    """

    location: Location
    segments: tuple[Segment, ...]
    ended: bool
    target_duration: float
    kind: PlaylistKind

    @property
    def duration(self) -> float:
        """Sum of EXTINF, seconds."""
        return math.fsum(segment.duration for segment in self.segments)


@dataclass(frozen=True)
class AudioRendition:
    """An audio rendition of a group (EXT-X-MEDIA); without ``location`` it is muxed in.

    ``playlist`` is None until it was read, and where there is no ``location``.
    """

    name: str
    language: str | None
    default: bool
    location: Location | None
    playlist: MediaPlaylist | None = None


@dataclass(frozen=True)
class SubtitleRendition:
    """A rendition of WebVTT subtitles of a group (EXT-X-MEDIA, TYPE=SUBTITLES)."""

    name: str
    language: str | None
    default: bool
    forced: bool
    location: Location
    playlist: MediaPlaylist | None = None  #: None until it was read


@dataclass(frozen=True)
class Variant:
    """One quality of the recording (EXT-X-STREAM-INF, RFC 8216 section 4.3.4.2).

    ``playlists`` is empty until they were read; the first is the one at ``location``. Bandwidths
    are bit/s, 0 and None when not known; ``name`` is unique in its recording.
    """

    name: str
    location: Location
    bandwidth: int = 0
    average_bandwidth: int | None = None
    width: int | None = None
    height: int | None = None
    frame_rate: float | None = None
    codecs: tuple[str, ...] = ()
    audio: tuple[AudioRendition, ...] = ()
    subtitles: tuple[SubtitleRendition, ...] = ()
    playlists: tuple[MediaPlaylist, ...] = ()

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The segments of the main playlist."""
        return self.playlists[0].segments if self.playlists else ()

    @property
    def rank(self) -> tuple[int, int]:
        """The larger, the better: by picture, then by bandwidth."""
        return (self.width or 0) * (self.height or 0), self.bandwidth


@dataclass(frozen=True)
class MultivariantPlaylist:
    """The variants that a multivariant playlist names, their media playlists not yet read."""

    location: Location
    variants: tuple[Variant, ...]

    @property
    def media_locations(self) -> tuple[Location, ...]:
        """The media playlists to be read, each once."""
        return tuple(dict.fromkeys(variant.location for variant in self.variants))


@dataclass(frozen=True)
class Recording:
    """A recording as its playlists describe it at one moment."""

    location: Location
    variants: tuple[Variant, ...]

    @property
    def source(self) -> Variant:
        """The best variant: largest picture, then highest bandwidth, then first listed."""
        return max(self.variants, key=lambda variant: variant.rank)

    @property
    def duration(self) -> float:
        """Sum of EXTINF of the best variant, seconds."""
        return self.source.playlists[0].duration

    @property
    def segment_count(self) -> int:
        """How many segments the best variant lists."""
        return len(self.source.segments)

    @property
    def ended(self) -> bool:
        """Whether no playlist will list another segment."""
        return all(listed.ended for variant in self.variants for listed in variant.playlists)

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over every listed segment: differs when another recording is meant."""
        digest = hashlib.sha256()
        for variant in self.variants:
            for listed in variant.playlists:
                digest.update(f"{listed.location}\n".encode())
                for segment in listed.segments:
                    digest.update(f"{segment.identity}\n".encode())
        return digest.hexdigest()

    def variant(self, name: str) -> Variant:
        """The variant of that name; raises PermanentError when the recording has none (any more)."""
        for variant in self.variants:
            if variant.name == name:
                return variant
        raise PermanentError(
            ErrorCode.PLAYLIST_MISSING, f"{self.location} lists no variant {name!r} any more."
        )


def recording(
    playlist: MediaPlaylist | MultivariantPlaylist,
    media: Mapping[Location, MediaPlaylist] | None = None,
) -> Recording:
    """Put together what was read: the playlist first met, and the media playlists that it names.

    Raises PermanentError (``playlist_missing``) when one of those is not in ``media``.
    """
    if isinstance(playlist, MediaPlaylist):
        only = Variant(ONLY_VARIANT, playlist.location, playlists=(playlist,))
        return Recording(playlist.location, (only,))
    variants = []
    times_named: Counter[str] = Counter()
    for variant in playlist.variants:
        main = (media or {}).get(variant.location)
        if main is None:
            raise PermanentError(
                ErrorCode.PLAYLIST_MISSING,
                f"{playlist.location} lists {variant.location}, which is not there.",
            )
        times_named[variant.name] += 1
        count = times_named[variant.name]
        name = variant.name if count == 1 else f"{variant.name} ({count})"
        variants.append(replace(variant, name=name, playlists=(main,)))
    return Recording(playlist.location, tuple(variants))
