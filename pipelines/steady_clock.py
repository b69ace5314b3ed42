"""The clock of steady sound: decode times that MPEG-TS has rounded, rebuilt as whole frames."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pipelines.packaged_slice import Samples

#: Whole frames are counted while the source's clock stays within this (seconds).
STEADY = Fraction(2, 1000)


class SteadyClock:
    """Counts t = anchor + n · frame over all runs of a track.

    MPEG-TS rounds times to 90 kHz and each run to the sample rate again; counting makes the result
    independent of slicing, and ``stts`` a single run. Where the clock of the source leaves the count
    by more than ``STEADY``, a new anchor is taken.
    """

    def __init__(self, timescale: int) -> None:
        self._tolerance = int(STEADY * timescale)
        self._next: int | None = None  # where a frame is expected

    def counted(
        self, samples: Samples, *, starts_period: bool
    ) -> tuple[np.ndarray, dict[int, int]]:
        """The decode times of a run, and by sample number the ticks by which the clock stepped
        there."""
        dts, frame = samples.dts.copy(), samples.last_duration
        steps: dict[int, int] = {}
        at = 0
        if self._next is None or starts_period:
            self._next = int(dts[0])
        while at < len(dts):
            count = self._next + frame * np.arange(len(dts) - at)
            off = np.flatnonzero(np.abs(dts[at:] - count) > self._tolerance)
            kept = int(off[0]) if len(off) else len(dts) - at
            if len(off):
                steps[at + kept] = int(dts[at + kept] - count[kept])
                self._next = int(dts[at + kept])
            dts[at : at + kept] = count[:kept]
            at += kept
        self._next = int(dts[-1]) + frame
        return dts, steps
