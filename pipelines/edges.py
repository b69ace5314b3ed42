"""The segments around a run that ffmpeg is fed too, so that nothing is lost at a seam."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.mpegts.index import absent, announced, continues_previous
from pipelines.segment_stream import HEAD_BYTES, IndexedSegment, index_fetched, lead_in
from pipelines.source import FetchedSegment, fetch_head, fetch_segment
from pipelines.timeline import Relation, step

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipelines.media import Codec
    from pipelines.package import Packager
    from pipelines.playlist import Segment
    from pipelines.slices import Slice


class Edges:
    """The segments around a run that ffmpeg is fed too, so that it loses nothing at a seam."""

    def __init__(self, work: Slice, packager: Packager) -> None:
        self._work = work
        self._packager = packager
        self._behind: bytes | None = None

    def lead_in(self, first: IndexedSegment, *, wanted: bool = False) -> tuple[IndexedSegment, ...]:
        """What comes before the run's first segment, back to a closed key frame, if it is needed.

        ``wanted``: also when decoding could begin with that segment.
        """
        earlier = self._earlier(first.segment)
        return lead_in(self._packager.reader, first, earlier, self._same_clock, wanted=wanted)

    def announced_before(self) -> Mapping[int, Codec]:
        """The PIDs that the nearest segment with program tables before the slice announces."""
        for segment in reversed(self._work.lead_in):
            found = announced(fetch_segment(self._packager.reader, segment))
            if found:
                return found
        return {}

    def lead_out(self, tracks: Mapping[int, Codec], unfinished: bool) -> IndexedSegment | None:
        """The segment after the slice, when a unit that starts in the slice may go on in it.

        Its head tells when nothing does, unless one of the tracks has no packet there.
        """
        following = self._work.lead_out
        if following is None:
            return None
        reader = self._packager.reader
        if not unfinished:
            head = fetch_head(reader, following, HEAD_BYTES)
            told = not absent(head, tracks)
            if told and not continues_previous(head, tracks) & tracks.keys():
                return None
        return self.following(tracks)

    def following(self, tracks: Mapping[int, Codec]) -> IndexedSegment | None:
        """The segment behind the slice; None behind the last and before a tagged discontinuity."""
        segment = self._work.lead_out
        if segment is None:
            return None
        if self._behind is None:
            self._behind = fetch_segment(self._packager.reader, segment)
        return index_fetched(FetchedSegment(segment, self._behind), tracks)

    def _earlier(self, first: Segment) -> tuple[Segment, ...]:
        """Segments before ``first`` in its tagged period, nearest last."""
        if first.discontinuity:
            return ()
        own = [s for s in self._work.segments if s.sequence < first.sequence]
        for position in range(len(own) - 1, -1, -1):
            if own[position].discontinuity:
                return tuple(own[position:])
        return (*self._work.lead_in, *own)

    def _same_clock(self, earlier: IndexedSegment, later: IndexedSegment) -> bool:
        if not earlier.spans or not later.spans:
            return False
        related = step(earlier.spans, later.spans, wraps=True, max_hole=self._packager.max_hole)
        return related.relation is not Relation.RESET
