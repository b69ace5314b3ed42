"""A slice's segments as they come: fetched ahead, indexed one by one, mended when damaged."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from pipelines.edges import comes_again
from pipelines.indexed_segment import begins_with_key, with_tables
from pipelines.loss import Loss, LossCause
from pipelines.media import TrackKind
from pipelines.mpegts.index import announced
from pipelines.mpegts.mend import TORN, Seam, seam
from pipelines.repair import Repair, RepairKind
from pipelines.repeated_segments import RepeatedSegments
from pipelines.segment_index import MAX_CUTS, SegmentIndex
from pipelines.segment_pieces import (
    HEAD_BYTES,
    SegmentPieces,
    closed_pids,
    damaged,
    lost_whole,
    orphaned,
    pieces_of,
    units_of,
    with_parameter_sets,
    without_pictures,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from pipelines.edges import Edges
    from pipelines.indexed_segment import IndexedSegment
    from pipelines.media import Codec, Configuration
    from pipelines.playlist import Segment
    from pipelines.source import FetchedSegment


class SegmentStream:
    """Indexed MPEG-TS segments in order, with one of look-ahead.

    ``losses`` and ``repairs`` tell, once all were taken, what the segments lack and what was mended
    in them. Segments that came before are left out. ``edges`` knows those around the slice.
    """

    def __init__(
        self, fetched: Iterator[FetchedSegment], edges: Edges, checkpoint: Callable[[], None]
    ) -> None:
        self._fetched = fetched
        self._edges = edges
        self._checkpoint = checkpoint
        self._ahead: deque[FetchedSegment] = deque()
        self._pieces: deque[IndexedSegment] = deque()
        self._known: dict[int, Codec] = {}
        self._before: SegmentPieces | None = None  # the segment before the one read last
        #: Of each track whose parameter sets were taken last, with its discontinuity sequence.
        self._sets_taken: dict[int, tuple[int, Configuration]] = {}
        self._begins_run = True
        self._cuts = 0
        self._tells_untimed = False
        self._repeated = RepeatedSegments(edges.nearest)
        self.losses: list[Loss] = []
        self.repairs: list[Repair] = []

    def peek(self) -> IndexedSegment | None:
        """The segment that ``take`` gives next; None at the end."""
        while True:
            while not self._pieces:
                fetched = self._read()
                if fetched is None:
                    return None
                self._index(fetched)
            if not self._begins_run:
                return self._pieces[0]
            self._begins_run = not self._prepare(self._pieces.popleft())

    def take(self) -> IndexedSegment:
        """The next segment; only after ``peek`` has shown one."""
        if not self._pieces:
            raise LookupError("no segment is left")
        piece = self._pieces.popleft()
        for track in piece.index.tracks:
            if track.configuration is not None:
                period = piece.segment.discontinuity_sequence
                self._sets_taken[track.track] = period, track.configuration
        return piece

    def end_run(self) -> None:
        """Say that what comes next begins a run of its own."""
        self._begins_run = True

    def adjoin(self, earlier: Segment, later: Segment) -> bool:
        """Whether nothing is listed between two segments but what is left out since it repeats."""
        return self._edges.adjoin(earlier, later)

    def _read(self) -> FetchedSegment | None:
        if self._ahead:
            return self._ahead.popleft()
        self._checkpoint()
        return next(self._fetched, None)

    def _behind(self, fetched: FetchedSegment) -> FetchedSegment | None:
        """The segment behind the one read last that is not the same once more; None at the end."""
        for following in self._ahead:
            if following.data is not fetched.data:
                return following
        self._checkpoint()
        for following in self._fetched:
            if not comes_again(following, fetched):
                self._ahead.append(following)
                return following
            self._ahead.append(replace(following, data=fetched.data))  # held in memory once
        return None

    def _index(self, fetched: FetchedSegment) -> None:
        """Take in the pieces of a segment, and what it lacks; nothing of one that came before."""
        if repair := self._repeated.found(fetched):
            self.repairs.append(repair)
            self._edges.repeats.add(repair.sequence)
            return
        if not self._known and fetched.loss is None:
            self._known |= self._announced(fetched)
        made = self._pieces_of(fetched)
        if made.pieces:
            before = self._before or self._edges.before(made.pieces[0])
            tagged = fetched.segment.discontinuity
            begun = orphaned(before, fetched.data[:HEAD_BYTES])
            if begun and not tagged:
                made = self._pieces_of(fetched, begun)
        self._cuts += max(0, len(made.pieces) - 1)
        if self._cuts > MAX_CUTS and len(made.pieces) > 1:
            detail = f"the segments of its slice would be cut more than {MAX_CUTS} times"
            made = lost_whole(fetched.segment, LossCause.SEGMENT_DAMAGED, detail)
        self._repeated.note(fetched, units_of(made))
        self._note_untimed(fetched, made)
        self._pieces += self._noted(made, before if made.pieces else None)
        self._before = self._edges.last = made

    def _pieces_of(self, fetched: FetchedSegment, begun: Collection[int] = ()) -> SegmentPieces:
        behind = partial(self._seam_behind, fetched)
        return pieces_of(fetched, self._known, behind, begun, self._checkpoint)

    def _noted(self, made: SegmentPieces, before: SegmentPieces | None) -> Iterator[IndexedSegment]:
        """The pieces, once what is lost and mended of them is noted."""
        self.losses += made.losses
        self.repairs += made.repairs
        for piece in made.pieces:
            self._known |= piece.codecs
            if piece.piece:
                yield piece
                continue
            self._note_orphans(before, piece)
            yield replace(piece, broken=_is_broken(before, piece))

    def _announced(self, fetched: FetchedSegment) -> Mapping[int, Codec]:
        """The PIDs of a segment that may have no program tables: those of its neighbours."""
        if announced(fetched.data[:HEAD_BYTES]):
            return {}
        before = self._edges.announced_before()
        if before or announced(fetched.data):
            return before
        following = self._behind(fetched)
        return announced(following.data) if following else self._edges.announced_behind()

    def _seam_behind(self, fetched: FetchedSegment, index: SegmentIndex) -> Seam:
        """How the segment behind the one read last goes on with it."""
        following = self._behind(fetched)
        if following is None:
            return self._edges.seam_behind(index)
        if following.loss is not None or following.segment.discontinuity:
            return TORN
        return seam(index, following.data[:HEAD_BYTES])

    def _note_untimed(self, fetched: FetchedSegment, made: SegmentPieces) -> None:
        """Tell once of packed audio without times."""
        if fetched.untimed and made.pieces and not self._tells_untimed:
            self._tells_untimed = True
            detail = "packed audio without times, from here on: it is heard where it is listed"
            sequence, units = fetched.segment.sequence, sum(units_of(made).values())
            self.repairs.append(Repair(sequence, RepairKind.TIMESTAMPS, detail, units))

    def _note_orphans(self, before: SegmentPieces | None, first: IndexedSegment) -> None:
        """Tell of units that go on with what was left out at the end of the segment before."""
        closed = closed_pids(before)
        units = sum(track.headless for track in first.index.tracks if track.track in closed)
        if units:
            detail = "units go on with what is damaged in the segment before"
            self.losses.append(damaged(first.segment, detail, units))

    def _prepare(self, first: IndexedSegment) -> bool:
        """Put back what a run can begin with out of a piece; False when nothing of it can."""
        made = self._configured(first)
        self.losses += made.losses
        self.repairs += made.repairs
        if not made.pieces:
            return False
        [first] = made.pieces
        if not first.index.tabled and not self._edges.lead_in(first):
            first = with_tables(first)
        self._pieces.appendleft(first)
        return True

    def _configured(self, first: IndexedSegment) -> SegmentPieces:
        """The piece with the parameter sets that neither it nor its lead-in has, where its period
        begins with some; else without the pictures that lack them."""
        bare = {
            track.track: track.unconfigured - track.headless
            for track in first.index.tracks
            if track.kind is TrackKind.VIDEO and track.unconfigured > track.headless
        }
        if bare:
            before = self._edges.lead_in(first)
            told = {t.track for each in before for t in each.index.tracks if t.configuration}
            bare = {pid: count for pid, count in bare.items() if pid not in told}
        worth = _worth_sets(first, bare)
        nearer = {
            pid: configuration
            for pid, (period, configuration) in self._sets_taken.items()
            if pid in worth and period == first.segment.discontinuity_sequence
        }
        sets = self._edges.sets_of_period(first, worth, nearer) if worth else {}
        if sets:
            return with_parameter_sets(first, self._known, sets)
        return without_pictures(first, self._known, bare) if bare else SegmentPieces((first,))


def _worth_sets(first: IndexedSegment, bare: Mapping[int, int]) -> frozenset[int]:
    """The PIDs out of ``bare`` whose pictures without parameter sets can be decoded with them."""
    tracks = [track for track in first.index.tracks if track.track in bare]
    return frozenset(t.track for t in tracks if not first.broken or t.sync[: t.unconfigured].any())


def _is_broken(before: SegmentPieces | None, first: IndexedSegment) -> bool:
    """Whether media before a segment is lost that its pictures may refer to."""
    if before is None:
        return False
    if not before.pieces:
        return True
    pictures = {t.track for t in first.index.tracks if t.kind is TrackKind.VIDEO}
    missing = pictures - before.pieces[-1].codecs.keys()
    return (before.loses_references or bool(missing)) and not begins_with_key(first)
