"""The encoding of odd pictures: as close to the main ones of their rendition as an encoder comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.errors import ErrorCode, PermanentError
from pipelines.media import Codec
from pipelines.profile import LARGEST_BITRATE, Encoder, H264Profile
from pipelines.transcoding.asked_encoding import DEFAULT_GOP, held_rate
from pipelines.transcoding.encoding import VideoEncoding

if TYPE_CHECKING:
    from pipelines.census import MainPictures
    from pipelines.transcoding.kit import EncoderKit

#: Bits per pixel that odd pictures get at least: the main ones may be of a still screen.
LEAST_BITS_PER_PIXEL = 0.05
#: Digits of a bit rate that count: it is to stay the same while a recording grows.
_DIGITS = 2

_ENCODERS = {Codec.H264: Encoder.H264, Codec.HEVC: Encoder.HEVC, Codec.VP9: Encoder.VP9}
#: profile_idc below which an H.264 decoder lacks the tools of the next profile (ITU-T H.264, A.2).
_MAIN, _HIGH = 77, 100


def conforming_encoding(main: MainPictures, kit: EncoderKit, preset: str) -> VideoEncoding:
    """How pictures of another kind become like the ``main`` ones, in their own times.

    Always in software: no hardware encoder lets the ids of its parameter sets be chosen. Raises
    ``PermanentError``: ``configuration_changed`` for a codec that is never encoded,
    ``encoder_missing``.
    """
    encoder = _ENCODERS.get(main.codec)
    if encoder is None:
        message = f"some pictures differ from the others, which are {main.codec}: none is encoded"
        raise PermanentError(ErrorCode.CONFIGURATION_CHANGED, message)
    rate = held_rate(main.rate)
    return VideoEncoding(
        encoder=encoder,
        implementation=kit.implementation(encoder, None),
        preset=preset,
        width=main.width,
        height=main.height,
        bitrate=_bitrate(main.bitrate, main.width * main.height * float(rate)),
        nominal_rate=rate,
        constant_rate=False,
        gop=DEFAULT_GOP,
        profile=_h264_profile(main.profile) if encoder is Encoder.H264 else None,
    )


def _bitrate(measured: int, pixels_per_second: float) -> int:
    wanted = max(measured, round(pixels_per_second * LEAST_BITS_PER_PIXEL))
    step: int = 10 ** max(0, len(str(wanted)) - _DIGITS)
    return min(-(-wanted // step) * step, LARGEST_BITRATE)


def _h264_profile(profile: int | None) -> H264Profile:
    """The profile whose tools every decoder of the main pictures has."""
    if profile is None or profile >= _HIGH:
        return H264Profile.HIGH
    return H264Profile.MAIN if profile >= _MAIN else H264Profile.BASELINE
