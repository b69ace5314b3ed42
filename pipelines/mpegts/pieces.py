"""Cutting whole units of several tracks into pieces, each of one clock and one configuration."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pipelines.media import Configuration, TrackKind
from pipelines.mpegts.clock_lines import clock_lines, forward
from pipelines.segment_index import MAX_PIECES, NO_TIME, TS_TIMESCALE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.mpegts.salvage import Salvaged

#: Changes of several tracks within this are one (ticks): an encoder that starts again.
SAME_CHANGE = TS_TIMESCALE


@dataclass(frozen=True, eq=False)
class TrackPart:
    """Units of one PID; ``head`` are bytes before them that go on with an earlier unit."""

    pid: int
    kind: TrackKind
    head: bytes
    units: tuple[Salvaged, ...]

    def only(self, first: int, stop: int) -> TrackPart:
        """Some of its units; the head belongs to the first of them."""
        return replace(self, head=b"" if first else self.head, units=self.units[first:stop])


@dataclass(frozen=True, eq=False)
class Cut:
    """The pieces in order, each with the tracks that have something in it.

    ``restamped`` counts the units whose times were set anew so that they go forward, ``left_out``
    those behind the last piece that is allowed.
    """

    pieces: tuple[tuple[TrackPart, ...], ...]
    restamped: int
    left_out: int


def one_clock_each(tracks: Sequence[TrackPart], most: int = MAX_PIECES) -> Cut:
    """Cut the tracks where a clock or a configuration is another one, into ``most`` pieces."""
    restamped = 0
    lines = []
    for track in tracks:
        parts, changed = _lines(track, most)
        lines.append(parts)
        restamped += changed
    pieces = (part for clock in _clocks(lines) for part in _configurations(clock, most))
    filled = (tuple(part for part in piece if part.head or part.units) for piece in pieces)
    kept = tuple(piece for piece in filled if any(part.units for part in piece))[:most]
    units = sum(len(part.units) for piece in kept for part in piece)
    return Cut(kept, restamped, sum(len(track.units) for track in tracks) - units)


def _lines(track: TrackPart, most: int) -> tuple[list[TrackPart], int]:
    """The first stretches of one clock of a track, times in order; how many were changed."""
    dts = np.array([unit.dts for unit in track.units], np.int64)
    pts = np.array([unit.pts for unit in track.units], np.int64)
    parts, restamped = [], 0
    for line in clock_lines(dts)[:most]:
        part = track.only(line.first, line.stop)
        decoded, shown, changed = forward(dts[line.first : line.stop], pts[line.first : line.stop])
        if changed:
            times = zip(part.units, decoded.tolist(), shown.tolist(), strict=True)
            units = tuple(replace(unit, dts=first, pts=second) for unit, first, second in times)
            part = replace(part, units=units)
            restamped += changed
        parts.append(part)
    return parts or [track], restamped


def _clocks(tracks: Sequence[Sequence[TrackPart]]) -> list[list[TrackPart]]:
    """Lines of all tracks put together that are of one clock.

    The track with most lines tells the clocks; each line of the others goes to the nearest one
    behind that of the line before it.
    """
    if not tracks:
        return []
    leading = max(tracks, key=len)
    clocks: list[list[TrackPart]] = [[line] for line in leading]
    for lines in tracks:
        if lines is leading:
            continue
        first = 0
        for left, line in zip(range(len(lines) - 1, -1, -1), lines, strict=True):
            apart = [_apart(line, clock[0]) for clock in clocks[first : len(clocks) - left]]
            first += int(np.argmin(apart))
            clocks[first].append(line)
            first += 1
    return clocks


def _apart(line: TrackPart, clock: TrackPart) -> int:
    """Ticks between the times of two lines; 0 when they overlap or one has none."""
    (begin, end), (other_begin, other_end) = _span(line), _span(clock)
    if NO_TIME in (begin, other_begin):
        return 0
    return max(begin - other_end, other_begin - end, 0)


def _span(part: TrackPart) -> tuple[int, int]:
    times = [unit.dts for unit in part.units if unit.dts != NO_TIME]
    return (min(times), max(times)) if times else (NO_TIME, NO_TIME)


def _configurations(clock: Sequence[TrackPart], most: int) -> list[list[TrackPart]]:
    """A piece cut where a track's configuration is another one, up to the change that would make it
    more than ``most``.

    The other tracks are cut at the same time: sound at a frame, pictures at the next key frame.
    """
    changes = {part.pid: _changes(part) for part in clock}
    times = sorted((part.units[at].pts, part.pid, at) for part in clock for at in changes[part.pid])
    groups: list[dict[int, int]] = []
    begins: list[int] = []
    for time, pid, at in times:
        if groups and time - begins[-1] <= SAME_CHANGE and pid not in groups[-1]:
            groups[-1][pid] = at
        elif len(groups) == most:
            break
        else:
            groups.append({pid: at})
            begins.append(time)
    pieces = []
    firsts = {part.pid: 0 for part in clock}
    for group, begin in zip(groups, begins, strict=True):
        stops = {p.pid: max(group.get(p.pid, _reached(p, begin)), firsts[p.pid]) for p in clock}
        pieces.append([part.only(firsts[part.pid], stops[part.pid]) for part in clock])
        firsts = stops
    if len(groups) == most:
        return pieces
    pieces.append([part.only(firsts[part.pid], len(part.units)) for part in clock])
    return pieces


def _changes(part: TrackPart) -> list[int]:
    """The units from which on a track has another configuration."""
    changes = []
    current: Configuration | None = None
    for number, unit in enumerate(part.units):
        told = unit.configuration
        if told is None or told is current:
            continue
        if current is not None and current.conflict_with(told) is not None:
            changes.append(number)
            current = None
        current = told if current is None else _merged(current, told)
    return changes


def _merged(current: Configuration, told: Configuration) -> Configuration:
    if current == told:
        return current
    sets = dict(current.parameter_sets) | dict(told.parameter_sets)
    facts = dict(told.facts) | dict(current.facts)
    return Configuration(current.codec, tuple(sorted(sets.items())), tuple(facts.items()))


def _reached(part: TrackPart, time: int) -> int:
    """The first unit with which a track may be cut that is shown at ``time`` or later."""
    later = (number for number, u in enumerate(part.units) if u.key and u.pts >= time)
    return next(later, len(part.units))
