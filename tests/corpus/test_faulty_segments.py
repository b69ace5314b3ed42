"""Faults of segments and of clocks: what the source has is at its time, and the report says what lacks."""

import re

import pytest

from scripts.fault_clocks import CLOCKS
from scripts.fault_entries import LATER
from scripts.fault_segments import SEGMENTS
from tests.corpus.onlookers import assert_is_read, assert_plays

pytestmark = [pytest.mark.s3, pytest.mark.redis, pytest.mark.ffmpeg]

#: Results that others look at too: the names of the fault and of the rendition.
SHOWN = [
    ("missing-middle", "source"), ("missing-middle", "small"), ("jump-untagged", "source"),
    ("reset-tagged", "source"), ("no-first-key", "source"),
]  # fmt: skip


@pytest.mark.parametrize("fault", [*SEGMENTS, *CLOCKS], ids=lambda fault: fault.name)
@pytest.mark.alike(3)
def test_the_result_is_true_to_what_the_source_has(fault, assert_true):
    assert_true(fault.name)


def test_a_short_jump_inside_a_slice_is_told_at_its_segment(faulty):
    made, _ = faulty("jump-short")
    [gap] = made.rendition("source")["gaps"]
    assert re.search(r"segment (\d+)", gap["detail"])[1] == str(LATER)


@pytest.mark.parametrize(("name", "rendition"), SHOWN)
@pytest.mark.alike(2)
def test_chromium_plays_it_from_every_edge_and_mp4box_reads_it(
    name, rendition, faulty, viewer, pages, mp4box, media_tools
):
    made, _ = faulty(name)
    assert_is_read(mp4box, media_tools, made.files[rendition])
    told = made.rendition(rendition)
    assert_plays(viewer, pages, made.files[rendition], told, made.seams[rendition])
