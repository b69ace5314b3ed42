"""When a file flashes and beeps, and where it is silent, found by decoding it."""

from __future__ import annotations

import subprocess
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


class MediaFailedError(Exception):
    """A file cannot be decoded; the message says what ffmpeg said."""


def flash_times(tools: MediaTools, path: Path | str) -> list[float]:
    """When white pictures begin to show, in seconds from the clock's zero.

    Raises MediaFailedError, as everything here does, when the file cannot be read.
    """
    probe = _run(
        tools.ffprobe, "-v", "error", "-select_streams", "v:0", "-show_entries",
        "frame=best_effort_timestamp_time", "-of", "csv=p=0", str(path),
    )  # fmt: skip
    times = [float(line.strip(",")) for line in probe.decode().split()]
    raw = _run(
        tools.ffmpeg, "-v", "error", "-i", str(path), "-map", "0:v:0", "-fps_mode", "passthrough",
        "-vf", "scale=1:1:flags=area,format=gray", "-f", "rawvideo", "-",
    )  # fmt: skip
    white = np.frombuffer(raw, dtype=np.uint8) >= _FLASH_LUMA
    if len(white) != len(times):
        raise MediaFailedError(f"{path}: {len(white)} pictures decoded, {len(times)} probed")
    return [times[index] for index in _rising_edges(white)]


def levels(tools: MediaTools, path: Path | str, stream: int = 0) -> tuple[float, np.ndarray]:
    """When a track of sound begins (seconds), and its peak in every window from there, 0 to 1."""
    raw = _run(
        tools.ffmpeg, "-v", "error", "-i", str(path), "-map", f"0:a:{stream}", "-ac", "1",
        "-ar", str(SAMPLE_RATE), "-f", "f32le", "-",
    )  # fmt: skip
    probe = _run(
        tools.ffprobe, "-v", "error", "-select_streams", f"a:{stream}", "-show_entries",
        "stream=start_time", "-of", "csv=p=0", str(path),
    )  # fmt: skip
    start = float(probe.decode().split()[0].strip(","))
    window = SAMPLE_RATE // WINDOWS_PER_SECOND
    samples = np.frombuffer(raw, dtype=np.float32)
    whole = len(samples) // window * window
    return start, np.abs(samples[:whole].reshape(-1, window)).max(axis=1, initial=0.0)


def beep_times(tools: MediaTools, path: Path | str, stream: int = 0) -> list[float]:
    """When the tone sets in, in seconds from the clock's zero, to a hundredth."""
    start, level = levels(tools, path, stream)
    return [start + edge / WINDOWS_PER_SECOND for edge in _rising_edges(level > _BEEP_LEVEL)]


def loudest(tools: MediaTools, path: Path | str, begin: float, end: float) -> float:
    """The peak of the first track of sound between two times; infinite where it has no sound."""
    start, level = levels(tools, path)
    first, last = (round((at - start) * WINDOWS_PER_SECOND) for at in (begin, end))
    if first < 0 or last > len(level):
        return float("inf")
    return float(level[first:last].max(initial=0.0))


def _rising_edges(states: np.ndarray) -> list[int]:
    before = np.concatenate(([False], states[:-1]))
    return [int(index) for index in np.flatnonzero(states & ~before)]


def _run(program: str, *arguments: str) -> bytes:
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
    return done.stdout
