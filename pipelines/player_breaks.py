"""Where players of the segments themselves cannot carry on, so that EXT-X-DISCONTINUITY is due."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.mp4.sample_entry import configuration_fingerprint
from pipelines.run_spans import spans_of
from pipelines.segment_index import Container
from pipelines.sound_run import TRACK_NUMBERS
from pipelines.timeline import Relation, step

if TYPE_CHECKING:
    from collections.abc import Mapping
    from fractions import Fraction

    from pipelines.packaged_slice import PackagedRun, PackagedTrack
    from pipelines.rendition_layout import RenditionLayout
    from pipelines.timeline import Lost, Span
    from pipelines.wall_clock import ListedClock


@dataclass(frozen=True)
class _Before:
    """The last run: its container, where its tracks go, and what each of them is like."""

    container: Container
    spans: Mapping[str, Span]
    tracks: Mapping[str, tuple[int, str]]  #: PID (or track_ID) and configuration, by name


class PlayerBreaks:
    """Collects the breaks of a rendition, run by run, as they lie in the source.

    RFC 8216, section 4.3.2.3: the format, the tracks, their identifiers or configurations, or the
    sequence of times change. ``layout`` is what odd runs were conformed to, which hides what they
    are like in the source; ``listed`` tells how long segments last.
    """

    def __init__(
        self,
        max_hole: Fraction,
        layout: RenditionLayout | None,
        listed: ListedClock | None = None,
    ) -> None:
        self._listed = listed
        self._max_hole = max_hole
        self._layout = layout
        self._before: _Before | None = None

    def is_before(self, run: PackagedRun, names: Mapping[int, str], away: Lost) -> bool:
        """Whether there is a break before the next run, without the silence that was laid into it.

        ``away`` are listed segments between the two, which players know not to be there. Sound of
        other playlists alone says nothing.
        """
        spans = spans_of(run, names, self._listed)
        tracks = {
            names[track.track]: (track.track, self._likeness(names[track.track], track, run))
            for track in run.tracks
        }
        own = {name: each for name, each in tracks.items() if each[0] < TRACK_NUMBERS}
        if not own:
            return False
        before, self._before = self._before, _Before(run.container, spans, tracks)
        return before is not None and (
            run.tagged
            or run.container is not before.container
            or _other_tracks(before.tracks, tracks)
            or self._jumps(before, run, spans, away)
        )

    def _likeness(self, name: str, track: PackagedTrack, run: PackagedRun) -> str:
        """What a track of a run is like in the source: equal where it is the same."""
        odd = self._layout.run_at(run.first_sequence, run.piece) if self._layout else None
        if odd is not None and name in odd.odd:
            return odd.was.get(name, "")
        return configuration_fingerprint(track.sample_entry)

    def _jumps(
        self, before: _Before, run: PackagedRun, spans: Mapping[str, Span], away: Lost
    ) -> bool:
        wraps = run.container is Container.MPEGTS
        taken = step(before.spans, spans, wraps=wraps, max_hole=self._max_hole)
        if taken.relation is Relation.GAP:
            return not away.explains(taken.jump)
        return taken.relation is Relation.RESET


def _other_tracks(
    before: Mapping[str, tuple[int, str]], now: Mapping[str, tuple[int, str]]
) -> bool:
    """Whether tracks differ, or came, or went; sound of other playlists may come and go."""
    return any(
        before.get(name) != now.get(name)
        for name in before.keys() | now.keys()
        if (name in before and name in now) or _is_own(before.get(name) or now[name])
    )


def _is_own(track: tuple[int, str]) -> bool:
    return track[0] < TRACK_NUMBERS
