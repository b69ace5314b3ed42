"""Reading HLS playlists: openm3u8 parses the tags that mean something to us, we believe nothing.

The library skips what it does not understand (a URI without EXTINF, for one), so what it returns is
counted and checked value by value. Section numbers are RFC 8216's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import openm3u8

from pipelines.errors import ErrorCode, PermanentError
from pipelines.location import Location, redact
from pipelines.location import allowed as is_allowed
from pipelines.playlist import (
    AudioRendition,
    ByteRange,
    CameraAngle,
    Encryption,
    InitSection,
    MediaPlaylist,
    MultivariantPlaylist,
    Segment,
    SubtitleRendition,
    Variant,
)
from pipelines.playlist_text import PlaylistText, invalid, read_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_BYTE_RANGE = re.compile(r"(\d{1,15})(?:@(\d{1,15}))?", re.ASCII)
_RESOLUTION = re.compile(r"(\d{1,6})x(\d{1,6})", re.ASCII | re.IGNORECASE)
_IV = re.compile(r"0[xX]([0-9A-Fa-f]{1,32})")
#: Most renditions (EXT-X-MEDIA) of a multivariant playlist.
MAX_RENDITIONS = 200
#: Names of sound in CODECS, by how they begin (RFC 6381).
_SOUND_CODECS = ("mp4a", "ac-3", "ec-3", "ac-4", "opus", "flac", "alac", "mp3")
#: File names that say nothing about a variant, so that its folder names it.
_PLAIN_STEMS = frozenset(
    {"index", "playlist", "master", "media", "output", "stream", "chunklist", "prog_index", "main"}
)


def parse(
    text: bytes, location: Location, *, allowed: Sequence[Location]
) -> MediaPlaylist | MultivariantPlaylist:
    """Read a playlist that was found at ``location``.

    ``allowed`` are the prefixes below which segments, init sections, keys and media playlists may
    lie: the recording's own folder, and what the settings permit.

    Raises PermanentError: ``playlist_invalid``, ``uri_refused`` (a URI lies elsewhere) or
    ``encryption_unsupported`` (all but AES-128 with a plain key).
    """
    lines = read_text(text, location)
    data = _parsed(lines)
    reader = _Reader(location, tuple(allowed))
    listed, variants = data["segments"], data["playlists"]
    if lines.has_segments and lines.variants:
        raise invalid(location, "lists both segments and variants")
    if len(variants if lines.variants else listed) != lines.uris or lines.variants != len(variants):
        raise invalid(location, "has a URI without its EXTINF or STREAM-INF, or the reverse")
    if lines.variants:
        return _multivariant(data, reader)
    segments = _segments(listed, lines, reader)
    return MediaPlaylist(
        location=location,
        segments=segments,
        ended=bool(data["is_endlist"]),
        target_duration=lines.target_duration(segments),
        kind=lines.kind(),
    )


def _parsed(lines: PlaylistText) -> dict[str, Any]:
    """What the library makes of the text, which is let go."""
    try:
        data: dict[str, Any] = openm3u8.parse(lines.take())
    except Exception:  # a C extension: it raises even SystemError for a bad number
        raise invalid(lines.location, "has a tag that cannot be read") from None
    return data


def parse_media(text: bytes, location: Location, *, allowed: Sequence[Location]) -> MediaPlaylist:
    """Read a playlist that a multivariant playlist named: it must not name others in its turn."""
    playlist = parse(text, location, allowed=allowed)
    if isinstance(playlist, MultivariantPlaylist):
        raise invalid(location, "is a multivariant playlist inside another one")
    return playlist


@dataclass(frozen=True)
class _Reader:
    """Turns what a playlist names into checked values; a map or key is checked once."""

    location: Location
    allowed: tuple[Location, ...]
    inits: dict[tuple[str, str, tuple[str, ...]], InitSection] = field(default_factory=dict)
    keys: dict[tuple[str, ...], Encryption] = field(default_factory=dict)

    def resolve(self, uri: str) -> Location:
        """Where a URI of the playlist leads, if it may (variables of EXT-X-DEFINE may not)."""
        if "{$" in uri:
            why = "variables (EXT-X-DEFINE) are not read"
        else:
            target = self.location.resolve(uri)
            if is_allowed(target, self.allowed):
                return target
            why = "it lies outside the recording and the permitted source prefixes"
        message = f"{redact(uri)!r} in {self.location} is refused: {why}."
        raise PermanentError(ErrorCode.URI_REFUSED, message)

    def byte_range(
        self, text: str | None, location: Location, before: Segment | None
    ) -> ByteRange | None:
        """EXT-X-BYTERANGE: without an offset it goes on where the segment before ended (4.3.2.2)."""
        if text is None:
            return None
        match = _BYTE_RANGE.fullmatch(text.strip())
        if match is None or int(match[1]) == 0:
            raise invalid(self.location, "has a byte range that cannot be read")
        length = int(match[1])
        if match[2] is not None:
            return ByteRange(int(match[2]), length)
        if before is None or before.byte_range is None or before.location != location:
            raise invalid(self.location, "has a byte range that continues nothing")
        return ByteRange(before.byte_range.end, length)

    def init_section(
        self, attributes: Mapping[str, str] | None, keys: tuple[str, ...]
    ) -> InitSection | None:
        """EXT-X-MAP (section 4.3.2.5); a range without an offset begins the object.

        ``keys``: the lines of the EXT-X-KEY tags in force where it stands.
        """
        if not attributes:
            return None
        uri, text = attributes.get("uri", ""), attributes.get("byterange", "")
        if (uri, text, keys) not in self.inits:
            if not uri:
                raise invalid(self.location, "has an EXT-X-MAP without a URI")
            location = self.resolve(uri)
            whole = text if "@" in text else f"{text}@0"
            byte_range = self.byte_range(whole, location, None) if text else None
            self.inits[uri, text, keys] = InitSection(location, byte_range, self.encryption(keys))
        return self.inits[uri, text, keys]

    def encryption(self, keys: tuple[str, ...]) -> Encryption | None:
        """What the lines of EXT-X-KEY tags that are in force together say (section 4.3.2.4)."""
        if not keys:
            return None
        if keys not in self.keys:
            self.keys[keys] = self._read_key([_key_attributes(key, self.location) for key in keys])
        return self.keys[keys]

    def plain_key(self, keys: Sequence[Mapping[str, str]]) -> Mapping[str, str]:
        """The one out of some ways to the same key that can be read: AES-128 with a plain key.

        Refuses any other METHOD beside it, in whatever order: the segments are encrypted in one
        way, so that one of the two does not hold.
        """
        others = [key for key in keys if key.get("method") != "AES-128"]
        plain = [key for key in keys if key.get("keyformat", "identity") == "identity"]
        if plain and not others:
            return plain[-1]
        odd = (others or keys)[0]
        method, key_format = odd.get("method", ""), odd.get("keyformat", "identity")
        raise PermanentError(
            ErrorCode.ENCRYPTION_UNSUPPORTED,
            f"The playlist {self.location} is encrypted with METHOD={method[:40]!r},"
            f" KEYFORMAT={key_format[:40]!r}; only AES-128 with a plain key is read.",
        )

    def _read_key(self, keys: Sequence[Mapping[str, str]]) -> Encryption:
        attributes = self.plain_key(keys)
        iv = _IV.fullmatch(attributes.get("iv", "0x0"))
        if iv is None or not attributes.get("uri"):
            raise invalid(self.location, "has an EXT-X-KEY without a readable URI and IV")
        vector = int(iv[1], 16).to_bytes(16, "big") if "iv" in attributes else None
        return Encryption("AES-128", self.resolve(attributes["uri"]), vector)


def _segments(
    listed: list[dict[str, Any]], lines: PlaylistText, reader: _Reader
) -> tuple[Segment, ...]:
    """The segments of what the library listed; ``listed`` is used up, as both together are large."""
    sequence = lines.number("#EXT-X-MEDIA-SEQUENCE")
    discontinuities = lines.number("#EXT-X-DISCONTINUITY-SEQUENCE")
    segments: list[Segment] = []
    keys: tuple[str, ...] = ()
    map_keys: tuple[str, ...] = ()
    listed.reverse()
    while listed:
        entry, position = listed.pop(), len(segments)
        keys = lines.keys.get(position, keys)
        map_keys = lines.map_keys.get(position, map_keys)
        if "uri" not in entry or "duration" not in entry:
            raise invalid(reader.location, f"has no EXTINF or URI for segment {position + 1}")
        tags = lines.discontinuities.get(position, 0)
        discontinuities += tags  # each counts (section 6.2.1)
        # Keys come before URIs: a refused method must say so, whatever its key URI looks like.
        encryption = reader.encryption(keys)
        location = reader.resolve(entry["uri"])
        before = segments[-1] if segments else None
        elapsed = before.elapsed + before.duration if before else 0.0
        segments.append(
            Segment(
                sequence=sequence + position,
                location=location,
                duration=float(entry["duration"]),
                byte_range=reader.byte_range(entry.get("byterange"), location, before),
                init_section=reader.init_section(entry.get("init_section"), map_keys),
                encryption=encryption,
                discontinuity=tags > 0,
                discontinuity_sequence=discontinuities,
                gap=bool(entry["gap_tag"]),
                program_date_time=lines.clocks.get(position),
                elapsed=elapsed,
            )
        )
    return tuple(segments)


def _key_attributes(line: str, location: Location) -> dict[str, str]:
    """The attributes of one EXT-X-KEY line, read as those that stand before segments."""
    data = _parsed(PlaylistText(location, lines=["#EXTM3U", line]))
    attributes: dict[str, str] = next(iter(data["keys"]), {})
    return attributes


@dataclass
class _Groups:
    """The renditions of a multivariant playlist by GROUP-ID (section 4.3.4.1.1)."""

    audio: dict[str, list[AudioRendition]] = field(default_factory=dict)
    subtitles: dict[str, list[SubtitleRendition]] = field(default_factory=dict)
    angles: dict[str, list[CameraAngle]] = field(default_factory=dict)

    def add(self, media: Mapping[str, str], location: Location | None) -> None:
        """Note one EXT-X-MEDIA; closed captions lie in the pictures, and are no rendition here."""
        group, name = media.get("group_id", ""), media.get("name", "")
        language, default = media.get("language"), media.get("default") == "YES"
        kind = media.get("type")
        if kind == "AUDIO":
            rendition = AudioRendition(name, language, default, location)
            self.audio.setdefault(group, []).append(rendition)
        elif kind == "SUBTITLES" and location is not None:
            forced = media.get("forced") == "YES"
            subtitles = SubtitleRendition(name, language, default, forced, location)
            self.subtitles.setdefault(group, []).append(subtitles)
        elif kind == "VIDEO" and location is not None:
            self.angles.setdefault(group, []).append(CameraAngle(name, location))

    @property
    def sound_locations(self) -> frozenset[Location]:
        """Playlists that hold sound alone."""
        listed = (each.location for group in self.audio.values() for each in group)
        return frozenset(location for location in listed if location is not None)


def _multivariant(data: Mapping[str, Any], reader: _Reader) -> MultivariantPlaylist:
    keys = [key for key in data["session_keys"] if key.get("method") != "NONE"]
    if keys:
        reader.plain_key(keys)
    if len(data["media"]) > MAX_RENDITIONS:
        raise invalid(reader.location, f"lists more than {MAX_RENDITIONS} renditions")
    groups = _Groups()
    for media in data["media"]:
        groups.add(media, reader.resolve(media["uri"]) if media.get("uri") else None)
    variants = (_variant(entry, groups, reader) for entry in data["playlists"])
    return MultivariantPlaylist(reader.location, tuple(variants))


def _variant(entry: Mapping[str, Any], groups: _Groups, reader: _Reader) -> Variant:
    info = entry["stream_info"]
    location = reader.resolve(entry["uri"])
    resolution = _RESOLUTION.fullmatch(info["resolution"]) if "resolution" in info else None
    numbers = [info.get(name) for name in ("bandwidth", "average_bandwidth", "frame_rate")]
    readable = all(n is None or (not isinstance(n, str) and 0 <= n < 2**53) for n in numbers)
    if not readable or ("resolution" in info and resolution is None):
        raise invalid(reader.location, "has an EXT-X-STREAM-INF with an unreadable number")
    codecs = tuple(filter(None, (codec.strip() for codec in info.get("codecs", "").split(","))))
    angles = groups.angles.get(info.get("video", ""), ())
    return Variant(
        name=info.get("name", "").strip("\"' ") or _variant_name(location),
        location=location,
        bandwidth=numbers[0] or 0,
        average_bandwidth=numbers[1],
        width=int(resolution[1]) if resolution else None,
        height=int(resolution[2]) if resolution else None,
        frame_rate=numbers[2],
        codecs=codecs,
        audio=tuple(groups.audio.get(info.get("audio", ""), ())),
        subtitles=tuple(groups.subtitles.get(info.get("subtitles", ""), ())),
        angles=tuple(each for each in angles if each.location != location),
        sound_only=resolution is None
        and (_is_sound_alone(codecs) or location in groups.sound_locations),
    )


def _is_sound_alone(codecs: Sequence[str]) -> bool:
    """Whether CODECS names sound and nothing else."""
    return bool(codecs) and all(codec.lower().startswith(_SOUND_CODECS) for codec in codecs)


def _variant_name(location: Location) -> str:
    """What a variant without NAME is called: ``720p0`` for 720p0/index.m3u8 and for 720p0.m3u8."""
    *folders, last = location.path.strip("/").split("/")
    stem = last.rsplit(".", 1)[0]
    return folders[-1] if folders and stem.lower() in _PLAIN_STEMS else stem
