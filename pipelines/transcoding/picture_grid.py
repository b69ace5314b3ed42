"""The grid on which pictures of a constant rate are shown: evenly from its anchor, both ways."""

from __future__ import annotations

from dataclasses import dataclass
from math import lcm
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fractions import Fraction

#: Least ticks per picture: the tracks' times must also tell odd ends apart.
LEAST_TICKS_PER_PICTURE = 1000
#: Most ticks per second: pictures that are stored 20 s before they are shown must be tellable in 32
#: bits (ISO/IEC 14496-12, 8.6.1.3).
MOST_TICKS_PER_SECOND = 100_000_000
#: Share of a step, one by this, by which pictures count as later than they are: one that lies half
#: way (60 pictures/s shown at 30) must not go this way or that as its time was rounded. Not a share
#: at which pictures of any usual rate lie.
HALF_WAY_SHARE = 19


@dataclass(frozen=True)
class PictureGrid:
    """Points ``anchor + n / rate`` for all whole n, in ticks that both of them are exact in.

    ffmpeg's ``fps`` has its points at whole n / rate: it is given times that are ``subtracted``
    earlier, by less than a step, and what it numbers n is shown ``phase`` after n / rate.
    """

    rate: Fraction  #: pictures/s
    source_timescale: int  #: ticks/s of the source's times
    anchor: int  #: ticks of the source

    @property
    def timescale(self) -> int:
        """Ticks/s of the grid and of the track that is on it.

        Those in which the source's times are exact too, as far as one can count so finely.
        """
        numerator = self.rate.numerator
        exact = _fine_enough(lcm(self.source_timescale, numerator), self.rate)
        return exact if exact <= MOST_TICKS_PER_SECOND else _fine_enough(numerator, self.rate)

    @property
    def step(self) -> int:
        """Ticks from one point to the next."""
        return int(self.timescale / self.rate)

    @property
    def phase(self) -> int:
        """Ticks that are added to the points that ``fps`` counts, 0 <= n < step."""
        return self._ticks(self.anchor) % self.step

    @property
    def subtracted(self) -> int:
        """Ticks that are taken from times before ``fps`` moves them to a point; may be negative."""
        return self.phase - self.step // HALF_WAY_SHARE

    def number(self, time: int) -> int:
        """Number n of the point that ``fps`` (round=near) moves a source time to.

        Halves go away from zero (AV_ROUND_NEAR_INF).
        """
        return _nearest(self._ticks(time) - self.subtracted, self.step)

    def _ticks(self, time: int) -> int:
        """A source time in ticks of the grid, as ffmpeg's ``settb`` has it."""
        return _nearest(time * self.timescale, self.source_timescale)


def _fine_enough(timescale: int, rate: Fraction) -> int:
    """The least multiple of ``timescale`` that has enough ticks per picture."""
    return timescale * -(
        -LEAST_TICKS_PER_PICTURE * rate.numerator // (timescale * rate.denominator)
    )


def _nearest(dividend: int, divisor: int) -> int:
    nearest = (2 * abs(dividend) + divisor) // (2 * divisor)
    return nearest if dividend >= 0 else -nearest
