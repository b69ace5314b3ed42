"""The encoding that a profile asks for, field by field."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from pipelines.profile import Encoder, H264Profile
from pipelines.transcoding.encoding import VideoEncoding
from pipelines.transcoding.frame_size import fit
from pipelines.transcoding.kit import DEINTERLACING, TONE_MAPPING

if TYPE_CHECKING:
    from pipelines.plan_options import PlanOptions
    from pipelines.profile import FfmpegProfile
    from pipelines.transcoding.kit import EncoderKit
    from pipelines.transcoding.source_media import SourceVideo

#: Frames/s that encoders reckon with when the source's rate cannot be told.
UNKNOWN_RATE = Fraction(30)
#: Frames/s that a source's rate is held to, and the denominators that broadcast rates need.
_LOWEST_RATE, _HIGHEST_RATE = Fraction(1), Fraction(240)
_LARGEST_DENOMINATOR = 1001
#: Seconds between key frames when a profile does not say.
DEFAULT_GOP = 2.0
_INTRA = "intra"


def asked_encoding(
    profile: FfmpegProfile, video: SourceVideo, kit: EncoderKit, options: PlanOptions
) -> VideoEncoding:
    """How the source's pictures become what ``profile`` asks for.

    The rate is exactly ``fps / fpsDen``, or with ``fps`` 0 the source's own times. ``gop`` unset is
    2 s and 0 leaves key frames to the encoder; ``quality`` 0 is unset. H.264 without ``profile`` is
    High; other encoders have no H.264 profile. Raises PermanentError (``encoder_missing``).
    """
    encoder = profile.encoder or Encoder.H264
    size = fit((profile.width, profile.height), video)
    asked_rate = Fraction(profile.fps, profile.fps_den or 1)
    h264_profile = profile.profile or H264Profile.HIGH
    require_filters(video, kit)
    return VideoEncoding(
        encoder=encoder,
        implementation=kit.implementation(encoder, options.hardware),
        preset=options.preset,
        width=size.width,
        height=size.height,
        bitrate=profile.bitrate,
        nominal_rate=asked_rate or nominal_rate(video),
        constant_rate=asked_rate > 0,
        quality=profile.quality or None,
        gop=_gop(profile.gop),
        profile=h264_profile if encoder is Encoder.H264 else None,
        deinterlace=video.interlaced,
        tone_map=video.hdr,
        colours=video.sdr_colours,
    )


def nominal_rate(video: SourceVideo) -> Fraction:
    """The source's frames/s as encoders are told: 1 to 240, 30 when it is not known."""
    return held_rate(video.frame_rate or UNKNOWN_RATE)


def held_rate(rate: Fraction) -> Fraction:
    """A measured rate as encoders are told, frames/s: 1 to 240, with the denominators they know."""
    return min(max(rate, _LOWEST_RATE), _HIGHEST_RATE).limit_denominator(_LARGEST_DENOMINATOR)


def _gop(asked: str | None) -> float | None:
    """Seconds between key frames; 0: all are; None: as the encoder likes."""
    if asked is None:
        return DEFAULT_GOP
    if asked == _INTRA:
        return 0.0
    return float(asked) or None


def require_filters(video: SourceVideo, kit: EncoderKit) -> None:
    """Raise PermanentError (``encoder_missing``) unless the source's pictures can be filtered."""
    if video.hdr:
        kit.require_filters(TONE_MAPPING, "bringing HDR pictures down to BT.709")
    if video.interlaced:
        kit.require_filters(DEINTERLACING, "deinterlacing")
