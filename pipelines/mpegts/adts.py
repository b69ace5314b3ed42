"""AAC in ADTS frames (ISO/IEC 13818-7 annex A), and the AudioSpecificConfig they imply."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from pipelines.media import Codec, Configuration
from pipelines.mpegts.frames import AudioFormat, FrameHeader, Junk, one_of
from pipelines.segment_index import UNKNOWN_SIZE

if TYPE_CHECKING:
    from pipelines.mpegts.packets import Offsets

SAMPLE_RATES = (
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
)  # fmt: skip
#: Speakers by channel_configuration; 0 leaves it to the stream (ISO/IEC 14496-3 table 1.19).
CHANNELS = (0, 1, 2, 3, 4, 5, 6, 8)
SAMPLES = 1024


class Adts:
    """The frame syntax of ADTS, as strict as ffmpeg's: the layer bits are not looked at."""

    header_bytes = 7
    checked_header_bytes = 9
    sync_word = b"\xff"
    sync = re.compile(rb"\xff[\xf0-\xff]" + one_of(b for b in range(256) if b & 0x3C <= 0x30))
    junk = Junk.ALONE
    stamp_offset = 0

    def header(self, data: bytes | bytearray, at: int) -> FrameHeader | None:
        """Size from the 13-bit frame_length; identity from profile, sampling rate and channels."""
        third, fourth = data[at + 2], data[at + 3]
        size = (fourth & 3) << 11 | data[at + 4] << 3 | data[at + 5] >> 5
        if data[at] != 0xFF or data[at + 1] < 0xF0 or third & 0x3C > 0x30 or size < 7:
            return None
        return FrameHeader(size, (third << 8 | fourth) & 0xFDC0)

    def describe(self, data: bytes | bytearray, at: int) -> AudioFormat:
        """The format, with the two bytes of AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1)."""
        third, fourth = data[at + 2], data[at + 3]
        object_type = (third >> 6) + 1
        rate_index = third >> 2 & 0x0F
        channels = (third & 1) << 2 | fourth >> 6
        asc = object_type << 11 | rate_index << 7 | channels << 3
        facts = [("sample_rate", SAMPLE_RATES[rate_index]), ("object_type", object_type)]
        if channels:
            facts.append(("channels", CHANNELS[channels]))
        configuration = Configuration(
            Codec.AAC, (("asc", asc.to_bytes(2, "big")),), tuple(sorted(facts))
        )
        samples = SAMPLES * ((data[at + 6] & 3) + 1)
        return AudioFormat(Codec.AAC, samples, SAMPLE_RATES[rate_index], configuration)

    def sample_sizes(self, data: bytes | bytearray, starts: Offsets, sizes: Offsets) -> Offsets:
        """Frames without their header of 7 bytes, or 9 with a checksum.

        Unknown for what is no frame, and where the channels stand in the first frame (from which
        ffmpeg takes them away).
        """
        octets = np.frombuffer(data, np.uint8)
        last = len(octets) - 1
        second = octets[np.minimum(starts + 1, last)]
        third, fourth = octets[np.minimum(starts + 2, last)], octets[np.minimum(starts + 3, last)]
        framed = (octets[starts] == 0xFF) & (second >= 0xF0)
        framed &= (third & 1 != 0) | (fourth >> 6 != 0)
        stripped = sizes - np.where(second & 1, self.header_bytes, self.checked_header_bytes)
        return np.where(framed & (sizes > 0), stripped, UNKNOWN_SIZE)
