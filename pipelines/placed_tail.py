"""The last samples of each track, by which media that comes twice is recognised."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from pipelines.media import TrackKind
from pipelines.packaged_slice import TrackMade
from pipelines.payload_hash import UNKNOWN_HASH
from pipelines.segment_index import TS_TIMESCALE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipelines.packaged_slice import PackagedRun, PackagedTrack

#: Samples of each track that are remembered: many minutes, a megabyte.
REMEMBERED = 1 << 16
#: Seconds by which the times of equal samples may differ: rounding, and for sound ffmpeg's sums.
TOLERANCES = {TrackKind.VIDEO: Fraction(2, TS_TIMESCALE), TrackKind.AUDIO: Fraction(2, 1000)}
#: Silence, or a picture that stands still, has so many kinds of samples: any two takes agree in it.
SILENT_KINDS = 2


@dataclass(frozen=True, eq=False)
class _Tail:
    dts: np.ndarray  #: int64[n], ticks of the track on the clock of the period
    sizes: np.ndarray  #: uint32[n], bytes
    hashes: np.ndarray  #: uint64[n], of the source's units; UNKNOWN_HASH
    timescale: int


@dataclass(frozen=True)
class _Repeat:
    """What one track has again: so many first samples, and what that says of the others."""

    count: int
    telling: bool = False  #: they are the source's own, and like no other media
    untold: bool = False  #: they were encoded anew, and may be another take


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
        sizes, hashes = track.samples.sizes, _hashes(track)
        before = self._tails.get(name)
        if before is not None and before.timescale == track.timescale:
            dts, sizes = np.append(before.dts, dts), np.append(before.sizes, sizes)
            hashes = np.append(before.hashes, hashes)
        last = slice(-REMEMBERED, None)
        self._tails[name] = _Tail(dts[last], sizes[last], hashes[last], track.timescale)

    def repeated(
        self, run: PackagedRun, names: Mapping[int, str], unwrap: Fraction
    ) -> dict[int, int]:
        """How many first samples of each track of a run were placed already, by PID or track_ID.

        Empty unless all that overlaps what was placed is the same in every track, by time, and byte
        for byte in those that are the source's own: else it is another take of that time. What was
        encoded anew tells nothing of its source, so that others must tell what silence cannot; its
        pictures refer to no others, so that they can only be left out up to a key frame.
        """
        found = {}
        for track in run.tracks:
            tail = self._tails.get(names.get(track.track, ""))
            if tail is None or not len(track.samples):
                continue
            repeat = _repeated(tail, track, unwrap)
            if repeat is None:
                return {}
            found[track.track] = repeat
        known = any(each.count and not each.untold for each in found.values())
        if any(each.untold for each in found.values()):
            known = any(each.telling for each in found.values())
        return {number: each.count for number, each in found.items()} if known else {}


def _repeated(tail: _Tail, track: PackagedTrack, unwrap: Fraction) -> _Repeat | None:
    """What a track has again; None when what it has at that time is something else."""
    if tail.timescale != track.timescale:
        return None
    allowed = max(1, int(TOLERANCES[track.kind] * track.timescale))
    dts = track.samples.dts + round(unwrap * track.timescale)
    count = int(np.searchsorted(dts, tail.dts[-1] + allowed, side="right"))
    first = int(np.searchsorted(tail.dts, dts[0] - allowed))
    same = slice(first, first + count)
    if first + count > len(tail.dts) or not _can_begin(track, count):
        return None
    if bool((np.abs(tail.dts[same] - dts[:count]) > allowed).any()):
        return None
    if track.made is not TrackMade.COPIED:
        return _Repeat(count, untold=count > 0)
    before, again = tail.hashes[same], _hashes(track)[:count]
    told = (before != UNKNOWN_HASH) & (again != UNKNOWN_HASH)
    equal = np.where(told, before == again, tail.sizes[same] == track.samples.sizes[:count])
    if not equal.all():
        return None
    return _Repeat(count, telling=len(np.unique(again[told])) > SILENT_KINDS)


def _hashes(track: PackagedTrack) -> np.ndarray:
    """The hashes of a track's units in the source, uint64[n]; UNKNOWN_HASH where none is told."""
    told = track.expected.hashes
    return told if len(told) else np.full(len(track.samples), UNKNOWN_HASH, np.uint64)


def _can_begin(track: PackagedTrack, number: int) -> bool:
    """Whether a track can begin with its sample of that number, behind equal ones or none."""
    if track.made is TrackMade.COPIED or number == len(track.samples):
        return True
    return bool(track.samples.sync[number])
