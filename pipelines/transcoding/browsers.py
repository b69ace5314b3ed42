"""What browsers play out of an MP4: where the source is something else, ``web.mp4`` is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.media import Codec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipelines.transcoding.source_media import SourceAudio, SourceVideo

#: Sound that is copied; all other is encoded as AAC. (AC-3 plays in Safari, and on Chromecast.)
PLAYABLE_SOUND = frozenset(
    {Codec.AAC, Codec.MP3, Codec.OPUS, Codec.AC3, Codec.EAC3, Codec.FLAC},
)
#: The pixel formats that hardware decoders and browsers have for H.264: 8 bit, 4:2:0.
_H264_FORMATS = frozenset({"yuv420p", "yuvj420p"})


def odd_pictures(video: SourceVideo, *, plays_hevc: bool) -> str | None:
    """The pictures in words when browsers do not play them; None when they do.

    Interlaced pictures play, however ugly, and so does 10 bit in HEVC, VP9 and AV1.
    """
    if video.codec == Codec.HEVC and not plays_hevc:
        return "HEVC pictures"
    if video.codec == Codec.MPEG2_VIDEO:
        return "MPEG-2 pictures"
    if video.codec == Codec.H264 and video.pixel_format not in _H264_FORMATS:
        return f"H.264 pictures in {video.pixel_format}"
    return None


def odd_sound(tracks: Iterable[SourceAudio]) -> str | None:
    """The tracks in words that browsers do not play; None when they play all."""
    odd = {track.codec: None for track in tracks if track.codec not in PLAYABLE_SOUND}
    return f"{' and '.join(codec.upper() for codec in odd)} sound" if odd else None
