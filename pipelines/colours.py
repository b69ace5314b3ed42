"""What the numbers of pictures mean as colours: ITU-T H.273's codes, in ffmpeg's words."""

from __future__ import annotations

from dataclasses import dataclass

UNKNOWN = "unknown"
#: ffmpeg's names by code: colour primaries (table 2), transfer characteristics (table 3) and matrix
#: coefficients (table 4).
_PRIMARIES = {
    1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "film", 9: "bt2020",
    10: "smpte428", 11: "smpte431", 12: "smpte432", 22: "jedec-p22",
}  # fmt: skip
_TRANSFERS = {
    1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "linear",
    9: "log100", 10: "log316", 11: "iec61966-2-4", 12: "bt1361e", 13: "iec61966-2-1",
    14: "bt2020-10", 15: "bt2020-12", 16: "smpte2084", 17: "smpte428", 18: "arib-std-b67",
}  # fmt: skip
_MATRICES = {
    0: "gbr", 1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "ycgco",
    9: "bt2020nc", 10: "bt2020c", 11: "smpte2085", 14: "ictcp",
}  # fmt: skip
#: Transfer functions of HDR pictures: PQ and HLG.
_HDR = frozenset({"smpte2084", "arib-std-b67"})


@dataclass(frozen=True)
class Colours:
    """How the samples of pictures become light; ``unknown`` is what a stream does not tell."""

    primaries: str = UNKNOWN
    transfer: str = UNKNOWN
    matrix: str = UNKNOWN
    full_range: bool = False  #: luma from 0, as JPEG has it, not from 16

    @classmethod
    def of_codes(cls, codes: tuple[int, int, int], *, full_range: bool = False) -> Colours:
        """Those of three codes of H.273; codes that nobody decodes are unknown."""
        primaries, transfer, matrix = codes
        return cls(
            _PRIMARIES.get(primaries, UNKNOWN),
            _TRANSFERS.get(transfer, UNKNOWN),
            _MATRICES.get(matrix, UNKNOWN),
            full_range,
        )

    @classmethod
    def of_names(cls, names: tuple[str, str, str], *, full_range: bool = False) -> Colours:
        """Those of three names from outside: what is no name of ours is unknown."""
        told = zip((_PRIMARIES, _TRANSFERS, _MATRICES), names, strict=True)
        known = (name if name in table.values() else UNKNOWN for table, name in told)
        primaries, transfer, matrix = known
        return cls(primaries, transfer, matrix, full_range)

    @property
    def hdr(self) -> bool:
        """Whether brightness is coded for HDR screens."""
        return self.transfer in _HDR

    @property
    def encodable(self) -> Colours:
        """What an encoder of luma and chroma can say: red, green and blue have no such matrix."""
        return Colours(
            self.primaries,
            self.transfer,
            UNKNOWN if self.matrix == "gbr" else self.matrix,
            self.full_range,
        )

    def or_else(self, other: Colours) -> Colours:
        """These, and what they do not tell as the ``other`` ones have it."""
        mine = (self.primaries, self.transfer, self.matrix)
        theirs = (other.primaries, other.transfer, other.matrix)
        told = (own if own != UNKNOWN else its for own, its in zip(mine, theirs, strict=True))
        primaries, transfer, matrix = told
        return Colours(primaries, transfer, matrix, self.full_range or other.full_range)


#: Those of pictures that do not tell.
UNTOLD = Colours()
#: Those of HD television, which SDR screens show.
BT709 = Colours("bt709", "bt709", "bt709")
