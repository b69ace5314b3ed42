"""The preflight of the media tools."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from pipelines import tools
from pipelines.errors import ToolError
from worker.finding import Finding, fail, ok, warn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.settings import Settings

#: The oldest ffmpeg with which the package command was measured to be right.
OLDEST_FFMPEG = (5, 1)

_NEEDED_ABILITIES = (
    ("-demuxers", "mpegts"),
    ("-demuxers", "mov"),
    ("-muxers", "mp4"),
    ("-bsfs", "aac_adtstoasc"),
)
_LIST_TIMEOUT_S = 20


def ffmpeg_findings(settings: Settings) -> Iterator[Finding]:
    """Whether ffmpeg and ffprobe are there, new enough, and able."""
    try:
        media = tools.locate(settings.ffmpeg, settings.ffprobe)
        yield _ffmpeg_version(media.ffmpeg, media.version())
        yield ok("ffprobe", f"{tools.tool_version(media.ffprobe)} at {media.ffprobe}")
        yield from _abilities(media.ffmpeg)
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
    missing = [name for option, name in _NEEDED_ABILITIES if name not in _listed(program, option)]
    if missing:
        yield fail("ffmpeg", f"lacks {', '.join(missing)}: install a build that has them.")
    else:
        yield ok("ffmpeg", f"has {', '.join(name for _, name in _NEEDED_ABILITIES)}")


def _listed(program: str, option: str) -> set[str]:
    """Names in a list that ffmpeg prints: ``E mp4  MP4 (…)`` or ``D mov,mp4,m4a …``, bare for bsfs."""
    try:
        run = subprocess.run(
            [program, "-hide_banner", option],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            timeout=_LIST_TIMEOUT_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return set()
    words = [line.split()[:2] for line in run.stdout.splitlines() if line.strip()]
    return {name for columns in words for name in columns[-1].split(",")}
