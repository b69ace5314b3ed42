"""Parameter sets that were sent once, so far back that no lead-in reaches them."""

import pytest

from pipelines.repair import RepairKind
from pipelines.slices import MAX_LEAD_IN
from tests.media import picture_numbers
from tests.packaging import Transcoder, small_encoding

pytestmark = [pytest.mark.s3, pytest.mark.ffmpeg]

#: 72 segments of half a second; the second slice begins with number 66.
SPEC = {"duration": 36.0, "segment": 0.5, "fps": "10", "gop": 5, "size": "160x90", "numbered": True}
SLICE_SECONDS, SECOND, PICTURES = 33.0, 66, 360
#: NAL unit headers of parameter sets of H.264, and of HEVC; each becomes filler data.
SETS = {
    "h264": {b"\x67": b"\x0c", b"\x68": b"\x0c"},
    "hevc": {b"\x40\x01": b"\x4c\x01", b"\x42\x01": b"\x4c\x01", b"\x44\x01": b"\x4c\x01"},
}


def without_sets(data, codec):
    for header, filler in SETS[codec].items():
        data = data.replace(b"\0\0\1" + header, b"\0\0\1" + filler)
    return data


@pytest.fixture
def sent_once(media, recording_of):
    """A recording with parameter sets in its first segment alone."""

    def make(codec, **options):
        path = media.recording(**SPEC, video=codec, **options)
        first, *others = [each.read_bytes() for each in sorted(path.parent.glob("segment*"))]
        bare = [without_sets(each, codec) for each in others]
        assert SECOND > MAX_LEAD_IN
        assert all(one != other for one, other in zip(others, bare, strict=True))
        return recording_of((first, ""), *((each, "") for each in bare), seconds=0.5)

    return make


def repairs(one):
    """Where parameter sets were put back."""
    tables = [one.staging.tables(receipt) for receipt in one.receipts]
    assert not [loss for each in tables for loss in each.losses]
    found = [repair for each in tables for repair in each.repairs]
    return [each.sequence for each in found if each.kind is RepairKind.PARAMETER_SETS]


@pytest.mark.parametrize("codec", SETS)
@pytest.mark.parametrize("audio", [None, "aac"])
@pytest.mark.alike(2)
def test_a_copy_keeps_every_picture(codec, audio, sent_once, finalizer, media_tools, tmp_path):
    one = finalizer(slice_seconds=SLICE_SECONDS)
    _, proof = one.finalize(sent_once(codec, audio=audio))
    assert repairs(one) == [SECOND]
    assert proof.tracks[0].copied == PICTURES
    file = one.download(tmp_path / "made.mp4")
    assert picture_numbers(media_tools, file) == list(range(PICTURES))


def test_a_transcode_shows_every_picture(sent_once, s3, media_tools, tmp_path):
    one = Transcoder(s3, media_tools, {"v": small_encoding()}, SLICE_SECONDS)
    one.finalize(sent_once("h264"))
    assert repairs(one.renditions["v"]) == [SECOND]
    file = one.renditions["v"].download(tmp_path / "made.mp4")
    assert picture_numbers(media_tools, file) == list(range(PICTURES))
