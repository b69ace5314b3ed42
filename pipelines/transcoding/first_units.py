"""The first units of a variant: which of its segments show what each announced track holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pipelines.media import Codec, TrackKind
from pipelines.mp4.media_segment import read_segment
from pipelines.mpegts.index import announced, index_segment
from pipelines.mpegts.mpeg_audio import MpegAudio
from pipelines.segment_index import Container

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipelines.init_sections import InitSections
    from pipelines.mp4.movie_fragment import Fragment, TrackFragment
    from pipelines.playlist import Segment
    from pipelines.source import FetchedSegment


#: Pictures by which their rate can be told: a segment may hold a single one, where they begin.
ENOUGH = 24


@dataclass
class Pictures:
    """Where a track of pictures begins; ``pieces``, read one after the other, can be decoded."""

    track: int  #: PID or track_ID
    pieces: list[bytes]
    count: int = 0

    @property
    def enough(self) -> bool:
        """Whether further segments would tell nothing more."""
        return self.count >= ENOUGH

    def add(self, data: bytes, count: int) -> None:
        """Go on with a segment that holds ``count`` of them, unless there are enough."""
        if not self.enough:
            self.pieces.append(data)
            self.count += count


class FirstUnits(Protocol):
    """What the segments that were taken have shown of a variant's tracks."""

    container: Container
    pictures: Pictures | None  #: None until some have shown

    @property
    def complete(self) -> bool:
        """Whether further segments would tell nothing more."""

    @property
    def sound(self) -> tuple[Codec, ...]:
        """Codecs of the tracks of sound that have shown, in the order of the announcement."""

    def take(self, fetched: FetchedSegment) -> None:
        """Look at the next segment, or its beginning."""


def first_units(inits: InitSections, first: Segment) -> FirstUnits:
    """What looks at segments of the kind of ``first``, before any was taken.

    Raises what ``InitSections`` raises for the header of fragmented MP4.
    """
    return _Fmp4FirstUnits(inits, first) if first.init_section else _TsFirstUnits()


class _TsFirstUnits:
    """The announced tracks of MPEG-TS: pictures may follow long after sound, or the other way.

    A program table names MP2 and MP3 alike, and may come before its streams or change: only units
    tell. So it is never complete without pictures.
    """

    container = Container.MPEGTS

    def __init__(self) -> None:
        self.pictures: Pictures | None = None
        self._announced: dict[int, Codec] = {}
        self._shown: dict[int, Codec] = {}
        self._tables = b""  # the last segment with program tables

    @property
    def complete(self) -> bool:
        enough = self.pictures is not None and self.pictures.enough
        return enough and self._announced.keys() <= self._shown.keys()

    @property
    def sound(self) -> tuple[Codec, ...]:
        return _sound(self._announced, self._shown)

    def take(self, fetched: FetchedSegment) -> None:
        data = fetched.data
        tables = announced(data)
        self._announced |= tables
        for track in index_segment(data, self._announced).tracks:
            if track.kind is TrackKind.AUDIO:
                self._shown.setdefault(track.track, track.codec)
                continue
            if track.configuration:  # pictures cannot be told before their parameter sets
                self._shown.setdefault(track.track, track.codec)
                if self.pictures is None:
                    self.pictures = Pictures(track.track, [] if tables else [self._tables])
            if self.pictures and self.pictures.track == track.track:
                self.pictures.add(data, len(track))
        self._tables = data if tables else self._tables


class _Fmp4FirstUnits:
    """The tracks of fragmented MP4: its header names them all, but MP2 as MP3."""

    container = Container.FMP4

    def __init__(self, inits: InitSections, first: Segment) -> None:
        self.pictures: Pictures | None = None
        self._movie = inits.movie(first)
        self._header = inits.data(first)
        self._announced = {
            track.track_id: track.codec for track in self._movie.tracks if track.codec is not None
        }
        self._shown: dict[int, Codec] = {}

    @property
    def complete(self) -> bool:
        enough = self.pictures is None or self.pictures.enough
        return enough and self._announced.keys() <= self._shown.keys()

    @property
    def sound(self) -> tuple[Codec, ...]:
        return _sound(self._announced, self._shown)

    def take(self, fetched: FetchedSegment) -> None:
        count = 0
        whole = fetched.segment.byte_range
        position = whole.offset if whole else 0
        for fragment in read_segment(self._movie, fetched.data, position).fragments:
            for track in fragment.tracks:
                codec = self._announced.get(track.track_id)
                if codec is None or not len(track):
                    continue
                self._shown.setdefault(track.track_id, _heard_codec(codec, track, fragment))
                if codec.kind is TrackKind.VIDEO:
                    self.pictures = self.pictures or Pictures(track.track_id, [self._header])
                    count += len(track)
        if self.pictures and count:
            self.pictures.add(fetched.data, count)


def _sound(announced: Mapping[int, Codec], shown: Mapping[int, Codec]) -> tuple[Codec, ...]:
    codecs = (shown[number] for number in announced if number in shown)
    return tuple(codec for codec in codecs if codec.kind is TrackKind.AUDIO)


def _heard_codec(codec: Codec, track: TrackFragment, fragment: Fragment) -> Codec:
    """The codec, with the layer of MPEG audio as its first frame tells it."""
    if codec is not Codec.MP3:
        return codec
    syntax, at = MpegAudio(), track.runs[0].offset
    head = bytes(fragment.payload[at : at + syntax.header_bytes])
    if len(head) < syntax.header_bytes or syntax.header(head, 0) is None:
        return codec
    return syntax.describe(head, 0).codec
