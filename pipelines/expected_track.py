"""What one track of the movie must be, as the source's own index says, and what was put in for it."""

from __future__ import annotations

import zlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipelines.mp4.sample_entry import configuration_fingerprint
from pipelines.mp4.samples import narrowed
from pipelines.packaged_slice import TrackMade
from pipelines.segment_index import NO_TIME, UNKNOWN_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from fractions import Fraction

    from pipelines.packaged_slice import PackagedTrack

#: Stands for ``NO_TIME`` among times that are counted from the first one.
_NO_OFFSET = -1


@dataclass(frozen=True, eq=False)
class ExpectedUnits:
    """Neighbouring samples of a track that were made alike, held in few bytes each."""

    made: TrackMade
    inserted: bool  #: silence that the movie itself puts in
    last_duration: int  #: media ticks that the last of them lasts, as the source tells
    _begin: int  # media ticks of the earliest
    _count: int
    _offsets: bytes  # int64[n], ticks behind it or _NO_OFFSET: second differences, compressed
    _sync: np.ndarray  # uint8, bits
    _sizes: np.ndarray | None  # bytes; None where the source tells none

    @classmethod
    def of(
        cls,
        pts: np.ndarray,
        sync: np.ndarray,
        sizes: np.ndarray | None,
        made: TrackMade,
        *,
        inserted: bool,
        last_duration: int,
    ) -> ExpectedUnits:
        """Samples of these presentation times (media ticks, ``NO_TIME``), key flags and sizes."""
        known = pts != NO_TIME
        begin = int(pts[known].min()) if known.any() else 0
        offsets = np.where(known, pts - begin, _NO_OFFSET)
        # A steady rate compresses to nothing; as they are, those of a day take 40 MB.
        packed = zlib.compress(np.diff(np.diff(offsets, prepend=0), prepend=0).tobytes(), 1)
        return cls(made, inserted, last_duration, begin, len(pts), packed, np.packbits(sync), sizes)

    def __len__(self) -> int:
        return self._count

    @property
    def pts(self) -> np.ndarray:
        """Media ticks, int64[n]; NO_TIME where the source has no time."""
        differences = np.frombuffer(zlib.decompress(self._offsets), np.int64)
        offsets = np.cumsum(np.cumsum(differences))
        return np.where(offsets == _NO_OFFSET, NO_TIME, offsets + self._begin)

    @property
    def sync(self) -> np.ndarray:
        """Key flags, bool[n]."""
        return np.unpackbits(self._sync, count=len(self)).astype(np.bool_)

    @property
    def sizes(self) -> np.ndarray:
        """Bytes of each sample, int64[n]; UNKNOWN_SIZE where the source does not tell."""
        if self._sizes is None:
            return np.full(len(self), UNKNOWN_SIZE, np.int64)
        return self._sizes.astype(np.int64)


class ExpectedTrack:
    """What the source's index demands of one track of the movie, collected run by run.

    Sound that was inserted stands apart: it is expected where a hole is, and nowhere else.
    """

    def __init__(self, timescale: int) -> None:
        self.timescale = timescale  #: of the movie's track
        self.dropped = 0  #: units that cannot be decoded, and are left out
        self.repeated = 0  #: units that came twice, and are kept once
        self._made: Counter[TrackMade] = Counter()
        self._units: list[ExpectedUnits] = []
        self._entries: dict[str, bytes] = {}

    def append(self, track: PackagedTrack, shift: Fraction) -> None:
        """Add the units of a packaged track whose source clock is ``shift`` seconds away from media
        time; its samples have been compared with them."""
        expected, sizes = track.expected, track.samples.sizes
        media = (expected.pts / expected.timescale + float(shift)) * self.timescale
        pts = np.where(expected.pts == NO_TIME, NO_TIME, np.rint(media)).astype(np.int64)
        told = expected.sizes if len(expected.sizes) else None
        if told is not None and np.array_equal(told, sizes):
            told = sizes  # of which the tables hold on to the very same array
        self._entries.setdefault(configuration_fingerprint(track.sample_entry), track.sample_entry)
        last = track.samples.last_duration
        units = ExpectedUnits.of(
            pts, expected.sync, told, track.made, inserted=False, last_duration=last
        )
        self._add(units)

    def insert(self, pts: np.ndarray, sizes: np.ndarray, last_duration: int) -> None:
        """Add frames of silence that the movie itself puts in: media ticks and bytes, int64[n], and
        how long the last one lasts."""
        sync, made = np.ones(len(pts), np.bool_), TrackMade.SILENCE
        units = ExpectedUnits.of(
            pts, sync, narrowed(sizes), made, inserted=True, last_duration=last_duration
        )
        self._add(units)

    def _add(self, units: ExpectedUnits) -> None:
        self._made[units.made] += len(units)
        self._units.append(units)

    def units(self) -> Iterator[tuple[int, ExpectedUnits]]:
        """All samples in order, in groups of neighbours, each with the number of its first."""
        first = 0
        for each in self._units:
            yield first, each
            first += len(each)

    def __len__(self) -> int:
        return self._made.total()

    @property
    def entries(self) -> tuple[bytes, ...]:
        """The sample entries of all runs, those that say the same once."""
        return tuple(self._entries.values())

    @property
    def changes(self) -> list[int]:
        """Numbers of the samples at which something encoded begins or ends."""
        own = [(first, units.made is TrackMade.COPIED) for first, units in self.units()]
        return [
            first
            for (first, copied), (_, before) in zip(own[1:], own, strict=False)
            if copied != before
        ]

    def own(self, begin: int, end: int) -> np.ndarray:
        """Which of the samples number ``begin`` up to ``end`` are the source's own, bool."""
        copied = np.zeros(end - begin, np.bool_)
        for first, units in self.units():
            if first >= end:
                break
            if units.made is TrackMade.COPIED:
                copied[max(0, first - begin) : max(0, first + len(units) - begin)] = True
        return copied

    @property
    def copied(self) -> int:
        """Units of the source that are samples as they are."""
        return self._made[TrackMade.COPIED]

    @property
    def encoded(self) -> int:
        """Samples that were encoded anew."""
        return self._made[TrackMade.ENCODED]

    @property
    def silent(self) -> int:
        """Frames of silence that stand for nothing in the source."""
        return self._made[TrackMade.SILENCE]

    @property
    def pts(self) -> np.ndarray:
        """Media ticks, int64[n]; NO_TIME where the source has no time."""
        return np.concatenate([units.pts for units in self._units])

    @property
    def sync(self) -> np.ndarray:
        """Key flags, bool[n]."""
        return np.concatenate([units.sync for units in self._units])

    @property
    def sizes(self) -> np.ndarray:
        """Bytes of each sample, int64[n]; UNKNOWN_SIZE where the source does not tell."""
        return np.concatenate([units.sizes for units in self._units])

    @property
    def inserted(self) -> np.ndarray:
        """Which samples are silence that the movie itself puts in, bool[n]."""
        return np.repeat(
            [units.inserted for units in self._units], [len(units) for units in self._units]
        )
