"""The lines of a playlist that mean something to us, chosen and checked before they are parsed.

The parsing library is lenient where a recording would be silently cut (a duration of rubbish is 0,
so is a bad MEDIA-SEQUENCE), so those tags are read here. Section numbers are RFC 8216's.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pipelines.errors import ErrorCode, PermanentError
from pipelines.playlist import PlaylistKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.location import Location
    from pipelines.playlist import Segment

#: Limits against playlists made to exhaust memory; a packaged recording holds fewer segments.
MAX_BYTES = 64 << 20
MAX_LINE = 64 << 10
MAX_SEGMENTS = 500_000
MAX_LINES = 8 * MAX_SEGMENTS
MAX_VARIANTS = 100
#: Longest EXTINF that is believed, seconds.
MAX_SEGMENT_DURATION = 86_400.0
#: Years of EXT-X-PROGRAM-DATE-TIME that are believed.
FIRST_YEAR, LAST_YEAR = 1970, 2200

_EXTINF = re.compile(r"#EXTINF:\s*(\d{1,12}(?:\.\d*)?|\.\d+)\s*(?:,.*)?", re.ASCII)
_NUMBER = re.compile(r"\s*(\d{1,18})(?:\.\d*)?\s*", re.ASCII)
#: What says which EXT-X-KEY tags hold at once (section 4.3.2.4).
_KEY_ATTRIBUTE = re.compile(r'([A-Z0-9-]+)\s*=\s*("[^"]*"|[^",]*)', re.ASCII)
#: Most of them: one for each system of keys that players have.
MAX_KEYS = 16
#: Tags with one value, read here because the library drops a value that it cannot read.
_VALUES = frozenset(
    {
        "#EXT-X-TARGETDURATION",
        "#EXT-X-MEDIA-SEQUENCE",
        "#EXT-X-DISCONTINUITY-SEQUENCE",
        "#EXT-X-PLAYLIST-TYPE",
    }
)
_DISCONTINUITY = "#EXT-X-DISCONTINUITY"
#: Tags of time before a URI: the library reads no more than one discontinuity there.
_TIMING = frozenset({_DISCONTINUITY, "#EXT-X-PROGRAM-DATE-TIME"})
#: Tags that the library reads for us; all others (parts, hints, ads, comments) change nothing.
_LIBRARY = frozenset(
    {
        "#EXT-X-BYTERANGE",
        "#EXT-X-MAP",
        "#EXT-X-SESSION-KEY",
        "#EXT-X-GAP",
        "#EXT-X-ENDLIST",
        "#EXT-X-STREAM-INF",
        "#EXT-X-MEDIA",
    }
)
_REFUSED = {
    "#EXT-X-SKIP": "is a delta update (EXT-X-SKIP), not a whole playlist",
    "#EXT-X-I-FRAMES-ONLY": "lists key frames only (EXT-X-I-FRAMES-ONLY), not a recording",
}


def invalid(location: Location, what: str) -> PermanentError:
    """The refusal of a playlist, in a sentence that ends with ``what``."""
    return PermanentError(ErrorCode.PLAYLIST_INVALID, f"The playlist {location} {what}.")


@dataclass
class PlaylistText:
    """The lines worth parsing, and what was read from them on the way."""

    location: Location
    lines: list[str] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)
    clocks: dict[int, datetime] = field(default_factory=dict)  #: by position of the URI
    #: How many EXT-X-DISCONTINUITY tags stand before a URI, by its position.
    discontinuities: Counter[int] = field(default_factory=Counter)
    #: The lines of the EXT-X-KEY tags in force from a URI on, and at an EXT-X-MAP, by position of
    #: the URI that they come before.
    keys: dict[int, tuple[str, ...]] = field(default_factory=dict)
    map_keys: dict[int, tuple[str, ...]] = field(default_factory=dict)
    uris: int = 0
    variants: int = 0
    has_segments: bool = False

    def take(self) -> str:
        """What the library is given, once: the lines are not kept beside it."""
        text = "\n".join(self.lines)
        self.lines.clear()
        return text

    def number(self, tag: str) -> int:
        """The value of a tag that counts; 0 when there is none."""
        match = _NUMBER.fullmatch(self.values.get(tag, "0"))
        if match is None:
            raise invalid(self.location, f"has a {tag[1:]} that is not a number")
        return int(match[1])

    def target_duration(self, segments: Sequence[Segment]) -> float:
        """EXT-X-TARGETDURATION in seconds (a fraction is accepted); else the longest EXTINF."""
        self.number("#EXT-X-TARGETDURATION")
        stated = self.values.get("#EXT-X-TARGETDURATION")
        if stated is not None:
            return float(stated)
        return max((segment.duration for segment in segments), default=0.0)

    def kind(self) -> PlaylistKind:
        """EXT-X-PLAYLIST-TYPE; what is neither VOD nor EVENT counts as live."""
        stated = self.values.get("#EXT-X-PLAYLIST-TYPE", "").strip().lower()
        return PlaylistKind(stated) if stated in ("vod", "event") else PlaylistKind.LIVE


def read_text(text: bytes, location: Location) -> PlaylistText:
    """Choose the lines that mean something to us; refuse what cannot be read without loss."""
    lines = _lines(text, location)
    read = PlaylistText(location, lines=["#EXTM3U"])
    keys: tuple[str, ...] = ()
    for number, line in enumerate(lines, 1):
        if not line.startswith("#"):
            if line:
                read.uris += 1
                read.lines.append(line)
            continue
        tag, _, value = line.partition(":")
        if tag == "#EXTINF":
            read.has_segments = True
            read.lines.append(_extinf(line, number, location))
        elif tag in _TIMING:
            _note_timing(read, tag, value)
        elif tag == "#EXT-X-KEY":
            keys = read.keys[read.uris] = _in_force(keys, line, location)
        elif tag in _VALUES:
            read.values[tag] = value
        elif tag in _LIBRARY:
            read.variants += tag == "#EXT-X-STREAM-INF"
            if tag == "#EXT-X-MAP":
                read.map_keys[read.uris] = keys
            read.lines.append(line)
        elif tag in _REFUSED:
            raise invalid(location, _REFUSED[tag])
    if read.uris > (MAX_VARIANTS if read.variants else MAX_SEGMENTS):
        raise invalid(location, f"lists {read.uris} URIs, more than any recording has")
    return read


def _in_force(keys: tuple[str, ...], line: str, location: Location) -> tuple[str, ...]:
    """The EXT-X-KEY lines in force behind another one: it ends those of its KEYFORMAT, and
    METHOD=NONE ends all (section 4.3.2.4)."""
    if _attribute(line, "METHOD") == "NONE":
        return ()
    key_format = _attribute(line, "KEYFORMAT", "identity")
    others = tuple(each for each in keys if _attribute(each, "KEYFORMAT", "identity") != key_format)
    if len(others) == MAX_KEYS:
        raise invalid(location, f"has more than {MAX_KEYS} EXT-X-KEY tags in force at once")
    return (*others, line)


def _attribute(line: str, name: str, default: str = "") -> str:
    told: str = dict(_KEY_ATTRIBUTE.findall(line)).get(name, default)
    return told.strip().strip('"')


def _lines(text: bytes, location: Location) -> list[str]:
    """The stripped lines of a UTF-8 text that begins with EXTM3U (section 4.1; BOM, CR, CRLF)."""
    if len(text) > MAX_BYTES:
        raise invalid(location, f"is larger than {MAX_BYTES >> 20} MiB")
    if text.count(b"\n") + text.count(b"\r") > MAX_LINES:
        raise invalid(location, f"has more than {MAX_LINES} lines")
    try:
        decoded = text.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise invalid(location, "is not UTF-8 text") from None
    lines = [line.strip() for line in decoded.replace("\r", "\n").split("\n")]
    if lines[0] != "#EXTM3U":
        raise invalid(location, "does not begin with #EXTM3U: it is no playlist")
    if max(map(len, lines)) > MAX_LINE:
        raise invalid(location, f"has a line of more than {MAX_LINE} characters")
    return lines


def _extinf(line: str, number: int, location: Location) -> str:
    """The EXTINF line without its title (section 4.3.2.1: a comma starts the title)."""
    match = _EXTINF.fullmatch(line)
    if match is None or float(match[1]) > MAX_SEGMENT_DURATION:
        raise invalid(location, f"has an EXTINF in line {number} that is not a duration")
    return f"#EXTINF:{match[1]},"


def _note_timing(read: PlaylistText, tag: str, value: str) -> None:
    """Remember a discontinuity, or a wall clock; one that cannot be read is a hint less, not a
    recording less."""
    if tag == _DISCONTINUITY:
        read.discontinuities[read.uris] += 1
        return
    try:
        clock = datetime.fromisoformat(value.strip())
    except ValueError:
        return
    # Its year alone keeps any offset of up to a day, and all that is added, inside the calendar.
    if FIRST_YEAR <= clock.year <= LAST_YEAR:
        read.clocks[read.uris] = clock if clock.tzinfo else clock.replace(tzinfo=UTC)
