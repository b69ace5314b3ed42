"""Faults of clocks: they begin anew, jump or wrap, in MPEG-TS and in fragmented MP4."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from scripts.fault_entries import (
    ALL,
    END,
    LATER,
    LATER_BEGIN,
    Fault,
    listed,
    moved,
    with_entry,
)
from scripts.fault_fragments import joined, moved_fragments
from scripts.fault_recording import DISCONTINUITY, entries_of
from scripts.fault_truth import COMPLETE, PARTIAL, REPAIRED, DueGap, Kept
from scripts.ts_clocks import CLOCK, WRAP

if TYPE_CHECKING:
    from collections.abc import Callable

    from scripts.fault_base import Bases
    from scripts.fault_recording import FaultyRecording

#: Segments of half a second, of which four become one: each is a fragment.
_QUARTERS = 4


def _clock(
    seconds: float, *tags: str, gap: float = 0.0, fragmented: bool = False
) -> Callable[[Bases], FaultyRecording]:
    """Another clock from the middle on, by so many seconds; ``gap``: how much of it is a gap."""

    def make(bases: Bases) -> FaultyRecording:
        base = bases.get(container="fmp4") if fragmented else bases.get()
        entries = entries_of(base)
        later = entries[LATER:]
        entries[LATER:] = (
            moved_fragments(later, base.init, seconds) if fragmented else moved(later, seconds)
        )
        return listed(
            with_entry(entries, LATER, tags=tags),
            base.zero,
            (Kept(0, LATER_BEGIN), Kept(LATER_BEGIN, END, gap)),
            PARTIAL if gap else COMPLETE,
            [DueGap("all", LATER_BEGIN, gap, "not_in_source")] if gap else [],
            init=base.init,
        )

    return make


def _wrap(at: float) -> Callable[[Bases], FaultyRecording]:
    def make(bases: Bases) -> FaultyRecording:
        base = bases.get(b_frames=2)
        seconds = WRAP / CLOCK - base.spec.start - at
        return listed(moved(entries_of(base), seconds), base.zero)

    return make


def _back_and_forth(bases: Bases) -> FaultyRecording:
    base = bases.get()
    entries = entries_of(base)
    for number in range(1, len(entries), 2):
        entries[number : number + 1] = moved(entries[number : number + 1], 488)
    return listed(entries, base.zero, ALL, REPAIRED)


def _wall_clock_hole(bases: Bases) -> FaultyRecording:
    base = bases.get()
    entries = entries_of(base)
    entries[LATER:] = moved(entries[LATER:], -LATER_BEGIN)
    dated = []
    for number, entry in enumerate(entries):
        later = number >= LATER
        date = f"#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:{2 * number + 30 * later:02}.000Z"
        dated.append(replace(entry, tags=((DISCONTINUITY,) if number == LATER else ()) + (date,)))
    gap = DueGap("all", LATER_BEGIN, 30.0, "wall_clock", "reported")
    return listed(dated, base.zero, ALL, COMPLETE, [gap])


def _fragment_overlap(bases: Bases) -> FaultyRecording:
    base = bases.get(container="fmp4", segment=2.0 / _QUARTERS)
    quarters = entries_of(base)
    entries = [
        joined(quarters[max(0, at - (at == LATER * _QUARTERS)) : at + _QUARTERS], at // _QUARTERS)
        for at in range(0, len(quarters), _QUARTERS)
    ]
    return listed(entries, base.zero, ALL, REPAIRED, init=base.init)


CLOCKS = (
    Fault("reset-tagged", "the clock begins anew at a discontinuity", _clock(-8, DISCONTINUITY)),
    Fault("reset-untagged", "the clock begins anew without a tag", _clock(-8)),
    Fault("jump-tagged", "the clock jumps 5 s at a discontinuity", _clock(5, DISCONTINUITY)),
    Fault("jump-short", "the clock jumps 0.3 s without a tag", _clock(0.3, gap=0.3)),
    Fault("jump-untagged", "the clock jumps 15 s without a tag", _clock(15, gap=15.0)),
    Fault("jump-far", "the clock jumps 700 s without a tag", _clock(700)),
    Fault("back-and-forth", "the clock jumps 488 s, and back, again and again", _back_and_forth),
    Fault("wrap-between", "the 33-bit clock wraps between segments, and slices of 6 s", _wrap(6.0)),
    Fault("wrap-inside", "the 33-bit clock wraps inside a segment", _wrap(9.0)),
    Fault("wall-clock-hole", "PROGRAM-DATE-TIME jumps 30 s at a discontinuity", _wall_clock_hole),
    Fault("fmp4-reset", "the clock of fragments begins anew", _clock(-8, fragmented=True)),
    Fault("fmp4-jump", "the clock of fragments jumps 5 s", _clock(5, gap=5.0, fragmented=True)),
    Fault("fmp4-overlap", "the last fragment of a segment comes again", _fragment_overlap),
)
