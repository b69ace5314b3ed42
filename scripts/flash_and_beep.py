"""When a file flashes and beeps, and where it is silent, found by decoding it."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scripts.embedded import child_environment

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.tools import MediaTools

SAMPLE_RATE = 48_000
#: Windows of sound in which a beep is looked for, a second.
WINDOWS_PER_SECOND = 100

_FLASH_LUMA = 200
_BEEP_LEVEL = 0.05
_RUN_TIMEOUT_S = 240
#: What showinfo writes of a picture: its number, when it is shown, the mean of its only plane.
_SHOWN = re.compile(rb"\] n: *(\d+) .* pts_time:(\S+) .* mean:\[(\d+)")
#: Another thread of ffmpeg may write into the middle of such a line; then all is watched again.
_WATCHES = 5
#: What ffmpeg complains of, with ``level`` among its flags of logging.
_ERROR = re.compile(rb"^.*\[(?:error|fatal)\] (.*)$", re.MULTILINE)


class MediaFailedError(Exception):
    """A file cannot be decoded; the message says what ffmpeg said."""


@dataclass(frozen=True)
class Showing:
    """What a file shows and sounds like; times in seconds from the clock's zero."""

    pictures: np.ndarray  #: float64[n], when each begins to show
    luma: np.ndarray  #: float64[n], the mean of each, 0 to 255
    begins: float  #: when the sound begins
    levels: np.ndarray  #: float32[m], its peak in every window from there, 0 to 1
    errors: tuple[str, ...]  #: what the decoders complain of

    @property
    def flashes(self) -> list[float]:
        """When white pictures begin to show."""
        return [float(self.pictures[index]) for index in _rising_edges(self.luma >= _FLASH_LUMA)]

    @property
    def beeps(self) -> list[float]:
        """When the tone sets in, to a hundredth."""
        edges = _rising_edges(self.levels > _BEEP_LEVEL)
        return [self.begins + edge / WINDOWS_PER_SECOND for edge in edges]

    def loudest(self, begin: float, end: float) -> float:
        """The peak of the sound between two times; infinite where there is none."""
        first, last = (round((at - self.begins) * WINDOWS_PER_SECOND) for at in (begin, end))
        if first < 0 or last > len(self.levels):
            return float("inf")
        return float(self.levels[first:last].max(initial=0.0))


def watch(
    tools: MediaTools, path: Path | str, *, pictures: bool = True, sound: int | None = 0
) -> Showing:
    """Decode a file's pictures and one of its tracks of sound, in one go.

    Raises MediaFailedError, as everything here does, when it cannot be read, or lacks one of them.
    """
    outputs: list[str] = []
    if pictures:
        shown = "scale=1:1:flags=area,format=gray,showinfo"
        outputs += ["-map", "0:v:0", "-fps_mode", "passthrough", "-vf", shown, "-f", "null", "-"]
    begins = 0.0
    if sound is not None:
        begins = _begin_of_sound(tools, path, sound)
        heard = ["-ac", "1", "-ar", str(SAMPLE_RATE), "-f", "f32le", "pipe:1"]
        outputs += ["-map", f"0:a:{sound}", *heard]
    for _ in range(_WATCHES):
        done = _run(
            tools.ffmpeg, "-hide_banner", "-nostats", "-loglevel", "level+info", "-copyts",
            "-i", str(path), *outputs,
        )  # fmt: skip
        shows = np.array(_SHOWN.findall(done.stderr), dtype=np.float64).reshape(-1, 3)
        if np.array_equal(shows[:, 0], np.arange(len(shows))):
            break
    else:
        raise MediaFailedError(f"{path}: ffmpeg's lines of its pictures were never all whole")
    if pictures and not len(shows):
        raise MediaFailedError(f"{path}: not one picture could be decoded")
    errors = tuple(line.decode(errors="replace") for line in _ERROR.findall(done.stderr))
    return Showing(shows[:, 1], shows[:, 2], begins, _peaks(done.stdout), errors)


def flash_times(tools: MediaTools, path: Path | str) -> list[float]:
    """When white pictures begin to show, in seconds from the clock's zero."""
    return watch(tools, path, sound=None).flashes


def beep_times(tools: MediaTools, path: Path | str, stream: int = 0) -> list[float]:
    """When the tone sets in, in seconds from the clock's zero, to a hundredth."""
    return watch(tools, path, pictures=False, sound=stream).beeps


def _begin_of_sound(tools: MediaTools, path: Path | str, stream: int) -> float:
    probe = _run(
        tools.ffprobe, "-v", "error", "-select_streams", f"a:{stream}", "-show_entries",
        "stream=start_time", "-of", "csv=p=0", str(path),
    )  # fmt: skip
    told = probe.stdout.decode().split()
    if not told:
        raise MediaFailedError(f"{path}: there is no track of sound {stream}")
    return float(told[0].strip(","))


def _peaks(raw: bytes) -> np.ndarray:
    window = SAMPLE_RATE // WINDOWS_PER_SECOND
    samples = np.frombuffer(raw, dtype=np.float32)
    whole = len(samples) // window * window
    peaks: np.ndarray = np.abs(samples[:whole].reshape(-1, window)).max(axis=1, initial=0.0)
    return peaks


def _rising_edges(states: np.ndarray) -> list[int]:
    before = np.concatenate(([False], states[:-1]))
    return [int(index) for index in np.flatnonzero(states & ~before)]


def _run(program: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(
        [program, *arguments],
        env=child_environment(),  # without a proxy
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_RUN_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise MediaFailedError(f"{program} failed: {done.stderr.decode(errors='replace')[-2000:]}")
    return done
