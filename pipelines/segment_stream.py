"""A slice's segments as they come: fetched ahead, indexed one by one, mended when damaged."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from pipelines.errors import ErrorCode, PermanentError
from pipelines.loss import Loss, LossCause
from pipelines.lost_segments import SHORT, shortfall
from pipelines.media import TrackKind
from pipelines.mpegts.index import announced, index_segment, mostly_scrambled
from pipelines.mpegts.mend import (
    TORN,
    Mended,
    Seam,
    ends_cut,
    is_clean,
    lacks_its_end,
    mend,
    seam,
    stumbles,
)
from pipelines.mpegts.transport_writer import made_tables
from pipelines.repair import Repair, RepairKind
from pipelines.repeated_segments import RepeatedSegments, units_of_all
from pipelines.segment_index import (
    MAX_CUTS,
    NO_TIME,
    TS_TIMESCALE,
    Damage,
    SegmentIndex,
    TrackIndex,
)
from pipelines.timeline import Span

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from pipelines.edges import Edges
    from pipelines.media import Codec, Configuration
    from pipelines.playlist import Segment
    from pipelines.source import FetchedSegment

#: Bytes of earlier segments that are held as lead-in; a GOP longer than that starts inside it.
MAX_LEAD_IN_BYTES = 64 << 20
#: Bytes at the start of a segment that are looked at before it is indexed: a unit that goes on
#: from the segment before shows there, and so do the program tables of most.
HEAD_BYTES = 64 << 10


@dataclass(frozen=True, eq=False)
class IndexedSegment:
    """A segment, or a piece of one that was mended: its bytes and what they hold.

    ``piece`` counts the pieces of one segment: each is of another clock, or of other tracks or
    configurations, than the one before. ``broken``: media directly before it is lost, to which its
    pictures before a key frame may refer. ``head`` are the first bytes of the segment as it came.
    """

    segment: Segment
    data: bytes
    index: SegmentIndex
    piece: int = 0
    broken: bool = False
    head: bytes = b""

    @property
    def spans(self) -> dict[int, Span]:
        """From where to where each track goes, by PID; tracks without a single time left out."""
        spans = {track.track: span_of(track) for track in self.index.tracks}
        return {number: span for number, span in spans.items() if span is not None}

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


@dataclass(frozen=True, eq=False)
class SegmentPieces:
    """What a segment holds, in pieces; none of one that is lost, as the last of ``losses`` says.

    ``loses_references``: pictures of the next segment, up to a key frame, refer to lost ones.
    ``source`` is the index of the segment as it came.
    """

    pieces: tuple[IndexedSegment, ...]
    losses: tuple[Loss, ...] = ()
    repairs: tuple[Repair, ...] = ()
    loses_references: bool = False
    source: SegmentIndex | None = None


def pieces_of(
    fetched: FetchedSegment,
    known: Mapping[int, Codec] | None = None,
    behind: Callable[[SegmentIndex], Seam] | None = None,
    begun: Collection[int] = (),
    checkpoint: Callable[[], None] = lambda: None,
) -> SegmentPieces:
    """Index a segment, and mend it when it is damaged.

    ``known`` are PIDs of segments before it, in case it has no program tables. ``behind`` tells how
    the next segment goes on with this one, and is asked only if that matters; without it all of it
    may. ``begun`` are PIDs that begin within units whose beginning is missing. The result depends
    on nothing else, whoever reads the segment. ``checkpoint`` is called while it is mended, and
    raises to cancel. Raises ``PermanentError`` when most of a track
    is scrambled: a packet or two are damage.
    """
    segment = fetched.segment
    if fetched.loss is not None:
        return SegmentPieces((), (fetched.loss,), loses_references=True)
    index = index_segment(fetched.data, known)
    _refuse_scrambled(fetched, index)
    clean = is_clean(index)
    if clean and not index.tracks:
        detail = "it holds no pictures and no sound"
        return _lost(segment, LossCause.SEGMENT_EMPTY, detail)
    head = fetched.data[:HEAD_BYTES]
    open_pictures = _open_pictures(segment, index)
    asks = not clean or open_pictures or any(lacks_its_end(track) for track in index.tracks)
    goes_on = behind(index).finished if behind and asks else None
    cut = goes_on is not None and bool(open_pictures - goes_on)
    if clean and not (begun or cut or ends_cut(index, goes_on)):
        whole = IndexedSegment(segment, fetched.data, index, head=head)
        return SegmentPieces((whole,), source=index)
    mended = mend(
        fetched.data,
        index,
        known or {},
        goes_on,
        cut=cut,
        orphaned=begun,
        checkpoint=checkpoint,
    )
    return _told(segment, head, index, mended)


def units_of(made: SegmentPieces) -> Mapping[int, int]:
    """How many units a segment holds of each PID."""
    tracks = (track for piece in made.pieces for track in piece.index.tracks)
    return units_of_all((track.track, len(track)) for track in tracks)


def _open_pictures(segment: Segment, index: SegmentIndex) -> frozenset[int]:
    """The PIDs of pictures that seem to go on behind a segment that is shorter than is listed.

    A segment that was cut off between two packets shows by nothing else.
    """
    spans = [span for track in index.tracks if (span := span_of(track))]
    if not spans:
        return frozenset()
    lasts = max(span.end_pts for span in spans) - min(span.first_pts for span in spans)
    if segment.duration - float(lasts) < SHORT:
        return frozenset()
    pictures = [track for track in index.tracks if track.kind is TrackKind.VIDEO]
    return frozenset(each.track for each in pictures if not (each.ended or each.closed))


def without_pictures(
    indexed: IndexedSegment, known: Mapping[int, Codec], counts: Mapping[int, int]
) -> SegmentPieces:
    """A piece without the first pictures of some PIDs, whose parameter sets are not there."""
    mended = mend(indexed.data, indexed.index, known, without=counts)
    segment = indexed.segment
    if not mended.pieces:
        return _lost(segment, LossCause.SEGMENT_DAMAGED, "it holds no parameter sets")
    loss = _damaged(segment, "pictures before the first parameter sets", mended.left_out)
    [piece] = mended.pieces
    if not indexed.piece:
        kept = filter(None, map(span_of, piece.index.tracks))
        loss = replace(loss, seconds=shortfall(segment.duration, [kept]), at_start=True)
    return SegmentPieces((replace(indexed, data=piece.data, index=piece.index),), (loss,))


def with_parameter_sets(
    indexed: IndexedSegment, known: Mapping[int, Codec], sets: Mapping[int, bytes]
) -> SegmentPieces:
    """A piece whose first pictures of some PIDs are given the parameter sets that they refer to."""
    mended = mend(indexed.data, indexed.index, known, sets=sets)
    if len(mended.pieces) != 1 or mended.left_out:
        return SegmentPieces((indexed,))
    [piece] = mended.pieces
    detail = "its first picture got the parameter sets with which its period begins"
    sequence = indexed.segment.sequence
    repair = Repair(sequence, RepairKind.PARAMETER_SETS, detail, len(sets))
    made = replace(indexed, data=piece.data, index=piece.index)
    return SegmentPieces((made,), repairs=(repair,))


def _refuse_scrambled(fetched: FetchedSegment, index: SegmentIndex) -> None:
    found = [each.detail for each in index.findings if each.damage is Damage.SCRAMBLED]
    pids = (*(track.track for track in index.tracks), *index.silent)
    if found and mostly_scrambled(fetched.data, pids):
        segment = fetched.segment
        message = f"segment {segment.sequence} ({segment.location}) is scrambled: {found[0]}"
        raise PermanentError(ErrorCode.ENCRYPTION_UNSUPPORTED, message)


def _damaged(segment: Segment, why: str, units: int) -> Loss:
    location = str(segment.location)
    cause = LossCause.SEGMENT_DAMAGED
    return Loss(segment.sequence, location, cause, why, whole=False, units=units)


def _lost(segment: Segment, cause: LossCause, detail: str, units: int = 0) -> SegmentPieces:
    loss = Loss(
        segment.sequence,
        str(segment.location),
        cause,
        detail,
        whole=True,
        seconds=segment.duration,
        units=units,
    )
    return SegmentPieces((), (loss,), loses_references=True)


def _told(segment: Segment, head: bytes, index: SegmentIndex, mended: Mended) -> SegmentPieces:
    """What mending did, in the words of the report."""
    why = "; ".join(mended.why) or _why(index, mended)
    if not mended.pieces:
        readable = index.tracks or mended.left_out
        cause = LossCause.SEGMENT_DAMAGED if readable else LossCause.SEGMENT_UNREADABLE
        return _lost(segment, cause, why, mended.left_out)
    losses, repairs = [], []
    if mended.left_out or mended.cut:
        kept = [filter(None, map(span_of, piece.index.tracks)) for piece in mended.pieces]
        seconds = shortfall(segment.duration, kept)
        at_start = not mended.cut and not _begins_whole(mended.pieces[0].index)
        loss = _damaged(segment, why, mended.left_out)
        losses.append(replace(loss, seconds=seconds, at_start=at_start))
    if mended.restamped:
        detail = "decode times that did not go forward were set anew"
        repairs.append(Repair(segment.sequence, RepairKind.TIMESTAMPS, detail, mended.restamped))
    if len(mended.pieces) > 1:
        detail = f"the segment was cut into {len(mended.pieces)} pieces: {_why(index, mended)}"
        repairs.append(Repair(segment.sequence, RepairKind.CLOCK_SPLIT, detail))
    if mended.removed and not losses:
        detail = f"{mended.removed} bytes that hold no media: {why}"
        repairs.append(Repair(segment.sequence, RepairKind.LEFT_OUT, detail))
    pieces = tuple(
        IndexedSegment(segment, piece.data, piece.index, number, head=b"" if number else head)
        for number, piece in enumerate(mended.pieces)
    )
    return SegmentPieces(pieces, tuple(losses), tuple(repairs), mended.loses_references, index)


def _begins_whole(index: SegmentIndex) -> bool:
    """Whether a segment seems to begin where it was made to: at a key frame, where it has any."""
    pictures = [track for track in index.tracks if track.kind is TrackKind.VIDEO]
    return all(track.sync[0] for track in pictures if track.sync.any())


def _why(index: SegmentIndex, mended: Mended) -> str:
    """What is wrong with a segment beside its findings."""
    if mended.cut:
        return "its end is missing"
    changes = [track.configuration_change for track in index.tracks if track.configuration_change]
    cut = [f"PID {track.track:#x} ends in a unit" for track in index.tracks if lacks_its_end(track)]
    if any(stumbles(track) for track in index.tracks):
        changes.append("its clock does not go forward")
    return "; ".join([*changes, *cut]) or "it begins within a unit whose beginning is missing"


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

    def _read(self) -> FetchedSegment | None:
        if self._ahead:
            return self._ahead.popleft()
        self._checkpoint()
        return next(self._fetched, None)

    def _look_ahead(self) -> FetchedSegment | None:
        following = self._read()
        if following is not None:
            self._ahead.append(following)
        return following

    def _index(self, fetched: FetchedSegment) -> None:
        """Take in the pieces of a segment, and what it lacks; nothing of one that came before."""
        if repair := self._repeated.found(fetched):
            self.repairs.append(repair)
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
            made = _lost(fetched.segment, LossCause.SEGMENT_DAMAGED, detail)
        self._repeated.note(fetched, units_of(made))
        self._pieces += self._noted(made, before if made.pieces else None)
        self._before = self._edges.last = made

    def _pieces_of(self, fetched: FetchedSegment, begun: Collection[int] = ()) -> SegmentPieces:
        return pieces_of(fetched, self._known, self._seam_behind, begun, self._checkpoint)

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
        following = self._look_ahead()
        return announced(following.data) if following else self._edges.announced_behind()

    def _seam_behind(self, index: SegmentIndex) -> Seam:
        """How the segment behind the one read last goes on with it."""
        following = self._look_ahead()
        if following is None:
            return self._edges.seam_behind(index)
        if following.loss is not None or following.segment.discontinuity:
            return TORN
        return seam(index, following.data[:HEAD_BYTES])

    def _note_orphans(self, before: SegmentPieces | None, first: IndexedSegment) -> None:
        """Tell of units that go on with what was left out at the end of the segment before."""
        closed = _closed(before)
        units = sum(track.headless for track in first.index.tracks if track.track in closed)
        if units:
            detail = "units go on with what is damaged in the segment before"
            self.losses.append(_damaged(first.segment, detail, units))

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


def _closed(before: SegmentPieces | None) -> frozenset[int]:
    """The PIDs that nothing goes on with."""
    last = before.pieces[-1:] if before else ()
    return frozenset(t.track for piece in last for t in piece.index.tracks if t.closed)


def orphaned(before: SegmentPieces | None, head: bytes) -> frozenset[int]:
    """The PIDs with which a segment begins although the one before it did not."""
    if before is None or before.source is None or not before.pieces:
        return frozenset()  # a loss: the run begins behind it, and leaves such bytes out
    return seam(before.source, head).orphaned - _closed(before)


def _is_broken(before: SegmentPieces | None, first: IndexedSegment) -> bool:
    """Whether media before a segment is lost that its pictures may refer to."""
    if before is None:
        return False
    if not before.pieces:
        return True
    pictures = {t.track for t in first.index.tracks if t.kind is TrackKind.VIDEO}
    missing = pictures - before.pieces[-1].codecs.keys()
    return (before.loses_references or bool(missing)) and not begins_with_key(first)


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
