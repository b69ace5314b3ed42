"""The survey of a variant: what its first segments hold, so that a plan can be made."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from pydantic import BaseModel, ValidationError

from pipelines.colours import Colours
from pipelines.errors import ErrorCode, ToolError
from pipelines.init_sections import InitSections, InitUnreadable
from pipelines.media import Codec, TrackKind
from pipelines.packageable import require_packageable
from pipelines.process import FilterProcess
from pipelines.segment_index import Container
from pipelines.source import fetch_head
from pipelines.transcoding.first_units import first_units
from pipelines.transcoding.frame_size import LARGEST_SIDE
from pipelines.transcoding.source_media import SourceMedia, SourceVideo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.playlist import Segment, Variant
    from pipelines.source import FetchedSegment, SourceReader
    from pipelines.transcoding.first_units import FirstUnits, Pictures

#: How far a variant is looked at until all its tracks have shown: segments, bytes of them, and
#: seconds as listed. A track that begins later than that counts as absent.
SEGMENTS = 16
#: How many are asked for, when the first are lost.
MOST_SEGMENTS = 64
MAX_BYTES = 64 << 20
MAX_SECONDS = 60.0
#: Pictures that are decoded to see whether pictures are interlaced.
FRAMES = 60
#: Seconds that ffprobe may take.
DEADLINE_SECONDS = 60.0
#: Frames/s above which a rate is a clock's, not that of pictures.
HIGHEST_RATE = 1000

_PICTURES = frozenset(codec.value for codec in Codec if codec.kind is TrackKind.VIDEO)
_DEMUXERS = {Container.MPEGTS: "mpegts", Container.FMP4: "mp4"}
_SHOWN = (
    "stream=codec_name,width,height,pix_fmt,sample_aspect_ratio,field_order,"
    "color_primaries,color_transfer,color_space,color_range,avg_frame_rate,r_frame_rate"
    ":stream_side_data=rotation:frame=interlaced_frame"
)
_ANALYZE_MICROSECONDS = 60_000_000
_INTERLACED = frozenset({"tt", "bb", "tb", "bt"})
#: How far a rotation may lie from a right angle and still be taken for one, degrees; as ffmpeg does.
_ANGLE_TOLERANCE = 1.0


class _SideData(BaseModel):
    rotation: float = 0.0  #: degrees counter-clockwise (av_display_rotation_get)


class _Stream(BaseModel):
    """What ffprobe says of pictures; names it does not know are left out or ``unknown``."""

    codec_name: str = ""
    width: int = 0
    height: int = 0
    pix_fmt: str = ""
    sample_aspect_ratio: str = ""
    field_order: str = ""
    color_primaries: str = ""
    color_transfer: str = ""
    color_space: str = ""
    color_range: str = ""
    avg_frame_rate: str = ""
    r_frame_rate: str = ""
    side_data_list: tuple[_SideData, ...] = ()


class _Frame(BaseModel):
    interlaced_frame: int = 0


class _Error(BaseModel):
    string: str


class _Answer(BaseModel):
    """The JSON of ffprobe; ``error`` when the bytes are no media that it knows."""

    error: _Error | None = None
    streams: tuple[_Stream, ...] = ()
    frames: tuple[_Frame, ...] = ()


def survey(reader: SourceReader, variant: Variant, ffprobe: str) -> SourceMedia:
    """What the variant's first segments hold, of all that we can package.

    Segments are looked at until every announced track has shown, within bounds: our index tells
    where, and the codec of sound; ffprobe tells what the pictures are. Nothing is refused for what
    it holds: where nothing is found, neither pictures nor sound are told, and packaging names the
    damage. Segments that are lost are passed over. Raises PermanentError for what is never
    packaged (``encryption_unsupported``, ``codec_unsupported`` …), TransientError for outages,
    ToolError when ffprobe itself fails.
    """
    require_packageable(variant)
    inits = InitSections(reader)
    units: FirstUnits | None = None
    for fetched in _heads(reader, inits, variant):
        units = units or first_units(inits, fetched.segment)
        units.take(fetched)
        if units.complete:
            break
    if units is None:
        fragmented = variant.segments[0].init_section is not None
        return SourceMedia(None, (), Container.FMP4 if fragmented else Container.MPEGTS)
    video = None
    if units.pictures is not None:
        video = _video(_ask(ffprobe, units.container, units.pictures))
    return SourceMedia(video, units.sound, units.container)


def _heads(reader: SourceReader, inits: InitSections, variant: Variant) -> Iterator[FetchedSegment]:
    """The first segments that are there, within the bounds; only the last one may be cut.

    Those of fragmented MP4 have one header.
    """
    left, seconds, found = MAX_BYTES, 0.0, 0
    first: Segment | None = None
    for segment in _looked_at(variant):
        another = first is not None and segment.init_section != first.init_section
        if another or left <= 0 or seconds >= MAX_SECONDS or found == SEGMENTS:
            return
        head = fetch_head(reader, segment, left)
        if head.loss is not None or not _has_header(inits, segment):
            continue
        first = first or segment
        left -= len(head.data)
        seconds += segment.duration
        found += 1
        yield head


def _looked_at(variant: Variant) -> tuple[Segment, ...]:
    """The first segments; where those slid out of a live window, they may be gone, and then the
    first ones of the window tell."""
    first = variant.segments[:MOST_SEGMENTS]
    if not first or not first[-1].slid:
        return first
    return (*first, *variant.playlists[0].window[:MOST_SEGMENTS])


def _has_header(inits: InitSections, segment: Segment) -> bool:
    """Whether the header of a segment can be read; MPEG-TS has none."""
    try:
        return segment.init_section is None or bool(inits.movie(segment))
    except InitUnreadable:
        return False


def _ask(ffprobe: str, container: Container, pictures: Pictures) -> _Answer:
    """ffprobe's answer; it may stop reading as soon as it knows. Sees nothing but its pipe."""
    size = sum(len(piece) for piece in pictures.pieces)
    argv = [
        ffprobe, "-v", "error", "-protocol_whitelist", "pipe",
        "-f", _DEMUXERS[container],
        "-probesize", str(max(32, size)), "-analyzeduration", str(_ANALYZE_MICROSECONDS),
        "-select_streams", f"i:{pictures.track:#x}", "-read_intervals", f"%+#{FRAMES}",
        "-show_entries", _SHOWN, "-show_error", "-of", "json",
        "pipe:0",
    ]  # fmt: skip
    child = FilterProcess(
        argv, pictures.pieces, deadline_seconds=DEADLINE_SECONDS, checkpoint=_never_cancelled
    )
    with child:
        answer = b"".join(child.output())
        try:
            return _Answer.model_validate_json(answer.decode(errors="replace"))
        except ValidationError as error:
            child.outcome()  # says why, when it failed
            message = "ffprobe's answer is none that we can read"
            raise ToolError(ErrorCode.FFMPEG_FAILED, message) from error


def _never_cancelled() -> None:
    """A look takes seconds; ``DEADLINE_SECONDS`` ends it in any case."""


def _video(answer: _Answer) -> SourceVideo | None:
    """The pictures; None when ffprobe found none, or none that are packaged."""
    stream = next(iter(answer.streams), _Stream())
    if stream.codec_name not in _PICTURES:
        return None
    if not (0 < stream.width <= LARGEST_SIDE and 0 < stream.height <= LARGEST_SIDE):
        return None
    flagged = any(frame.interlaced_frame for frame in answer.frames)
    return SourceVideo(
        codec=stream.codec_name,
        width=stream.width,
        height=stream.height,
        pixel_format=stream.pix_fmt,
        frame_rate=_rate(stream.avg_frame_rate) or _rate(stream.r_frame_rate),
        sample_aspect=_sample_aspect(stream),
        rotation=_clockwise(stream),
        interlaced=flagged or stream.field_order in _INTERLACED,
        colours=_colours(stream),
    )


def _colours(stream: _Stream) -> Colours:
    names = stream.color_primaries, stream.color_transfer, stream.color_space
    return Colours.of_names(names, full_range=stream.color_range == "pc")


def _fraction(text: str) -> Fraction:
    """A fraction as ffprobe writes it, ``30000/1001`` or ``64:45``; 0 when it is not known."""
    numerator, _, denominator = text.replace(":", "/").partition("/")
    if not (numerator.isdecimal() and denominator.isdecimal() and int(denominator)):
        return Fraction(0)
    return Fraction(int(numerator), int(denominator))


def _rate(text: str) -> Fraction:
    """Frames/s; 0 when absurd."""
    rate = _fraction(text)
    return rate if rate <= HIGHEST_RATE else Fraction(0)


def _sample_aspect(stream: _Stream) -> Fraction:
    """Width of a pixel by its height; 1 when not known, or nobody could look at the picture."""
    aspect = _fraction(stream.sample_aspect_ratio)
    return aspect if 1 <= stream.width * aspect <= LARGEST_SIDE else Fraction(1)


def _clockwise(stream: _Stream) -> int:
    """Degrees clockwise by which players turn the pictures; only right angles count."""
    counted = next((side.rotation for side in stream.side_data_list if side.rotation), 0.0)
    turn = -counted % 360
    nearest = round(turn / 90) * 90
    return nearest % 360 if abs(turn - nearest) <= _ANGLE_TOLERANCE else 0
