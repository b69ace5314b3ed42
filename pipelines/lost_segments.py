"""Losses between the runs of a rendition, and the reasons that they give for gaps."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from pipelines.gap import GapCause, GapReason
from pipelines.timeline import NOTHING_LOST, Lost

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipelines.loss import Loss

#: Segments that a sentence names one by one.
NAMED = 4


class LostSegments:
    """Collects the losses of a rendition, which runs take as they are placed."""

    def __init__(self) -> None:
        self._whole: list[Loss] = []  # since the last run
        self._partial: list[Loss] = []
        self._sound: tuple[list[Loss], list[Loss]] = ([], [])  # of the last slice and of this one

    def add(self, losses: Iterable[Loss]) -> None:
        """Add the losses of the next slice."""
        found = sorted(losses, key=lambda loss: loss.sequence)
        own = [loss for loss in found if not loss.rendition]
        self._sound = (self._sound[1], [loss for loss in found if loss.rendition])
        self._whole += [loss for loss in own if loss.whole]
        self._partial += [loss for loss in own if not loss.whole]

    def before(self, sequence: int) -> tuple[Loss, ...]:
        """The segments lost between the last run and one that begins with segment ``sequence``."""
        found = tuple(loss for loss in self._whole if loss.sequence < sequence)
        self._whole = [loss for loss in self._whole if loss.sequence >= sequence]
        return found

    def rest(self) -> tuple[Loss, ...]:
        """Those behind the last run."""
        return tuple(self._whole)

    def damage(self, first: int, last: int | None) -> GapReason | None:
        """Why media of segments number ``first`` to ``last`` (None: all that follow) is missing."""
        found = [
            loss
            for loss in self._partial
            if first <= loss.sequence and (last is None or loss.sequence <= last)
        ]
        if not found:
            return None
        return GapReason(
            GapCause.SEGMENT_DAMAGED,
            f"{_segments(found)} damaged: {found[0].detail}",
            tuple(dict.fromkeys(loss.sequence for loss in found)),
        )

    def of_sound(self) -> GapReason | None:
        """Why sound may be missing that has playlists of its own."""
        found = [*self._sound[0], *self._sound[1]]
        return loss_reason(found) if found else None

    def forget_before(self, sequence: int) -> None:
        """Forget damage of segments before that one: all their media is placed."""
        self._partial = [loss for loss in self._partial if loss.sequence >= sequence]


def lost(losses: Sequence[Loss]) -> Lost:
    """How long lost segments were listed to be."""
    if not losses:
        return NOTHING_LOST
    seconds = [Fraction(loss.seconds).limit_denominator(1_000_000) for loss in losses]
    return Lost(sum(seconds, Fraction(0)), max(seconds))


def loss_reason(losses: Sequence[Loss]) -> GapReason:
    """Why the media of lost segments is missing."""
    causes = ", ".join(dict.fromkeys(str(loss.cause) for loss in losses))
    numbers = tuple(dict.fromkeys(loss.sequence for loss in losses))
    return GapReason(GapCause.SEGMENT_LOST, f"{_segments(losses)} lost ({causes})", numbers)


def _segments(losses: Sequence[Loss]) -> str:
    numbers = list(dict.fromkeys(loss.sequence for loss in losses))
    named = ", ".join(map(str, numbers[:NAMED]))
    more = f" and {len(numbers) - NAMED} more" if len(numbers) > NAMED else ""
    return f"segment {named} is" if len(numbers) == 1 else f"segments {named}{more} are"
