"""MPEG audio frames, layers I to III (ISO/IEC 11172-3, 2.4.2.3; ISO/IEC 13818-3)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pipelines.media import Codec, Configuration
from pipelines.mpegts.frames import AudioFormat, FrameHeader, Junk, one_of

if TYPE_CHECKING:
    from pipelines.mpegts.packets import Offsets

SAMPLE_RATES = (44_100, 48_000, 32_000)
#: kbit/s by (lower sampling rates, layer), then by bitrate_index.
BIT_RATES = {
    (False, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (False, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (False, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (True, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (True, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (True, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


class MpegAudio:
    """The frame syntax of MPEG-1, MPEG-2 and MPEG-2.5 audio; free format is not known to ffmpeg."""

    header_bytes = 4
    sync_word = b"\xff"
    sync = re.compile(
        rb"\xff"
        + one_of(b for b in range(0xE0, 0x100) if b >> 3 & 3 != 1 and b >> 1 & 3)
        + one_of(b for b in range(256) if 0 < b >> 4 < 15 and b >> 2 & 3 != 3)
    )
    junk = Junk.NEXT
    stamp_offset = 0

    def header(self, data: bytes | bytearray, at: int) -> FrameHeader | None:
        """Size from bit rate and sampling rate; identity from version, layer, rate and mono."""
        second, third = data[at + 1], data[at + 2]
        version, layer = second >> 3 & 3, 4 - (second >> 1 & 3)
        rate_index, bit_index = third >> 2 & 3, third >> 4
        reserved = version == 1 or layer == 4 or rate_index == 3 or bit_index in (0, 15)
        if data[at] != 0xFF or second < 0xE0 or reserved:
            return None
        low, rate = version != 3, _sample_rate(version, rate_index)
        bits = 1000 * BIT_RATES[low, layer][bit_index]
        padding = third >> 1 & 1
        if layer == 1:
            size = (12 * bits // rate + padding) * 4
        else:
            size = (72 if low and layer == 3 else 144) * bits // rate + padding
        mono = data[at + 3] >> 6 == 3
        return FrameHeader(size, version << 8 | layer << 4 | rate_index << 1 | mono)

    def describe(self, data: bytes | bytearray, at: int) -> AudioFormat:
        """The format; only layer III is called mp3."""
        second = data[at + 1]
        version, layer = second >> 3 & 3, 4 - (second >> 1 & 3)
        rate = _sample_rate(version, data[at + 2] >> 2 & 3)
        samples = 384 if layer == 1 else 576 if layer == 3 and version != 3 else 1152
        codec = Codec.MP3 if layer == 3 else Codec.MP2
        channels = 1 if data[at + 3] >> 6 == 3 else 2
        facts = (("channels", channels), ("sample_rate", rate))
        return AudioFormat(codec, samples, rate, Configuration(codec, (), facts))

    def sample_sizes(self, data: bytes | bytearray, starts: Offsets, sizes: Offsets) -> Offsets:
        """Frames are samples as they are."""
        return sizes


def _sample_rate(version: int, index: int) -> int:
    """The sampling rate: as it is in MPEG-1, half of it in MPEG-2, a quarter in MPEG-2.5."""
    return SAMPLE_RATES[index] >> {3: 0, 2: 1, 0: 2}[version]
