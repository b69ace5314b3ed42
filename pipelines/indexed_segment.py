"""A segment of MPEG-TS, or a piece of one, whose bytes are clean: what its index says of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from pipelines.media import TrackKind
from pipelines.mpegts.index import index_segment
from pipelines.mpegts.transport_writer import made_tables
from pipelines.segment_index import NO_TIME, TS_TIMESCALE, SegmentIndex, TrackIndex
from pipelines.timeline import Span
from pipelines.track_cut import SLOW

if TYPE_CHECKING:
    from pipelines.media import Codec
    from pipelines.playlist import Segment

#: Bytes of earlier segments that are held as lead-in; a GOP longer than that starts inside it.
MAX_LEAD_IN_BYTES = 64 << 20


@dataclass(frozen=True, eq=False)
class IndexedSegment:
    """A segment, or a piece of one that was mended: its bytes and what they hold.

    ``piece`` counts the pieces of one segment: each is of another clock, or of other tracks or
    configurations, than the one before. ``broken``: media directly before it is lost, to which its
    pictures before a key frame may refer. ``head`` are the first of the ``size`` bytes that the
    segment had as it came.
    """

    segment: Segment
    data: bytes
    index: SegmentIndex
    piece: int = 0
    broken: bool = False
    head: bytes = b""
    size: int = 0

    @property
    def spans(self) -> dict[int, Span]:
        """From where to where each track goes, by PID; tracks without a single time left out."""
        found = {track.track: span_of(track) for track in self.index.tracks}
        spans = {number: span for number, span in found.items() if span is not None}
        if len(self.index.tracks) != 1:
            return spans
        lasts = Fraction(self.segment.duration)
        return {
            number: _pausing(span, self.index.tracks[0], lasts) for number, span in spans.items()
        }

    @property
    def codecs(self) -> dict[int, Codec]:
        """The codec of each track, by PID."""
        return {track.track: track.codec for track in self.index.tracks}


def span_of(track: TrackIndex) -> Span | None:
    """The span of an indexed track in clock time; None when no unit carries a time."""
    known = track.dts[track.dts != NO_TIME]
    shown = track.pts[track.pts != NO_TIME]
    if not len(known) or not len(shown):
        return None
    last_unit = track.unit_duration
    if not last_unit and len(known) > 1:
        last_unit = int(known[-1] - known[0]) // (len(known) - 1)
    scale = track.timescale
    return Span(
        Fraction(int(known[0]), scale),
        Fraction(int(known[-1]), scale),
        Fraction(int(known[-1]) + last_unit, scale),
        Fraction(int(shown.min()), scale),
        Fraction(int(shown.max()) + last_unit, scale),
    )


def _pausing(span: Span, track: TrackIndex, lasts: Fraction) -> Span:
    """The span of a segment's only track; pictures that come as something changes may pause to the
    end of the segment, which ``lasts`` so long by EXTINF: none need be missing."""
    longest = max(lasts, span.last_dts - span.first_dts)
    slow = len(track) - 1 < SLOW * longest
    if track.kind is not TrackKind.VIDEO or not slow:
        return span
    return replace(span, pause=span.first_dts + lasts - span.last_dts)


def begins_with_key(first: IndexedSegment) -> bool:
    """Whether all pictures of a segment can be decoded without earlier ones, as far as shows."""
    for track in first.index.tracks:
        if track.kind is TrackKind.VIDEO:
            own = slice(track.headless, None)
            sync, pts = track.sync[own], track.pts[own]
            if not len(sync) or not sync[0] or (pts[pts != NO_TIME] < pts[0]).any():
                return False
    return True


def with_tables(indexed: IndexedSegment) -> IndexedSegment:
    """A segment with program tables of its own, made of what is known of its tracks."""
    data = made_tables(indexed.codecs) + indexed.data
    return replace(indexed, data=data, index=index_segment(data))


def needs_lead_in(first: IndexedSegment) -> bool:
    """Whether ffmpeg would lose or misread the start of this segment without an earlier one."""
    return any(not track.starts_clean or track.continues_previous for track in first.index.tracks)


def ticks_90k(time: Fraction) -> int:
    """A time in seconds in ticks of the MPEG-TS clock."""
    return round(time * TS_TIMESCALE)
