"""What a profile is: a rendition that was asked for, with the fields of Livepeer's FfmpegProfile."""

from __future__ import annotations

import re
from enum import StrEnum
from fractions import Fraction
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from pipelines.wire import WholeNumber, WireModel

#: Names that our own objects have; a profile with one of them would overwrite ours.
RESERVED_NAMES = frozenset({"source", "web", "index", "recording"})

#: Frame rates that may be asked for, frames/s: slower than that, a slice may show nothing.
LOWEST_RATE, HIGHEST_RATE = 1, 240
#: Largest terms of a frame rate in lowest terms: the ticks/s of a track are a multiple of the
#: numerator, in 32 bits, and ffmpeg counts in fractions of 32 bits.
LARGEST_NUMERATOR, LARGEST_DENOMINATOR = 1_000_000, 100_000
#: Longest distance between key frames that may be asked for, seconds: slices are no longer.
LONGEST_GOP = 900
#: Largest bit rate that may be asked for, bit/s: what encoders count in 32 bits.
LARGEST_BITRATE = 1_000_000_000

_PROFILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_GOP = re.compile(r"\d+(\.\d+)?", re.ASCII)
_OBJECT_SUFFIXES = (".mp4", ".m3u8", ".json", ".vtt")


def _profile_name(value: str) -> str:
    if not _PROFILE_NAME.fullmatch(value):
        raise ValueError(
            "becomes the name of an object, so it must begin with a letter or digit and consist of"
            " at most 100 characters out of A-Z a-z 0-9 . _ -"
        )
    if value.lower() in RESERVED_NAMES:
        raise ValueError(f"{value!r} is the name of one of our own objects; choose another")
    if value.lower().endswith(_OBJECT_SUFFIXES):
        raise ValueError(f"must not end in {', '.join(_OBJECT_SUFFIXES)}: we add the suffix")
    return value


def _gop(value: object) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str) and value != "intra" and not _GOP.fullmatch(value):
        raise ValueError('must be "intra" or a number of seconds, 0 or more, such as "2.0"')
    if isinstance(value, str) and value != "intra" and float(value) > LONGEST_GOP:
        raise ValueError(f"must be at most {LONGEST_GOP} seconds")
    return value


class Encoder(StrEnum):
    """Video encoders that a profile may ask for (Livepeer ``encoder``)."""

    H264 = "H.264"
    HEVC = "HEVC"
    VP9 = "VP9"


_OLD_ENCODERS = {"h264": Encoder.H264, "hevc": Encoder.HEVC, "vp9": Encoder.VP9}


def _encoder(value: object) -> object:
    if isinstance(value, str) and value.lower() == "vp8":
        raise ValueError("VP8 cannot be carried by MP4; ask for H.264, HEVC or VP9")
    return _OLD_ENCODERS.get(value, value) if isinstance(value, str) else value


class H264Profile(StrEnum):
    """H.264 profiles that a profile may ask for (Livepeer ``profile``)."""

    BASELINE = "H264Baseline"
    MAIN = "H264Main"
    HIGH = "H264High"
    CONSTRAINED_HIGH = "H264ConstrainedHigh"


ProfileName = Annotated[str, AfterValidator(_profile_name)]


class FfmpegProfile(WireModel):
    """A rendition that was asked for (Livepeer ``FfmpegProfile``)."""

    name: ProfileName = Field(
        description="Name of the rendition and of its object: {name}.mp4.", examples=["720p0"]
    )
    width: WholeNumber = Field(
        ge=128, description="Width of the box that the picture is fitted into, pixels."
    )
    height: WholeNumber = Field(
        ge=128, description="Height of the box that the picture is fitted into, pixels."
    )
    bitrate: WholeNumber = Field(
        ge=400,
        le=LARGEST_BITRATE,
        description="Video bit rate, bit/s (not kbit/s).",
        examples=[3_000_000],
    )
    fps: WholeNumber = Field(
        description="Numerator of the frame rate, frames/s; 0 keeps the source's."
    )
    fps_den: WholeNumber | None = Field(
        default=None, ge=1, description="Denominator of the frame rate: fps / fpsDen. Unset is 1."
    )
    quality: WholeNumber | None = Field(
        default=None, le=44, description="Constant quality, 0 to 44, larger is worse; 0 is off."
    )
    gop: Annotated[str, BeforeValidator(_gop)] | None = Field(
        default=None,
        description='Seconds between key frames as a decimal string, or "intra" (all key frames).',
        examples=["2.0"],
    )
    profile: H264Profile | None = Field(default=None, description="H.264 profile.")
    encoder: Annotated[Encoder, BeforeValidator(_encoder)] | None = Field(
        default=None, description="Video encoder; h264, hevc, vp9 are read too. Unset is H.264."
    )

    @field_validator("fps_den")
    @classmethod
    def _rate_can_be_counted(cls, denominator: int | None, read: ValidationInfo) -> int | None:
        rate = Fraction(read.data.get("fps", 0), denominator or 1)
        if rate.numerator > LARGEST_NUMERATOR or rate.denominator > LARGEST_DENOMINATOR:
            raise ValueError(
                f"makes the rate {rate}; in lowest terms, it must not exceed"
                f" {LARGEST_NUMERATOR}/{LARGEST_DENOMINATOR}: write it with smaller numbers"
            )
        return denominator

    @model_validator(mode="after")
    def _rate_can_be_made(self) -> Self:
        rate = self.fps / (self.fps_den or 1)
        if self.fps and not LOWEST_RATE <= rate <= HIGHEST_RATE:
            raise ValueError(
                f"fps / fpsDen is {rate:g} frames/s; it must be 0 (as the source) or"
                f" {LOWEST_RATE} to {HIGHEST_RATE}"
            )
        return self
