"""From where to where the tracks of a packaged run go, on its clock and in ticks of the movie."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from pipelines.media import TrackKind
from pipelines.packaged_slice import TrackMade
from pipelines.timeline import Span
from pipelines.track_cut import SLOW, even_duration, usual_duration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipelines.packaged_slice import PackagedRun, PackagedTrack
    from pipelines.wall_clock import ListedClock


def without_silence(run: PackagedRun) -> PackagedRun:
    """The run without the silence that was laid into it."""
    tracks = tuple(track for track in run.tracks if track.made is not TrackMade.SILENCE)
    return replace(run, tracks=tracks)


def spans_of(
    run: PackagedRun, names: Mapping[int, str], listed: ListedClock | None = None
) -> dict[str, Span]:
    """Spans by name: an encoder that takes over may use other PIDs for the same tracks.

    ``listed`` tells how long the pictures of a recording without sound may pause.
    """
    spans: dict[str, Span] = {}
    for track in run.tracks:
        if len(track.samples):
            name, own = names[track.track], span_of(track)
            spans[name] = spans[name].joined(own) if name in spans else own
    return _pausing(run, spans, listed)


def span_of(track: PackagedTrack) -> Span:
    """From where to where a track goes, which has a sample; nothing is seen before its edit."""
    samples, scale = track.samples, track.timescale
    pts = samples.pts
    first = int(pts.min())
    shown = first if track.edit_start is None else max(first, track.edit_start)
    last, even = int(samples.dts[-1]), even_duration(track)
    return Span(
        Fraction(int(samples.dts[0]), scale),
        Fraction(last, scale),
        Fraction(last + samples.last_duration, scale),
        Fraction(shown, scale),
        Fraction(int(pts.max()) + samples.last_duration, scale),
        hidden=Fraction(shown - first, scale),
        sample=None if even is None else Fraction(even, scale),
    )


def _pausing(
    run: PackagedRun, spans: Mapping[str, Span], listed: ListedClock | None
) -> dict[str, Span]:
    """The spans of a run; slow pictures alone may last to the end of their segment by EXTINF."""
    if listed is None or not run.begins or len(run.tracks) != 1 or not _slow(run.tracks[0]):
        return dict(spans)
    sequence, begin = run.begins[-1]
    end = Fraction(begin) + Fraction(listed.lasts(sequence))
    return {name: replace(span, pause=end - span.last_dts) for name, span in spans.items()}


def _slow(track: PackagedTrack) -> bool:
    """Whether pictures come as something changes, so that a pause need not mean any is missing."""
    if track.kind is not TrackKind.VIDEO:
        return False
    return len(track.samples) < 2 or usual_duration(track) * SLOW > track.timescale


def in_ticks(track: PackagedTrack, shift: Fraction, timescale: int) -> PackagedTrack:
    """The track in media time, which is ``shift`` seconds away, in ticks of ``timescale``."""
    own, samples = track.timescale, track.samples
    dts = samples.dts + round(shift * own)
    if own == timescale:
        return replace(track, samples=replace(samples, dts=dts))
    pts, dts = ((each * timescale + own // 2) // own for each in (dts + samples.composition, dts))
    moved = replace(
        samples,
        dts=dts,
        composition=(pts - dts).astype(np.int32),
        last_duration=round(samples.last_duration * timescale / own),
    )
    return replace(track, samples=moved, timescale=timescale)
