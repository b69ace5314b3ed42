"""The time of day of media times, as far as EXT-X-PROGRAM-DATE-TIME tells it."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from fractions import Fraction

    from pipelines.playlist import Segment

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


def is_later(segment: Segment, earlier: Segment) -> bool:
    """Whether EXT-X-PROGRAM-DATE-TIME tells of two segments that they are not of the same time."""
    one, other = segment.program_date_time, earlier.program_date_time
    if one is None or other is None:
        return False
    return abs((one - other).total_seconds()) > segment.duration / 2


@dataclass(frozen=True)
class WallJump:
    """A segment before which the clock on the wall goes further than EXTINF says."""

    sequence: int
    elapsed: float  #: sum of EXTINF before it (s)
    seconds: float  #: by how much further


class ListedClock:
    """Where EXT-X-PROGRAM-DATE-TIME jumps between listed segments, whatever their own clock does.

    Each segment may be off by ``TOLD``: EXTINF may be rounded to whole seconds.
    """

    def __init__(self, segments: Iterable[Segment] = ()) -> None:
        self._sequences: list[int] = []
        self._elapsed: list[float] = []
        self._jumps: list[WallJump] = []
        at, last, last_at, since = 0.0, None, 0.0, 0
        for segment in segments:
            self._sequences.append(segment.sequence)
            self._elapsed.append(at)
            if segment.program_date_time is not None:
                wall = segment.program_date_time.timestamp()
                further = wall - last - (at - last_at) if last is not None else 0.0
                if further > TOLD * since:
                    self._jumps.append(WallJump(segment.sequence, at, further))
                last, last_at, since = wall, at, 0
            at += segment.duration
            since += 1
        self._elapsed.append(at)

    def jumps(self, first: int, until: int) -> Sequence[WallJump]:
        """Those before the segments ``first`` up to ``until`` (media sequences)."""
        begin, end = (
            bisect_left(self._jumps, each, key=lambda jump: jump.sequence)
            for each in (first, until)
        )
        return self._jumps[begin:end]

    def lasts(self, sequence: int) -> float:
        """EXTINF of a listed segment (s); 0 of one that is not listed."""
        return self.elapsed(sequence + 1) - self.elapsed(sequence)

    def elapsed(self, sequence: int) -> float:
        """The sum of EXTINF before a listed segment (s), or of all behind the last."""
        return self._elapsed[bisect_left(self._sequences, sequence)]
