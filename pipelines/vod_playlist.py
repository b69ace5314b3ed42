"""The closed VOD playlists of a finalized recording, written for players (RFC 8216)."""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from pipelines.location import Location
    from pipelines.playlist import ByteRange, Encryption, InitSection, Segment


_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
#: Characters of RFC 3986; all others, quotes and line breaks among them, become escapes.
_URI_SAFE = "%:/?#[]@!$&'()*+,;=-._~"
_NOT_IN_NAMES = re.compile(r"[^\w .+()-]", re.ASCII)
#: What a quoted string of a playlist cannot hold (section 4.2), and what looks like a line's end.
_NOT_IN_QUOTES = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\"]")
_CODEC = re.compile(r"[A-Za-z0-9.+-]{1,64}")
#: RFC 5646, as far as its form goes.
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8}){0,8}")


class MediaType(StrEnum):
    """What an EXT-X-MEDIA line names (section 4.3.4.1)."""

    AUDIO = "AUDIO"
    SUBTITLES = "SUBTITLES"


@dataclass(frozen=True)
class VodMedia:
    """A line of the multivariant playlist that names a rendition of a group (EXT-X-MEDIA).

    ``uri`` is None where the media is muxed into the variants; ``forced`` is of subtitles alone.
    """

    kind: MediaType
    group: str
    name: str
    language: str | None
    default: bool
    uri: str | None
    forced: bool = False


@dataclass(frozen=True)
class VodVariant:
    """A line of the multivariant playlist: one rendition and its media playlist.

    ``size`` (bytes) and ``duration`` (s) are those of its media; ``bandwidth`` is the peak bit
    rate (bit/s) when it is known, else the average counts for it. ``audio`` and ``subtitles`` name
    groups.
    """

    name: str
    uri: str
    size: int
    duration: float
    bandwidth: int = 0
    width: int | None = None
    height: int | None = None
    frame_rate: float | None = None
    codecs: tuple[str, ...] = ()
    audio: str | None = None
    subtitles: str | None = None

    @property
    def average_bandwidth(self) -> int:
        """Measured bit rate, bit/s; 1 at the least, since players divide by it."""
        return max(1, math.ceil(self.size * 8 / self.duration)) if self.duration > 0 else 1


def multivariant_playlist(variants: Sequence[VodVariant], media: Sequence[VodMedia] = ()) -> str:
    """Write the multivariant playlist (section 4.3.4.2): groups, then variants in the given order."""
    lines = ["#EXTM3U", f"#EXT-X-VERSION:{4 if media else 3}"]
    lines += [f"#EXT-X-MEDIA:{','.join(_media(each))}" for each in _named_apart(media)]
    for variant in variants:
        lines += [f"#EXT-X-STREAM-INF:{','.join(_stream_inf(variant))}", _uri(variant.uri)]
    return "\n".join(lines) + "\n"


def _named_apart(media: Sequence[VodMedia]) -> Iterator[VodMedia]:
    """The renditions with names that differ within their group (section 4.3.4.1.1)."""
    given: set[tuple[str, str]] = set()
    for each in media:
        name = plain = _NOT_IN_QUOTES.sub("_", each.name) or each.group
        number = 2
        while (each.group, name) in given:
            name, number = f"{plain} ({number})", number + 1
        given.add((each.group, name))
        yield replace(each, name=name)


def _media(media: VodMedia) -> Iterator[str]:
    yield f"TYPE={media.kind}"
    yield f'GROUP-ID="{media.group}"'
    yield f'NAME="{media.name}"'
    if media.language and _LANGUAGE.fullmatch(media.language):
        yield f'LANGUAGE="{media.language}"'
    yield f"DEFAULT={'YES' if media.default else 'NO'}"
    yield "AUTOSELECT=YES"
    if media.kind is MediaType.SUBTITLES and media.forced:
        yield "FORCED=YES"
    if media.uri is not None:
        yield f'URI="{_uri(media.uri)}"'


def _stream_inf(variant: VodVariant) -> Iterator[str]:
    yield f"BANDWIDTH={max(variant.bandwidth, variant.average_bandwidth)}"
    yield f"AVERAGE-BANDWIDTH={variant.average_bandwidth}"
    if variant.width and variant.height:
        yield f"RESOLUTION={variant.width}x{variant.height}"
    if variant.frame_rate:
        yield f"FRAME-RATE={variant.frame_rate:.3f}"
    # A list that lacks a codec would make players refuse the variant, no list at all does not.
    if variant.codecs and all(_CODEC.fullmatch(codec) for codec in variant.codecs):
        yield f'CODECS="{",".join(variant.codecs)}"'
    if variant.audio:
        yield f'AUDIO="{variant.audio}"'
    if variant.subtitles:
        yield f'SUBTITLES="{variant.subtitles}"'
    yield f'NAME="{_NOT_IN_NAMES.sub("_", variant.name)}"'


@dataclass(frozen=True)
class PeriodMark:
    """Where players begin anew, and the playlist may not tag it: so far into a tagged period."""

    discontinuity_sequence: int
    seconds: float  #: sum of EXTINF from the tag to there


def period_marks(segments: Sequence[Segment], starts: Collection[int]) -> tuple[PeriodMark, ...]:
    """The marks of what begins at the segments of these media sequences.

    What begins at its playlist's first segment, or at a tag, needs none; neither does that
    whose tag stands before segments that are marked as gaps, which nothing is played of.
    """
    marks = []
    elapsed, tag_holds = 0.0, True
    for segment in segments:
        if segment.discontinuity:
            elapsed, tag_holds = 0.0, True
        if segment.sequence in starts and not tag_holds:
            marks.append(PeriodMark(segment.discontinuity_sequence, elapsed))
        tag_holds = tag_holds and segment.gap
        elapsed += segment.duration
    return tuple(marks)


def marked(segments: Sequence[Segment], marks: Sequence[PeriodMark]) -> tuple[Segment, ...]:
    """The segments with a discontinuity before the one that begins nearest to each mark.

    The same marks serve all playlists of a recording, whose segments may be of other lengths. Each
    mark counts once in every one of them, however near they lie, since players find what belongs
    together by the number of discontinuities (section 6.2.4).
    """
    stretches = _begins(segments)
    nearest = (_nearest(stretches.get(mark.discontinuity_sequence, []), mark) for mark in marks)
    opened = Counter(position for position in nearest if position is not None)
    added, found = 0, []
    for position, segment in enumerate(segments):
        added += opened[position]
        found.append(
            replace(
                segment,
                discontinuity=segment.discontinuity or position in opened,
                discontinuity_sequence=segment.discontinuity_sequence + added,
            )
        )
    return tuple(found)


def _begins(segments: Sequence[Segment]) -> dict[int, list[tuple[float, int]]]:
    """By discontinuity sequence, where segments begin behind its first one, that of the next tag
    among them: how far behind the tag (s), ascending, and their positions."""
    begins: dict[int, list[tuple[float, int]]] = {}
    elapsed, tagged = 0.0, None
    for position, segment in enumerate(segments):
        if tagged is not None:
            begins.setdefault(tagged, []).append((elapsed, position))
        if segment.discontinuity:
            elapsed = 0.0
        tagged = segment.discontinuity_sequence
        elapsed += segment.duration
    return begins


def _nearest(begins: Sequence[tuple[float, int]], mark: PeriodMark) -> int | None:
    """The position that begins nearest to a mark, the first of two that are as near."""
    at = bisect_left(begins, (mark.seconds, 0))
    before = bisect_left(begins, (begins[at - 1][0], 0)) if at else 0
    near = [begins[place] for place in (before, at) if place < len(begins)]
    return min(near, key=lambda each: abs(each[0] - mark.seconds))[1] if near else None


def media_playlist(segments: Sequence[Segment], uri_for: Callable[[Location], str]) -> str:
    """Write the closed media playlist of segments that stay where they are (section 4.3.3).

    ``uri_for`` says where players find the object at a location (segment, init section or key); what
    it returns may be relative to the playlist, and is escaped where it must be.
    """
    longest = max((segment.duration for segment in segments), default=0.0)
    lines = [
        "#EXTM3U",
        f"#EXT-X-VERSION:{_version(segments)}",
        f"#EXT-X-TARGETDURATION:{max(1, math.ceil(longest))}",
        "#EXT-X-PLAYLIST-TYPE:VOD",
    ]
    if segments:
        first = segments[0]
        lines.append(f"#EXT-X-MEDIA-SEQUENCE:{first.sequence}")
        if before := first.discontinuity_sequence - first.discontinuity:
            lines.append(f"#EXT-X-DISCONTINUITY-SEQUENCE:{before}")
    init: InitSection | None = None
    key: Encryption | None = None
    tagged: int | None = None
    for position, segment in enumerate(segments):
        wanted = _key(segment, position, segments[0])
        # Of more than one that fall together, each has its tag: the number tells them apart.
        since = int(segment.discontinuity)
        if tagged is not None:
            since = max(since, segment.discontinuity_sequence - tagged)
        tagged = segment.discontinuity_sequence
        lines += ["#EXT-X-DISCONTINUITY"] * since
        lines += _clock_tag(segment)
        if segment.init_section and segment.init_section != init:
            # A key holds for the maps behind it too, until the next one.
            if segment.init_section.encryption != key:
                key = segment.init_section.encryption
                lines.append(_key_tag(key, uri_for))
            lines.append(_map(segment.init_section, uri_for))
        if wanted != key:
            lines.append(_key_tag(wanted, uri_for))
        init, key = segment.init_section, wanted
        lines += _segment_lines(segment, uri_for)
    return "\n".join([*lines, "#EXT-X-ENDLIST"]) + "\n"


def subtitle_playlist(texts: Sequence[tuple[float, int]]) -> str:
    """Write the closed media playlist of ``0.vtt``, ``1.vtt`` …: of each its seconds, and its
    discontinuity sequence, which differ.

    Only of subtitles may the target duration differ from that of the other playlists (section
    6.2.4).
    """
    longest = max((seconds for seconds, _ in texts), default=0.0)
    lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:3",
        f"#EXT-X-TARGETDURATION:{max(1, math.ceil(longest))}",
        "#EXT-X-PLAYLIST-TYPE:VOD",
        "#EXT-X-MEDIA-SEQUENCE:0",
    ]
    tagged = texts[0][1] if texts else 0
    if tagged:
        lines.append(f"#EXT-X-DISCONTINUITY-SEQUENCE:{tagged}")
    for number, (seconds, sequence) in enumerate(texts):
        lines += ["#EXT-X-DISCONTINUITY"] * (sequence - tagged)
        lines += [f"#EXTINF:{seconds:.6f},", f"{number}.vtt"]
        tagged = sequence
    return "\n".join([*lines, "#EXT-X-ENDLIST"]) + "\n"


def _version(segments: Sequence[Segment]) -> int:
    """The protocol version that the tags in use ask for (section 7)."""
    if any(segment.gap for segment in segments):
        return 8
    if any(segment.init_section for segment in segments):
        return 6
    return 4 if any(segment.byte_range for segment in segments) else 3


def _key(segment: Segment, position: int, first: Segment) -> Encryption | None:
    """The segment's key; its IV is spelled out where its number in this playlist is another one."""
    key = segment.encryption
    if key is None or key.iv is not None or segment.sequence == first.sequence + position:
        return key
    return replace(key, iv=segment.sequence.to_bytes(16, "big"))


def _clock_tag(segment: Segment) -> Iterator[str]:
    if segment.program_date_time:
        clock = segment.program_date_time.astimezone(UTC).isoformat(timespec="milliseconds")
        yield f"#EXT-X-PROGRAM-DATE-TIME:{clock.replace('+00:00', 'Z')}"


def _map(init: InitSection, uri_for: Callable[[Location], str]) -> str:
    suffix = f',BYTERANGE="{_range(init.byte_range)}"' if init.byte_range else ""
    return f'#EXT-X-MAP:URI="{_uri(uri_for(init.location))}"{suffix}'


def _key_tag(key: Encryption | None, uri_for: Callable[[Location], str]) -> str:
    if key is None:
        return "#EXT-X-KEY:METHOD=NONE"
    suffix = f",IV=0x{key.iv.hex()}" if key.iv is not None else ""
    return f'#EXT-X-KEY:METHOD={key.method},URI="{_uri(uri_for(key.location))}"{suffix}'


def _segment_lines(segment: Segment, uri_for: Callable[[Location], str]) -> Iterator[str]:
    if segment.gap:
        yield "#EXT-X-GAP"
    yield f"#EXTINF:{segment.duration:.6f},"
    if segment.byte_range:
        yield f"#EXT-X-BYTERANGE:{_range(segment.byte_range)}"
    yield _uri(uri_for(segment.location))


def _range(byte_range: ByteRange) -> str:
    return f"{byte_range.length}@{byte_range.offset}"


def _uri(uri: str) -> str:
    """The URI with everything escaped that would end its line, its quotes or look like a tag."""
    escaped = quote(_STRAY_PERCENT.sub("%25", uri), safe=_URI_SAFE)
    return f"%23{escaped[1:]}" if escaped.startswith("#") else escaped
