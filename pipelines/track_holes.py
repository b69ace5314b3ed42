"""Where one track of the movie has nothing of the source, and what fills it up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipelines.gap import TOLD, GapCause, GapDone, GapReason, Hole

if TYPE_CHECKING:
    from fractions import Fraction

    from pipelines.placed_samples import PlacedSamples


@dataclass(frozen=True)
class Filled:
    """A moment at the start of a period that the track was filled up for, since others went on."""

    at: float  #: media seconds
    seconds: float
    samples: int  #: frames of silence; 0 where the last picture lasts longer
    done: GapDone


class TrackHoles:
    """Collects the holes of the track of that ``name``, in media seconds; neighbours are joined."""

    def __init__(self, name: str) -> None:
        self.found: list[Hole] = []
        self.filled: list[Filled] = []  #: what is too short to be told as a hole
        self._none_there = track_absent(f"the source has no {name} there")

    def note(self, begin: Fraction, end: Fraction, reason: GapReason, done: GapDone) -> None:
        """Note a hole and its reason."""
        last = self.found[-1] if self.found else None
        if last and last.end == begin and (last.reason.cause, last.done) == (reason.cause, done):
            self.found[-1] = replace(last, end=end)
        else:
            self.found.append(Hole(begin, end, reason, done))

    def note_inside(
        self, placed: PlacedSamples, begin: Fraction, end: Fraction, done: GapDone
    ) -> None:
        """Note a hole inside the samples of a run, which may know why."""
        self.note(begin, end, placed.inner or self._none_there, done)

    def note_missing(
        self,
        placed: PlacedSamples,
        begin: Fraction,
        end: Fraction,
        done: GapDone,
        *,
        seam: bool,
        inserted: int = 0,
    ) -> None:
        """Note a hole that ``inserted`` frames have filled, inside a run or (``seam``) before it; at
        the start of a period a short one is none, since others went on before it."""
        if seam and placed.starts_period and end - begin <= TOLD:
            self.filled.append(Filled(float(begin), float(end - begin), inserted, done))
        elif seam and placed.hole is not None:
            self.note(begin, end, placed.hole, done)
        else:
            self.note_inside(placed, begin, end, done)


def track_absent(detail: str) -> GapReason:
    """The source has other tracks there, and not this one."""
    return GapReason(GapCause.TRACK_ABSENT, detail)
