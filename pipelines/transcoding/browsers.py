"""What browsers play out of an MP4: where the source is something else, ``web.mp4`` is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.media import Codec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipelines.transcoding.source_media import SourceVideo

#: Sound that is copied; all other is encoded as AAC. (AC-3 plays in Safari, and on Chromecast.)
PLAYABLE_SOUND = frozenset(
    {Codec.AAC, Codec.MP3, Codec.OPUS, Codec.AC3, Codec.EAC3, Codec.FLAC},
)
#: The pixel formats that hardware decoders and browsers have: 4:2:0 in 8 bit, and in 10 bit for
#: all codecs but H.264.
_8_BIT = frozenset({"yuv420p", "yuvj420p"})
_10_BIT = frozenset({"yuv420p10le"})
_FORMATS = {
    Codec.H264: _8_BIT,
    Codec.HEVC: _8_BIT | _10_BIT,
    Codec.VP9: _8_BIT | _10_BIT,
    Codec.AV1: _8_BIT | _10_BIT,
}
_NAMES = {Codec.H264: "H.264", Codec.MPEG2_VIDEO: "MPEG-2"}


def odd_pictures(video: SourceVideo, *, plays_hevc: bool) -> str | None:
    """The pictures in words when browsers do not play them; None when they do.

    Interlaced pictures play, however ugly.
    """
    codec = Codec(video.codec)
    name = _NAMES.get(codec, codec.upper())
    if codec not in _FORMATS or (codec is Codec.HEVC and not plays_hevc):
        return f"{name} pictures"
    if video.pixel_format not in _FORMATS[codec]:
        return f"{name} pictures in {video.pixel_format or 'an unknown format'}"
    return None


def odd_sound(tracks: Iterable[Codec]) -> str | None:
    """The tracks in words that browsers do not play; None when they play all."""
    odd = {codec: None for codec in tracks if codec not in PLAYABLE_SOUND}
    return f"{' and '.join(codec.upper() for codec in odd)} sound" if odd else None
