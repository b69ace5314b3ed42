"""Where the runs of a rendition come to lie, one after the other, and what lay there already."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from pipelines.clock_detours import ClockDetours
from pipelines.placed_tail import PlacedTail
from pipelines.run_spans import spans_of, without_silence
from pipelines.segment_index import Container
from pipelines.sound_run import TRACK_NUMBERS
from pipelines.timeline import Relation, Timeline, rounds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipelines.clock_detours import Place
    from pipelines.packaged_slice import PackagedRun, PackagedTrack
    from pipelines.timeline import Lost, PlacedRun, Span, Step
    from pipelines.wall_clock import ListedClock


class RunPlaces:
    """Gives runs, and stretches of them, their places on the timeline; ``names`` are those of their
    tracks (PID or track_ID).

    ``detours`` are those of a first attempt, if it found any, each with the reason; ``listed`` is
    what the playlist tells of how long segments last.
    """

    def __init__(
        self,
        max_hole: Fraction,
        detours: Mapping[Place, str],
        listed: ListedClock | None,
        *,
        collapses: bool,
    ) -> None:
        self._listed = listed
        self._timeline = Timeline(max_hole, collapses=collapses)
        self._detours = ClockDetours(max_hole)
        self._known_detours = dict(detours)
        self._tail = PlacedTail()
        self._own_end = Fraction(0)  # media seconds up to which the variant's own playlist goes

    @property
    def end(self) -> Fraction:
        """Media seconds up to which anything is seen or heard."""
        return self._timeline.end

    @property
    def heard(self) -> Fraction:
        """Seconds of sound of a playlist of its own behind the end of the variant's own media."""
        return max(Fraction(0), self._timeline.end - self._own_end)

    @property
    def detours(self) -> dict[Place, str]:
        """What begins behind a jump of the clock that is none, and why it is none: to be given to a
        second attempt."""
        found = self._detours.found
        return {place: why for place, why in found.items() if place not in self._known_detours}

    def why_detour(self, place: Place) -> str | None:
        """Why the clock is wrong there, if a first attempt has found that it is."""
        return self._known_detours.get(place)

    def relate(self, run: PackagedRun, names: Mapping[int, str]) -> Step | None:
        """How a run goes on after what was placed last; None when it is the first."""
        spans = spans_of(run, names, self._listed)
        return self._timeline.relate(spans, wraps=_wraps(run))

    def repeated(
        self, run: PackagedRun, related: Step | None, names: Mapping[int, str]
    ) -> dict[int, int]:
        """How many first samples of each track were placed already, since a segment came twice."""
        if run.tagged or related is None or related.relation is not Relation.RESET:
            return {}
        sounding = without_silence(run)
        return self._tail.repeated(sounding, names, self._unwrap(sounding, names))

    def place(
        self,
        run: PackagedRun,
        names: Mapping[int, str],
        place: Place,
        related: Step | None,
        *,
        away: Lost,
        longest: Fraction,
        explained: bool,
    ) -> PlacedRun:
        """Place a run without what cannot be decoded, behind segments that are ``away``.

        ``longest``: seconds of a hole that its tracks can hold; ``explained``: not the clock alone
        tells that it jumps.
        """
        if opens(run, related):
            self._tail.forget()
        spans = spans_of(without_silence(run), names, self._listed)
        left, end = {**self._timeline.clock}, self._timeline.end
        placed = self._timeline.place(
            spans, related, tagged=run.tagged, lost=away, longest=longest,
            detour=place in self._known_detours,
        )  # fmt: skip
        if explained:
            self._detours.forget()
        else:
            self._detours.note(place, left, spans, placed, end, wraps=_wraps(run))
        self._note_own_end(run, names, spans, placed.shift)
        return placed

    def note(self, name: str, track: PackagedTrack, placed: PlacedRun) -> None:
        """Remember the samples of a track, on the clock of the run that was placed."""
        self._tail.note(name, track, placed.unwrap)

    def _note_own_end(
        self, run: PackagedRun, names: Mapping[int, str], spans: Mapping[str, Span], shift: Fraction
    ) -> None:
        own = {names[each.track] for each in run.tracks if each.track < TRACK_NUMBERS}
        ends = [span.end_pts + shift for name, span in spans.items() if name in own]
        self._own_end = max([self._own_end, *ends])

    def _unwrap(self, run: PackagedRun, names: Mapping[int, str]) -> Fraction:
        """Seconds that bring a run's clock into the round of the period that is open."""
        clock, spans = self._timeline.clock, spans_of(run, names)
        common = [name for name in spans if name in clock]
        if not _wraps(run) or not common:
            return Fraction(0)
        return -rounds(spans[common[0]].first_dts - clock[common[0]].end_dts)


def opens(run: PackagedRun, related: Step | None) -> bool:
    """Whether a run starts a period, behind which nothing before it can be referred to."""
    return related is None or run.tagged or related.relation is Relation.RESET


def _wraps(run: PackagedRun) -> bool:
    """Whether its clock starts again at 0 after 26.5 hours."""
    return run.container is Container.MPEGTS
