"""A slice's segments as they come: fetched ahead, indexed one by one, refused when damaged."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from pipelines.errors import ErrorCode, PermanentError
from pipelines.mpegts.index import announced, index_segment
from pipelines.segment_index import NO_TIME, TS_TIMESCALE, Damage, SegmentIndex, TrackIndex
from pipelines.source import FetchedSegment, SourceReader, fetch_segment
from pipelines.timeline import Span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pipelines.media import Codec
    from pipelines.playlist import Segment

#: Bytes of earlier segments that are held as lead-in; a GOP longer than that starts inside it.
MAX_LEAD_IN_BYTES = 64 << 20

#: How segments of elementary audio begin: ID3, ADTS, AC-3 (RFC 8216, 3.4).
_PACKED_AUDIO = (b"ID3", b"\xff\xf1", b"\xff\xf9", b"\x0b\x77")
#: Bytes at the start of a segment that are looked at before it is indexed: a unit that goes on
#: from the segment before shows there, and so do the program tables of most.
HEAD_BYTES = 64 << 10


@dataclass(frozen=True, eq=False)
class IndexedSegment:
    """A segment, its bytes and what they hold."""

    segment: Segment
    data: bytes
    index: SegmentIndex

    @property
    def spans(self) -> dict[int, Span]:
        """From where to where each track goes, by PID; tracks without a single time left out."""
        spans = {track.track: span_of(track) for track in self.index.tracks}
        return {number: span for number, span in spans.items() if span is not None}


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


def index_fetched(
    fetched: FetchedSegment, known: Mapping[int, Codec] | None = None
) -> IndexedSegment:
    """Index a segment (``known``: PIDs of the segment before); raises ``PermanentError`` when it is scrambled or damaged."""
    index = index_segment(fetched.data, known)
    segment = fetched.segment
    where = f"segment {segment.sequence} ({segment.location})"
    if fetched.data.startswith(_PACKED_AUDIO):
        message = f"{where} is packed audio, which this version does not package"
        raise PermanentError(ErrorCode.CODEC_UNSUPPORTED, message)
    for finding in index.findings:
        if finding.damage is Damage.SCRAMBLED:
            message = f"{where} is scrambled: {finding.detail}"
            raise PermanentError(ErrorCode.ENCRYPTION_UNSUPPORTED, message)
        message = f"{where} is damaged at byte {finding.offset}: {finding.detail}"
        raise PermanentError(ErrorCode.SEGMENT_DAMAGED, message)
    for track in index.tracks:
        stamped = track.dts[track.dts != NO_TIME]
        if bool(np.any(np.diff(stamped) <= 0)):
            message = f"{where}: the clock of PID {track.track:#x} steps back inside the segment"
            raise PermanentError(ErrorCode.SEGMENT_DAMAGED, message)
        if track.configuration_change is not None:
            message = f"{where}: {track.configuration_change}"
            raise PermanentError(ErrorCode.CONFIGURATION_CHANGED, message)
    return IndexedSegment(segment, fetched.data, index)


class SegmentStream:
    """Indexed MPEG-TS segments in order, with one of look-ahead.

    ``announced_before`` gives the PIDs of earlier segments, should the first have no tables.
    """

    def __init__(
        self,
        fetched: Iterator[FetchedSegment],
        announced_before: Callable[[], Mapping[int, Codec]],
        checkpoint: Callable[[], None],
    ) -> None:
        self._fetched = fetched
        self._announced_before = announced_before
        self._checkpoint = checkpoint
        self._next: IndexedSegment | None = None
        self._known: dict[int, Codec] = {}

    def peek(self) -> IndexedSegment | None:
        """The segment that ``take`` gives next; None at the end."""
        if self._next is None:
            self._checkpoint()
            fetched = next(self._fetched, None)
            if fetched is not None:
                if not self._known and not announced(fetched.data[:HEAD_BYTES]):
                    self._known |= self._announced_before()
                self._next = index_fetched(fetched, self._known)
                self._known |= {t.track: t.codec for t in self._next.index.tracks}
        return self._next

    def take(self) -> IndexedSegment:
        """The next segment; only after ``peek`` has shown one."""
        taken, self._next = self._next, None
        if taken is None:
            raise LookupError("no segment is left")
        return taken


def needs_lead_in(first: IndexedSegment) -> bool:
    """Whether ffmpeg would lose or misread the start of this segment without an earlier one."""
    return any(not track.starts_clean or track.continues_previous for track in first.index.tracks)


def lead_in(
    reader: SourceReader,
    first: IndexedSegment,
    earlier: Sequence[Segment],
    same_clock: Callable[[IndexedSegment, IndexedSegment], bool],
    *,
    wanted: bool = False,
) -> tuple[IndexedSegment, ...]:
    """The nearest segments before ``first`` that begin with a closed key frame; () if none help.

    ``earlier`` are the segments before it in the same tagged period, nearest last. () too when
    ``first`` needs none, unless one is ``wanted`` all the same.
    """
    if not wanted and not needs_lead_in(first):
        return ()
    found: list[IndexedSegment] = []
    held = 0
    known = {track.track: track.codec for track in first.index.tracks}
    for segment in reversed(earlier):
        indexed = index_fetched(FetchedSegment(segment, fetch_segment(reader, segment)), known)
        held += len(indexed.data)
        if not same_clock(indexed, found[0] if found else first) or held > MAX_LEAD_IN_BYTES:
            break
        found.insert(0, indexed)
        if all(track.starts_clean for track in indexed.index.tracks):
            break
    return tuple(found)


def ticks_90k(time: Fraction) -> int:
    """A time in seconds in ticks of the MPEG-TS clock."""
    return round(time * TS_TIMESCALE)
