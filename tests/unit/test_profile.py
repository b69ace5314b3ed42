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


@pytest.mark.parametrize(("fps", "den"), [(241, None), (90_000, 1), (1, 2), (1, 2**53)])
def test_a_rate_that_no_video_has_is_refused(fps, den):
    with pytest.raises(ValidationError, match="1 to 240"):
        FfmpegProfile.model_validate(ASKED | {"fps": fps, "fpsDen": den})


def test_a_bit_rate_beyond_32_bits_is_refused():
    assert FfmpegProfile.model_validate(ASKED | {"bitrate": 1_000_000_000})
    with pytest.raises(ValidationError, match="1000000000"):
        FfmpegProfile.model_validate(ASKED | {"bitrate": 1_000_000_001})
