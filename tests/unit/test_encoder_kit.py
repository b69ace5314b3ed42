"""Which encoder a profile gets from which ffmpeg, and what is said when it has none."""

import pytest

from pipelines.errors import ErrorCode, PermanentError
from pipelines.profile import Encoder
from pipelines.transcoding.kit import (
    DEINTERLACING,
    TONE_MAPPING,
    EncoderKit,
    Hardware,
    probe_kit,
)

SOFTWARE = frozenset({"libx264", "libx265", "libvpx-vp9"})
IN_HARDWARE = frozenset(f"{codec}_{kind}" for codec in ("h264", "hevc") for kind in Hardware)


def kit(*encoders: str, filters: frozenset[str] = frozenset()) -> EncoderKit:
    return EncoderKit(frozenset(encoders), filters)


@pytest.mark.parametrize(
    ("encoder", "hardware", "implementation"),
    [
        (Encoder.H264, None, "libx264"),
        (Encoder.HEVC, None, "libx265"),
        (Encoder.VP9, None, "libvpx-vp9"),
        (Encoder.H264, Hardware.NVENC, "h264_nvenc"),
        (Encoder.HEVC, Hardware.NVENC, "hevc_nvenc"),
        (Encoder.VP9, Hardware.NVENC, "libvpx-vp9"),
        (Encoder.H264, Hardware.VAAPI, "h264_vaapi"),
        (Encoder.VP9, Hardware.VAAPI, "libvpx-vp9"),
        (Encoder.HEVC, Hardware.QSV, "hevc_qsv"),
    ],
)
def test_the_hardware_that_is_named_encodes_what_it_can(encoder, hardware, implementation):
    has_all = kit(*SOFTWARE, *IN_HARDWARE)
    assert has_all.implementation(encoder, hardware) == implementation


def test_a_build_without_the_hardware_encoder_encodes_in_software():
    assert kit("libx264", "hevc_qsv").implementation(Encoder.H264, Hardware.QSV) == "libx264"


@pytest.mark.parametrize("encoder", list(Encoder))
@pytest.mark.parametrize("hardware", [None, Hardware.NVENC])
def test_an_encoder_that_is_missing_is_named(encoder, hardware):
    with pytest.raises(PermanentError, match=rf"{encoder.value} .* lib\S+, which") as refusal:
        kit("mpeg4").implementation(encoder, hardware)
    assert refusal.value.code is ErrorCode.ENCODER_MISSING


def test_filters_that_are_missing_are_named():
    whole = kit(filters=DEINTERLACING | TONE_MAPPING)
    whole.require_filters(TONE_MAPPING, "720p0")
    with pytest.raises(PermanentError, match="720p0 needs the filter zscale, which") as refusal:
        kit(filters=frozenset({"tonemap"})).require_filters(TONE_MAPPING, "720p0")
    assert refusal.value.code is ErrorCode.ENCODER_MISSING


@pytest.mark.ffmpeg
def test_the_packaged_ffmpeg_has_all_that_is_ever_needed(media_tools):
    found = probe_kit(media_tools.ffmpeg)
    assert found.encoders >= SOFTWARE | {"aac"}
    assert found.filters >= DEINTERLACING | TONE_MAPPING | {"fps", "select", "scale", "split"}
