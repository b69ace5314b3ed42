"""What a segment of MPEG-TS holds, in pieces: indexed, and mended where it is damaged."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipelines.errors import ErrorCode, PermanentError
from pipelines.indexed_segment import IndexedSegment, span_of
from pipelines.loss import Loss, LossCause
from pipelines.lost_segments import SHORT, shortfall
from pipelines.media import TrackKind
from pipelines.mpegts.index import index_segment, mostly_scrambled
from pipelines.mpegts.mend import (
    Mended,
    Seam,
    ends_cut,
    is_clean,
    lacks_its_end,
    mend,
    seam,
    stumbles,
)
from pipelines.repair import Repair, RepairKind
from pipelines.repeated_segments import units_of_all
from pipelines.segment_index import Damage, SegmentIndex

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from pipelines.media import Codec
    from pipelines.playlist import Segment
    from pipelines.source import FetchedSegment

#: Bytes at the start of a segment that are looked at before it is indexed: a unit that goes on
#: from the segment before shows there, and so do the program tables of most.
HEAD_BYTES = 64 << 10


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
        return lost_whole(segment, LossCause.SEGMENT_EMPTY, detail)
    open_pictures = _open_pictures(segment, index)
    asks = not clean or open_pictures or any(lacks_its_end(track) for track in index.tracks)
    joint = behind(index) if behind and asks else None
    goes_on = joint.finished if joint else None
    cut = joint is not None and bool(open_pictures - joint.finished) and not joint.complete(index)
    if clean and not (begun or cut or ends_cut(index, goes_on)):
        head, size = fetched.data[:HEAD_BYTES], len(fetched.data)
        whole = IndexedSegment(segment, fetched.data, index, head=head, size=size)
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
    return _told(fetched, index, mended)


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
        return lost_whole(segment, LossCause.SEGMENT_DAMAGED, "it holds no parameter sets")
    loss = damaged(segment, "pictures before the first parameter sets", mended.left_out)
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


def damaged(segment: Segment, why: str, units: int) -> Loss:
    """The loss of so many units of a segment."""
    location = str(segment.location)
    cause = LossCause.SEGMENT_DAMAGED
    return Loss(segment.sequence, location, cause, why, whole=False, units=units)


def lost_whole(segment: Segment, cause: LossCause, detail: str, units: int = 0) -> SegmentPieces:
    """No pieces: all of the segment is lost."""
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


def _told(fetched: FetchedSegment, index: SegmentIndex, mended: Mended) -> SegmentPieces:
    """What mending did, in the words of the report."""
    segment, head, size = fetched.segment, fetched.data[:HEAD_BYTES], len(fetched.data)
    why = "; ".join(mended.why) or _why(index, mended)
    if not mended.pieces:
        readable = index.tracks or mended.left_out
        cause = LossCause.SEGMENT_DAMAGED if readable else LossCause.SEGMENT_UNREADABLE
        return lost_whole(segment, cause, why, mended.left_out)
    losses, repairs = [], []
    if mended.left_out or mended.cut:
        kept = [filter(None, map(span_of, piece.index.tracks)) for piece in mended.pieces]
        seconds = shortfall(segment.duration, kept)
        at_start = not mended.cut and not _begins_whole(mended.pieces[0].index)
        loss = damaged(segment, why, mended.left_out)
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
        IndexedSegment(
            segment, piece.data, piece.index, number, head=b"" if number else head, size=size
        )
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


def closed_pids(before: SegmentPieces | None) -> frozenset[int]:
    """The PIDs that nothing goes on with."""
    last = before.pieces[-1:] if before else ()
    return frozenset(t.track for piece in last for t in piece.index.tracks if t.closed)


def orphaned(before: SegmentPieces | None, head: bytes) -> frozenset[int]:
    """The PIDs with which a segment begins although the one before it did not."""
    if before is None or before.source is None or not before.pieces:
        return frozenset()  # a loss: the run begins behind it, and leaves such bytes out
    return seam(before.source, head).orphaned - closed_pids(before)
