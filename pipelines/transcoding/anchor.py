"""The anchor of constant rates: when the first picture of a tagged period is shown."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from pipelines.fmp4_stream import open_segment
from pipelines.media import TrackKind
from pipelines.segment_index import NO_TIME, TS_TIMESCALE, TS_WRAP
from pipelines.segment_pieces import pieces_of
from pipelines.source import fetch_segment
from pipelines.transcoding.fmp4_pictures import pictures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.fmp4_stream import Fmp4Segment
    from pipelines.indexed_segment import IndexedSegment
    from pipelines.init_sections import InitSections
    from pipelines.segment_index import TrackIndex
    from pipelines.slices import PeriodStart
    from pipelines.source import SourceReader


@dataclass(frozen=True)
class TsAnchor:
    """When a period's first picture is shown, by the clock of its segment."""

    shown: int  #: ticks of 90 kHz
    elapsed: float  #: seconds from the period's start to the run that counts from it, as listed

    def on_clock(self, begin: int) -> int:
        """The same time in that round of the clock in which the run begins at ``begin``."""
        expected = self.shown + round(self.elapsed * TS_TIMESCALE)
        return self.shown - TS_WRAP * round((expected - begin) / TS_WRAP)


def ts_anchor(period: PeriodStart, first: IndexedSegment, reader: SourceReader) -> TsAnchor | None:
    """The anchor of the run that begins with ``first``; None when the period begins without a picture."""
    for segment in period.segments:
        pieces: tuple[IndexedSegment, ...] = (first,)
        if segment != first.segment:
            pieces = pieces_of(fetch_segment(reader, segment), first.codecs).pieces
        tracks = [each for piece in pieces[:1] for each in piece.index.tracks]
        video = next((track for track in tracks if track.kind is TrackKind.VIDEO), None)
        # At a period's start pictures before their parameter sets are left out.
        shown = earliest_picture(video, video.unconfigured) if video else None
        if shown is not None:
            return TsAnchor(shown, period.elapsed)
    return None


def earliest_picture(track: TrackIndex, first: int = 0) -> int | None:
    """When the first picture of a segment is shown, by the segment's own clock.

    It is looked for from the track's unit ``first`` on.
    """
    pts = track.pts[first:]
    known = pts[pts != NO_TIME]
    return int(known.min()) if len(known) else None


def fmp4_anchor(
    period: PeriodStart, first: Fmp4Segment, reader: SourceReader, inits: InitSections
) -> int | None:
    """The anchor of the run that begins with ``first``, ticks of its pictures' track.

    None when the period begins without a picture.
    """
    for segment in period.segments:
        pieces: Sequence[Fmp4Segment] = (first,)
        if segment != first.segment:
            fetched = fetch_segment(reader, segment, missing_is_final=inits.missing_is_final)
            pieces = open_segment(fetched, inits).pieces[:1]
        for piece in pieces:
            pts, _ = pictures(piece)
            if len(pts):
                return round(Fraction(int(pts.min()), _timescale(piece)) * _timescale(first))
    return None


def _timescale(segment: Fmp4Segment) -> int:
    """Ticks/s of a segment's pictures; 1 when it can have none."""
    tracks = segment.movie.tracks
    return next((track.timescale for track in tracks if track.kind is TrackKind.VIDEO), 1)
