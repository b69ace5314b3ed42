"""Faulty recordings with one media playlist, made of the segments of whole ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from scripts.fault_recording import INIT, MAP, FaultyRecording, files_of, media_playlist
from scripts.fault_truth import COMPLETE, Kept, truth_of
from scripts.ts_clocks import CLOCK, shift_clocks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scripts.fault_base import Base, Bases
    from scripts.fault_recording import Entry
    from scripts.fault_truth import DueGap, DueLoss

END = 16.0
#: The segment that most faults are put into: it holds base time 6 to 8.
ODD, ODD_BEGIN, ODD_END = 3, 6.0, 8.0
#: The segment with which another clock begins, and its base time.
LATER, LATER_BEGIN = 4, 8.0
#: The segment with which another encoder takes over: the first one has made most of it.
OTHER, OTHER_BEGIN = 5, 10.0

ALL = (Kept(0, END),)
WITHOUT_ODD = (Kept(0, ODD_BEGIN), Kept(ODD_END, END))


@dataclass(frozen=True)
class Fault:
    """One fault: what it is, and how a recording with it is made."""

    name: str
    what: str
    make: Callable[[Bases], FaultyRecording]


def listed(
    entries: Sequence[Entry],
    zero: float,
    kept: Sequence[Kept] = ALL,
    verdict: str = COMPLETE,
    gaps: Sequence[DueGap] = (),
    losses: Sequence[DueLoss] = (),
    *,
    init: bytes = b"",
    reencoded: Sequence[str] = (),
) -> FaultyRecording:
    """A recording with one media playlist; ``init`` is the initialization section of fragments."""
    truth = truth_of(kept, zero, verdict=verdict, gaps=gaps, losses=losses, reencoded=reencoded)
    head = [MAP.format(INIT)] if init else []
    files = files_of(entries, media_playlist(entries, head=head))
    return FaultyRecording(files | ({INIT: init} if init else {}), truth)


def zero_of(base: Base, number: int = 0, *, video: bool = True, audio: bool = True) -> float:
    """Base time at which the first picture or sound of a segment begins."""
    segment = base.segments[number]
    kinds = [kind for kind, wanted in ((True, video), (False, audio)) if wanted]
    firsts = [segment.first(video=kind) for kind in kinds]
    return min(first for first in firsts if first is not None) - base.spec.start


def with_entry(entries: list[Entry], number: int, **changes: object) -> list[Entry]:
    """The entries with one changed."""
    changed = replace(entries[number], **changes)  # type: ignore[arg-type]
    return [*entries[:number], changed, *entries[number + 1 :]]


def moved(entries: Sequence[Entry], seconds: float) -> list[Entry]:
    """MPEG-TS segments whose clocks are moved on."""
    ticks = round(seconds * CLOCK)
    return [
        replace(entry, data=shift_clocks(entry.data, ticks, {}) if entry.data else None)
        for entry in entries
    ]
