"""The encoding of odd pictures: as close to the main ones of their rendition as an encoder comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.errors import ErrorCode, PermanentError
from pipelines.media import Codec
from pipelines.profile import LARGEST_BITRATE, Encoder, H264Profile
from pipelines.transcoding.asked_encoding import DEFAULT_GOP, held_rate
from pipelines.transcoding.encoding import OddEncoder, VideoEncoding

if TYPE_CHECKING:
    from pipelines.census import MainPictures
    from pipelines.transcoding.encoding import PictureEncoder
    from pipelines.transcoding.kit import EncoderKit

#: Bits per pixel that odd pictures get at least: the main ones may be of a still screen.
LEAST_BITS_PER_PIXEL = 0.05
#: Digits of a bit rate that count: it is to stay the same while a recording grows.
_DIGITS = 2

#: The encoders of each codec, the best first.
_ENCODERS: dict[Codec, tuple[PictureEncoder, tuple[str, ...]]] = {
    Codec.H264: (Encoder.H264, ("libx264",)),
    Codec.HEVC: (Encoder.HEVC, ("libx265",)),
    Codec.VP9: (Encoder.VP9, ("libvpx-vp9",)),
    Codec.AV1: (OddEncoder.AV1, ("libsvtav1", "libaom-av1")),
    Codec.MPEG2_VIDEO: (OddEncoder.MPEG2, ("mpeg2video",)),
}
#: profile_idc below which an H.264 decoder lacks the tools of the next profile (ITU-T H.264, A.2).
_MAIN, _HIGH = 77, 100


def conforming_encoding(main: MainPictures, kit: EncoderKit, preset: str) -> VideoEncoding:
    """How pictures of another kind become like the ``main`` ones, in their own times.

    In format and colours too, so that what a player is told of the main ones holds of all. Always in
    software: no hardware encoder lets the ids of its parameter sets be chosen. Raises
    ``PermanentError`` (``encoder_missing``).
    """
    encoder, implementations = _ENCODERS[main.codec]
    rate = held_rate(main.rate)
    return VideoEncoding(
        encoder=encoder,
        implementation=_implementation(implementations, main.format.pixel_format, kit),
        preset=preset,
        width=main.width,
        height=main.height,
        bitrate=_bitrate(main.bitrate, main.width * main.height * float(rate)),
        nominal_rate=rate,
        constant_rate=False,
        gop=DEFAULT_GOP,
        profile=_h264_profile(main.profile) if encoder is Encoder.H264 else None,
        pixel_format=main.format.pixel_format,
        colours=main.format.colours.encodable,
    )


def _implementation(names: tuple[str, ...], pixel_format: str, kit: EncoderKit) -> str:
    found = next((name for name in names if kit.makes(name, pixel_format)), None)
    if found is None:
        message = (
            f"some pictures must become like the others, which are {pixel_format}; this needs"
            f" {' or '.join(names)} that makes such, which this ffmpeg lacks: install a build that"
            " has it"
        )
        raise PermanentError(ErrorCode.ENCODER_MISSING, message)
    return found


def _bitrate(measured: int, pixels_per_second: float) -> int:
    wanted = max(measured, round(pixels_per_second * LEAST_BITS_PER_PIXEL))
    step: int = 10 ** max(0, len(str(wanted)) - _DIGITS)
    return min(-(-wanted // step) * step, LARGEST_BITRATE)


def _h264_profile(profile: int | None) -> H264Profile:
    """The profile whose tools every decoder of the main pictures has."""
    if profile is None or profile >= _HIGH:
        return H264Profile.HIGH
    return H264Profile.MAIN if profile >= _MAIN else H264Profile.BASELINE
