"""The preflight of the media tools."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines import tools
from pipelines.errors import ToolError
from pipelines.profile import Encoder
from pipelines.tools import listed
from pipelines.transcoding.kit import DEINTERLACING, TONE_MAPPING, hardware_implementation
from worker.finding import Finding, fail, ok, warn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.transcoding.kit import Hardware
    from worker.settings import Settings

#: The oldest ffmpeg with which the package command was measured to be right.
OLDEST_FFMPEG = (5, 1)

_NEEDED_ABILITIES = (
    ("-demuxers", "mpegts"),
    ("-demuxers", "mov"),
    ("-muxers", "mp4"),
    ("-bsfs", "aac_adtstoasc"),
    ("-encoders", "libx264"),
    ("-encoders", "aac"),
)
#: Without these only some sessions fail, and those say why.
_WANTED_ABILITIES = (
    ("-encoders", "libx265", "HEVC profiles"),
    ("-encoders", "libvpx-vp9", "VP9 profiles"),
    *(("-filters", name, "interlaced recordings") for name in sorted(DEINTERLACING)),
    *(("-filters", name, "HDR recordings") for name in sorted(TONE_MAPPING)),
)


def ffmpeg_findings(settings: Settings) -> Iterator[Finding]:
    """Whether ffmpeg and ffprobe are there, new enough, and able."""
    try:
        media = tools.locate(settings.ffmpeg, settings.ffprobe)
        yield _ffmpeg_version(media.ffmpeg, media.version())
        yield ok("ffprobe", f"{tools.tool_version(media.ffprobe)} at {media.ffprobe}")
        yield from _abilities(media.ffmpeg)
        yield from _hardware(media.ffmpeg, settings.hardware)
    except ToolError as error:
        yield fail("ffmpeg", error.message)


def _ffmpeg_version(program: str, version: str) -> Finding:
    try:
        release = tools.release_of(version)
    except ValueError as error:
        return warn("ffmpeg", f"{error}; {program} must be 5.1 or newer.")
    if release is not None and release < OLDEST_FFMPEG:
        return fail("ffmpeg", f"{version} at {program} is too old: install 5.1 or newer.")
    return ok("ffmpeg", f"{version} at {program}")


def _abilities(program: str) -> Iterator[Finding]:
    missing = [name for option, name in _NEEDED_ABILITIES if name not in listed(program, option)]
    if missing:
        yield fail("ffmpeg", f"lacks {', '.join(missing)}: install a build that has them.")
    else:
        yield ok("ffmpeg", f"has {', '.join(name for _, name in _NEEDED_ABILITIES)}")
    for option, name, purpose in _WANTED_ABILITIES:
        if name not in listed(program, option):
            yield warn("ffmpeg", f"lacks {name}: sessions that need it fail ({purpose}).")


def _hardware(program: str, hardware: Hardware | None) -> Iterator[Finding]:
    """Whether the encoders of the hardware that the setting names are in this ffmpeg at all."""
    if hardware is None:
        return
    encoders = listed(program, "-encoders")
    for encoder in Encoder:
        name = hardware_implementation(encoder, hardware)
        if name and name not in encoders:
            instead = f"{encoder.value} is encoded in software"
            yield warn("ffmpeg", f"lacks {name} (FINALIZER_HARDWARE): {instead}.")
