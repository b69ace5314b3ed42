"""The survey of a variant: ffprobe looks at its first segments, so that a plan can be made."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from pydantic import BaseModel, ValidationError

from pipelines.errors import ErrorCode, ToolError
from pipelines.fmp4_run import InitSections
from pipelines.media import Codec, TrackKind
from pipelines.plan import require_packageable
from pipelines.process import FilterProcess
from pipelines.segment_index import Container
from pipelines.source import fetch_head
from pipelines.transcoding.source_media import SourceAudio, SourceMedia, SourceVideo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.playlist import Variant
    from pipelines.source import SourceReader

#: Segments that are looked at until pictures are found.
SEGMENTS = 3
#: Bytes of them that are looked at, initialization section aside.
MAX_BYTES = 16 << 20
#: Pictures and sounds that are decoded to see whether pictures are interlaced.
FRAMES = 60
#: Seconds that ffprobe may take.
DEADLINE_SECONDS = 60.0
#: Pixels of the largest side that is believed: no encoder of ours takes more.
LARGEST_SIDE = 16_384
#: Frames/s above which a rate is a clock's, not that of pictures.
HIGHEST_RATE = 1000

_DEMUXERS = {Container.MPEGTS: "mpegts", Container.FMP4: "mp4"}
_SHOWN = (
    "stream=codec_type,codec_name,width,height,pix_fmt,sample_aspect_ratio,field_order,"
    "color_transfer,avg_frame_rate,r_frame_rate,sample_rate,channels"
    ":stream_disposition=attached_pic:stream_side_data=rotation:frame=interlaced_frame"
)
_ANALYZE_MICROSECONDS = 60_000_000
_INTERLACED = frozenset({"tt", "bb", "tb", "bt"})
#: How far a rotation may lie from a right angle and still be taken for one, degrees; as ffmpeg does.
_ANGLE_TOLERANCE = 1.0
#: What the index of MPEG-TS calls MP2 as well.
_MPEG_LAYER_1 = "mp1"


class _SideData(BaseModel):
    rotation: float = 0.0  #: degrees counter-clockwise (av_display_rotation_get)


class _Disposition(BaseModel):
    attached_pic: int = 0


class _Stream(BaseModel):
    """What ffprobe says of a stream; names it does not know are left out or ``unknown``."""

    codec_type: str = ""
    codec_name: str = ""
    width: int = 0
    height: int = 0
    pix_fmt: str = ""
    sample_aspect_ratio: str = ""
    field_order: str = ""
    color_transfer: str | None = None
    avg_frame_rate: str = ""
    r_frame_rate: str = ""
    sample_rate: int = 0
    channels: int = 0
    disposition: _Disposition = _Disposition()
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

    Nothing is refused for what it holds: where ffprobe finds nothing, neither pictures nor sound
    are told, and packaging names the damage. Raises PermanentError for what cannot even be looked
    at, as packaging would (``segment_missing``, ``encryption_unsupported``, ``segment_damaged`` …),
    TransientError for outages, ToolError when ffprobe itself fails.
    """
    require_packageable(variant)
    media = SourceMedia(None, ())
    for container, data in _prefixes(reader, variant):
        media = _media(_ask(ffprobe, container, data))
        if media.video is not None:
            break
    return media


def _prefixes(reader: SourceReader, variant: Variant) -> Iterator[tuple[Container, bytes]]:
    """The first segment, the first two, and so on, each as one readable stream.

    Pictures may begin later than sound, and program tables may stand in the first segment only.
    """
    first = variant.segments[0]
    container = Container.FMP4 if first.init_section else Container.MPEGTS
    data = bytearray()
    if first.init_section:
        data += InitSections(reader).data(first)
    left = MAX_BYTES
    for segment in variant.segments[:SEGMENTS]:
        if segment.init_section != first.init_section or left <= 0:
            return
        head = fetch_head(reader, segment, left)
        left -= len(head)
        data += head
        yield container, bytes(data)


def _ask(ffprobe: str, container: Container, data: bytes) -> _Answer:
    """ffprobe's answer; it may stop reading as soon as it knows. Sees nothing but its pipe."""
    argv = [
        ffprobe, "-v", "error", "-protocol_whitelist", "pipe", "-f", _DEMUXERS[container],
        "-probesize", str(max(32, len(data))), "-analyzeduration", str(_ANALYZE_MICROSECONDS),
        "-read_intervals", f"%+#{FRAMES}", "-show_entries", _SHOWN, "-show_error", "-of", "json",
        "pipe:0",
    ]  # fmt: skip
    child = FilterProcess(
        argv, [data], deadline_seconds=DEADLINE_SECONDS, checkpoint=_never_cancelled
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


def _media(answer: _Answer) -> SourceMedia:
    interlaced = any(frame.interlaced_frame for frame in answer.frames)
    pictures = (_video(stream, interlaced) for stream in answer.streams)
    sound = (_audio(stream) for stream in answer.streams)
    return SourceMedia(
        next((video for video in pictures if video is not None), None),
        tuple(audio for audio in sound if audio is not None),
    )


def _video(stream: _Stream, interlaced: bool) -> SourceVideo | None:
    """The pictures of a stream; None when it has none, or none that is packaged."""
    if _codec(stream, TrackKind.VIDEO) is None or stream.disposition.attached_pic:
        return None
    if not (0 < stream.width <= LARGEST_SIDE and 0 < stream.height <= LARGEST_SIDE):
        return None
    return SourceVideo(
        codec=stream.codec_name,
        width=stream.width,
        height=stream.height,
        pixel_format=stream.pix_fmt,
        frame_rate=_rate(stream.avg_frame_rate) or _rate(stream.r_frame_rate),
        sample_aspect=_sample_aspect(stream),
        rotation=_clockwise(stream),
        interlaced=interlaced or stream.field_order in _INTERLACED,
        transfer=stream.color_transfer,
    )


def _audio(stream: _Stream) -> SourceAudio | None:
    """The sound of a stream, though no packet of it was seen yet; None when it is not packaged."""
    codec = _codec(stream, TrackKind.AUDIO)
    if codec is None:
        return None
    return SourceAudio(codec.value, max(0, stream.sample_rate), max(0, stream.channels))


def _codec(stream: _Stream, kind: TrackKind) -> Codec | None:
    name = Codec.MP2.value if stream.codec_name == _MPEG_LAYER_1 else stream.codec_name
    known = stream.codec_type == kind and name in list(Codec)
    return Codec(name) if known else None


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
