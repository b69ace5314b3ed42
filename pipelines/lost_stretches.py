"""Losses folded into stretches of neighbouring segments, and the segments that those stand for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from pipelines.loss import Loss, LossCause

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pipelines.playlist import Segment

#: Causes whose detail names an object that neighbours need not share.
_NAMING = frozenset({LossCause.NOT_DECRYPTED, LossCause.INIT_MISSING})


@dataclass(frozen=True)
class LostStretch:
    """Neighbouring segments of one playlist that are lost for the same cause.

    ``loss`` is that of the first, with the seconds and units of all.
    """

    loss: Loss
    last: int  #: media sequence number

    @property
    def segments(self) -> int:
        """How many they are."""
        return self.last - self.loss.sequence + 1


class Stretch(Protocol):
    """How a stretch is told: media sequence numbers, and where the first segment is listed."""

    @property
    def segment(self) -> int: ...

    @property
    def last_segment(self) -> int: ...

    @property
    def location(self) -> str: ...


class LostPlace(NamedTuple):
    """Where neighbouring segments are lost, and no more of it than that."""

    segment: int
    last_segment: int
    location: str


_Stretch = TypeVar("_Stretch", bound=Stretch)


def folded(losses: Iterable[Loss]) -> list[LostStretch]:
    """The losses as stretches, playlist by playlist, in the order of their segments."""
    found: list[LostStretch] = []
    for loss in sorted(losses, key=lambda each: (each.rendition, each.sequence)):
        before = found[-1] if found else None
        if before is None or not _goes_on(before, loss):
            found.append(LostStretch(loss, loss.sequence))
            continue
        seconds, units = before.loss.seconds + loss.seconds, before.loss.units + loss.units
        found[-1] = LostStretch(replace(before.loss, seconds=seconds, units=units), loss.sequence)
    return found


def lost_places(losses: Iterable[Loss]) -> tuple[LostPlace, ...]:
    """Where segments are lost wholly, for whatever cause."""
    alike = (replace(each, cause=LossCause.SEGMENT_MISSING) for each in losses if each.whole)
    return tuple(
        LostPlace(each.loss.sequence, each.last, each.loss.location) for each in folded(alike)
    )


def segments_of(
    segments: Sequence[Segment], stretches: Iterable[_Stretch]
) -> Iterator[tuple[Segment, _Stretch]]:
    """The segments of one playlist that stretches stand for, those of other playlists left out."""
    positions = {segment.sequence: position for position, segment in enumerate(segments)}
    for stretch in stretches:
        first = positions.get(stretch.segment)
        if first is None or str(segments[first].location) != stretch.location:
            continue
        for segment in segments[first : first + stretch.last_segment - stretch.segment + 1]:
            yield segment, stretch


def _goes_on(stretch: LostStretch, loss: Loss) -> bool:
    first = stretch.loss
    return (
        loss.sequence == stretch.last + 1
        and (loss.rendition, loss.cause, loss.whole) == (first.rendition, first.cause, first.whole)
        and (loss.cause not in _NAMING or loss.detail == first.detail)
    )
