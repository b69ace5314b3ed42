"""Which pictures of a run are its slice's own: those from its first one to the next slice's first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.indexed_segment import MAX_LEAD_IN_BYTES
from pipelines.loss import Loss, LossCause
from pipelines.slices import MAX_LEAD_IN
from pipelines.transcoding.filter_chain import PictureWindow

if TYPE_CHECKING:
    from collections.abc import Sequence
    from fractions import Fraction

    from pipelines.playlist import Segment
    from pipelines.transcoding.picture_times import OwnPictures, PictureLog


class EndMisjudged(Exception):
    """Raised when a run turned out to reach the end of its slice, or not to, against what was
    taken for granted when it began: the slice is to be made again, knowing."""

    def __init__(self, sequence: int, piece: int, reaches: bool) -> None:
        super().__init__(f"the run from segment {sequence} on, reaching the end: {reaches}")
        self.sequence = sequence  #: of the run's first segment
        self.piece = piece  #: of that segment, with which the run begins
        self.reaches = reaches


@dataclass(frozen=True)
class NextPictures:
    """The pictures of the segment behind a slice, as its index has them."""

    begin: int  #: when the first is shown, ticks of the source
    starts_clean: bool  #: decoding can begin with them: the next slice needs nothing of this one


@dataclass(frozen=True)
class Ownership:
    """From when to when the pictures that are shown belong to a run; ticks of the source."""

    sequence: int  #: of the run's first segment
    first: int | None  #: when its first picture is shown; None: all that is decoded is its own
    following: NextPictures | None  #: behind the slice, on the clock of the run's first segment
    reaches: bool  #: whether the run goes on to the slice's end, as far as could be told at first
    anchor: int = 0  #: a time, anywhere, at which constant rates show a picture
    piece: int = 0  #: of the run's first segment, with which it begins

    @property
    def window(self) -> PictureWindow:
        """The bounds, as they were taken when the run began."""
        end = self.following.begin if self.following and self.reaches else None
        return PictureWindow(self.first, end, self.anchor)

    def pictures(self, log: PictureLog, *, reached: bool, held: bool) -> OwnPictures:
        """The run's own out of all pictures that were fed.

        ``reached``: whether it went on to the slice's end and beyond, by the same clock. ``held``:
        its last picture lasts until the next slice's first. Raises ``EndMisjudged`` when that
        matters and was taken otherwise.
        """
        following, latest = self.following, log.latest
        if following is not None and latest is not None:
            late = latest >= following.begin
            if reached != self.reaches and (held or late):
                raise EndMisjudged(self.sequence, self.piece, reached)
        return log.inside(self.window)

    def unshown(self, log: PictureLog, last: Segment, *, reached: bool) -> Loss | None:
        """The pictures, of segment ``last``, that no slice shows, if any.

        They are meant to be shown behind the first one of the next slice, which needs nothing of
        this one: their times are wrong, or its are.
        """
        following = self.following
        if following is None or not reached or not following.starts_clean:
            return None
        late = int((log.pts >= following.begin).sum())
        if not late:
            return None
        detail = "pictures at its end are meant to be shown behind those of the next segment"
        cause = LossCause.SEGMENT_DAMAGED
        return Loss(last.sequence, str(last.location), cause, detail, whole=False, units=late)

    def undecoded(self, log: PictureLog, lead_in: Sequence[int], first: Segment) -> Loss | None:
        """The pictures, from segment ``first`` on, whose key frame lies before the lead-in, if any.

        ``lead_in``: bytes of its segments. At a period's start there is no key frame, which is told
        otherwise; here it was only too far away.
        """
        cut_short = len(lead_in) >= MAX_LEAD_IN or sum(lead_in) > MAX_LEAD_IN_BYTES // 2
        if not cut_short or self.first is None:
            return None
        own = log.pts >= self.first
        if self.window.end is not None:
            own &= log.pts < self.window.end
        if log.first_key is not None:
            own &= log.pts < log.first_key
        units = int(own.sum())
        if not units:
            return None
        detail = f"no key frame before its pictures in {len(lead_in)} segments before it"
        cause = LossCause.SEGMENT_DAMAGED
        return Loss(first.sequence, str(first.location), cause, detail, whole=False, units=units)


def ownership(
    first: int | None,
    following: NextPictures | None,
    timescale: int,
    coming: Sequence[Segment],
    max_hole: Fraction,
    reaches: bool | None,
    anchor: int = 0,
    piece: int = 0,
) -> Ownership:
    """What a run owns whose first picture is shown at ``first``.

    ``coming`` are the slice's segments from the run's first on, with whose ``piece`` it begins. Whether it ``reaches`` the slice's
    end is judged by the clock, unless it is known: not when a tag among the later segments says
    no, nor when the next pictures are shown before the run's, or far later than it can last.
    """
    if reaches is None:
        reaches = (
            first is not None
            and following is not None
            and not any(segment.discontinuity for segment in coming[1:])
            and first < following.begin <= first + _longest(coming, max_hole) * timescale
        )
    return Ownership(coming[0].sequence, first, following, reaches, anchor, piece)


def _longest(coming: Sequence[Segment], max_hole: Fraction) -> float:
    """Seconds that these segments may last: what is listed is a hint."""
    return 2 * sum(segment.duration for segment in coming) + float(max_hole)
