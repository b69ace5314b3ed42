"""The encoding of ``web.mp4``: the source at its own size, for browsers that cannot play it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.media import Codec
from pipelines.profile import Encoder, H264Profile
from pipelines.transcoding.asked_encoding import DEFAULT_GOP, nominal_rate, require_filters
from pipelines.transcoding.encoding import VideoEncoding
from pipelines.transcoding.frame_size import own_size

if TYPE_CHECKING:
    from pipelines.plan_options import PlanOptions
    from pipelines.transcoding.kit import EncoderKit
    from pipelines.transcoding.source_media import SourceVideo

#: Name of the rendition.
WEB = "web"
#: Constant rate factor: hardly to be told from the source. The bit rate below only caps it.
QUALITY = 20
#: The cap: bits per pixel, and bit/s at least and at most.
BITS_PER_PIXEL = 0.15
LOWEST_BITRATE, HIGHEST_BITRATE = 400_000, 20_000_000
#: Codecs for one bit of which H.264 may take two at the same quality.
_DENSE = frozenset({Codec.HEVC, Codec.VP9, Codec.AV1})


def web_encoding(
    video: SourceVideo, bandwidth: int, kit: EncoderKit, options: PlanOptions
) -> VideoEncoding:
    """H.264 High in the source's own times and size.

    ``bandwidth`` is the variant's, bit/s, 0 when not known: more bits would show nothing more.
    Raises PermanentError (``encoder_missing``).
    """
    size = own_size(video)
    rate = nominal_rate(video)
    require_filters(video, kit)
    return VideoEncoding(
        encoder=Encoder.H264,
        implementation=kit.implementation(Encoder.H264, options.hardware),
        preset=options.preset,
        width=size.width,
        height=size.height,
        bitrate=_cap(size.width * size.height * float(rate), video.codec, bandwidth),
        nominal_rate=rate,
        constant_rate=False,
        quality=QUALITY,
        gop=DEFAULT_GOP,
        profile=H264Profile.HIGH,
        deinterlace=video.interlaced,
        tone_map=video.hdr,
        colours=video.sdr_colours,
    )


def _cap(pixels_per_second: float, codec: str, bandwidth: int) -> int:
    bandwidth *= 2 if codec in _DENSE else 1
    bitrate = min(round(pixels_per_second * BITS_PER_PIXEL), bandwidth or HIGHEST_BITRATE)
    return min(max(bitrate, LOWEST_BITRATE), HIGHEST_BITRATE)
