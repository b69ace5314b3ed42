"""The ffmpeg command that decodes one run and encodes every rendition of it, each to its pipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ffmpeg

from pipelines.colours import UNTOLD, Colours
from pipelines.remux import QUIET, copy_options, fragmented_mp4_options, input_options
from pipelines.transcoding.encoder_options import device_options, encoder_options
from pipelines.transcoding.filter_chain import (
    PictureWindow,
    deinterlaced,
    filtered,
    time_base,
    video_timescale,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.media import Codec
    from pipelines.segment_index import Container
    from pipelines.transcoding.encoding import VideoEncoding


#: Whole stretches may be undecodable, before the first key frame: which pictures came out is
#: compared anyway.
PATIENT = ("-max_error_rate", "1")
#: Every encoded picture lasts until the next is decoded. Where sound is more than 10 s ahead of it
#: (``-max_interleave_delta``), the muxer ends a fragment without knowing its next picture, and
#: believes the frame rate: it would show the next one of slow pictures too early.
_DURATIONS = "setts=pts=PTS:dts=DTS:duration=if(gt(NEXT_DTS\\,DTS)\\,NEXT_DTS-DTS\\,DURATION)"


@dataclass(frozen=True)
class PictureTrack:
    """The track of pictures that is decoded; ``timescale``: ticks/s in which ffmpeg counts it.

    Where an fMP4 track has negative composition offsets, ffmpeg's demuxer shows every picture later
    by as much as the most negative one that it has read so far (``dts_shift`` in mov.c).
    """

    specifier: str  #: ffmpeg's stream specifier, such as ``i:0x100`` or ``v:0``
    codec: Codec
    timescale: int  #: 90000 for MPEG-TS, the track's own for fragmented MP4
    colours: Colours = UNTOLD


@dataclass(frozen=True)
class SoundTrack:
    """A track of sound that is copied, by ffmpeg's stream specifier (``i:0x101``, ``a:0``)."""

    specifier: str
    codec: Codec


@dataclass(frozen=True)
class DecodedInput:
    """The run that ffmpeg reads on stdin; ``probe_bytes``: how far in its streams begin."""

    container: Container
    video: PictureTrack | None
    probe_bytes: int


@dataclass(frozen=True)
class EncodedOutput:
    """One rendition: its pipe's descriptor, its pictures (None: copied), its copied sound."""

    descriptor: int
    video: VideoEncoding | None
    sound: tuple[SoundTrack, ...] = ()


def transcode_argv(
    ffmpeg_path: str,
    source: DecodedInput,
    window: PictureWindow,
    outputs: Sequence[EncodedOutput],
) -> list[str]:
    """The argv that makes all ``outputs`` out of the run on stdin, decoding its pictures once.

    Pictures outside ``window`` are left out before they are encoded (copied ones are not: they are
    cut as copies are, by decode time). Sound is copied as a whole, and cut by the reader.
    """
    demuxed = ffmpeg.input("pipe:0", **input_options(source.container, source.probe_bytes))
    encodings = [out.video for out in outputs if out.video]
    chains = iter(_decoded(demuxed, source.video, encodings))
    commands = []
    for out in outputs:
        streams, options = [], _copied(source, out) | fragmented_mp4_options()
        if source.video and out.video:
            scale = source.video.timescale
            colours = source.video.colours
            streams.append(filtered(next(chains), out.video, window, scale, colours))
            options |= _with_durations(encoder_options(out.video))
            options |= timing_options(out.video, scale)
        elif source.video:
            streams.append(demuxed[source.video.specifier])
            options |= {"c:v": "copy"}
        streams += [demuxed[track.specifier] for track in out.sound]
        commands.append(ffmpeg.output(*streams, f"pipe:{out.descriptor}", **options))
    devices = device_options(frozenset(encoding.implementation for encoding in encodings))
    command = ffmpeg.merge_outputs(*commands).global_args(*QUIET, *PATIENT, *devices)
    argv: list[str] = command.compile(cmd=ffmpeg_path)
    return argv


def _decoded(
    demuxed: Any, track: PictureTrack | None, encodings: Sequence[VideoEncoding]
) -> list[Any]:
    """ffmpeg-python's streams of the decoded pictures, one for each encoding."""
    if track is None or not encodings:
        return []
    pictures = demuxed[track.specifier]
    if any(encoding.deinterlace for encoding in encodings):
        pictures = deinterlaced(pictures)
    copies = pictures.filter_multi_output("split")
    return [copies[number] for number in range(len(encodings))]


def _copied(source: DecodedInput, out: EncodedOutput) -> dict[str, str | int | None]:
    """Options for what is copied into an output: its sound, and its pictures unless encoded.

    Titles and chapters of the source stay behind; the language of a track is its own.
    """
    codecs = [track.codec for track in out.sound]
    if source.video and not out.video:
        codecs.append(source.video.codec)
    return {
        "c:a": "copy",
        "copyinkf": None,
        "map_metadata:g": -1,
        "map_chapters": -1,
        **copy_options(source.container, codecs),
    }


def _with_durations(options: dict[str, str | int]) -> dict[str, str | int]:
    """An encoder's options, with durations that are true; it may have bitstream filters itself."""
    own = options.get("bsf:v")
    return {**options, "bsf:v": f"{own},{_DURATIONS}" if own else _DURATIONS}


def timing_options(encoding: VideoEncoding, source_timescale: int) -> dict[str, str | int]:
    """Options by which every picture keeps the exact time that the filters give it."""
    base = time_base(encoding, source_timescale)
    return {
        "fps_mode:v": "passthrough",
        "enc_time_base:v": f"{base.numerator}:{base.denominator}",
        "video_track_timescale": video_timescale(encoding, source_timescale),
    }
