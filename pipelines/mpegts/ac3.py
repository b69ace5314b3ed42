"""AC-3 and E-AC-3 syncframes (ETSI TS 102 366, clause 4.3 and annex E.1)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pipelines.media import Codec, Configuration
from pipelines.mpegts.frames import AudioFormat, FrameHeader, Junk

if TYPE_CHECKING:
    from pipelines.mpegts.packets import Offsets

SAMPLE_RATES = (48_000, 44_100, 32_000)
#: kbit/s by frmsizecod / 2.
BIT_RATES = (
    32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640,
)  # fmt: skip
#: Speakers by acmod, without the low frequency one.
CHANNELS = (2, 1, 2, 3, 3, 4, 4, 5)
BLOCKS = (1, 2, 3, 6)
BLOCK_SAMPLES = 256
#: Largest bsid of AC-3, and of E-AC-3.
AC3_LAST, EAC3_LAST = 10, 16
DEPENDENT, RESERVED = 1, 3


class Ac3:
    """The frame syntax of both; a dependent substream belongs to the frame before it."""

    header_bytes = 7
    sync_word = b"\x0b\x77"
    sync = re.compile(rb"\x0b\x77")
    junk = Junk.PREVIOUS
    stamp_offset = 6  # ffmpeg ends a frame when it has seen the next header

    def header(self, data: bytes | bytearray, at: int) -> FrameHeader | None:
        """Size from the rate tables (AC-3) or frmsiz (E-AC-3); identity from rate and channels."""
        bsid = data[at + 5] >> 3
        if data[at : at + 2] != self.sync_word or bsid > EAC3_LAST:
            return None
        if bsid > AC3_LAST:
            return _enhanced_header(data, at)
        fscod, frmsizecod = data[at + 4] >> 6, data[at + 4] & 0x3F
        if fscod == RESERVED or frmsizecod >= 2 * len(BIT_RATES):
            return None
        acmod, lfe = _ac3_channels(data, at)
        return FrameHeader(_ac3_size(fscod, frmsizecod), bsid << 8 | fscod << 4 | acmod << 1 | lfe)

    def describe(self, data: bytes | bytearray, at: int) -> AudioFormat:
        """The format; channels are those of the independent substream."""
        fscod, bsid = data[at + 4] >> 6, data[at + 5] >> 3
        if bsid <= AC3_LAST:
            acmod, lfe = _ac3_channels(data, at)
            rate = SAMPLE_RATES[fscod] >> max(bsid - 8, 0)
            codec, blocks = Codec.AC3, BLOCKS[3]
        else:
            acmod, lfe = data[at + 4] >> 1 & 7, data[at + 4] & 1
            second = data[at + 4] >> 4 & 3
            rate = SAMPLE_RATES[second] // 2 if fscod == RESERVED else SAMPLE_RATES[fscod]
            codec, blocks = Codec.EAC3, BLOCKS[3 if fscod == RESERVED else second]
        facts = (("channels", CHANNELS[acmod] + lfe), ("sample_rate", rate))
        return AudioFormat(codec, blocks * BLOCK_SAMPLES, rate, Configuration(codec, (), facts))

    def sample_sizes(self, data: bytes | bytearray, starts: Offsets, sizes: Offsets) -> Offsets:
        """Frames are samples as they are."""
        return sizes


def _enhanced_header(data: bytes | bytearray, at: int) -> FrameHeader | None:
    substream, fscod = data[at + 2] >> 6, data[at + 4] >> 6
    size = 2 * (((data[at + 2] & 7) << 8 | data[at + 3]) + 1)
    reserved = substream == RESERVED or (fscod == RESERVED and data[at + 4] >> 4 & 3 == RESERVED)
    if reserved or size < Ac3.header_bytes:
        return None
    return FrameHeader(size, EAC3_LAST << 8 | data[at + 4], substream != DEPENDENT)


def _ac3_size(fscod: int, frmsizecod: int) -> int:
    """Bytes of an AC-3 frame (table 4.13): 1536 samples, in words of 16 bits."""
    words = BIT_RATES[frmsizecod >> 1] * 96_000 // SAMPLE_RATES[fscod]
    return 2 * (words + (frmsizecod & 1 if fscod == 1 else 0))


def _ac3_channels(data: bytes | bytearray, at: int) -> tuple[int, int]:
    """``acmod`` and ``lfeon``, which lies behind the mix levels that acmod asks for."""
    bits = data[at + 6]
    acmod = bits >> 5
    skipped = 2 if acmod == 2 else 2 * (acmod & 1 and acmod != 1) + 2 * bool(acmod & 4)
    return acmod, bits >> 4 - skipped & 1
