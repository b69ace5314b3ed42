"""Pictures that were encoded to lie among copied ones: their times, as those of the track have them."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from pipelines.indexed_segment import IndexedSegment
from pipelines.media import TrackKind
from pipelines.packaged_slice import Expectation, PackagedTrack
from pipelines.segment_index import NO_TIME, TS_TIMESCALE
from pipelines.transcoding.picture_times import scaled

if TYPE_CHECKING:
    from pipelines.rendition_layout import TrackLayout
    from pipelines.transcoding.treatment import FirstSegment


def conformed_pictures(track: PackagedTrack, layout: TrackLayout, delay: Fraction) -> PackagedTrack:
    """Encoded pictures in the ticks of the track that they are laid into.

    They are decoded ``delay`` seconds before the n-th picture is shown, as in the source: what is
    copied before and behind them keeps its decode times, which must not overlap theirs.
    """
    ticks = round(delay * layout.timescale)
    samples, expected = track.samples, track.expected
    pts = scaled(samples.pts, track.timescale, layout.timescale)
    dts = scaled(samples.dts, track.timescale, layout.timescale) - ticks
    usual = round(Fraction(samples.last_duration * layout.timescale, track.timescale))
    return replace(
        track,
        timescale=layout.timescale,
        language=layout.language,
        width=layout.width,
        height=layout.height,
        matrix=layout.matrix,
        samples=replace(
            samples, dts=dts, composition=(pts - dts).astype(np.int32), last_duration=usual
        ),
        expected=Expectation(
            layout.timescale,
            scaled(expected.dts, expected.timescale, layout.timescale) - ticks,
            scaled(expected.pts, expected.timescale, layout.timescale),
            expected.sync,
        ),
    )


def decode_delay(first: FirstSegment) -> Fraction:
    """Seconds from when the first picture of a run is decoded to when the earliest is shown."""
    if isinstance(first, IndexedSegment):
        tracks = [track for track in first.index.tracks if track.kind is TrackKind.VIDEO]
        times = [(track.dts, track.pts) for track in tracks]
        known = [(dts[dts != NO_TIME], pts[pts != NO_TIME]) for dts, pts in times]
        delays = [
            Fraction(int(pts.min() - dts[0]), TS_TIMESCALE)
            for dts, pts in known
            if len(dts) and len(pts)
        ]
    else:
        video = {t.track_id for t in first.movie.tracks if t.kind is TrackKind.VIDEO}
        spans = [span for number, span in first.spans().items() if number in video]
        delays = [span.first_pts - span.first_dts for span in spans]
    return max([Fraction(0), *delays])
