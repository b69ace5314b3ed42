"""The gaps of a recording as its report tells them, each with the time of day at which it begins."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from pipelines.gap import ALL_TRACKS, Gap, GapCause, GapDone, GapReason, Hole, gaps_of
from pipelines.run_spans import span_of
from pipelines.sound_run import TRACK_NUMBERS, is_own
from pipelines.wall_clock import TOLD, ListedClock, WallClock

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipelines.packaged_slice import PackagedRun
    from pipelines.timeline import Step


class ToldGaps:
    """Collects the gaps that are no holes of the movie's tracks, run by run; times are media time.

    ``listed`` is what the playlist tells of the clock on the wall.
    """

    def __init__(self, listed: ListedClock | None) -> None:
        self._told: list[Gap] = []
        self._wall = WallClock()
        self._listed = listed or ListedClock()
        self._begin: Fraction | None = None  # media seconds at which the run in hand begins

    def all(self, holes: Mapping[str, Sequence[Hole]]) -> list[Gap]:
        """Every gap in order, the ``holes`` of the tracks, too; those of all tracks told once."""
        found = [self._gap(name, hole) for name, hole in gaps_of(holes)]
        return sorted([*self._told, *found], key=lambda gap: (gap.at, gap.track != ALL_TRACKS))

    def tell(
        self,
        at: Fraction,
        seconds: Fraction,
        reason: GapReason,
        done: GapDone = GapDone.REPORTED,
        track: str = ALL_TRACKS,
    ) -> None:
        """Tell of a gap that is no hole of the movie."""
        self._told.append(self._gap(track, Hole(at, at + seconds, reason, done)))

    def tell_collapsed(self, at: Fraction, seconds: Fraction, reason: GapReason) -> None:
        """Tell of a hole that is closed: what follows moved up."""
        self.tell(at, seconds, reason, GapDone.COLLAPSED)
        self._wall.move_up(at, seconds)

    def confirms(self, run: PackagedRun, related: Step | None, end: Fraction) -> bool:
        """Whether the clock on the wall, too, jumps by most of the jump before a run, where media
        ended at ``end``."""
        before, jump = self._wall.at(end), related.jump if related else 0
        if before is None or run.wall_clock is None or jump <= 0:
            return False
        return run.wall_clock - before > jump / 2

    def is_new(self, run: PackagedRun, related: Step, end: Fraction) -> bool:
        """Whether the clock on the wall tells that a run is new media, though its own clock steps
        back behind media that ended at ``end``: a loop.

        It is asked about whole segments: where one begins with the end of the one before, the list
        tells the time of what is new.
        """
        before, again = self._wall.at(end), -related.jump
        listed = self._listed.lasts(run.first_sequence)
        if before is None or run.wall_clock is None or again < max(TOLD / 2, listed - TOLD / 2):
            return False
        return run.wall_clock - before > -again / 2

    def begin_run(self) -> None:
        """Say that another run begins, of which nothing has its place yet."""
        self._begin = None

    def note_place(
        self, run: PackagedRun, begin: Fraction, shown: Fraction, *, starts_period: bool
    ) -> None:
        """Note where a run, or the next stretch of it, begins and from when on it is shown; tell
        where nothing was recorded before it."""
        self._begin = begin if self._begin is None else self._begin
        jumps = self._listed.jumps(run.first_sequence, run.first_sequence + 1)
        seconds = self._wall.note(begin, run.wall_clock, starts_period=starts_period or bool(jumps))
        if seconds:
            self._tell_not_recorded(shown, seconds, run.first_sequence)

    def tell_wall_jumps(self, run: PackagedRun, last: int) -> None:
        """Tell where nothing was recorded inside a run, up to segment ``last``, although its clock
        goes on: media time is by EXTINF there. Where the clock jumps as well, that is told."""
        jumps = self._listed.jumps(run.first_sequence + 1, last + 1)
        if self._begin is None or not jumps or not is_own(run):
            return
        since = self._listed.elapsed(run.first_sequence)
        more = _own_length(run) - (self._listed.elapsed(last + 1) - since)
        for jump in jumps:
            if more < jump.seconds / 2:
                at = self._begin + Fraction(jump.elapsed - since).limit_denominator(1_000_000)
                self._tell_not_recorded(at, jump.seconds, jump.sequence)
                self._wall.move_up(at, Fraction(jump.seconds))

    def _tell_not_recorded(self, at: Fraction, seconds: float, sequence: int) -> None:
        detail = f"nothing was recorded for {seconds:.3f} s before segment {sequence}"
        self.tell(at, Fraction(seconds), GapReason(GapCause.WALL_CLOCK, detail))

    def _gap(self, track: str, hole: Hole) -> Gap:
        return Gap(
            track,
            float(hole.begin),
            float(hole.end - hole.begin),
            hole.reason.cause,
            hole.reason.detail,
            hole.done,
            self._wall.at(hole.begin),
            hole.reason.segments,
        )


def _own_length(run: PackagedRun) -> float:
    """Seconds of a run's media of the variant's own playlist, on its clock."""
    spans = [span_of(track) for track in run.tracks if track.track < TRACK_NUMBERS]
    return float(max(span.end_pts for span in spans) - min(span.first_pts for span in spans))
