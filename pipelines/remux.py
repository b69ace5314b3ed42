"""The ffmpeg command that copies one run of MPEG-TS into fragmented MP4, flag by flag."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import ffmpeg

from pipelines.media import Codec

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


@dataclass(frozen=True)
class RemuxInput:
    """What ffmpeg must be told of a run of MPEG-TS: which PIDs, and how far in they begin."""

    tracks: Sequence[TrackIndex]
    probe_bytes: int


def remux_argv(ffmpeg_path: str, run: RemuxInput) -> list[str]:
    """The argv that copies the run's tracks from stdin to stdout as fragmented MP4.

    ``-copyts``, ``frag_discont`` and ``-use_editlist 0`` make every fragment's ``tfdt`` the
    absolute decode time of the source; ``delay_moov`` because AC-3 refuses ``empty_moov``;
    ``-copyinkf`` keeps leading non-key pictures at a seam; the protocol whitelist and the forced
    format keep every path and URL that a recording may hold away from ffmpeg.
    """
    source = ffmpeg.input(
        "pipe:0",
        format="mpegts",
        protocol_whitelist="pipe",
        copyts=None,
        probesize=max(MIN_PROBE_BYTES, run.probe_bytes + PROBE_MARGIN_BYTES),
        analyzeduration=ANALYZE_MICROSECONDS,
    )
    options: dict[str, str | int | None] = {
        "c": "copy",
        "copyinkf": None,
        "avoid_negative_ts": "disabled",
        "use_editlist": 0,
        "write_btrt": 0,
        "movflags": "+delay_moov+default_base_moof+frag_discont",
        "frag_duration": FRAGMENT_MICROSECONDS,
        "format": "mp4",
    }
    codecs = {track.codec for track in run.tracks}
    if Codec.AAC in codecs:
        audio = [track for track in run.tracks if track.codec.kind.value == "audio"]
        for ordinal, track in enumerate(audio):
            if track.codec is Codec.AAC:
                options[f"bsf:a:{ordinal}"] = "aac_adtstoasc"
    if Codec.HEVC in codecs:
        options["tag:v"] = "hvc1"
    streams = [source[f"i:{track.track}"] for track in run.tracks]
    command = ffmpeg.output(*streams, "pipe:1", **options)
    command = command.global_args("-hide_banner", "-nostats", "-loglevel", "warning")
    argv: list[str] = command.compile(cmd=ffmpeg_path)
    return argv
