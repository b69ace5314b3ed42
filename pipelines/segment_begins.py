"""Where the segments of a run begin on its clock: by this, what happens inside it has a segment."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from pipelines.packaged_slice import TrackMade
from pipelines.sound_run import TRACK_NUMBERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipelines.packaged_slice import PackagedRun
    from pipelines.timeline import Span

#: Seconds by which clocks are rounded on the way.
_ROUNDED = 0.001


class SegmentBegins:
    """Collects them while the segments of a run are read."""

    def __init__(self) -> None:
        self._begins: list[tuple[int, float]] = []

    def note(self, sequence: int, spans: Mapping[int, Span]) -> None:
        """Note the spans of a segment's tracks, on the clock of the run; it may have none."""
        if spans:
            begin = min(span.first_dts for span in spans.values())
            self._begins.append((sequence, float(begin)))

    @property
    def all(self) -> tuple[tuple[int, float], ...]:
        """Media sequence and seconds of each."""
        return tuple(self._begins)


def segment_at_start(run: PackagedRun) -> int:
    """Media sequence of the segment that holds the first sample of a run, or of a stretch of one;
    of sound of a playlist of its own, of which no segment is known, that of the whole run."""
    firsts = [
        float(track.samples.dts[0] / track.timescale)
        for track in run.tracks
        if track.track < TRACK_NUMBERS
        and track.made is not TrackMade.SILENCE
        and len(track.samples)
    ]
    if not firsts:
        return run.first_sequence
    known = bisect_right(run.begins, min(firsts) + _ROUNDED, key=lambda begin: begin[1])
    return run.begins[known - 1][0] if known else run.first_sequence
