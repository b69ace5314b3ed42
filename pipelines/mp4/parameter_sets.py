"""Parameter sets in sample entries: their ids, and one entry for the pictures of two encoders.

A track has one sample description. Pictures that were encoded anew to fit the others bring
parameter sets of their own; under ids of their own, one ``avcC`` (or ``hvcC``) lists all of them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING

from pipelines.errors import ErrorCode, ToolError
from pipelines.media import Codec, TrackKind
from pipelines.mp4.boxes import Fields, Mp4Error
from pipelines.mp4.hevc_sets import HevcRecord
from pipelines.mp4.sample_entry import (
    configuration_fingerprint,
    inner_box,
    read_sample_entry,
    with_inner_box,
)
from pipelines.mpegts.nal import BitReader, UnreadableBits, unescape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

#: Most sequence and picture parameter sets that one avcC lists (ISO/IEC 14496-15, 5.3.3.1.2).
MAX_SPS, MAX_PPS = 31, 255
#: Ids that a sequence parameter set may have (ITU-T H.264, 7.4.2.1.1).
_SPS_IDS = range(32)
#: Bytes of an SPS before its id: NAL header, profile_idc, constraint flags, level_idc (7.3.2.1.1).
_BEFORE_SPS_ID = 4
#: Bytes of a set within which its id lies: a NAL header and at most 17 bits behind the others.
_HEAD = 16
_AVC = frozenset({"avc1", "avc3"})


@dataclass(frozen=True)
class AvcRecord:
    """An AVCDecoderConfigurationRecord (ISO/IEC 14496-15, 5.3.3.1); sets are NAL units."""

    profile: int
    constraints: int  #: profile_compatibility, a byte of flags
    level: int
    length_size: int  #: bytes of the length before each NAL unit in samples
    sps: tuple[bytes, ...]
    pps: tuple[bytes, ...]
    rest: bytes  #: chroma format and bit depths of the High profiles, as they stand

    @classmethod
    def parse(cls, body: bytes) -> AvcRecord:
        """Read the body of an ``avcC``; ``Mp4Error`` when it is cut off."""
        fields = Fields(memoryview(body), "'avcC'")
        _, profile, constraints, level, lengths = fields.take(5)
        sps = _units(fields, fields.unsigned(1) & 31)
        pps = _units(fields, fields.unsigned(1))
        return cls(profile, constraints, level, (lengths & 3) + 1, sps, pps, bytes(fields.rest()))

    def to_bytes(self) -> bytes:
        """The body of its ``avcC``."""
        head = [1, self.profile, self.constraints, self.level, 0xFC | self.length_size - 1]
        return b"".join(
            (
                bytes([*head, 0xE0 | len(self.sps)]),
                *map(_framed, self.sps),
                bytes([len(self.pps)]),
                *map(_framed, self.pps),
                self.rest,
            )
        )

    @property
    def ids(self) -> frozenset[int]:
        """Ids that a set of it has, sequence and picture parameter sets alike."""
        return frozenset((*map(sps_id, self.sps), *map(pps_id, self.pps)))

    def joined(self, other: AvcRecord) -> AvcRecord:
        """One record for the pictures of both: every set once, and no more promised than holds.

        Raises ``Mp4Error`` when two sets of one id differ, or samples are framed in two ways.
        """
        if self.length_size != other.length_size:
            raise Mp4Error(f"lengths of {self.length_size} and of {other.length_size} bytes")
        sps = _once((*self.sps, *other.sps), sps_id, "sequence", MAX_SPS)
        pps = _once((*self.pps, *other.pps), pps_id, "picture", MAX_PPS)
        return replace(
            self,
            constraints=self.constraints & other.constraints,
            level=max(self.level, other.level),
            sps=sps,
            pps=pps,
        )


def free_sps_id(entry: bytes) -> int:
    """An id that no parameter set of an H.264 sample entry has, for an encoder that numbers its
    sequence and its picture parameter set alike (x264's ``sps-id``).

    Raises ``Mp4Error`` for an entry of another codec, ``ToolError`` (``configuration_changed``) when
    every id is taken.
    """
    used = _record(entry).ids
    free = next((number for number in _SPS_IDS if number not in used), None)
    if free is None:
        message = "every id that a parameter set may have is taken: nothing can be fitted to it"
        raise ToolError(ErrorCode.CONFIGURATION_CHANGED, message)
    return free


def merged_entry(main: bytes, conformed: Sequence[bytes]) -> bytes:
    """The one sample entry for samples of the ``main`` entry and of those ``conformed`` to it.

    H.264 and HEVC: the main one with all parameter sets in its ``avcC`` or ``hvcC``. Other codecs of
    pictures tell their decoder everything in the samples themselves: it is the main one, and the
    others must tell nothing else. Of sound it must tell the very same. Raises ``ToolError``
    (``verification_failed``) when one entry cannot serve all.
    """
    odd = {configuration_fingerprint(each): each for each in conformed}
    odd.pop(configuration_fingerprint(main), None)
    if not odd:
        return main
    try:
        return _joined(main, [*odd.values()])
    except Mp4Error as error:
        message = f"what was conformed does not fit the rest in one sample entry: {error}"
        raise ToolError(ErrorCode.VERIFICATION_FAILED, message) from error


def _joined(main: bytes, others: Sequence[bytes]) -> bytes:
    codec = read_sample_entry(main).codec
    if codec is Codec.H264:
        joined = reduce(AvcRecord.joined, map(_record, others), _record(main))
        return with_inner_box(main, b"avcC", joined.to_bytes())
    if codec is Codec.HEVC:
        whole = reduce(HevcRecord.joined, map(HevcRecord.of, others), HevcRecord.of(main))
        return with_inner_box(main, b"hvcC", whole.to_bytes())
    if codec is None or codec.kind is not TrackKind.VIDEO or _contradicted(main, others):
        raise Mp4Error("it is described otherwise")
    return main


def _contradicted(main: bytes, others: Sequence[bytes]) -> bool:
    """Whether any of the others tells something else; what one does not tell is no matter."""
    codec, facts = _facts(main)
    return any(
        other != codec or any(facts.get(name, value) != value for name, value in told.items())
        for other, told in map(_facts, others)
    )


def _facts(entry: bytes) -> tuple[Codec | None, dict[str, int]]:
    described = read_sample_entry(entry)
    configuration = described.configuration
    return described.codec, dict(configuration.facts) if configuration else {}


def sps_id(unit: bytes) -> int:
    """seq_parameter_set_id of an H.264 SPS (7.3.2.1.1); raises ``Mp4Error``."""
    return _first_code(unit, _BEFORE_SPS_ID)


def pps_id(unit: bytes) -> int:
    """pic_parameter_set_id of an H.264 PPS (7.3.2.2); raises ``Mp4Error``."""
    return _first_code(unit, 1)


def _first_code(unit: bytes, begin: int) -> int:
    try:
        return BitReader(unescape(unit[:_HEAD])[begin:]).ue()
    except UnreadableBits as error:
        raise Mp4Error(f"a parameter set cannot be read: {error}") from error


def _record(entry: bytes) -> AvcRecord:
    described = read_sample_entry(entry)
    if described.four_cc not in _AVC:
        raise Mp4Error(f"sample entry {described.four_cc!r} is not one of H.264")
    return AvcRecord.parse(inner_box(entry, b"avcC"))


def _units(fields: Fields, count: int) -> tuple[bytes, ...]:
    return tuple(bytes(fields.take(fields.unsigned(2))) for _ in range(count))


def _framed(unit: bytes) -> bytes:
    return struct.pack(">H", len(unit)) + unit


def _once(
    units: Iterable[bytes], number: Callable[[bytes], int], kind: str, most: int
) -> tuple[bytes, ...]:
    """Every set once; ``Mp4Error`` when two of one id differ, or there are too many."""
    found: dict[int, bytes] = {}
    for unit in units:
        if found.setdefault(number(unit), unit) != unit:
            raise Mp4Error(f"two {kind} parameter sets have the id {number(unit)}")
    if len(found) > most:
        raise Mp4Error(f"{len(found)} {kind} parameter sets are more than {most}")
    return tuple(found.values())
