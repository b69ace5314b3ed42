"""What one track of the movie must be, as the source's own index says, and what was put in for it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from pipelines.packaged_slice import TrackMade
from pipelines.segment_index import NO_TIME, UNKNOWN_SIZE

if TYPE_CHECKING:
    from fractions import Fraction

    from pipelines.packaged_slice import Expectation


class ExpectedTrack:
    """What the source's index demands of one track of the movie, collected run by run.

    Sound that was inserted stands apart: it is expected where a hole is, and nowhere else.
    """

    def __init__(self, timescale: int) -> None:
        self.timescale = timescale  #: of the movie's track
        self.dropped = 0  #: units that cannot be decoded, and are left out
        self.repeated = 0  #: units that came twice, and are kept once
        self._made: Counter[TrackMade] = Counter()
        self._pts: list[np.ndarray] = []
        self._sync: list[np.ndarray] = []
        self._sizes: list[np.ndarray] = []
        self._inserted: list[np.ndarray] = []

    def append(self, expected: Expectation, shift: Fraction, made: TrackMade) -> None:
        """Add units whose source clock is ``shift`` seconds away from media time."""
        media = (expected.pts / expected.timescale + float(shift)) * self.timescale
        pts = np.where(expected.pts == NO_TIME, NO_TIME, np.rint(media)).astype(np.int64)
        unknown = np.full(len(expected), UNKNOWN_SIZE, np.int64)
        sizes = expected.sizes if len(expected.sizes) else unknown
        self._made[made] += len(expected)
        self._add(pts, expected.sync, sizes, inserted=False)

    def insert(self, pts: np.ndarray, sizes: np.ndarray) -> None:
        """Add frames of silence that the movie itself puts in: media ticks and bytes, int64[n]."""
        self._made[TrackMade.SILENCE] += len(pts)
        self._add(pts, np.ones(len(pts), np.bool_), sizes, inserted=True)

    def _add(self, pts: np.ndarray, sync: np.ndarray, sizes: np.ndarray, *, inserted: bool) -> None:
        self._pts.append(pts)
        self._sync.append(sync)
        self._sizes.append(sizes)
        self._inserted.append(np.full(len(pts), inserted, np.bool_))

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
        return np.concatenate(self._pts)

    @property
    def sync(self) -> np.ndarray:
        """Key flags, bool[n]."""
        return np.concatenate(self._sync)

    @property
    def sizes(self) -> np.ndarray:
        """Bytes of each sample, int64[n]; UNKNOWN_SIZE where the source does not tell."""
        return np.concatenate(self._sizes)

    @property
    def inserted(self) -> np.ndarray:
        """Which samples are silence that the movie itself puts in, bool[n]."""
        return np.concatenate(self._inserted)
