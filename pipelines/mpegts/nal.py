"""NAL units: finding them in a byte stream (ITU-T H.264 and H.265, annex B), reading their bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipelines.mpegts.units import UNIT_LIMIT
from pipelines.segment_index import UNKNOWN_SIZE

if TYPE_CHECKING:
    from pipelines.mpegts.packets import Bytes, Flags, Offsets

START_CODE = b"\x00\x00\x01"
#: Bytes of the length before each NAL unit in samples that ffmpeg writes.
LENGTH_BYTES = 4
#: A start code's last two bytes as a little-endian word.
ZERO_ONE = 0x0100
#: Words that are searched for start codes at a time, which bounds the memory that takes.
BLOCK = 1 << 19
#: Bytes of a parameter set that are read at most: a larger one is none.
SET_LIMIT = 4096


class UnreadableBits(ValueError):
    """A parameter set ends early or says what cannot be."""


class BitReader:
    """Reads fixed-length and Exp-Golomb codes (9.1) out of a NAL unit's payload."""

    def __init__(self, payload: bytes | bytearray) -> None:
        self._value = int.from_bytes(payload, "big")
        self._left = 8 * len(payload)

    def bits(self, count: int) -> int:
        """The next ``count`` bits as an unsigned number."""
        if count > self._left:
            raise UnreadableBits("the unit ends early")
        self._left -= count
        return self._value >> self._left & ((1 << count) - 1)

    def ue(self) -> int:
        """The next unsigned Exp-Golomb code."""
        zeros = 0
        while not self.bits(1):
            zeros += 1
            if zeros > 32:
                raise UnreadableBits("an Exp-Golomb code is too long")
        return (1 << zeros) - 1 + self.bits(zeros)

    def se(self) -> int:
        """The next signed Exp-Golomb code."""
        code = self.ue()
        return (code + 1) // 2 if code & 1 else -(code // 2)


@dataclass(frozen=True, eq=False)
class NalUnits:
    """Every start code of a stream that is followed by at least two bytes."""

    data: bytes | bytearray
    codes: Offsets  #: offset of each 00 00 01
    first: Bytes  #: the byte behind the start code
    second: Bytes  #: the byte behind that
    limited: bool  #: there were more than are read of one segment

    def payload(self, index: int, limit: int = SET_LIMIT) -> bytes:
        """A NAL unit without start code and trailing zeros, cut at ``limit`` bytes."""
        start = int(self.codes[index]) + len(START_CODE)
        end = int(self.codes[index + 1]) if index + 1 < len(self.codes) else len(self.data)
        return bytes(self.data[start : min(end, start + limit)].rstrip(b"\0"))


def find_nal_units(data: bytes | bytearray) -> NalUnits:
    """All NAL units of an elementary stream in annex B form."""
    octets = np.frombuffer(data, np.uint8)
    words = octets[: len(octets) & ~1].view("<u2")
    found, count = [np.empty(0, np.int64)], 0
    for first in range(0, len(words), BLOCK):
        found.append(_start_codes(octets, words[first : first + BLOCK], first))
        count += len(found[-1])
        if count > UNIT_LIMIT:
            break
    codes = np.concatenate(found)[:UNIT_LIMIT]
    codes = codes[codes + len(START_CODE) + 2 <= len(octets)]
    behind = codes + len(START_CODE)
    return NalUnits(data, codes, octets[behind], octets[behind + 1], count > UNIT_LIMIT)


def _start_codes(octets: Bytes, words: npt.NDArray[np.uint16], first: int) -> Offsets:
    """Start codes that lie on the 16-bit words from number ``first`` on.

    Words halve the bytes to look at: the code is either a word of zeros with a one behind it, or
    has the word 00 01 behind a zero.
    """
    hits = np.flatnonzero((words == 0) | (words == ZERO_ONE))
    behind = words[hits] == ZERO_ONE
    codes: Offsets = 2 * (hits + first) - behind
    one = octets[np.minimum(codes + 2, len(octets) - 1)] == 1
    zero = (codes >= 0) & (octets[np.maximum(codes, 0)] == 0)
    found: Offsets = codes[zero & one & (codes + 2 < len(octets))]
    return found


def unescape(payload: bytes) -> bytes:
    """Take out the emulation prevention bytes (7.3.1)."""
    return payload.replace(b"\x00\x00\x03", b"\x00\x00")


def unit_starts(picture: Flags, separates: Flags) -> Flags:
    """Which of the NAL units that matter begin an access unit.

    ``picture`` marks those that begin or continue a picture; ``separates`` those that end the
    one before: parameter sets, delimiters, SEI, and slices that cannot belong to the same picture.
    """
    starts = separates.copy()
    starts[1:] &= picture[:-1]
    starts[:1] = True
    return starts


def code_starts(nals: NalUnits) -> Offsets:
    """Where each NAL unit begins, with the zero_byte that may precede its start code."""
    octets = np.frombuffer(nals.data, np.uint8)
    before = octets[np.maximum(nals.codes - 1, 0)]
    begins: Offsets = nals.codes - ((nals.codes > 0) & (before == 0))
    return begins


@dataclass(frozen=True, eq=False)
class SampleSizes:
    """Bytes of access units as MP4 holds them."""

    sizes: Offsets
    optional: Offsets  #: bytes of those that need not be in samples, where muxers leave them out
    padding: Offsets  #: bytes of those that are zeros behind NAL units
    carried: int  #: bytes of the unit that began in the segment before


def sample_sizes(nals: NalUnits, begins: Offsets, optional: Offsets) -> SampleSizes:
    """Bytes of each access unit as a sample of MP4, and those of the unit before the first.

    ``begins`` are the numbers of the NAL units that begin access units, ``optional`` those that
    need not be in samples. In a sample each NAL unit stands behind four bytes of length instead of
    its start code (ISO/IEC 14496-15, 4.3.2). Zeros behind a NAL unit (``trailing_zero_8bits``) stay
    with it, but for the one that belongs to the next start code, or not: ffmpeg 5.1 writes them,
    9.0 does not. The last size is unknown where a start code may lie across the end of the
    segment, and so is ``carried`` where zeros are at its end.
    """
    ends = np.append(code_starts(nals)[1:], len(nals.data))
    framed = ends - nals.codes - len(START_CODE) + LENGTH_BYTES
    sizes: Offsets = np.add.reduceat(framed, begins)
    tail = bytes(nals.data[-len(START_CODE) - 1 :])
    if tail.endswith(b"\0") or START_CODE in tail:
        sizes[-1] = UNKNOWN_SIZE
    zeros = _zeros_behind(nals, ends)
    left_out = np.zeros(len(framed), np.int64)
    left_out[optional] = framed[optional] - zeros[optional]
    first = int(begins[0])
    return SampleSizes(
        sizes=sizes,
        optional=np.add.reduceat(left_out, begins),
        padding=np.add.reduceat(zeros, begins),
        carried=_carried(nals, framed[:first], zeros[:first]),
    )


def _carried(nals: NalUnits, framed: Offsets, zeros: Offsets) -> int:
    """Bytes of the unit from the segment before, given the sizes of its NAL units here."""
    head = int(code_starts(nals)[0])
    if zeros.any() or nals.data[:head].endswith(b"\0"):
        return UNKNOWN_SIZE
    return head + int(framed.sum())


def _zeros_behind(nals: NalUnits, ends: Offsets) -> Offsets:
    """Zeros at the end of each NAL unit that ends before ``ends``."""
    zeros: Offsets = np.zeros(len(ends), np.int64)
    octets = np.frombuffer(nals.data, np.uint8)
    for number in np.flatnonzero(octets[ends - 1] == 0):
        begin = int(nals.codes[number]) + len(START_CODE)
        unit = bytes(nals.data[begin : int(ends[number])])
        zeros[number] = len(unit) - len(unit.rstrip(b"\0"))
    return zeros
