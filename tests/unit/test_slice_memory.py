"""What a slice takes of memory is reckoned before its bytes flow: it grows with what is large in it."""

from fractions import Fraction

import pytest

from pipelines.profile import Encoder
from pipelines.slice_memory import FFMPEG_BYTES, SliceSizes, copying_bytes
from pipelines.transcoding.encoding import VideoEncoding
from pipelines.transcoding.transcode_memory import encoder_bytes, transcoding_bytes

MB = 1_000_000


def sizes(segments=45, each=3 * MB, sound=()):
    """A slice of three minutes in segments of four seconds, at 6 Mbit/s."""
    return SliceSizes(dict.fromkeys(range(segments), each), tuple({0: size} for size in sound))


def encoding(**options):
    usual = {
        "encoder": Encoder.H264, "implementation": "libx264", "preset": "fast",
        "width": 1280, "height": 720, "bitrate": 3 * MB,
        "nominal_rate": Fraction(30), "constant_rate": False,
    }  # fmt: skip
    return VideoEncoding(**{**usual, **options})


def test_a_usual_slice_is_copied_in_less_than_a_quarter_of_a_gigabyte():
    assert FFMPEG_BYTES < copying_bytes(sizes()) < 250 * MB


@pytest.mark.parametrize("larger", [sizes(segments=90), sizes(each=6 * MB), sizes(sound=(8 * MB,))])
def test_a_larger_slice_takes_more(larger):
    assert copying_bytes(larger) > copying_bytes(sizes())


def test_an_encoder_takes_more_for_larger_and_deeper_pictures_and_slower_presets():
    usual = encoder_bytes(encoding())
    assert encoder_bytes(encoding(width=1920, height=1080)) > 2 * usual
    assert encoder_bytes(encoding(pixel_format="yuv420p10le")) == 2 * usual
    assert encoder_bytes(encoding(preset="veryslow")) > usual
    assert encoder_bytes(encoding(preset="ultrafast")) < usual


def test_every_rendition_adds_its_own():
    one = transcoding_bytes(sizes(), 60.0, [encoding()])
    two = transcoding_bytes(sizes(), 60.0, [encoding(), encoding(width=640, height=360)])
    assert two > one + encoder_bytes(encoding(width=640, height=360))
    assert one > transcoding_bytes(sizes(), 60.0, [None])
