"""Faults of tracks, and other packagings: what the source has is at its time, and all is reported."""

import pytest

from scripts.fault_packaging import PACKAGINGS
from scripts.fault_tracks import TRACKS
from tests.corpus.onlookers import assert_is_read, assert_plays

pytestmark = [pytest.mark.s3, pytest.mark.redis, pytest.mark.ffmpeg]

#: Results that others look at too: the names of the fault and of the rendition.
SHOWN = [
    ("other-size", "source"), ("other-rate", "source"), ("sound-vanishes", "source"),
    ("fmp4-other-map", "source"), ("two-languages", "source"), ("vp9-opus", "source"),
    ("open-gops", "source"),
    ("vp9-opus", "small"), ("packed-sound", "source"), ("packed-mp3", "source"),
]  # fmt: skip


@pytest.mark.parametrize("fault", [*TRACKS, *PACKAGINGS], ids=lambda fault: fault.name)
@pytest.mark.alike(3)
def test_the_result_is_true_to_what_the_source_has(fault, assert_true):
    assert_true(fault.name)


@pytest.mark.parametrize(("name", "rendition"), SHOWN)
@pytest.mark.alike(2)
def test_chromium_plays_it_from_every_edge_and_mp4box_reads_it(
    name, rendition, faulty, viewer, pages, mp4box, media_tools
):
    made, _ = faulty(name)
    assert_is_read(mp4box, media_tools, made.files[rendition])
    told = made.rendition(rendition)
    assert_plays(viewer, pages, made.files[rendition], told, made.seams[rendition])
