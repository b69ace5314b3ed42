"""Lines of a clock: stretches of time stamps that go forward, and stray ones that do not fit in."""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipelines.segment_index import NO_TIME, TS_TIMESCALE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.mpegts.packets import Offsets

#: A forward jump by more than this is another clock (ticks): the longest hole that is believed.
FORWARD_LIMIT = 600 * TS_TIMESCALE
#: Most units in a row whose stamps may be astray, and how far from their neighbours' those that
#: come back may lie (ticks): more is another clock.
STRAYS, STRAY_LIMIT = 8, 10 * TS_TIMESCALE


@dataclass(frozen=True)
class Line:
    """Units ``first`` to ``stop`` (exclusive) of a track, whose times go forward."""

    first: int
    stop: int


def clock_lines(dts: Offsets) -> tuple[Line, ...]:
    """Cut decode times (int64[n], ``NO_TIME`` where there is none) where the clock is another one.

    A few units that fall out of the line, before it goes on, stay in it.
    """
    known = np.flatnonzero(dts != NO_TIME)
    if not len(known):
        return (Line(0, len(dts)),) if len(dts) else ()
    times = dts[known]
    steps = np.diff(times)
    cuts = (np.flatnonzero((steps <= 0) | (steps > FORWARD_LIMIT)) + 1).tolist()
    runs = [(first, stop) for first, stop in zip([0, *cuts], [*cuts, len(times)], strict=True)]
    lines = _without_strays(times, runs)
    firsts = [0, *(int(known[first]) for first, _ in lines[1:])]
    return tuple(
        Line(first, stop) for first, stop in zip(firsts, [*firsts[1:], len(dts)], strict=True)
    )


def _without_strays(times: Offsets, runs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join runs between which only a few stamps are astray."""
    joined = [runs[0]]
    at = 1
    while at < len(runs):
        first, stop = joined[-1]
        over = _resumed(times, (first, stop), runs, at)
        if over is None:
            joined.append(runs[at])
            at += 1
        else:
            joined[-1] = (first, runs[over][1])
            at = over + 1
    return joined


def _resumed(
    times: Offsets, line: tuple[int, int], runs: Sequence[tuple[int, int]], at: int
) -> int | None:
    """The run in which the line goes on, over at most ``STRAYS`` units; None for another clock."""
    latest = int(times[max(line[0], line[1] - STRAYS) : line[1]].min())
    for over in range(at, len(runs)):
        first, stop = runs[over]
        if first - line[1] > STRAYS:
            return None
        beyond = np.flatnonzero(times[first:stop] > int(times[line[1] - 1]))
        # Either the line comes back behind what was astray, or the last of it were astray.
        if len(beyond) and int(beyond[0]) <= STRAYS:
            ahead = int(times[first + int(beyond[0])]) - int(times[line[1] - 1])
            if ahead <= STRAY_LIMIT:
                return over
        if 0 < int(times[first]) - latest <= STRAY_LIMIT and line[1] - line[0] > STRAYS:
            return over
    return None


def forward(dts: Offsets, pts: Offsets) -> tuple[Offsets, Offsets, int]:
    """The times of one line, with those that are astray set between their neighbours'.

    Returns decode and presentation times, and how many units were changed. Presentation times are
    kept, unless they are as far away as their decode times, or the very same (as of all sound); none
    is before its decode time.
    """
    known = np.flatnonzero(dts != NO_TIME)
    kept = known[_longest_rising(dts[known].tolist())]
    stray = np.setdiff1d(known, kept)
    dts, pts = dts.copy(), pts.copy()
    if not len(stray):
        return dts, pts, 0
    usual = int(np.median(np.diff(dts[kept]))) if len(kept) > 1 else 1
    # In order: what stands before a stray unit is right, or was set right already.
    befores = np.append(-1, known)[np.searchsorted(known, stray)]
    afters = np.append(kept, -1)[np.searchsorted(kept, stray)]
    for unit, before, after in zip(stray.tolist(), befores.tolist(), afters.tolist(), strict=True):
        _fit(dts, pts, unit, (before, after), max(usual, 1))
    return dts, pts, len(stray)


def _fit(dts: Offsets, pts: Offsets, unit: int, neighbours: tuple[int, int], usual: int) -> None:
    """Set the times of one unit between those of its neighbours that are right; -1: it has none."""
    before, after = (int(dts[each]) if each >= 0 else None for each in neighbours)
    count = neighbours[1] - unit + 1 if after is not None else 1
    if before is None:
        wanted = (after or 0) - usual * (count - 1)
    else:
        wanted = before + (usual if after is None else max((after - before) // count, 1))
    offset = int(pts[unit] - dts[unit])
    if not offset or abs(wanted - int(dts[unit])) > STRAY_LIMIT // 20:
        pts[unit] = wanted + offset
    lowest = wanted if before is None else before + 1
    dts[unit] = max(min(wanted, int(pts[unit])), lowest)
    pts[unit] = max(int(pts[unit]), int(dts[unit]))


def _longest_rising(times: Sequence[int]) -> list[int]:
    """Positions of a longest strictly rising subsequence; of equal ones that with later members."""
    tails: list[int] = []
    places: list[int] = []
    before: list[int] = []
    for place, time in enumerate(times):
        at = bisect.bisect_left(tails, time)
        before.append(places[at - 1] if at else -1)
        tails[at : at + 1], places[at : at + 1] = [time], [place]
    chosen = []
    at = places[-1] if places else -1
    while at >= 0:
        chosen.append(at)
        at = before[at]
    return chosen[::-1]
