"""Parameter sets of HEVC in sample entries: joined into one, and renumbered so that they can be.

No encoder of HEVC lets the ids of its parameter sets be chosen. They are changed afterwards: in the
sets themselves, and in every slice, which names its PPS by an Exp-Golomb code near its beginning.
Codes of 9 bits in the place of one bit (id 0) leave all bits behind them where they were in their
bytes, so that a slice grows by one byte and nothing of its data is touched.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipelines.errors import ErrorCode, ToolError
from pipelines.mp4.boxes import Fields, Mp4Error
from pipelines.mp4.sample_entry import inner_box, read_sample_entry, with_inner_box
from pipelines.mpegts.nal import LENGTH_BYTES, BitReader, UnreadableBits, unescape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

#: nal_unit_type of the parameter sets (ITU-T H.265, table 7-1).
VPS, SPS, PPS = 32, 33, 34
#: Ids that each may have (7.4.3.1, 7.4.3.2.1).
_IDS = {VPS: range(16), SPS: range(16)}
#: Ids of a PPS whose code has 9 bits, the last two not both 0: no byte of a slice becomes 0 by it,
#: and so no emulation prevention has to be added or taken away.
_PPS_IDS = tuple(number for number in range(15, 31) if (number + 1) & 3)
#: Bits of an SPS before its id when it has one temporal layer: vps id and flags, and its
#: profile_tier_level (7.3.2.2.1, 7.3.3).
_BEFORE_SPS_ID = 8 + 96
#: Bytes of a NAL unit's header.
_HEADER = 2
#: nal_unit_type of slices: all below 32, and of those that begin with one flag more (IRAP).
_SLICES, _IRAP = range(32), range(16, 24)
_HVC = frozenset({"hvc1", "hev1"})
#: Bytes of an HEVCDecoderConfigurationRecord before its arrays (ISO/IEC 14496-15, 8.3.3.1).
_RECORD_HEAD = 22
_COMPATIBILITY, _LEVEL = slice(2, 12), 12  #: flags that hold of all, and the level of the highest


@dataclass(frozen=True)
class HevcRecord:
    """An HEVCDecoderConfigurationRecord; the NAL units of each array with its first byte."""

    head: bytes
    arrays: tuple[tuple[int, tuple[bytes, ...]], ...]

    @classmethod
    def parse(cls, body: bytes) -> HevcRecord:
        """Read the body of an ``hvcC``; ``Mp4Error`` when it is cut off."""
        fields = Fields(memoryview(body), "'hvcC'")
        head = bytes(fields.take(_RECORD_HEAD))
        arrays = []
        for _ in range(fields.unsigned(1)):
            first, count = fields.unsigned(1), fields.unsigned(2)
            arrays.append(
                (first, tuple(bytes(fields.take(fields.unsigned(2))) for _ in range(count)))
            )
        return cls(head, tuple(arrays))

    @classmethod
    def of(cls, entry: bytes) -> HevcRecord:
        """The record of an HEVC sample entry; raises ``Mp4Error``."""
        described = read_sample_entry(entry)
        if described.four_cc not in _HVC:
            raise Mp4Error(f"sample entry {described.four_cc!r} is not one of HEVC")
        return cls.parse(inner_box(entry, b"hvcC"))

    def to_bytes(self) -> bytes:
        """The body of its ``hvcC``."""
        arrays = [
            struct.pack(">BH", first, len(units))
            + b"".join(struct.pack(">H", len(unit)) + unit for unit in units)
            for first, units in self.arrays
        ]
        return b"".join((self.head, bytes([len(arrays)]), *arrays))

    def units(self, kind: int) -> tuple[bytes, ...]:
        """The NAL units of one kind."""
        return tuple(unit for first, units in self.arrays if first & 63 == kind for unit in units)

    def ids(self, kind: int) -> frozenset[int]:
        """Ids of the parameter sets of one kind."""
        return frozenset(map(_READ[kind], self.units(kind)))

    def joined(self, other: HevcRecord) -> HevcRecord:
        """One record for the pictures of both: every set once, and no more promised than holds.

        Raises ``Mp4Error`` when two sets of one id differ, or samples are framed in two ways.
        """
        if self.head[21] & 3 != other.head[21] & 3:
            raise Mp4Error("the lengths before NAL units differ")
        head = bytearray(self.head)
        both = zip(self.head[_COMPATIBILITY], other.head[_COMPATIBILITY], strict=True)
        head[_COMPATIBILITY] = bytes(mine & theirs for mine, theirs in both)
        head[_LEVEL] = max(self.head[_LEVEL], other.head[_LEVEL])
        kept = [(first, units) for first, units in self.arrays if first & 63 not in _READ]
        sets = [
            (0x80 | kind, _once((*self.units(kind), *other.units(kind)), read))
            for kind, read in _READ.items()
        ]
        return HevcRecord(bytes(head), (*sets, *kept))


@dataclass(frozen=True)
class HevcRenumbering:
    """Other ids for the parameter sets of an encoder that gives all of its the id 0.

    Raises ``Mp4Error`` for an entry or a sample that is not such an encoder's.
    """

    vps: int
    sps: int
    pps: int

    @classmethod
    def beside(cls, main: bytes) -> HevcRenumbering:
        """Ids that no parameter set of the ``main`` sample entry has.

        Raises ``ToolError`` (``configuration_changed``) when there is none of one kind.
        """
        record = HevcRecord.of(main)
        return cls(
            _free(_IDS[VPS], record.ids(VPS)),
            _free(_IDS[SPS], record.ids(SPS)),
            _free(_PPS_IDS, record.ids(PPS)),
        )

    def entry(self, entry: bytes) -> bytes:
        """The encoder's sample entry, its parameter sets under their new ids."""
        record = HevcRecord.of(entry)
        arrays = tuple((first, tuple(map(self._unit, units))) for first, units in record.arrays)
        return with_inner_box(entry, b"hvcC", replace(record, arrays=arrays).to_bytes())

    def sample(self, sample: bytes) -> bytes:
        """A sample of that entry, its NAL units behind 4 bytes of length each."""
        made = bytearray()
        for unit in _nal_units(sample):
            renumbered = self._unit(unit)
            made += struct.pack(">I", len(renumbered)) + renumbered
        return bytes(made)

    def _unit(self, unit: bytes) -> bytes:
        if len(unit) <= _HEADER:
            raise Mp4Error("a NAL unit has no content")
        kind = unit[0] >> 1 & 63
        if kind in _SLICES:
            return _slice_with(unit, self.pps, 2 if kind in _IRAP else 1)
        if kind == VPS:
            return _rewritten(unit, 0, 4, f"{self.vps:04b}")
        if kind == SPS:
            numbered = _rewritten(unit, _sps_id_at(unit), 1, _code(self.sps))
            return _rewritten(numbered, 0, 4, f"{self.vps:04b}")
        if kind == PPS:
            return _rewritten(unit, 0, 2, _code(self.pps) + _code(self.sps))
        return unit


def _slice_with(unit: bytes, pps: int, before: int) -> bytes:
    """A slice whose PPS, told behind ``before`` flags, is another one than 0 (7.3.6.1)."""
    first = unit[_HEADER]
    if not first >> (7 - before) & 1:
        raise Mp4Error("a slice names another PPS than that of id 0")
    flags = first >> (8 - before) << (8 - before)
    behind = first & (1 << (7 - before)) - 1
    code = pps + 1  # in 9 bits
    grown = bytes([flags | code >> (before + 1), (code << (7 - before) & 0xFF) | behind])
    return unit[:_HEADER] + grown + unit[_HEADER + 1 :]


def _rewritten(unit: bytes, begin: int, count: int, bits: str) -> bytes:
    """A parameter set with other ``bits`` in the place of ``count`` from ``begin`` of its payload."""
    payload = unescape(unit[_HEADER:])
    content = "".join(f"{byte:08b}" for byte in payload).rstrip(
        "0"
    )  # up to the stop bit (7.3.2.11)
    if len(content) < begin + count:
        raise Mp4Error("a parameter set ends early")
    content = content[:begin] + bits + content[begin + count :]
    content += "0" * (-len(content) % 8)
    return unit[:_HEADER] + _escaped(int(content, 2).to_bytes(len(content) // 8, "big"))


def _escaped(payload: bytes) -> bytes:
    """The payload with its emulation prevention bytes (7.3.1.1)."""
    made = bytearray()
    for byte in payload:
        if byte <= 3 and made[-2:] == b"\0\0":
            made.append(3)
        made.append(byte)
    return bytes(made)


def _code(number: int) -> str:
    """An unsigned Exp-Golomb code, as bits (9.2)."""
    bits = f"{number + 1:b}"
    return "0" * (len(bits) - 1) + bits


def _nal_units(sample: bytes) -> Iterator[bytes]:
    fields = Fields(memoryview(sample), "a sample")
    while fields.remaining:
        yield bytes(fields.take(fields.unsigned(LENGTH_BYTES)))


def _sps_id_at(unit: bytes) -> int:
    if unit[_HEADER] >> 1 & 7:
        raise Mp4Error("an SPS of several temporal layers is not renumbered")
    return _BEFORE_SPS_ID


def _vps_id(unit: bytes) -> int:
    return _number(unit, lambda bits: bits.bits(4))


def _sps_id(unit: bytes) -> int:
    def read(bits: BitReader) -> int:
        bits.bits(4)
        layers = bits.bits(3)
        bits.bits(1 + 96)
        present = [(bits.bits(1), bits.bits(1)) for _ in range(layers)]
        bits.bits(2 * (8 - layers) if layers else 0)
        bits.bits(sum(88 * profile + 8 * level for profile, level in present))
        return bits.ue()

    return _number(unit, read)


def _pps_id(unit: bytes) -> int:
    return _number(unit, BitReader.ue)


_READ: dict[int, Callable[[bytes], int]] = {VPS: _vps_id, SPS: _sps_id, PPS: _pps_id}


def _number(unit: bytes, read: Callable[[BitReader], int]) -> int:
    try:
        return read(BitReader(unescape(unit[_HEADER:])))
    except UnreadableBits as error:
        raise Mp4Error(f"a parameter set cannot be read: {error}") from error


def _once(units: Iterable[bytes], number: Callable[[bytes], int]) -> tuple[bytes, ...]:
    found: dict[int, bytes] = {}
    for unit in units:
        if found.setdefault(number(unit), unit) != unit:
            raise Mp4Error(f"two parameter sets have the id {number(unit)}")
    return tuple(found.values())


def _free(ids: Iterable[int], used: frozenset[int]) -> int:
    free = next((number for number in ids if number not in used), None)
    if free is None:
        message = "every id that a parameter set may have is taken: nothing can be fitted to it"
        raise ToolError(ErrorCode.CONFIGURATION_CHANGED, message)
    return free
