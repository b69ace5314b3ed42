"""The segments around a run that ffmpeg is fed too, so that nothing is lost at a seam."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from pipelines.errors import ErrorCode, TransientError
from pipelines.indexed_segment import (
    MAX_LEAD_IN_BYTES,
    IndexedSegment,
    begins_with_key,
    needs_lead_in,
    with_tables,
)
from pipelines.media import TrackKind
from pipelines.mpegts.index import absent, announced, continues_previous
from pipelines.mpegts.mend import TORN, Seam, seam
from pipelines.mpegts.nal import SET_LIMIT
from pipelines.mpegts.packets import read_packets
from pipelines.mpegts.salvage import DELIMITERS
from pipelines.repeated_segments import EarlierSegments
from pipelines.segment_pieces import HEAD_BYTES, SegmentPieces, orphaned, pieces_of, units_of
from pipelines.slices import MAX_BEYOND
from pipelines.source import Patience, fetch_head, fetch_segment
from pipelines.timeline import Relation, step
from pipelines.wall_clock import is_later

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from pipelines.media import Codec, Configuration
    from pipelines.package import Packager
    from pipelines.playlist import Segment
    from pipelines.segment_index import SegmentIndex
    from pipelines.slices import Slice
    from pipelines.source import FetchedSegment


#: Bytes of the segment behind a slice that are read when its first ones do not show every track:
#: sound may come behind a large picture. Most segments are much longer.
LONGER_HEAD_BYTES = 512 << 10


class Edges:
    """The segments around a run that ffmpeg is fed too, so that it loses nothing at a seam.

    A neighbour that is lost gives nothing; a damaged one is mended as its own slice mends it.
    """

    def __init__(self, work: Slice, packager: Packager) -> None:
        self._work = work
        self._packager = packager
        #: Those that segments of the slice may repeat.
        self.nearest = EarlierSegments.of(work, packager.reader, self._units)
        self._patience = Patience(final=packager.missing_is_final)
        #: Media sequences of segments that are others once more, and are left out.
        self.repeats: set[int] = set()
        #: What was announced before the slice, once somebody has asked.
        self._announced: Mapping[int, Codec] | None = None
        #: The slice's own segment read last, which tells what the one behind it may go on with.
        self.last: SegmentPieces | None = None
        #: The segment read last before a run, by its sequence and that of what comes behind it.
        self._nearest: tuple[tuple[int, int], SegmentPieces] | None = None

    def lead_in(self, first: IndexedSegment, *, wanted: bool = False) -> tuple[IndexedSegment, ...]:
        """What comes before the run's first segment, back to a closed key frame, if it is needed.

        () when nothing before it helps. ``wanted``: also when decoding could begin with that
        segment. It never reaches over a loss, nor to another clock, codec or configuration.
        """
        if not wanted and not needs_lead_in(first):
            return ()
        found: list[IndexedSegment] = []
        held = 0
        for piece in self.pieces_before(first):
            earlier = _fitting(piece, [first, *found])
            if earlier is None or not self._same_clock(earlier, found[0] if found else first):
                break
            held += len(earlier.data)
            if held > MAX_LEAD_IN_BYTES:
                break
            found.insert(0, earlier)
            if _opens(earlier, first):
                break
        if found and not found[0].index.tabled:
            found[0] = with_tables(found[0])
        return tuple(found)

    def before(self, first: IndexedSegment) -> SegmentPieces | None:
        """The segment before ``first`` in its tagged period, when that matters: None at the start
        of a period, and for one that nothing goes on from."""
        earlier = self._earlier(first.segment)
        goes_on = any(track.continues_previous for track in first.index.tracks)
        if not earlier or not (goes_on or not begins_with_key(first)):
            return None
        return self._pieces(earlier[-1], first)

    def pieces_before(self, first: IndexedSegment) -> Iterator[IndexedSegment]:
        """Pieces before ``first`` in its tagged period, the nearest first, up to one that is lost."""
        later = first
        if first.piece:
            own = self._pieces(first.segment, first).pieces[: first.piece]
            yield from reversed(own)
            later = own[0]
        for segment in reversed(self._earlier(first.segment)):
            pieces = self._pieces(segment, later).pieces
            if not pieces:
                return
            if (pieces[0].head, pieces[0].size) == (later.head, later.size):
                continue  # ``later`` repeats it
            yield from reversed(pieces)
            later = pieces[0]

    def announced_before(self) -> Mapping[int, Codec]:
        """The PIDs that the nearest segment with program tables before the slice announces."""
        if self._announced is None:
            before = reversed(self._work.lead_in)
            found = (announced(self._fetched(segment).data) for segment in before)
            self._announced = next(filter(None, found), {})
        return self._announced

    def announced_behind(self) -> Mapping[int, Codec]:
        """The PIDs that the segment behind the slice announces."""
        return announced(self._following.data) if self._next else {}

    def sets_of_period(
        self, first: IndexedSegment, pids: Collection[int], nearer: Mapping[int, Configuration]
    ) -> dict[int, bytes]:
        """Parameter sets (Annex B) of H.264 or HEVC by PID, the last ones before ``first`` in its
        tagged period: ``nearer`` ones of the slice, else those that its first segments have."""
        found = {
            pid: sets
            for pid, configuration in nearer.items()
            if configuration.codec is first.codecs.get(pid) and (sets := _annex_b(configuration))
        }
        pids = set(pids) - found.keys()
        for segment in self._work.period_at(first.segment.sequence).segments if pids else ():
            if segment.sequence >= first.segment.sequence or segment.init_section:
                break
            for piece in pieces_of(self._fetched(segment), first.codecs).pieces:
                for pid in pids:
                    track = piece.index.track(pid)
                    if track and track.configuration and track.codec is first.codecs[pid]:
                        found[pid] = _annex_b(track.configuration) or found.get(pid, b"")
        return {pid: sets for pid, sets in found.items() if sets}

    def seam_behind(self, index: SegmentIndex) -> Seam:
        """How the segment behind the slice goes on with its last one."""
        head = self._next
        return TORN if head is None or head.loss else seam(index, head.data)

    def lead_out(self, tracks: Mapping[int, Codec], unfinished: bool) -> IndexedSegment | None:
        """The segment after the slice, when a unit that starts in the slice may go on in it.

        Its head tells when nothing does, unless one of the tracks has no packet there.
        """
        if self._next is None or not (unfinished or self._may_go_on(self._next, tracks)):
            return None
        return self.following(tracks)

    def _may_go_on(self, head: FetchedSegment, tracks: Mapping[int, Codec]) -> bool:
        """Whether a unit of one of the tracks may go on in the segment that ``head`` begins."""
        if absent(head.data, tracks) and len(head.data) >= HEAD_BYTES:
            head = self._head(head.segment, LONGER_HEAD_BYTES)
        return bool(
            absent(head.data, tracks) or continues_previous(head.data, tracks) & tracks.keys()
        )

    def following(self, tracks: Mapping[int, Codec]) -> IndexedSegment | None:
        """The beginning of the segment behind the slice; None behind the last one, before a tagged
        discontinuity, and for one that is lost."""
        if self._next is None:
            return None
        behind, last = self._following, self.last
        adjoins = last and last.pieces and self.adjoin(last.pieces[0].segment, behind.segment)
        begun = orphaned(last if adjoins else None, behind.data[:HEAD_BYTES])
        pieces = pieces_of(behind, tracks, begun=begun).pieces
        return pieces[0] if pieces else None

    def adjoin(self, earlier: Segment, later: Segment) -> bool:
        """Whether nothing is listed between two segments but what is left out since it repeats."""
        return self.repeats.issuperset(range(earlier.sequence + 1, later.sequence))

    @cached_property
    def _next(self) -> FetchedSegment | None:
        """The first bytes of the segment behind the slice that is not its last one once more, or
        its loss; None when none is listed."""
        work = self._work
        if work.lead_out is None:
            return None
        last = self._head(work.segments[-1])
        for segment in (work.lead_out, *work.beyond):
            head = self._head(segment)
            if not (
                comes_again(head, last)
                and comes_again(self._fetched(segment), self._fetched(last.segment))
            ):
                return head
            self.repeats.add(segment.sequence)
        if not self._packager.missing_is_final and len(work.beyond) < MAX_BEYOND:
            message = f"segment {segment.sequence} repeats another, and none follows yet"
            raise TransientError(message, ErrorCode.SEGMENT_MISSING)
        return None

    @cached_property
    def _following(self) -> FetchedSegment:
        """All of the segment behind the slice; only where there is one."""
        assert self._next is not None
        return self._fetched(self._next.segment)

    def _head(self, segment: Segment, length: int = HEAD_BYTES) -> FetchedSegment:
        return fetch_head(self._packager.reader, segment, length)

    def _fetched(self, segment: Segment) -> FetchedSegment:
        packager = self._packager
        final, patience = packager.missing_is_final, self._patience
        return fetch_segment(packager.reader, segment, missing_is_final=final, patience=patience)

    def _units(self, fetched: FetchedSegment) -> Mapping[int, int]:
        known = announced(fetched.data) or self.announced_before()
        return units_of(pieces_of(fetched, known))

    def _pieces(self, segment: Segment, later: IndexedSegment) -> SegmentPieces:
        """An earlier segment as its own slice has it; ``later`` comes behind it."""
        key = segment.sequence, later.segment.sequence
        if self._nearest is None or self._nearest[0] != key:
            fetched = self._fetched(segment)
            behind = partial(_seam_before, later.head) if segment != later.segment else None
            self._nearest = key, pieces_of(fetched, later.codecs, behind)
        return self._nearest[1]

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


def comes_again(later: FetchedSegment, earlier: FetchedSegment) -> bool:
    """Whether a segment is the one before it once more, byte for byte: what goes on with that one
    lies behind both. A loop, which the clock on the wall tells to be of another time, is none."""
    one, other = earlier.segment, later.segment
    if other.discontinuity or is_later(other, one):
        return False
    return bool(later.data) and later.data == earlier.data


def _annex_b(configuration: Configuration) -> bytes:
    """The parameter sets of a configuration as a byte stream, each kind before those that refer to
    it; b"" for codecs that have none, and where one is too long to be known whole."""
    if configuration.codec not in DELIMITERS:
        return b""
    kinds = ("vps", "sps", "pps")
    sets = sorted(configuration.parameter_sets, key=lambda each: kinds.index(each[0][:3]))
    if any(len(unit) >= SET_LIMIT for _, unit in sets):
        return b""
    return b"".join(b"\0\0\0\1" + unit for _, unit in sets)


def _opens(earlier: IndexedSegment, first: IndexedSegment) -> bool:
    """Whether decoding of all that ``first`` holds can begin with an earlier piece."""
    pictures = {t.track for t in first.index.tracks if t.kind is TrackKind.VIDEO}
    clean = {track.track for track in earlier.index.tracks if track.starts_clean}
    return pictures <= clean and len(clean) == len(earlier.index.tracks)


def _seam_before(head: bytes, index: SegmentIndex) -> Seam:
    return seam(index, head)


def _fitting(earlier: IndexedSegment, fed: Collection[IndexedSegment]) -> IndexedSegment | None:
    """An earlier piece without sound of another configuration than in those fed behind it; None
    when it has pictures of another one, or another codec."""
    odd = set()
    for track in earlier.index.tracks:
        for later in fed:
            same = later.index.track(track.track)
            if same is None:
                continue
            if same.codec is not track.codec:
                return None
            before, after = track.configuration, same.configuration
            if before is not None and after is not None and before.conflict_with(after):
                odd.add(track.track)
                if track.kind is TrackKind.VIDEO:
                    return None
    return _without(earlier, odd) if odd else earlier


def _without(indexed: IndexedSegment, pids: Collection[int]) -> IndexedSegment | None:
    """A piece without some of its tracks; None when there is no other."""
    tracks = tuple(track for track in indexed.index.tracks if track.track not in pids)
    if not tracks:
        return None
    packets, _ = read_packets(indexed.data)
    kept = [pid for pid in packets.present() if pid not in pids]
    data = packets.only(np.isin(packets.pids, kept)).rows.tobytes()
    return replace(indexed, data=data, index=replace(indexed.index, tracks=tracks))
