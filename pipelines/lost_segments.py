"""Losses between the runs of a rendition, and the reasons that they give for gaps."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from pipelines.gap import GapCause, GapReason
from pipelines.timeline import GAP, NOTHING_LOST, Lost

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipelines.loss import Loss
    from pipelines.timeline import Span

#: Segments that a sentence names one by one.
NAMED = 4
#: Seconds by which a segment must be shorter than EXTINF says to be suspected of being cut off.
SHORT = 0.25


class LostSegments:
    """Collects the losses of a rendition, which runs take as they are placed."""

    def __init__(self) -> None:
        self._whole: list[Loss] = []  # since the last run
        self._partial: list[Loss] = []
        self._last: int | None = None  # media sequence of the last segment that is listed
        self._sound: tuple[list[Loss], list[Loss]] = ([], [])  # of the last slice and of this one

    def add(self, losses: Iterable[Loss], last: int | None) -> None:
        """Add the losses of the next slice, whose ``last`` segment has that media sequence."""
        found = sorted(losses, key=lambda loss: loss.sequence)
        own = [loss for loss in found if not loss.rendition]
        self._last = last
        self._sound = (self._sound[1], [loss for loss in found if loss.rendition])
        self._whole += [loss for loss in own if loss.whole]
        self._partial += [loss for loss in own if not loss.whole]

    def before(self, sequence: int) -> tuple[Loss, ...]:
        """The segments lost between the last run and one that begins with segment ``sequence``."""
        found = tuple(loss for loss in self._whole if loss.sequence < sequence)
        self._whole = [loss for loss in self._whole if loss.sequence >= sequence]
        return found

    def beside(self, sequence: int, missing: Sequence[Loss]) -> tuple[Loss, ...]:
        """What is lost directly before segment ``sequence`` of segments that are kept in part: the
        end of the last one before those ``missing``, and the start of that one itself."""
        numbers = {loss.sequence for loss in missing}
        last = sequence - 1
        while last in numbers:
            last -= 1
        found: dict[int, Loss] = {}  # one of each segment: others tell of the same time
        for loss in self._partial:
            if loss.seconds and loss.sequence == (sequence if loss.at_start else last):
                found.setdefault(loss.sequence, loss)
        return tuple(found.values())

    def rest(self) -> tuple[Loss, ...]:
        """The segments lost behind the last run."""
        return tuple(self._whole)

    def end(self, missing: Sequence[Loss]) -> tuple[Loss, ...]:
        """What is lost at the end of the last segment before those ``missing`` at the very end."""
        return () if self._last is None else self.beside(self._last + 1, missing)

    def damage(self, first: int, last: int | None) -> GapReason | None:
        """Why media of segments number ``first`` to ``last`` (None: all that follow) is missing."""
        found = [
            loss
            for loss in self._partial
            if first <= loss.sequence and (last is None or loss.sequence <= last)
        ]
        return damage_reason(found) if found else None

    def of_sound(self) -> GapReason | None:
        """Why sound may be missing that has playlists of its own."""
        found = [*self._sound[0], *self._sound[1]]
        return loss_reason(found) if found else None

    def forget_before(self, sequence: int) -> None:
        """Forget damage of segments before that one: all their media is placed."""
        self._partial = [loss for loss in self._partial if loss.sequence >= sequence]


def lost(losses: Sequence[Loss], heard: Fraction = Fraction(0)) -> Lost:
    """How long what is lost was listed to be, without the ``heard`` seconds of that time that have
    sound of a playlist of its own."""
    if not losses:
        return NOTHING_LOST
    seconds = [Fraction(loss.seconds).limit_denominator(1_000_000) for loss in losses]
    whole = sum(seconds, Fraction(0))
    if heard and whole - heard < GAP:
        return NOTHING_LOST
    return Lost(whole - heard, max(seconds))


def shortfall(listed: float, kept: Iterable[Iterable[Span]]) -> float:
    """Seconds by which the pieces that are kept of a segment, each the spans of its tracks, are
    shorter than is ``listed``; 0 when they hardly are."""
    pieces = [spans for each in kept if (spans := tuple(each))]
    lasts = sum(
        max(span.end_pts for span in spans) - min(span.first_pts for span in spans)
        for spans in pieces
    )
    short = listed - float(lasts)
    return short if short >= SHORT else 0.0


def damage_reason(losses: Sequence[Loss]) -> GapReason:
    """Why media of segments that are kept in part is missing."""
    numbers = tuple(dict.fromkeys(loss.sequence for loss in losses))
    detail = f"{_segments(losses)} damaged: {losses[0].detail}"
    return GapReason(GapCause.SEGMENT_DAMAGED, detail, numbers)


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
