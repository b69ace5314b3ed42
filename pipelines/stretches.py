"""The stretches of a run: what lies between holes in which no track has anything."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from pipelines.packaged_slice import TrackMade
from pipelines.timeline import least_gap
from pipelines.track_cut import cut, even_duration, usual_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipelines.packaged_slice import PackagedRun, PackagedTrack

#: Usual pauses between samples that a hole is longer than: slow screen recordings have none.
SLOW = 5
#: Seconds and no more by which tracks may overlap a hole that is common to them.
_EDGE = 1e-6


def stretches(run: PackagedRun) -> Iterator[PackagedRun]:
    """Cut a run where no track has anything for so long that it is a gap: the clock has jumped.

    Each stretch is a run, of which only the first knows what came before. Silence that was laid in
    counts for nothing.
    """
    sounding = [track for track in run.tracks if track.made is not TrackMade.SILENCE]
    begin = -np.inf
    places = [*_holes(sounding), np.inf]
    for number, end in enumerate(places):
        tracks = tuple(_between(run.tracks, begin, end))
        if number == 0:
            yield replace(run, tracks=tracks)
        else:
            yield replace(
                run, tracks=tracks, tagged=False, broken=False, wall_clock=None, starts_clean=False
            )
        begin = end


def _between(tracks: Iterable[PackagedTrack], begin: float, end: float) -> Iterator[PackagedTrack]:
    """What each track has from ``begin`` to ``end``, seconds of its clock; none that has nothing."""
    for track in tracks:
        times = track.samples.dts / track.timescale
        first, last = (int(each) for each in np.searchsorted(times, (begin, end)))
        if last > first:
            yield cut(track, first, last)


def _holes(tracks: Iterable[PackagedTrack]) -> list[float]:
    """Clock seconds in the middle of each hole that is common to all tracks."""
    tracks = list(tracks)
    least = float(least_gap(map(_sample, tracks)))
    covered = sorted(pair for track in tracks for pair in _covered(track, least))
    holes = []
    reached = covered[0][1] if covered else 0.0
    for begin, end in covered:
        if begin - reached > least + _EDGE:
            holes.append((reached + begin) / 2)
        reached = max(reached, end)
    return holes


def _sample(track: PackagedTrack) -> Fraction | None:
    even = even_duration(track)
    return None if even is None else Fraction(even, track.timescale)


def _covered(track: PackagedTrack, least: float) -> Iterator[tuple[float, float]]:
    """From when to when the track has samples without a hole of ``least``, seconds of its clock."""
    dts = track.samples.dts
    if not len(dts):
        return
    usual = usual_duration(track)
    limit = least * track.timescale
    if even_duration(track) is None:
        limit = max(limit, SLOW * usual)
    breaks = np.flatnonzero(np.diff(dts) - usual > limit) + 1
    for piece in np.split(dts, breaks):
        yield float(piece[0] / track.timescale), float((piece[-1] + usual) / track.timescale)
