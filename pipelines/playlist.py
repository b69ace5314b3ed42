"""What a recording is made of: segments in media playlists, media playlists in variants."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from dataclasses import dataclass, field, replace
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
class Encryption:
    """How a segment is encrypted (EXT-X-KEY); without ``iv`` the media sequence number is it."""

    method: str
    location: Location
    iv: bytes | None = None


@dataclass(frozen=True, slots=True)
class InitSection:
    """What a decoder reads before an fMP4 segment (EXT-X-MAP).

    ``encryption`` is that of the EXT-X-KEY before its tag, which need not be its segments'.
    """

    location: Location
    byte_range: ByteRange | None = None
    encryption: Encryption | None = None


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
    given_up: str = ""  #: why it is left out although it is there; packaging alone decides that
    #: Sum of EXTINF of those listed before it, seconds: another one when a live window moves on.
    elapsed: float = field(default=0.0, compare=False)
    #: It slid out of its live window: the playlist listed it once, and does not any more.
    slid: bool = field(default=False, compare=False)

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
                [str(init.location), _numbers(init.byte_range), _key(init.encryption)]
                if init
                else None,
                _key(key),
                self.discontinuity,
                self.gap,
            ]
        )


def _key(encryption: Encryption | None) -> list[str | None] | None:
    if encryption is None:
        return None
    iv = encryption.iv.hex() if encryption.iv else None
    return [encryption.method, str(encryption.location), iv]


def _numbers(byte_range: ByteRange | None) -> list[int] | None:
    return [byte_range.offset, byte_range.length] if byte_range else None


@dataclass(frozen=True)
class MediaPlaylist:
    """The segments of one stream in order; ``ended`` when EXT-X-ENDLIST says that no more come.

    ``target_duration`` is in seconds, and may be a fraction or less than a segment's duration.
    Of a live one whose window slides, ``segments`` begin with those that slid out of it
    (``pipelines.listing``).
    """

    location: Location
    segments: tuple[Segment, ...]
    ended: bool
    target_duration: float
    kind: PlaylistKind
    #: By how much media sequences are higher than listed, since its origin counted anew.
    renumbered: int = 0
    #: Media sequences of the segments with which its origin began anew.
    restarts: tuple[int, ...] = ()

    @property
    def duration(self) -> float:
        """Sum of EXTINF, seconds."""
        return math.fsum(segment.duration for segment in self.segments)

    @property
    def slid(self) -> tuple[Segment, ...]:
        """The segments that it lists no longer."""
        return tuple(segment for segment in self.segments if segment.slid)

    @property
    def window(self) -> tuple[Segment, ...]:
        """The segments that it lists now."""
        return tuple(segment for segment in self.segments if not segment.slid)

    @property
    def may_slide(self) -> bool:
        """Whether segments may leave it (RFC 8216 section 6.2.2): no type and no end forbids it."""
        return self.kind is PlaylistKind.LIVE and not self.ended


@dataclass(frozen=True)
class AudioRendition:
    """An audio rendition of a group (EXT-X-MEDIA); without ``location`` it is muxed in.

    ``playlist`` is None until it was read, where there is no ``location``, and where none is there.
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
class CameraAngle:
    """Another picture of the same scene (EXT-X-MEDIA, TYPE=VIDEO): listed, and not packaged."""

    name: str
    location: Location


@dataclass(frozen=True)
class Variant:
    """One quality of the recording (EXT-X-STREAM-INF, RFC 8216 section 4.3.4.2).

    ``playlists`` is empty until they were read; the first is the one at ``location``. Bandwidths
    are bit/s, 0 and None when not known; ``name`` is unique in its recording. ``sound_only``: it
    has no pictures, as far as the multivariant playlist tells.
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
    angles: tuple[CameraAngle, ...] = ()
    sound_only: bool = False
    playlists: tuple[MediaPlaylist, ...] = ()

    @property
    def sound(self) -> tuple[AudioRendition, ...]:
        """The sound that lies in playlists of its own: the default first, then as listed.

        A playlist counts once, and the variant's own one is no sound beside it.
        """
        apart: dict[Location, AudioRendition] = {}
        for rendition in sorted(self.audio, key=lambda each: not each.default):
            if rendition.location is not None and rendition.location != self.location:
                apart.setdefault(rendition.location, rendition)
        return tuple(apart.values())

    @property
    def media_playlists(self) -> tuple[MediaPlaylist, ...]:
        """All that were read for it: its own, those of its sound, those of its subtitles."""
        sound = (each.playlist for each in self.sound)
        subtitles = (each.playlist for each in self.subtitles)
        return (*self.playlists, *filter(None, sound), *filter(None, subtitles))

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The segments of the main playlist."""
        return self.playlists[0].segments if self.playlists else ()

    @property
    def rank(self) -> tuple[bool, int, int]:
        """The larger, the better: by picture, then by bandwidth."""
        return not self.sound_only, (self.width or 0) * (self.height or 0), self.bandwidth


@dataclass(frozen=True)
class MultivariantPlaylist:
    """The variants that a multivariant playlist names, their media playlists not yet read."""

    location: Location
    variants: tuple[Variant, ...]

    @property
    def media_locations(self) -> tuple[Location, ...]:
        """The media playlists of variants, without which there is no recording, each once."""
        return tuple(dict.fromkeys(variant.location for variant in self.variants))

    @property
    def sound_locations(self) -> tuple[Location, ...]:
        """The media playlists of sound alone, each once."""
        named = (each.location for variant in self.variants for each in variant.sound)
        return tuple(dict.fromkeys(place for place in named if place is not None))

    @property
    def subtitle_locations(self) -> tuple[Location, ...]:
        """The media playlists of subtitles, each once."""
        named = (each.location for variant in self.variants for each in variant.subtitles)
        return tuple(dict.fromkeys(named))


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
        return all(listed.ended for listed in self.media_playlists)

    @property
    def media_playlists(self) -> tuple[MediaPlaylist, ...]:
        """All that were read, sound and subtitles too, each once."""
        read = {
            listed.location: listed
            for variant in self.variants
            for listed in variant.media_playlists
        }
        return tuple(read.values())

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over every listed segment: differs when another recording is meant."""
        digest = hashlib.sha256()
        for variant in self.variants:
            for main in variant.playlists:
                _note_listed(digest, main)
            for sound in variant.sound:
                digest.update(json.dumps([sound.name, sound.language, sound.default]).encode())
                _note_listed(digest, sound.playlist)
            for text in variant.subtitles:
                named = [text.name, text.language, text.default, text.forced]
                digest.update(json.dumps(named).encode())
                _note_listed(digest, text.playlist)
        return digest.hexdigest()

    def variant(self, name: str) -> Variant:
        """The variant of that name; raises PermanentError when the recording has none (any more)."""
        for variant in self.variants:
            if variant.name == name:
                return variant
        raise PermanentError(
            ErrorCode.PLAYLIST_MISSING, f"{self.location} lists no variant {name!r} any more."
        )


def _note_listed(digest: hashlib._Hash, listed: MediaPlaylist | None) -> None:
    """Add the segments of a playlist, if it was read."""
    if listed is None:
        return
    digest.update(f"{listed.location}\n".encode())
    for segment in listed.segments:
        digest.update(f"{segment.identity}\n".encode())


def recording(
    playlist: MediaPlaylist | MultivariantPlaylist,
    media: Mapping[Location, MediaPlaylist] | None = None,
) -> Recording:
    """Put together what was read: the playlist first met, and the media playlists that it names.

    Raises PermanentError (``playlist_missing``) when a variant's own is not in ``media``. Sound and
    subtitles may lack theirs: a recording without them is worth keeping.
    """
    if isinstance(playlist, MediaPlaylist):
        only = Variant(ONLY_VARIANT, playlist.location, playlists=(playlist,))
        return Recording(playlist.location, (only,))
    read = media or {}
    for location in playlist.media_locations:
        if location not in read:
            raise PermanentError(
                ErrorCode.PLAYLIST_MISSING,
                f"{playlist.location} lists {location}, which is not there.",
            )
    variants = []
    times_named: Counter[str] = Counter()
    for variant in playlist.variants:
        times_named[variant.name] += 1
        count = times_named[variant.name]
        variants.append(
            replace(
                variant,
                name=variant.name if count == 1 else f"{variant.name} ({count})",
                playlists=(read[variant.location],),
                audio=tuple(
                    replace(each, playlist=read.get(each.location) if each.location else None)
                    for each in variant.audio
                ),
                subtitles=tuple(
                    replace(each, playlist=read.get(each.location)) for each in variant.subtitles
                ),
            )
        )
    return Recording(playlist.location, tuple(variants))
