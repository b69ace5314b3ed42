"""Plays a finished MP4 from its address, as a viewer would, and counts what can be seen and heard."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

import numpy as np

from scripts.embedded import child_environment

_RUN_TIMEOUT_S = 1800
_SAMPLE_RATE = 8000
_WINDOW = _SAMPLE_RATE // 100
_FLASH_LUMA = 200
_BEEP_LEVEL = 0.05 * 2**15


@dataclass(frozen=True)
class Playback:
    """How a full decode went: whether ffmpeg came to the end, and what it complained about."""

    finished: bool
    complaints: tuple[str, ...]

    @property
    def clean(self) -> bool:
        """Whether everything was decoded without a complaint."""
        return self.finished and not self.complaints


def play(ffmpeg: str, url: str) -> Playback:
    """Decode every stream of the file at ``url`` (HTTP) from its beginning to its end."""
    done = _run(ffmpeg, url, "-map", "0", "-f", "null", "-")
    lines = tuple(line for line in done.stderr.decode(errors="replace").splitlines() if line)
    return Playback(done.returncode == 0, lines)


def count_flashes(ffmpeg: str, url: str) -> tuple[int, int]:
    """How many pictures there are, and how many times the picture turns white."""
    raw = _run(
        ffmpeg, url, "-map", "0:v:0", "-fps_mode", "passthrough",
        "-vf", "scale=1:1:flags=area,format=gray", "-f", "rawvideo", "-",
    ).stdout  # fmt: skip
    luma = np.frombuffer(raw, dtype=np.uint8)
    return len(luma), _rising_edges(luma >= _FLASH_LUMA)


def count_beeps(ffmpeg: str, url: str) -> int:
    """How many times the sound sets in, in steps of a hundredth of a second."""
    raw = _run(
        ffmpeg, url, "-map", "0:a:0", "-ac", "1", "-ar", str(_SAMPLE_RATE), "-f", "s16le", "-"
    ).stdout
    samples = np.frombuffer(raw, dtype=np.int16).astype(np.int32)
    whole = len(samples) // _WINDOW * _WINDOW
    level = np.abs(samples[:whole].reshape(-1, _WINDOW)).max(axis=1)
    return _rising_edges(level > _BEEP_LEVEL)


def _rising_edges(states: np.ndarray) -> int:
    before = np.concatenate(([False], states[:-1]))
    return int(np.count_nonzero(states & ~before))


def _run(ffmpeg: str, url: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [
            ffmpeg, "-nostdin", "-v", "error", "-protocol_whitelist", "http,tcp", "-i", url,
            *arguments,
        ],
        env=child_environment(),  # without a proxy
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_RUN_TIMEOUT_S,
        check=False,
    )  # fmt: skip
