"""The default ladder is Livepeer's, and passes its own wire form."""

import pytest

from pipelines.profile import Encoder, FfmpegProfile
from pipelines.transcoding.ladder import DEFAULT_LADDER


def test_the_default_ladder_is_livepeers():
    assert [(p.name, p.width, p.height, p.bitrate, p.fps) for p in DEFAULT_LADDER] == [
        ("240p0", 426, 240, 250_000, 0),
        ("360p0", 640, 360, 800_000, 0),
        ("480p0", 854, 480, 1_600_000, 0),
        ("720p0", 1280, 720, 3_000_000, 0),
    ]


@pytest.mark.parametrize("profile", DEFAULT_LADDER, ids=lambda profile: profile.name)
def test_a_rung_says_what_livepeer_adds_to_it_and_survives_the_wire(profile):
    wire = profile.model_dump(mode="json", exclude_unset=True)
    assert (wire["gop"], wire["profile"]) == ("2.0", "H264ConstrainedHigh")
    assert "encoder" not in wire
    assert (profile.encoder or Encoder.H264) is Encoder.H264
    assert FfmpegProfile.model_validate(wire) == profile
