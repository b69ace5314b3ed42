"""The default ladder: Livepeer's profiles for sessions that ask for none."""

from __future__ import annotations

from pipelines.profile import FfmpegProfile, H264Profile


def _rung(name: str, width: int, height: int, bitrate: int) -> FfmpegProfile:
    return FfmpegProfile(
        name=name,
        width=width,
        height=height,
        bitrate=bitrate,
        fps=0,
        gop="2.0",
        profile=H264Profile.CONSTRAINED_HIGH,
    )


#: As in Livepeer's ``default-stream-profiles``, with the ``gop`` that it gives to its own media
#: server when none is set, and the ``profile`` that it adds to each.
DEFAULT_LADDER: tuple[FfmpegProfile, ...] = (
    _rung("240p0", 426, 240, 250_000),
    _rung("360p0", 640, 360, 800_000),
    _rung("480p0", 854, 480, 1_600_000),
    _rung("720p0", 1280, 720, 3_000_000),
)
