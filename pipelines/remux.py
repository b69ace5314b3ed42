"""The ffmpeg command that copies one run of MPEG-TS into fragmented MP4, flag by flag."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import ffmpeg

from pipelines.media import Codec, TrackKind
from pipelines.segment_index import Container

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.segment_index import TrackIndex

#: Microseconds of media in one fragment. Never `frag_keyframe`: on audio-only, long-GOP and
#: intra-only input its `moof` outgrows 32 KiB and leaves a pipe with size 0 and exit code 0.
FRAGMENT_MICROSECONDS = 2_000_000
#: ffmpeg's own smallest useful probe; the index may ask for more.
MIN_PROBE_BYTES = 1 << 20
#: Added to what the index says, so that the parsers see past the first complete unit.
PROBE_MARGIN_BYTES = 512 << 10
#: Microseconds that ffmpeg may look at before it decides what the streams are; the byte limit
#: is the one that ends the probe.
ANALYZE_MICROSECONDS = 60_000_000


#: Options for the whole command: say what is wrong, how badly, and nothing else.
QUIET = ("-hide_banner", "-nostats", "-loglevel", "level+warning")

#: ffmpeg's demuxers; edit lists are not applied, so that the times are those of the samples.
_DEMUXING: dict[Container, dict[str, str | int]] = {
    Container.MPEGTS: {"format": "mpegts"},
    Container.FMP4: {"format": "mp4", "ignore_editlist": 1},
}


@dataclass(frozen=True)
class RemuxInput:
    """What ffmpeg must be told of a run of MPEG-TS: which PIDs, and how far in they begin."""

    tracks: Sequence[TrackIndex]
    probe_bytes: int


def input_options(container: Container, probe_bytes: int) -> dict[str, str | int | None]:
    """Options of the input on stdin, whose streams all begin within ``probe_bytes``.

    The protocol whitelist and the forced format keep every path and URL that a recording may hold
    away from ffmpeg; ``-copyts`` keeps the clock of the source.
    """
    return {
        **_DEMUXING[container],
        "protocol_whitelist": "pipe",
        "copyts": None,
        "probesize": max(MIN_PROBE_BYTES, probe_bytes + PROBE_MARGIN_BYTES),
        "analyzeduration": ANALYZE_MICROSECONDS,
    }


def fragmented_mp4_options() -> dict[str, str | int | None]:
    """Options of the muxer: every fragment's ``tfdt`` is the absolute decode time of the source.

    That takes ``frag_discont`` and ``-use_editlist 0`` beside ``-copyts``; ``delay_moov`` because
    AC-3 refuses ``empty_moov``.
    """
    return {
        "avoid_negative_ts": "disabled",
        "use_editlist": 0,
        "write_btrt": 0,
        "movflags": "+delay_moov+default_base_moof+frag_discont",
        "frag_duration": FRAGMENT_MICROSECONDS,
        "format": "mp4",
    }


def copy_options(container: Container, codecs: Sequence[Codec]) -> dict[str, str | int | None]:
    """Options that copied tracks with these codecs need in MP4, in the order of the tracks.

    MPEG-TS holds AAC as ADTS frames, MP4 without their headers; only ``hvc1`` plays everywhere.
    """
    options: dict[str, str | int | None] = {}
    sound = [codec for codec in codecs if codec.kind is TrackKind.AUDIO]
    for ordinal, codec in enumerate(sound):
        if codec is Codec.AAC and container is Container.MPEGTS:
            options[f"bsf:a:{ordinal}"] = "aac_adtstoasc"
    if Codec.HEVC in codecs:
        options["tag:v"] = "hvc1"
    return options


def remux_argv(ffmpeg_path: str, run: RemuxInput) -> list[str]:
    """The argv that copies the run's tracks from stdin to stdout as fragmented MP4.

    ``-copyinkf`` keeps leading non-key pictures at a seam.
    """
    source = ffmpeg.input("pipe:0", **input_options(Container.MPEGTS, run.probe_bytes))
    options = {
        "c": "copy",
        "copyinkf": None,
        **fragmented_mp4_options(),
        **copy_options(Container.MPEGTS, [track.codec for track in run.tracks]),
    }
    streams = [source[f"i:{track.track}"] for track in run.tracks]
    command = ffmpeg.output(*streams, "pipe:1", **options).global_args(*QUIET)
    argv: list[str] = command.compile(cmd=ffmpeg_path)
    return argv
