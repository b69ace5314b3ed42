"""The last samples of each track, by which media that comes twice is recognised."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from pipelines.media import TrackKind
from pipelines.packaged_slice import TrackMade
from pipelines.segment_index import TS_TIMESCALE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipelines.packaged_slice import PackagedRun, PackagedTrack

#: Samples of each track that are remembered: many minutes, a megabyte.
REMEMBERED = 1 << 16
#: Seconds by which the times of equal samples may differ: rounding, and for sound ffmpeg's sums.
TOLERANCES = {TrackKind.VIDEO: Fraction(2, TS_TIMESCALE), TrackKind.AUDIO: Fraction(2, 1000)}


@dataclass(frozen=True, eq=False)
class _Tail:
    dts: np.ndarray  #: int64[n], ticks of the track on the clock of the period
    sizes: np.ndarray  #: uint32[n], bytes
    timescale: int


class PlacedTail:
    """What was placed last on the clock of the period that is open."""

    def __init__(self) -> None:
        self._tails: dict[str, _Tail] = {}

    def forget(self) -> None:
        """Begin anew: what follows has another clock."""
        self._tails = {}

    def note(self, name: str, track: PackagedTrack, unwrap: Fraction) -> None:
        """Remember samples that were placed; ``unwrap`` seconds make their clock the period's."""
        dts = track.samples.dts + round(unwrap * track.timescale)
        sizes = track.samples.sizes
        before = self._tails.get(name)
        if before is not None and before.timescale == track.timescale:
            dts, sizes = np.append(before.dts, dts), np.append(before.sizes, sizes)
        self._tails[name] = _Tail(dts[-REMEMBERED:], sizes[-REMEMBERED:], track.timescale)

    def repeated(
        self, run: PackagedRun, names: Mapping[int, str], unwrap: Fraction
    ) -> dict[int, int]:
        """How many first samples of each track of a run were placed already, by PID or track_ID.

        Empty unless all that overlaps what was placed is the same in every track, by time, and by
        size in those that are the source's own: else it is another take of that time. What was
        encoded anew tells nothing of its source; its pictures refer to no others, so that they can
        only be left out up to a key frame.
        """
        counts = {}
        told = False
        for track in run.tracks:
            tail = self._tails.get(names.get(track.track, ""))
            if tail is None or not len(track.samples):
                continue
            count = _repeated(tail, track, unwrap)
            if count is None:
                return {}
            counts[track.track] = count
            told = told or (count > 0 and track.made is TrackMade.COPIED)
        return counts if told else {}


def _repeated(tail: _Tail, track: PackagedTrack, unwrap: Fraction) -> int | None:
    if tail.timescale != track.timescale:
        return None
    allowed = max(1, int(TOLERANCES[track.kind] * track.timescale))
    dts = track.samples.dts + round(unwrap * track.timescale)
    count = int(np.searchsorted(dts, tail.dts[-1] + allowed, side="right"))
    first = int(np.searchsorted(tail.dts, dts[0] - allowed))
    same = slice(first, first + count)
    if first + count > len(tail.dts):
        return None
    near = np.abs(tail.dts[same] - dts[:count]) <= allowed
    equal = near
    if track.made is TrackMade.COPIED:
        equal = near & (tail.sizes[same] == track.samples.sizes[:count])
    return count if bool(equal.all()) and _can_begin(track, count) else None


def _can_begin(track: PackagedTrack, number: int) -> bool:
    """Whether a track can begin with its sample of that number, behind equal ones or none."""
    if track.made is TrackMade.COPIED or number == len(track.samples):
        return True
    return bool(track.samples.sync[number])
