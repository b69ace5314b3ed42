"""What transcoding one slice takes of memory: pictures under way in decoder and encoders, above all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.slice_memory import FFMPEG_BYTES, reading_bytes, written_bytes
from pipelines.transcoding.slice_attempt import SOUND_BYTES, SPARE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipelines.slice_memory import SliceSizes
    from pipelines.transcoding.encoding import VideoEncoding

#: Encoding the sound of a variant: an ffmpeg, what is read ahead, and frames that wait for their run.
SOUND_ENCODING_BYTES = FFMPEG_BYTES + (96 << 20)
#: Bytes of ffmpeg for each pixel of a picture, measured with one thread per encoder, 720p to 2160p:
#: look-ahead and references of x264 and x265 grow with slower presets.
_QUICK = frozenset({"ultrafast", "superfast"})
_USUAL = frozenset({"veryfast", "faster", "fast", "medium"})
_BYTES_PER_PIXEL = {
    "libx264": (100, 220, 330),
    "libx265": (180, 250, 400),
    "libvpx-vp9": (160, 160, 160),
    "libsvtav1": (400, 400, 400),
    "libaom-av1": (120, 120, 120),
}
#: An encoder that is not in the table: of hardware, which has memory of its own, or of MPEG-2.
_ANY_ENCODER = (100, 100, 100)
#: Bytes for each pixel of what is decoded; sources are taken for as large as the largest rendition.
_DECODER = 25


def transcoding_bytes(
    sizes: SliceSizes, seconds: float, encodings: Iterable[VideoEncoding | None]
) -> int:
    """Bytes that one ffmpeg and we take at most to make renditions of a slice of ``seconds``.

    ``encodings`` are those of their pictures, None where these are copied.
    """
    known = list(encodings)
    encoded = [each for each in known if each]
    source = _DECODER * max((_samples(each) for each in encoded), default=0)
    coded = sum(encoder_bytes(each) for each in encoded)
    parts = sum(written_bytes(_payload_bytes(sizes, seconds, each)) for each in known)
    return FFMPEG_BYTES + reading_bytes(sizes) + source + coded + parts


def encoder_bytes(encoding: VideoEncoding) -> int:
    """Bytes that ffmpeg takes for one encoder."""
    quick, usual, slow = _BYTES_PER_PIXEL.get(encoding.implementation, _ANY_ENCODER)
    preset = encoding.preset
    each = quick if preset in _QUICK else usual if preset in _USUAL else slow
    return each * _samples(encoding)


def _samples(encoding: VideoEncoding) -> int:
    """Pixels of one picture; those of more than 8 bits count twice."""
    deep = encoding.pixel_format.endswith(("le", "be"))
    return encoding.width * encoding.height * (2 if deep else 1)


def _payload_bytes(sizes: SliceSizes, seconds: float, encoding: VideoEncoding | None) -> int:
    if encoding is None:
        return sizes.total + round(SOUND_BYTES * seconds)
    return round(SPARE * seconds * (encoding.bitrate / 8 + SOUND_BYTES))
