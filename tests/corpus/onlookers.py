"""Those who know nothing of this project, before a finalized recording: Chromium, and mp4box.js."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Error as PlaywrightError

from pipelines.tools import MediaTools
from tests.browser import PageServer, Viewer
from tests.framehash import packets
from tests.second_reader import assert_progressive, assert_same_packets, read

#: Seconds that are played from each place.
PLAYED = 0.1
#: Seconds beside an edge from which is played.
BESIDE = 0.1
#: Seconds of the shortest gap that is an edge: there may be many that are shorter.
GAP = 0.4
#: What Debian's Chromium says of media whose decoder it was built without.
UNSUPPORTED = "DEMUXER_ERROR_NO_SUPPORTED_STREAMS|DECODER_ERROR_NOT_SUPPORTED|MediaError 4"


def assert_plays(
    viewer: Viewer,
    pages: PageServer,
    path: Path,
    rendition: dict[str, Any],
    slices: Sequence[float],
    until: float = math.inf,
) -> None:
    """Chromium plays a rendition's MP4 from every edge, and to its end; or until a given time.

    ``slices`` are where the slices meet, seconds of what is listed.
    """
    kind = "video" if _has_pictures(rendition) else "audio"
    opened = viewer.open_file(pages.share(path), kind)
    assert opened["duration"] == pytest.approx(rendition["duration"], abs=0.05)
    for time in edges(rendition, slices, until):
        viewer.seek(time, float("inf"))
        assert viewer.play(PLAYED)["time"] > time
    if until == math.inf:
        assert viewer.play_to_the_end()["ended"]


def assert_cannot_play(viewer: Viewer, pages: PageServer, path: Path) -> None:
    """Chromium says that it has no decoder: once it has, this is to be taken off the list."""
    with pytest.raises(PlaywrightError, match=UNSUPPORTED):
        viewer.open_file(pages.share(path))


def assert_is_read(mp4box: Path, tools: MediaTools, path: Path) -> None:
    """mp4box.js finds a progressive MP4, and in it the packets that ffmpeg finds."""
    file = read(mp4box, path)
    assert_progressive(file)
    for kind, letter in (("vide", "v"), ("soun", "a")):
        for number, track in enumerate(each for each in file.tracks if each.kind == kind):
            assert_same_packets(track, packets(tools, path, f"{letter}:{number}"))


def edges(rendition: dict[str, Any], slices: Sequence[float], until: float) -> list[float]:
    """Media times at the start, in the middle, near the end, and on both sides of every seam: of
    slices, periods and gaps. From the first picture on."""
    last = min(until, rendition["duration"] - 2 * PLAYED)
    first = min(last, max(_late_starts(rendition), default=0.0) + BESIDE)
    inside = {
        min(max(first, each + by), last)
        for each in (*_seams(rendition), *_placed(slices, rendition))
        for by in (-BESIDE, BESIDE)
    }  # fmt: skip
    return sorted({first, max(first, rendition["duration"] / 2), last} | inside)


def _seams(rendition: dict[str, Any]) -> Iterator[float]:
    for gap in rendition["gaps"]:
        if gap["duration"] >= GAP:
            yield from (gap["at"], gap["at"] + gap["duration"])
    yield from (period["start"] for period in rendition["periods"])


def _placed(slices: Sequence[float], rendition: dict[str, Any]) -> Iterator[float]:
    """Where seams of slices are in the movie: time that is not listed, and held, moves them on."""
    unlisted = [
        gap
        for gap in rendition["gaps"]
        if (gap["track"], gap["cause"], gap["done"]) == ("all", "not_in_source", "held")
    ]
    for seam in slices:
        for gap in unlisted:
            seam += gap["duration"] if gap["at"] < seam else 0.0
        yield seam


def _late_starts(rendition: dict[str, Any]) -> Iterator[float]:
    """By how much pictures begin after the sound."""
    for gap in rendition["gaps"]:
        if gap["track"] == "video" and gap["done"] == "reported" and gap["at"] == 0:
            yield gap["duration"]


def _has_pictures(rendition: dict[str, Any]) -> bool:
    return any(track["name"] == "video" for track in rendition["tracks"])
