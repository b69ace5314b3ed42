"""The time of day of media times, as far as EXT-X-PROGRAM-DATE-TIME tells it."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fractions import Fraction

#: A hole of the wall clock that is longer than this is told (seconds).
TOLD = 1.0


class WallClock:
    """Maps media seconds to Unix seconds, run by run; memory grows with places where it changes."""

    def __init__(self) -> None:
        self._known: list[tuple[Fraction, float | None]] = []  # media time, Unix minus media
        self._ahead: float | None = None  # Unix minus media, where it was last told

    def note(self, media: Fraction, wall: float | None, *, starts_period: bool) -> float:
        """Note that media from ``media`` on was made at ``wall``; the hole before it, in seconds.

        There is one where a period starts later by the clock on the wall than the media before it
        ended: nothing was recorded in between. It is 0 elsewhere.
        """
        if wall is None:
            if starts_period:
                self._known.append((media, None))
            return 0.0
        ahead, before = wall - float(media), self._ahead
        if not self._known or self._known[-1][1] != ahead:
            self._known.append((media, ahead))
        self._ahead = ahead
        hole = ahead - before if starts_period and before is not None else 0.0
        return hole if hole > TOLD else 0.0

    def move_up(self, media: Fraction, seconds: Fraction) -> None:
        """Note that what follows ``media`` moved up by so much."""
        if self._ahead is not None:
            self._ahead += float(seconds)
            self._known.append((media, self._ahead))

    def at(self, media: Fraction) -> float | None:
        """Unix seconds at which the media that ends at ``media`` ended; None when nothing tells."""
        place = bisect_left(self._known, media, key=lambda known: known[0])
        ahead = self._known[max(0, place - 1)][1] if self._known else None
        return None if ahead is None else float(media) + ahead
