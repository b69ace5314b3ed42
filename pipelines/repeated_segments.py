"""Segments that come once more, byte for byte: an uploader sent them twice, or a list names them twice."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.encryption import BLOCK
from pipelines.repair import Repair, RepairKind
from pipelines.source import fetch_segment, measure
from pipelines.wall_clock import is_later

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pipelines.playlist import InitSection, Segment
    from pipelines.slices import Slice
    from pipelines.source import FetchedSegment, SourceReader

    _Key = tuple[bytes, InitSection | None]

#: Segments directly before a slice that its first ones may repeat.
NEAREST = 4


@dataclass(frozen=True)
class EarlierSegments:
    """The segments directly before a slice, in its tagged period; read only if one of the slice's
    may be one of them."""

    reader: SourceReader
    segments: tuple[Segment, ...]
    units_of: Callable[[FetchedSegment], Mapping[int, int]]  #: units it holds of each track

    @classmethod
    def of(
        cls,
        work: Slice,
        reader: SourceReader,
        units_of: Callable[[FetchedSegment], Mapping[int, int]],
    ) -> EarlierSegments:
        """Those before a slice."""
        tags = (at for at, each in enumerate(work.lead_in) if each.discontinuity)
        period = work.lead_in[max(tags, default=0) :]
        return cls(reader, period[-NEAREST:], units_of)

    def nearest(self) -> FetchedSegment | None:
        """The one directly before the slice; None at the start of a period."""
        return fetch_segment(self.reader, self.segments[-1]) if self.segments else None

    def equal_to(self, fetched: FetchedSegment) -> Mapping[int, int] | None:
        """The units of the one that has the very same bytes, unless it is told to be of another
        time; None when none has, or it has none."""
        for segment, size in self._sizes():
            # Encryption fills the last block up.
            if 0 <= size - len(fetched.data) <= (BLOCK if segment.encryption else 0):
                earlier = fetch_segment(self.reader, segment)
                if _key(earlier) == _key(fetched) and not is_later(fetched.segment, segment):
                    return self.units_of(earlier) or None
        return None

    def _sizes(self) -> Iterable[tuple[Segment, int]]:
        sizes = measure(self.reader, self.segments)
        return [(segment, sizes[segment.sequence]) for segment in reversed(self.segments)]


class RepeatedSegments:
    """Recognises segments whose very bytes came before since the last tagged discontinuity.

    Their clock says that they are the same media, and nothing refers to them that does not refer to
    the first as well: leaving them out leaves nothing out. What the clock on the wall tells to be of
    another time is a loop, and none. It remembers 16 bytes of each segment of its slice.
    """

    def __init__(self, earlier: EarlierSegments | None = None) -> None:
        self._earlier = earlier
        self._units: dict[_Key, tuple[Segment, Mapping[int, int]]] = {}

    def found(self, fetched: FetchedSegment) -> Repair | None:
        """What is told of a segment that repeats another; None for one that is new."""
        segment = fetched.segment
        if segment.discontinuity:
            self._units.clear()
            self._earlier = None
        if not fetched.data:
            return None
        units = self._units_before(fetched)
        if units is None:
            self._earlier = None
            return None
        detail = "it is another segment once more, byte for byte, and is kept once"
        return Repair(
            segment.sequence,
            RepairKind.DUPLICATE,
            detail,
            sum(units.values()),
            whole=True,
            by_track=tuple(units.items()),
        )

    def note(self, fetched: FetchedSegment, units: Mapping[int, int]) -> None:
        """Remember a segment that holds media: so many ``units`` of each track."""
        if units:
            self._units[_key(fetched)] = fetched.segment, units

    def _units_before(self, fetched: FetchedSegment) -> Mapping[int, int] | None:
        """The units of the segment that one repeats; None of one that is new."""
        known = self._units.get(_key(fetched))
        if known is not None:
            before, units = known
            return None if is_later(fetched.segment, before) else units
        return self._earlier.equal_to(fetched) if self._earlier else None


def units_of_all(counts: Iterable[tuple[int, int]]) -> Mapping[int, int]:
    """The sum of each track's counts, by its number."""
    total: Counter[int] = Counter()
    for number, count in counts:
        total[number] += count
    return total


def _key(fetched: FetchedSegment) -> _Key:
    digest = hashlib.blake2b(fetched.data, digest_size=16).digest()
    return digest, fetched.segment.init_section
