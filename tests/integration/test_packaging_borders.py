"""A segment that lacks right at the border of two slices: the next one begins with what it knows."""

import shutil

import pytest

from pipelines.gap import GapCause

pytestmark = [pytest.mark.s3, pytest.mark.ffmpeg]

#: Slices of two segments of two seconds; the last one of the first slice is not there.
SLICE, MISSING = 4.0, 1
#: By the name of the case: pictures between key frames, and those that lack before the next one.
KEYS = {"with-key": (60, 0), "without-key": (90, 60)}


@pytest.fixture(params=["ts", "fmp4"])
def container(request):
    return request.param


@pytest.fixture(params=KEYS.values(), ids=KEYS.keys())
def lacking(request, container, media, tmp_path):
    """A recording without the last segment of its first slice, and pictures that lose their key."""
    gop, undecodable = request.param
    path = media.recording(duration=8.0, gop=gop, split_by_time=True, container=container)
    folder = shutil.copytree(path.parent, tmp_path / "lacking")
    listed = [line for line in path.read_text().splitlines() if line and line[0] != "#"]
    assert len(listed) == 4
    (folder / listed[MISSING]).unlink()
    return folder / path.name, undecodable


def test_pictures_behind_a_lost_border_begin_with_a_key(lacking, finalizer):
    path, undecodable = lacking
    one = finalizer(slice_seconds=SLICE)
    made, proof = one.finalize(path)
    assert len(one.receipts) == 2
    pictures = next(track for track in proof.tracks if track.name == "video")
    # Pictures whose parameter sets are lost as well are left out when they are packaged.
    left_out = pictures.dropped + sum(loss.units for loss in made.losses if not loss.whole)
    assert (pictures.copied, left_out) == (180 - undecodable, undecodable)
    assert proof.undecoded == ()
    assert one.staging.tables(one.receipts[1]).runs[0].broken is bool(undecodable)
    [gap] = [gap for gap in made.tables.gaps if gap.track == "all"]
    assert (gap.cause, gap.segments) == (GapCause.SEGMENT_LOST, (MISSING,))
