"""The last resort: segments are given up without which the rest of their slice can be made."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from pipelines.errors import AccountError, ToolError
from pipelines.object_store import UploadedPart
from pipelines.parts import PartUpload
from pipelines.process import DeadlinePassed
from pipelines.slices import PeriodStart

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.playlist import Segment
    from pipelines.slices import Slice

#: One in so many segments of a slice may be given up, and one of fewer: if it takes more, what is
#: odd is not a segment but ffmpeg, or our reading of it.
SHARE = 10

_Made = TypeVar("_Made")


class Nowhere(PartUpload):
    """Takes the parts of a trial, and keeps nothing."""

    def upload_part(self, number: int, body: bytes) -> UploadedPart:
        """As ``PartUpload``."""
        return UploadedPart(number, len(body), "", 0)


def spare_the_rest(
    work: Slice, make: Callable[[Slice], _Made], trial: Callable[[Slice], object]
) -> _Made:
    """What ``make`` makes of a slice, if need be without segments that keep it from being made.

    Those are told as lost, with what the tool said. ``trial`` makes the same of another slice, and
    keeps nothing. Raises what ``make`` raises; its ``ToolError`` stands when it does not come again,
    when a deadline has passed, when the fault is our own (``AccountError``), and when more than one
    in ``SHARE`` segments would have to go.
    """
    try:
        return make(work)
    except (DeadlinePassed, AccountError):
        raise
    except ToolError:
        spared = _Search(trial).spared(work)
        if spared is None:
            raise
    return make(spared)


class _Search:
    """Looks for the segments of a slice that a tool fails over, by trials with its beginning."""

    def __init__(self, trial: Callable[[Slice], object]) -> None:
        self._trial = trial

    def spared(self, work: Slice) -> Slice | None:
        """The slice with as few segments given up as it takes; None when it is no segment's fault."""
        spared, made, lost = work, 0, 0
        while error := self._failure(spared):
            beginning = self._shortest_failing(spared, made)
            beside = self._without_neighbour(spared, beginning, error)
            if beside is not None:
                spared = beside
            elif lost < max(1, len(work.segments) // SHARE) and beginning:
                lost, made = lost + 1, beginning
                spared = _giving_up(spared, beginning - 1, error)
            else:
                return None
        if lost == len(work.segments) and not self._others_can_be_made(work):
            return None
        return None if spared is work else spared

    def _failure(self, work: Slice) -> ToolError | None:
        try:
            self._trial(work)
        except (DeadlinePassed, AccountError):
            raise
        except ToolError as error:
            return error
        return None

    def _shortest_failing(self, work: Slice, made: int) -> int:
        """How many segments the shortest beginning has of which nothing can be made; 0: there is
        none, it takes the segment behind the slice. A beginning of ``made`` segments can be made."""
        fails = len(work.segments)
        if self._failure(_beginning(work, fails)) is None:
            return 0
        while fails - made > 1:
            middle = (made + fails) // 2
            if self._failure(_beginning(work, middle)) is None:
                made = middle
            else:
                fails = middle
        return fails

    def _without_neighbour(self, work: Slice, beginning: int, error: ToolError) -> Slice | None:
        """The slice without the segment beside it, when it can be made so far without that one.

        Its own slice gives that one up; here nothing but what refers to it is lost.
        """
        if not beginning and work.lead_out and not work.lead_out.given_up:
            return replace(work, lead_out=_given_up(work.lead_out, error))
        if beginning == 1 and work.lead_in and not work.lead_in[-1].given_up:
            *others, nearest = work.lead_in
            without = replace(work, lead_in=(*others, _given_up(nearest, error)))
            if self._failure(_beginning(without, beginning)) is None:
                return without
        return None

    def _others_can_be_made(self, work: Slice) -> bool:
        """Whether the tools work at all: something can be made of a segment beside the slice."""
        if work.beside is None:
            return False
        known = work.lead_in[:-1] if work.beside in work.lead_in else ()
        control = replace(
            work,
            segments=(work.beside,),
            lead_in=known,
            lead_out=None,
            period=PeriodStart((work.beside,), 0.0),
            sound=(),
        )
        return self._failure(control) is None


def _beginning(work: Slice, count: int) -> Slice:
    """The first ``count`` segments of a slice, as if nothing followed."""
    return replace(work, segments=work.segments[:count], lead_out=None)


def _giving_up(work: Slice, position: int, error: ToolError) -> Slice:
    segments = list(work.segments)
    segments[position] = _given_up(segments[position], error)
    return replace(work, segments=tuple(segments))


def _given_up(segment: Segment, error: ToolError) -> Segment:
    return replace(segment, given_up=f"nothing could be made of it: {error.message}")
