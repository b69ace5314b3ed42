"""A slice's fragmented MP4 segments as they come: what is whole of them, in pieces of one clock."""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from pipelines.fragment_sorter import Clocks, FragmentSorter
from pipelines.init_sections import InitUnreadable
from pipelines.loss import Loss, LossCause
from pipelines.lost_segments import shortfall
from pipelines.media import TrackKind
from pipelines.mp4.fragment_bytes import fragment_bytes
from pipelines.mp4.media_segment import read_segment
from pipelines.mp4.samples import starts
from pipelines.overlapping_fragments import repeated_samples, without_first
from pipelines.repair import Repair, RepairKind
from pipelines.repeated_segments import EarlierSegments, RepeatedSegments, units_of_all
from pipelines.segment_index import MAX_CUTS
from pipelines.source import fetch_segment
from pipelines.timeline import Span
from pipelines.wall_clock import is_later

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    import numpy as np

    from pipelines.cutter import SampleCutter
    from pipelines.fragment_units import FragmentUnits
    from pipelines.init_sections import InitSections
    from pipelines.mp4.media_segment import MediaSegment
    from pipelines.mp4.movie_fragment import Fragment, TrackFragment
    from pipelines.mp4.movie_header import MovieHeader
    from pipelines.playlist import Segment
    from pipelines.slices import Slice
    from pipelines.source import FetchedSegment, SourceReader


@dataclass(frozen=True, eq=False)
class Fmp4Segment:
    """A piece of a segment with one clock, usually all of it: its header and its whole samples.

    Samples of tracks that are neither video nor audio (timed metadata) are left out of
    ``fragments``. ``data`` is what programs are fed: the source's bytes, or made anew of the
    fragments where those do not say the same.
    """

    segment: Segment
    movie: MovieHeader
    fragments: tuple[Fragment, ...]
    data: bytes
    piece: int = 0
    last: bool = True  #: no other piece of the segment follows
    whole: bool = True  #: nothing of the segment is lost
    broken: bool = False  #: media directly before it is lost
    tagged: bool = False  #: EXT-X-DISCONTINUITY before it, or before lost segments before it

    def note(self, units: FragmentUnits, kind: TrackKind | None = None) -> None:
        """Tell of all samples, or those of one kind of tracks, before anything is made of them."""
        for fragment in self.fragments:
            units.take(_only(fragment, self._tracks_of(kind)))

    def cut(self, cutter: SampleCutter, kind: TrackKind | None = None) -> None:
        """Give all samples, or those of one kind of tracks, to the cutter."""
        for fragment in self.fragments:
            cutter.take(_only(fragment, self._tracks_of(kind)))

    @property
    def needs_earlier(self) -> bool:
        """Whether it begins with pictures that are no key frame."""
        video = self._tracks_of(TrackKind.VIDEO)
        firsts = (t for each in self.fragments for t in each.tracks if t.track_id in video)
        return any(not track.sync[0] for track in itertools.islice(firsts, 1))

    def spans(self) -> dict[int, Span]:
        """From where to where each track goes, in clock time."""
        times: dict[int, list[tuple[np.ndarray, TrackFragment]]] = {}
        for fragment in self.fragments:
            for track in fragment.tracks:
                if len(track) and track.base_decode_time is not None:
                    dts = track.base_decode_time + starts(track.durations)
                    times.setdefault(track.track_id, []).append((dts, track))
        scales = {track.track_id: track.timescale for track in self.movie.tracks}
        return {number: _span(pieces, scales[number]) for number, pieces in times.items()}

    def _tracks_of(self, kind: TrackKind | None) -> set[int]:
        return {t.track_id for t in self.movie.tracks if kind is None or t.kind is kind}


def _only(fragment: Fragment, track_ids: Collection[int]) -> Fragment:
    kept = tuple(track for track in fragment.tracks if track.track_id in track_ids)
    return replace(fragment, tracks=kept)


def _span(pieces: Sequence[tuple[np.ndarray, TrackFragment]], scale: int) -> Span:
    first, last = pieces[0][0], pieces[-1][0]
    duration = int(pieces[-1][1].durations[-1])
    shown = [dts + track.composition for dts, track in pieces]
    return Span(
        Fraction(int(first[0]), scale),
        Fraction(int(last[-1]), scale),
        Fraction(int(last[-1]) + duration, scale),
        Fraction(int(min(pts.min() for pts in shown)), scale),
        Fraction(int(max(pts.max() for pts in shown)) + duration, scale),
    )


@dataclass(frozen=True, eq=False)
class OpenedSegment:
    """What is whole of a segment; no pieces where ``loss`` is all of it."""

    pieces: tuple[Fmp4Segment, ...]
    loss: Loss | None = None
    repairs: tuple[Repair, ...] = ()
    ends_broken: bool = False  #: what follows may refer to pictures that are lost

    @property
    def clean(self) -> bool:
        """Whether it was one piece, and needed no mending."""
        return len(self.pieces) == 1 and self.loss is None and not self.repairs

    @property
    def timed(self) -> bool:
        """Whether its samples tell their times: else the same bytes may be other media."""
        return all(repair.kind is not RepairKind.TIMESTAMPS for repair in self.repairs)


def open_segment(
    fetched: FetchedSegment, inits: InitSections, clocks: Clocks | None = None
) -> OpenedSegment:
    """Read a segment; fragments without a decode time go on from ``clocks``, which are kept.

    Raises what ``InitSections`` raises.
    """
    segment = fetched.segment
    if fetched.loss is not None:
        return OpenedSegment((), fetched.loss, ends_broken=True)
    try:
        movie = inits.movie(segment)
    except InitUnreadable as error:
        loss = _whole_loss(segment, LossCause.INIT_MISSING, str(error))
        return OpenedSegment((), loss, ends_broken=True)
    position = segment.byte_range.offset if segment.byte_range else 0
    found = read_segment(movie, fetched.data, position)
    cut_off = _cut_off(fetched)
    sorter = FragmentSorter(movie, clocks or Clocks())
    for fragment in found.fragments:
        sorter.take(fragment)
    damage = found.damage or cut_off or sorter.too_many
    if not sorter.pieces:
        return OpenedSegment((), _nothing(segment, found), ends_broken=True)
    source = fetched.data if damage is None and sorter.unchanged else None
    pieces = tuple(
        Fmp4Segment(
            segment,
            movie,
            tuple(fragments),
            source if source is not None else b"".join(map(fragment_bytes, fragments)),
            piece=number,
            last=number == len(sorter.pieces) - 1,
            whole=damage is None,
            tagged=segment.discontinuity and number == 0,
        )
        for number, fragments in enumerate(sorter.pieces)
    )
    return OpenedSegment(
        pieces,
        _part_loss(segment, damage, found.left_out + sorter.left_out, pieces) if damage else None,
        sorter.repairs(segment.sequence),
        found.ends_broken or cut_off is not None or sorter.left_out > 0,
    )


def earlier_segments(work: Slice, reader: SourceReader, inits: InitSections) -> EarlierSegments:
    """The segments directly before a slice, which its first ones may repeat."""
    return EarlierSegments.of(work, reader, lambda fetched: _units_of(open_segment(fetched, inits)))


def _units_of(opened: OpenedSegment) -> Mapping[int, int]:
    """How many samples a segment holds of each track_ID."""
    fragments = (fragment for piece in opened.pieces for fragment in piece.fragments)
    tracks = (track for fragment in fragments for track in fragment.tracks)
    return units_of_all((track.track_id, len(track)) for track in tracks)


def is_lost_before(work: Slice, reader: SourceReader, inits: InitSections) -> bool:
    """Whether the end of the segment before a slice, of the same tagged period, is lost."""
    if not work.lead_in:
        return False
    final = inits.missing_is_final
    before = fetch_segment(reader, work.lead_in[-1], missing_is_final=final)
    return open_segment(before, inits).ends_broken


def _cut_off(fetched: FetchedSegment) -> str | None:
    whole = fetched.segment.byte_range
    if whole is None or fetched.segment.encryption or len(fetched.data) >= whole.length:
        return None
    return f"its object ends {whole.length - len(fetched.data)} bytes before its byte range"


def _whole_loss(segment: Segment, cause: LossCause, detail: str, units: int = 0) -> Loss:
    return Loss(
        segment.sequence,
        str(segment.location),
        cause,
        detail,
        whole=True,
        seconds=segment.duration,
        units=units,
    )


def _part_loss(segment: Segment, damage: str, units: int, kept: Sequence[Fmp4Segment]) -> Loss:
    where, cause = str(segment.location), LossCause.SEGMENT_DAMAGED
    seconds = shortfall(segment.duration, (piece.spans().values() for piece in kept))
    return Loss(segment.sequence, where, cause, damage, whole=False, seconds=seconds, units=units)


def _nothing(segment: Segment, found: MediaSegment) -> Loss:
    """The loss of a segment of which no sample is whole."""
    if found.damage is None:
        return _whole_loss(segment, LossCause.SEGMENT_EMPTY, "it holds no samples")
    damaged = found.left_out > 0
    cause = LossCause.SEGMENT_DAMAGED if damaged else LossCause.SEGMENT_UNREADABLE
    return _whole_loss(segment, cause, found.damage, found.left_out)


class Fmp4Stream:
    """Fragmented MP4 segments in order, piece by piece, with one of look-ahead.

    What cannot be read is noted in ``losses``, what was mended in ``repairs``. Segments that came
    before are left out, as is what one begins with of the end of the one before.
    """

    def __init__(
        self,
        fetched: Iterator[FetchedSegment],
        inits: InitSections,
        checkpoint: Callable[[], None],
        lost_before: Callable[[], bool] | None = None,
        earlier: EarlierSegments | None = None,
    ) -> None:
        """``lost_before`` tells whether media directly before the first segment is lost; asked only
        when that could matter. ``earlier`` are segments before it that it may repeat."""
        self._lost_before = lost_before
        self._fetched = fetched
        self._inits = inits
        self._checkpoint = checkpoint
        self._next: deque[Fmp4Segment] = deque()
        self._clocks = Clocks()
        self._broken = False
        self._tagged = False
        self._cuts = 0
        self._repeated = RepeatedSegments(earlier)
        self._earlier = earlier
        self._before: Fmp4Segment | None = None  # what a segment may begin with once more
        self.losses: list[Loss] = []
        self.repairs: list[Repair] = []

    def peek(self) -> Fmp4Segment | None:
        """What ``take`` gives next; None at the end."""
        while not self._next:
            self._checkpoint()
            fetched = next(self._fetched, None)
            if fetched is None:
                return None
            self._enter(fetched)
        return self._next[0]

    def take(self) -> Fmp4Segment:
        """The next piece; only after ``peek`` has shown one."""
        if not self._next:
            raise LookupError("no segment is left")
        return self._next.popleft()

    def _enter(self, fetched: FetchedSegment) -> None:
        if repair := self._repeated.found(fetched):
            self.repairs.append(repair)
            return
        opened = open_segment(fetched, self._inits, self._clocks)
        if opened.timed:
            self._repeated.note(fetched, _units_of(opened))
        self._cuts += max(0, len(opened.pieces) - 1)
        if self._cuts > MAX_CUTS and len(opened.pieces) > 1:
            detail = f"the segments of its slice would be cut more than {MAX_CUTS} times"
            loss = _whole_loss(fetched.segment, LossCause.SEGMENT_DAMAGED, detail)
            opened = OpenedSegment((), loss, ends_broken=True)
        self._tagged |= fetched.segment.discontinuity
        if opened.loss is not None:
            self.losses.append(opened.loss)
        self.repairs += opened.repairs
        pieces = self._new(opened)
        if pieces:
            first, *others = pieces
            self._broken = self._broken or self._begins_broken(first)
            first = replace(first, broken=self._broken, tagged=self._tagged)
            self._next.extend((first, *others))
            self._broken = self._tagged = False
        self._lost_before = None
        if opened.ends_broken and (pieces or not opened.pieces):
            self._broken = True
            self._clocks.ends.clear()
            self._before = self._before if pieces else None

    def _new(self, opened: OpenedSegment) -> tuple[Fmp4Segment, ...]:
        """The pieces of a segment without what it repeats of the end of the one before: where it
        does, nothing between the two is lost."""
        if not opened.pieces:
            return ()
        first, *others = opened.pieces
        before = None if self._tagged else self._nearest()
        self._earlier = None
        self._before = opened.pieces[-1] if opened.timed else None
        counts = repeated_samples(first, before) if before and opened.timed else {}
        if not counts:
            return opened.pieces
        kept = without_first(first, counts)
        if before and kept is None and is_later(first.segment, before.segment):
            return opened.pieces
        self._broken, self._lost_before = False, None
        if kept is None:
            self._take_back_loss(first)
        elif before and counts == _units_of(OpenedSegment((before,))):
            self._take_back_loss(before)
        detail = "samples that it begins with came before, and are kept once"
        self.repairs.append(
            Repair(
                first.segment.sequence,
                RepairKind.DUPLICATE,
                detail,
                sum(counts.values()),
                whole=kept is None and not others,
                by_track=tuple(counts.items()),
            )
        )
        return (*([kept] if kept else []), *others)

    def _take_back_loss(self, part: Fmp4Segment) -> None:
        """Tell no loss of a segment all of which another one has, too: an upload that broke off."""
        number = part.segment.sequence
        if part.last and not part.piece:
            self.losses = [each for each in self.losses if each.whole or each.sequence != number]

    def _nearest(self) -> Fmp4Segment | None:
        """What comes directly before the segment that is read, if its times are known."""
        fetched = self._earlier.nearest() if self._earlier else None
        if fetched is None:
            return self._before
        opened = open_segment(fetched, self._inits)
        return opened.pieces[-1] if opened.timed and opened.pieces else None

    def _begins_broken(self, first: Fmp4Segment) -> bool:
        """Whether the slice begins with pictures whose references are lost."""
        asked = self._lost_before
        return asked is not None and not first.tagged and first.needs_earlier and asked()
