"""Profiles ask only for what an encoder can be told."""

import pytest
from pydantic import ValidationError

from pipelines.profile import FfmpegProfile

ASKED = {"name": "wanted", "width": 1280, "height": 720, "bitrate": 3_000_000, "fps": 0}


@pytest.mark.parametrize(
    ("fps", "den"), [(0, None), (0, 1001), (1, None), (240, 1), (30_000, 1001), (3, 2), (30, None)]
)
def test_a_rate_is_the_sources_or_1_to_240(fps, den):
    profile = FfmpegProfile.model_validate(ASKED | {"fps": fps, "fpsDen": den})
    assert (profile.fps, profile.fps_den) == (fps, den)


@pytest.mark.parametrize(("fps", "den"), [(241, None), (90_000, 1), (1, 2), (1, 100_000)])
def test_a_rate_that_no_video_has_is_refused(fps, den):
    with pytest.raises(ValidationError, match="1 to 240"):
        FfmpegProfile.model_validate(ASKED | {"fps": fps, "fpsDen": den})


@pytest.mark.parametrize(
    ("fps", "den"),
    [(1_000_000, 4999), (2_000_000, 20_000), (100_001, 100_000), (0, 2**53), (2**53, 2**48)],
)
def test_a_rate_of_small_terms_can_be_counted(fps, den):
    assert FfmpegProfile.model_validate(ASKED | {"fps": fps, "fpsDen": den})


@pytest.mark.parametrize(
    ("fps", "den"), [(1_000_003, 5000), (100_003, 100_002), (1, 2**53), (2**53 - 1, 2**47)]
)
def test_a_rate_of_large_terms_is_refused_with_its_field(fps, den):
    with pytest.raises(ValidationError, match="in lowest terms") as refused:
        FfmpegProfile.model_validate(ASKED | {"fps": fps, "fpsDen": den})
    assert refused.value.errors()[0]["loc"] == ("fpsDen",)


@pytest.mark.parametrize("gop", ["900", "900.0", 900, 0, "intra", "0.04"])
def test_key_frames_may_lie_up_to_900_seconds_apart(gop):
    assert FfmpegProfile.model_validate(ASKED | {"gop": gop}).gop == str(gop)


@pytest.mark.parametrize("gop", ["900.1", 901, "9" * 400])
def test_key_frames_farther_apart_are_refused_with_the_field(gop):
    with pytest.raises(ValidationError, match="at most 900 seconds") as refused:
        FfmpegProfile.model_validate(ASKED | {"gop": gop})
    assert refused.value.errors()[0]["loc"] == ("gop",)


def test_a_bit_rate_beyond_32_bits_is_refused():
    assert FfmpegProfile.model_validate(ASKED | {"bitrate": 1_000_000_000})
    with pytest.raises(ValidationError, match="1000000000"):
        FfmpegProfile.model_validate(ASKED | {"bitrate": 1_000_000_001})
