"""The last units that an encoder of sound was fed, by which media that comes twice is recognised."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from pipelines.media import TrackKind
from pipelines.repeated_segments import NEAREST
from pipelines.segment_index import NO_TIME, TS_WRAP

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pipelines.segment_index import SegmentIndex, TrackIndex


class FedTail:
    """The pieces of MPEG-TS that were fed last."""

    def __init__(self) -> None:
        self._pieces: deque[SegmentIndex] = deque(maxlen=NEAREST)

    def note(self, index: SegmentIndex) -> None:
        """Remember a piece that is fed."""
        self._pieces.append(index)

    def repeated(self, index: SegmentIndex, wanted: Collection[int]) -> Mapping[int, int]:
        """How many first units of each track that is ``wanted``, by PID, were fed already; those
        before its first PES header not counted.

        Empty unless all that lies within the time of what was fed is the same in every track, by
        time and byte for byte, and each of these tracks goes on behind it: else it is another take
        of that time, or what the clock on the wall may tell to be new.
        """
        counts = {}
        for track in index.tracks:
            count = self._count(track)
            if count is None:
                return {}
            if track.track in wanted:
                if count == len(track) - track.headless:
                    return {}
                counts[track.track] = count
        return {number: count for number, count in counts.items() if count}

    def _count(self, track: TrackIndex) -> int | None:
        """How many units of a track were fed already; None when it has others at that time."""
        units = _units(track)
        fed = self._fed(track.track, units[0][0]) if units else frozenset()
        if not fed:
            return 0
        latest = max(time for time, _ in fed)
        again = [(time, each) for time, each in units if time <= latest]
        count = len(again)
        # The first picture may have got parameter sets that were sent before.
        begins = track.kind is TrackKind.VIDEO and count > 1
        if begins and again[0][0] in {time for time, _ in fed}:
            del again[0]
        return count if fed.issuperset(again) else None

    def _fed(self, number: int, near: int) -> frozenset[tuple[int, int]]:
        """Time and hash of the units of a track, in the round of the clock that is nearest."""
        return frozenset(
            (time - TS_WRAP * round((time - near) / TS_WRAP), each)
            for index in self._pieces
            if (track := index.track(number))
            for time, each in _units(track)
        )


def _units(track: TrackIndex) -> list[tuple[int, int]]:
    """Time and hash of the units of a track that have a time; [] where no hashes are known."""
    if track.hashes is None:
        return []
    own = slice(track.headless, None)
    units = zip(track.pts[own].tolist(), track.hashes[own].tolist(), strict=True)
    return [(time, each) for time, each in units if time != NO_TIME]
