"""Fragments of a segment in pieces of one clock: none twice, and each with a time."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pipelines.repair import Repair, RepairKind
from pipelines.segment_index import MAX_PIECES

if TYPE_CHECKING:
    from pipelines.mp4.movie_fragment import Fragment, TrackFragment
    from pipelines.mp4.movie_header import MovieHeader

#: Ticks beyond which a decode time is no time: sums of them must fit 64 bits.
_LATEST = 1 << 60


@dataclass
class Clocks:
    """Where the tracks of the segments that were opened have come to, ticks by track_ID."""

    ends: dict[int, int] = field(default_factory=dict)


class FragmentSorter:
    """Sorts a segment's fragments into pieces of one clock, each sample once and with a time."""

    def __init__(self, movie: MovieHeader, clocks: Clocks) -> None:
        self._media = {track.track_id for track in movie.tracks if track.kind is not None}
        self._ends = clocks.ends
        self._last: dict[int, int] = {}  # decode time of each track's last sample in this piece
        self._seen: dict[tuple[int, int], tuple[TrackFragment, memoryview]] = {}
        self._untimed = 0
        self._repeated: Counter[int] = Counter()  # samples by track_ID
        self.pieces: list[list[Fragment]] = []
        self.left_out = 0  #: samples behind the last piece that is allowed

    @property
    def too_many(self) -> str | None:
        """Why samples are left out, if some are."""
        return f"its clock steps back more than {MAX_PIECES - 1} times" if self.left_out else None

    @property
    def unchanged(self) -> bool:
        """Whether the source's bytes say what the one piece holds."""
        return len(self.pieces) == 1 and not self._untimed and not self._repeated

    def take(self, fragment: Fragment) -> None:
        """Put the next fragment where it belongs."""
        media = (track for track in fragment.tracks if track.track_id in self._media)
        timed = (self._timed(track) for track in media if len(track))
        tracks = tuple(track for track in timed if not self._repeats(track, fragment.payload))
        if not tracks:
            return
        if self.left_out:
            self.left_out += sum(map(len, tracks))
            return
        steps_back = any(_time(each) <= self._last.get(each.track_id, -_LATEST) for each in tracks)
        if steps_back and len(self.pieces) == MAX_PIECES:
            self.left_out += sum(map(len, tracks))
            return
        if steps_back or not self.pieces:
            self.pieces.append([])
            self._last.clear()
        self.pieces[-1].append(replace(fragment, tracks=tracks))
        for track in tracks:
            end = _time(track) + track.duration
            self._last[track.track_id] = end - int(track.durations[-1])
            self._ends[track.track_id] = end

    def repairs(self, sequence: int) -> tuple[Repair, ...]:
        """What was mended."""
        told = (
            (RepairKind.TIMESTAMPS, "fragments without decode times follow those before them",
             self._untimed),
            (RepairKind.CLOCK_SPLIT, "the clock steps back inside the segment",
             sum(len(track) for piece in self.pieces[1:] for each in piece for track in each.tracks)),
        )  # fmt: skip
        made = [Repair(sequence, kind, detail, units) for kind, detail, units in told if units]
        if self._repeated:
            kind, detail = RepairKind.DUPLICATE, "fragments that came twice are kept once"
            by_track = tuple(self._repeated.items())
            units = self._repeated.total()
            made.append(Repair(sequence, kind, detail, units, by_track=by_track))
        return tuple(made)

    def _timed(self, track: TrackFragment) -> TrackFragment:
        """The track with a decode time; parts of one fragment follow each other as well."""
        time = track.base_decode_time
        if time is None or abs(time) >= _LATEST:
            self._untimed += len(track)
            track = replace(track, base_decode_time=self._ends.get(track.track_id, 0))
            self._ends[track.track_id] = _time(track) + track.duration
        return track

    def _repeats(self, track: TrackFragment, payload: memoryview) -> bool:
        """Whether the very same samples came before; else they are remembered."""
        place = track.track_id, _time(track)
        before = self._seen.get(place)
        same = before is not None and _equal(track, payload, *before)
        if same:
            self._repeated[track.track_id] += len(track)
        self._seen[place] = track, payload
        return same


def _time(track: TrackFragment) -> int:
    if track.base_decode_time is None:
        raise LookupError("a fragment came past the clock")
    return track.base_decode_time


def _equal(
    one: TrackFragment, payload: memoryview, other: TrackFragment, other_payload: memoryview
) -> bool:
    return one.sizes.tobytes() == other.sizes.tobytes() and _bytes_of(one, payload) == _bytes_of(
        other, other_payload
    )


def _bytes_of(track: TrackFragment, payload: memoryview) -> list[memoryview]:
    return [payload[run.offset : run.offset + run.size] for run in track.runs]
