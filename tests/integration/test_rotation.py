"""A recording of a phone held upright: players turn the copy as they turn the source."""

import pytest

from tests.media import run

pytestmark = [pytest.mark.s3, pytest.mark.ffmpeg]


def rotation(tools, path):
    found = run(
        tools.ffprobe, "-v", "error", "-select_streams", "v:0", "-show_entries",
        "stream_side_data=rotation", "-of", "csv=p=0", str(path),
    ).decode().split()  # fmt: skip
    return [int(float(each)) for each in found]


@pytest.fixture
def turned(media, media_tools, tmp_path):
    """Makes a fragmented recording whose track header turns it."""

    def make(degrees):
        whole, folder = tmp_path / f"whole{degrees}.mp4", tmp_path / f"turned{degrees}"
        folder.mkdir()
        path = media.recording(duration=4.0, container="fmp4", b_frames=2)
        copied = ("-c", "copy", "-y")
        run(media_tools.ffmpeg, "-v", "error", "-i", str(path), *copied, str(whole))
        turning = ("-display_rotation", str(degrees), "-i", str(whole), *copied)
        hls = ("-f", "hls", "-hls_time", "2", "-hls_segment_type", "fmp4", "-hls_list_size", "0")
        run(media_tools.ffmpeg, "-v", "error", *turning, *hls, "index.m3u8", cwd=folder)
        return folder / "index.m3u8"

    return make


@pytest.mark.parametrize("degrees", [-90, 90, 180])
def test_the_copy_is_turned_as_its_source(degrees, turned, finalizer, media_tools, tmp_path):
    source = turned(degrees)
    one = finalizer(slice_seconds=2.0)
    one.finalize(source)
    told = rotation(media_tools, one.download(tmp_path / "ours.mp4"))
    assert [abs(each) for each in told] == [abs(degrees)]
    assert told == rotation(media_tools, source)


def test_a_copy_that_nothing_turns_says_nothing(media, finalizer, media_tools, tmp_path):
    one = finalizer()
    one.finalize(media.recording(duration=2.0, container="fmp4"))
    assert rotation(media_tools, one.download(tmp_path / "ours.mp4")) == []
