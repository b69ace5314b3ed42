"""The command that copies a run of MPEG-TS: ffmpeg sees nothing but its pipes."""

import pytest

from pipelines.mpegts.index import index_segment
from pipelines.remux import MIN_PROBE_BYTES, PROBE_MARGIN_BYTES, RemuxInput, remux_argv
from tests.unit.mpegts_by_hand import H264, IDR, PPS, SPS, VIDEO, Segment, pes, unit


def argv(probe_bytes: int = 0) -> list[str]:
    made = Segment((H264, VIDEO)).add(VIDEO, pes(unit(SPS, PPS, IDR), 0))
    return remux_argv("ffmpeg", RemuxInput(index_segment(made.data).tracks, probe_bytes))


def of_the_input(words: list[str]) -> list[str]:
    """The options that stand before the input, which is what they are for."""
    return words[: words.index("-i")]


def test_no_path_and_no_url_of_a_recording_is_opened():
    words = of_the_input(argv())
    assert words[words.index("-protocol_whitelist") + 1] == "pipe"
    assert words[words.index("-f") + 1] == "mpegts"
    assert [word for word in argv() if "pipe:" in word] == ["pipe:0", "pipe:1"]


@pytest.mark.parametrize(
    ("first", "probed"), [(0, MIN_PROBE_BYTES), (5 << 20, (5 << 20) + PROBE_MARGIN_BYTES)]
)
def test_it_looks_as_far_as_all_tracks_have_begun(first, probed):
    words = of_the_input(argv(first))
    assert words[words.index("-probesize") + 1] == str(probed)
