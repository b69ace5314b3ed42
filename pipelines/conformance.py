"""Whether every run fits the one sample description of its track, and what was encoded to fit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipelines.census import Census
from pipelines.errors import ErrorCode, PermanentError, ToolError
from pipelines.media import TrackKind
from pipelines.mp4.parameter_sets import merged_entry
from pipelines.mp4.sample_entry import configuration_fingerprint
from pipelines.packaged_slice import TrackMade
from pipelines.run_spans import span_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from fractions import Fraction

    from pipelines.packaged_slice import PackagedRun, PackagedTrack
    from pipelines.rendition_layout import RenditionLayout


@dataclass(frozen=True)
class Conformed:
    """A stretch of a track that was encoded anew to be like the rest of it; seconds of media."""

    track: str
    sequence: int  #: media sequence of the segment that it begins with, or in
    at: float
    seconds: float
    was: str  #: what it is like in the source, for people


class Conformance:
    """Compares runs with ``layout``, which odd ones were conformed to, as they are merged.

    Without a layout it takes the census by which one is made, if there is need.
    """

    def __init__(self, layout: RenditionLayout | None) -> None:
        self._layout = layout
        self._odd: str | None = None  # the first run that does not fit, in words
        self._encoded: dict[str, bytes] = {}  # sample entry of what was encoded to fit, by track
        self.census = Census()
        self.conformed: list[Conformed] = []

    def note_run(self, slice_number: int, run: PackagedRun, names: Mapping[int, str]) -> None:
        """Take note of what a run is like, whose tracks (PID or track_ID) have these names."""
        if self._layout is None:
            self.census.note(slice_number, run, names)

    def silent_names(self, run: PackagedRun) -> dict[int, str]:
        """Names of the silent tracks of a run that was conformed: -1, -2 … are those it lacked."""
        if self._layout is None:
            return {}
        odd = self._layout.run_at(run.first_sequence, run.piece)
        return {-at: name for at, name in enumerate(odd.absent, 1)} if odd else {}

    def as_laid_out(self, name: str, track: PackagedTrack) -> PackagedTrack:
        """The track as it is where most of the rendition's media lies."""
        if self._layout is None:
            return track
        if name not in (each.name for each in self._layout.tracks):
            message = f"the layout has no {name}: it was decided for other slices"
            raise ToolError(ErrorCode.VERIFICATION_FAILED, message)
        layout = self._layout.track(name)
        return replace(
            track,
            codec=layout.codec,
            timescale=layout.timescale,
            sample_entry=layout.sample_entry,
            language=layout.language,
            width=layout.width,
            height=layout.height,
            matrix=layout.matrix,
        )

    def note(
        self,
        name: str,
        track: PackagedTrack,
        first: PackagedTrack,
        run: PackagedRun,
        shift: Fraction,
    ) -> None:
        """Note a track of a run that lies ``shift`` seconds away from its clock; the movie's track
        is like ``first``."""
        if not self._fits(name, track, first):
            where = f"segment {run.first_sequence}"
            self._odd = self._odd or f"the {track.kind} configuration changes at {where}"
        odd = self._layout.run_at(run.first_sequence, run.piece) if self._layout else None
        if odd is not None and name in odd.odd and track.made is TrackMade.ENCODED:
            span = span_of(track)
            at, seconds = float(span.first_pts + shift), float(span.end_pts - span.first_pts)
            was = odd.was.get(name, "")
            self.conformed.append(Conformed(name, run.first_sequence, at, seconds, was))

    def sample_entry(self, name: str, first: PackagedTrack) -> bytes:
        """The sample entry of the movie's track that is like ``first``, with the parameter sets of
        what was encoded to fit it."""
        encoded = [self._encoded[name]] if name in self._encoded else []
        return merged_entry(first.sample_entry, encoded)

    def refuse_odd(self) -> None:
        """Refuse runs that one sample description cannot serve, however they came to be.

        Raises ``PermanentError`` (``configuration_changed``): Chromium and Apple's players stop
        at a second sample description, so there is one per track, always.
        """
        if self._odd is not None:
            raise PermanentError(ErrorCode.CONFIGURATION_CHANGED, self._odd)

    def _fits(self, name: str, track: PackagedTrack, first: PackagedTrack) -> bool:
        """Whether one sample description can serve a track of a run as well."""
        same = configuration_fingerprint(track.sample_entry)
        fits = same == configuration_fingerprint(first.sample_entry)
        encoded = track.made is TrackMade.ENCODED and track.kind is TrackKind.VIDEO
        if self._layout is not None and encoded and not fits:
            other = self._encoded.setdefault(name, track.sample_entry)
            fits = configuration_fingerprint(other) == same
        return fits and track.matrix == first.matrix
