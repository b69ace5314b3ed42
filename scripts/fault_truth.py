"""What is true of a faulty recording by construction: when what is seen and heard, and what lacks."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from scripts.fault_base import WITHIN_SECOND

if TYPE_CHECKING:
    from collections.abc import Sequence

COMPLETE, REPAIRED, PARTIAL = "complete", "repaired", "partial"


@dataclass(frozen=True)
class Kept:
    """Base time that is in the recording, in ``[begin, end)``, and how it comes to lie.

    ``moved`` is added to base time; seconds. ``pictures`` and ``sound`` say what of it is there.
    """

    begin: float
    end: float
    moved: float = 0.0
    pictures: bool = True
    sound: bool = True


@dataclass(frozen=True)
class DueGap:
    """Media that the report must say is not there; seconds of the MP4 under policy ``hold``."""

    track: str  #: ``all``, ``video`` or ``audio``
    at: float
    seconds: float
    cause: str
    done: str = "held"

    @property
    def is_silent(self) -> bool:
        """Whether real silence lies there: not a hole in the track, nor its beginning or end."""
        return self.track != "video" and self.done in ("held", "silence")

    @property
    def is_held(self) -> bool:
        """Whether the picture before lasts through it."""
        return self.track != "audio" and self.done == "held"


@dataclass(frozen=True)
class DueLoss:
    """Neighbours among the listed segments that the report must say are lost, or a part of one."""

    cause: str
    segment: int
    segments: int = 1
    whole: bool = True


@dataclass(frozen=True)
class Truth:
    """When what must be seen and heard in the finished MP4, under policy ``hold``, in seconds; and
    what the report must say.

    ``pictures`` and ``sound`` are when these begin and end; None: there are none. ``reencoded`` are
    the tracks of a copy of which the odd parts must be encoded anew.
    """

    flashes: tuple[float, ...]
    beeps: tuple[float, ...]
    verdict: str
    gaps: tuple[DueGap, ...] = ()
    losses: tuple[DueLoss, ...] = ()
    pictures: tuple[float, float] | None = None
    sound: tuple[float, float] | None = None
    reencoded: tuple[str, ...] = ()

    def to_json(self) -> str:
        """As it is written beside the recording."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Truth:
        """The inverse of ``to_json``."""
        data = json.loads(text)
        return cls(
            tuple(data["flashes"]),
            tuple(data["beeps"]),
            data["verdict"],
            tuple(DueGap(**gap) for gap in data["gaps"]),
            tuple(DueLoss(**loss) for loss in data["losses"]),
            _both(data["pictures"]),
            _both(data["sound"]),
            tuple(data["reencoded"]),
        )


def truth_of(
    kept: Sequence[Kept],
    zero: float,
    *,
    verdict: str = COMPLETE,
    gaps: Sequence[DueGap] = (),
    losses: Sequence[DueLoss] = (),
    reencoded: Sequence[str] = (),
) -> Truth:
    """The truth of a recording that holds ``kept``, whose media time 0 is base time ``zero``.

    ``gaps`` are at base times that were moved already.
    """
    seen = [each for each in kept if each.pictures]
    heard = [each for each in kept if each.sound]
    placed = tuple(replace(gap, at=gap.at - zero) for gap in gaps)
    return Truth(
        flashes=_events(seen, zero),
        beeps=_events(heard, zero),
        verdict=verdict,
        gaps=placed,
        losses=tuple(losses),
        pictures=_span("video", seen, placed, zero),
        sound=_span("audio", heard, placed, zero),
        reencoded=tuple(reencoded),
    )


def _span(
    track: str, kept: Sequence[Kept], gaps: Sequence[DueGap], zero: float
) -> tuple[float, float] | None:
    """When a track begins and ends: what is kept of it, and what was put where it lacks."""
    spans = [(each.begin + each.moved - zero, each.end + each.moved - zero) for each in kept]
    if not spans:
        return None
    filled = [gap for gap in gaps if gap.track in (track, "all") and gap.done != "reported"]
    spans += [(gap.at, gap.at + gap.seconds) for gap in filled]
    begin, end = min(spans)[0], max(end for _, end in spans)
    for gap in gaps:
        if (gap.track, gap.done) == (track, "reported") and gap.at <= begin:
            begin = gap.at + gap.seconds
    return begin, end


def _both(given: list[float] | None) -> tuple[float, float] | None:
    return (given[0], given[1]) if given else None


def _events(kept: Sequence[Kept], zero: float) -> tuple[float, ...]:
    """Media times of what comes once a second of base time."""
    times = [
        second + WITHIN_SECOND + each.moved - zero
        for each in kept
        for second in range(int(each.begin), math.ceil(each.end))
        if each.begin <= second + WITHIN_SECOND < each.end
    ]
    return tuple(round(time, 6) for time in times)
