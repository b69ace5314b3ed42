"""Results of damaged recordings in front of others: Chromium plays them, mp4box.js reads them."""

import pytest

from scripts.fault_kit import BY_NAME
from tests.browser import page_server, watching
from tests.framehash import packets
from tests.second_reader import assert_progressive, assert_same_packets, read

pytestmark = [pytest.mark.s3, pytest.mark.redis, pytest.mark.ffmpeg]

#: Media time from which there are pictures: sound may begin a frame before them.
FIRST = 0.1
#: Seconds that are played from each place.
PLAYED = 0.3
FAULTS = (
    "missing-middle", "jump-untagged", "reset-tagged", "other-size", "other-rate",
    "sound-vanishes", "fmp4-other-map", "two-languages", "vp9-opus",
)  # fmt: skip
CORPUS = {"cmaf-av1": "index.m3u8", "ts-gap-tag-missing-files": "playlist.m3u8"}


@pytest.fixture(scope="module")
def viewer(chromium):
    """Somebody in front of Chromium."""
    with page_server() as server, watching(server.url) as viewer:
        yield viewer


@pytest.fixture(params=[*FAULTS, *CORPUS])
def made(request, bases, corpus, finalized, tmp_path):
    """A finalized recording."""
    if request.param in CORPUS:
        playlist = corpus / request.param / CORPUS[request.param]
    else:
        playlist = BY_NAME[request.param].make(bases).write(tmp_path / request.param)
    result = finalized(playlist)
    assert result.mp4 is not None, result.record.error
    return result


def edges(report, duration):
    """Media times beside every gap and period, near the start, in the middle and near the end."""
    last = duration - 2 * PLAYED
    found = {FIRST, duration / 2, last}
    for gap in report["gaps"]:
        found |= {gap["at"], gap["at"] + gap["duration"]}
    for rendition in report["renditions"]:
        found |= {period["start"] for period in rendition["periods"]}
    inside = {min(max(FIRST, each + by), last) for each in found for by in (-0.1, 0.1)}
    return sorted(inside)


def test_chromium_plays_it_from_every_edge_and_mp4box_reads_it(made, viewer, mp4box, media_tools):
    file = read(mp4box, made.mp4)
    assert_progressive(file)
    for kind, letter in (("vide", "v"), ("soun", "a")):
        for number, track in enumerate(each for each in file.tracks if each.kind == kind):
            stream = f"{letter}:{number}"
            assert_same_packets(track, packets(media_tools, made.mp4, stream))
    opened = viewer.open_file(made.url)
    assert viewer.play(PLAYED)["time"] >= PLAYED
    for time in edges(made.report, opened["duration"]):
        viewer.seek(time, float("inf"))
        played = viewer.play(PLAYED)
        assert played["time"] > time
    assert viewer.play_to_the_end()["ended"]
