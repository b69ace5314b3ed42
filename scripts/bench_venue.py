"""The venue of a contest: a site with a recording on it, in a temporary folder of which nothing
stays."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from pipelines.tools import locate
from scripts.bench_recording import fitting_minutes, write_recording
from scripts.bench_site import BenchSite
from scripts.bench_turn import Contest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from scripts.bench_definition import BenchOptions
    from scripts.recordings import Scene

_NOTHING: Mapping[str, str] = MappingProxyType({})


@contextlib.contextmanager
def open_venue(
    scene: Scene,
    options: BenchOptions,
    copies: float,
    say: Callable[[str], None],
    chosen: Mapping[str, str] = _NOTHING,
) -> Iterator[tuple[Contest, list[str]]]:
    """All that the ways of a contest have in common, and in words what was scaled down for it.

    ``copies`` is how often the recording's bytes are on disk at the worst moment, ``chosen`` are
    settings of the product. Raises BenchFailedError when there is no room for a recording.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder, scaled = Path(name), list[str]()
        minutes = fitting_minutes(options.minutes, options.size, copies, folder)
        if minutes < options.minutes:
            scaled.append(f"Disk is short: {minutes:g} minutes, not {options.minutes:g}.")
            say(scaled[-1])
        with BenchSite(folder, chosen) as site:
            tools = locate(site.settings.ffmpeg, site.settings.ffprobe)
            say(f"making a recording of {minutes:g} minutes")
            recording = write_recording(site, tools.ffmpeg, scene, options.size, minutes)
            yield Contest(site, tools, recording), scaled
