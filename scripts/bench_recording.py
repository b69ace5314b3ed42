"""The recording that a bench works on: as much as was asked for and the disk holds."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from scripts.bench_result import BenchFailedError
from scripts.recordings import LOOP_UNIT, make_loop, repeat_recording

if TYPE_CHECKING:
    from pathlib import Path

    from scripts.bench_site import BenchSite
    from scripts.recordings import Repeated, Scene

BUCKET = "recordings"

#: Bit/s of 1920x1080; smaller pictures get less by their area, but sound needs some too.
_BIT_RATE = 6_000_000
_LEAST_BIT_RATE = 500_000
_FULL_AREA = 1920 * 1080
_LOOP_SECONDS = 32
_SPARE_BYTES = 1 << 30


def bit_rate(size: str) -> int:
    """Bit/s of a recording with pictures of this size."""
    width, height = map(int, size.split("x"))
    return max(_LEAST_BIT_RATE, round(_BIT_RATE * width * height / _FULL_AREA))


def fitting_minutes(minutes: float, size: str, copies: float, folder: Path) -> float:
    """As many of the ``minutes`` as ``folder`` holds ``copies`` times, with pictures of ``size``.

    Raises BenchFailedError for too few.
    """
    per_minute = bit_rate(size) / 8 * 60 * copies
    free = shutil.disk_usage(folder).free - _SPARE_BYTES
    fitting = min(minutes, round(free / per_minute, 1))
    if fitting < min(minutes, 1):
        raise BenchFailedError(f"{folder} has no room for a minute of recording; set TMPDIR.")
    return fitting


def write_recording(
    site: BenchSite, ffmpeg: str, scene: Scene, size: str, minutes: float
) -> Repeated:
    """Store the recording: a short encode, repeated with its clocks moved on."""
    whole = -(-round(minutes * 60) // LOOP_UNIT) * LOOP_UNIT
    loop = make_loop(
        ffmpeg,
        site.directory / "loop",
        seconds=min(_LOOP_SECONDS, whole),
        size=size,
        bit_rate=bit_rate(size),
        scene=scene,
    )
    recording = repeat_recording(
        loop, minutes * 60, client=site.s3.client(), bucket=BUCKET, prefix="bench"
    )
    os.sync()  # else the disk is still at it while something is measured
    return recording
