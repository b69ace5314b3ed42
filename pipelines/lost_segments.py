"""Losses between the runs of a rendition, and the reasons that they give for gaps."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from pipelines.gap import GapCause, GapReason
from pipelines.sound_run import is_own
from pipelines.timeline import GAP, NOTHING_LOST, Lost

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipelines.loss import Loss
    from pipelines.packaged_slice import PackagedRun
    from pipelines.timeline import Span

#: Segments that a sentence names one by one.
NAMED = 4
#: Seconds by which a segment must be shorter than EXTINF says to be suspected of being cut off.
SHORT = 0.25


@dataclass(frozen=True)
class LostMedia:
    """What is lost in one place: segments, and what lies beside them of those kept in part."""

    segments: tuple[Loss, ...] = ()
    beside: tuple[Loss, ...] = ()

    def length(self, heard: Fraction = Fraction(0)) -> Lost:
        """How long it was listed to be, without the ``heard`` seconds of that time that have sound
        of a playlist of its own."""
        losses = (*self.segments, *self.beside)
        if not losses:
            return NOTHING_LOST
        seconds = [Fraction(loss.seconds).limit_denominator(1_000_000) for loss in losses]
        whole = sum(seconds, Fraction(0))
        if heard and whole - heard < GAP:
            return NOTHING_LOST
        return Lost(whole - heard, max(seconds))

    def reason(self) -> GapReason | None:
        """Why there is nothing of it; None when nothing is lost."""
        if self.segments:
            return _loss_reason(self.segments)
        return _damage_reason(self.beside) if self.beside else None


class LostSegments:
    """Collects the losses of a rendition, which runs take as they are placed."""

    def __init__(self) -> None:
        self._whole: list[Loss] = []  # since the last run
        self._put_back: tuple[Loss, ...] = ()  # taken by a run of which nothing was placed
        self._partial: list[Loss] = []
        self._placed: int | None = None  # media sequence with which the last run began
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

    def take(self, run: PackagedRun) -> tuple[Loss, ...]:
        """The segments lost between the last run and the next; one of sound of another playlist
        alone takes none of the variant's own."""
        found, self._put_back = self._put_back, ()
        if is_own(run):
            found += tuple(loss for loss in self._whole if loss.sequence < run.first_sequence)
            self._whole = [loss for loss in self._whole if loss.sequence >= run.first_sequence]
        return found

    def put_back(self, missing: tuple[Loss, ...]) -> None:
        """Leave what is lost to the next run."""
        self._put_back = missing

    def before(self, run: PackagedRun, missing: tuple[Loss, ...]) -> LostMedia:
        """What is lost right before a run, which has taken the segments that are ``missing``."""
        if run.piece or not is_own(run):
            return LostMedia(missing)
        return LostMedia(missing, self._beside(run.first_sequence, missing))

    def _beside(self, sequence: int, missing: Sequence[Loss]) -> tuple[Loss, ...]:
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

    def at_end(self) -> LostMedia:
        """What is lost behind the last run, at the very end."""
        missing = (*self._put_back, *self._whole)
        return LostMedia(
            missing, () if self._last is None else self._beside(self._last + 1, missing)
        )

    def damage(self, first: int, last: int | None) -> GapReason | None:
        """Why media of segments number ``first`` to ``last`` (None: all that follow) is missing."""
        found = [
            loss
            for loss in self._partial
            if first <= loss.sequence and (last is None or loss.sequence <= last)
        ]
        return _damage_reason(found) if found else None

    def damage_since_last(self, run: PackagedRun) -> GapReason | None:
        """Why media between the last run and the next may be missing, of segments kept in part."""
        first = run.first_sequence if self._placed is None else self._placed
        return self.damage(first, run.first_sequence)

    def damage_at_start(self, run: PackagedRun) -> GapReason | None:
        """Why the first media of a run may be missing."""
        # A run of that one segment alone may lie before it, of what can be decoded.
        alone = self._placed == run.first_sequence - 1
        return self.damage(run.first_sequence - alone, run.first_sequence)

    def of_sound(self) -> GapReason | None:
        """Why sound may be missing that has playlists of its own."""
        found = [*self._sound[0], *self._sound[1]]
        return _loss_reason(found) if found else None

    def note_placed(self, run: PackagedRun) -> None:
        """Note that a run is placed, and all media of the segments before its first."""
        self._placed = run.first_sequence
        self._partial = [loss for loss in self._partial if loss.sequence >= run.first_sequence]


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


def _damage_reason(losses: Sequence[Loss]) -> GapReason:
    """Why media of segments that are kept in part is missing."""
    numbers = tuple(dict.fromkeys(loss.sequence for loss in losses))
    detail = f"{_segments(losses)} damaged: {losses[0].detail}"
    return GapReason(GapCause.SEGMENT_DAMAGED, detail, numbers)


def _loss_reason(losses: Sequence[Loss]) -> GapReason:
    """Why the media of lost segments is missing."""
    causes = ", ".join(dict.fromkeys(str(loss.cause) for loss in losses))
    numbers = tuple(dict.fromkeys(loss.sequence for loss in losses))
    return GapReason(GapCause.SEGMENT_LOST, f"{_segments(losses)} lost ({causes})", numbers)


def _segments(losses: Sequence[Loss]) -> str:
    numbers = list(dict.fromkeys(loss.sequence for loss in losses))
    named = ", ".join(map(str, numbers[:NAMED]))
    more = f" and {len(numbers) - NAMED} more" if len(numbers) > NAMED else ""
    return f"segment {named} is" if len(numbers) == 1 else f"segments {named}{more} are"
