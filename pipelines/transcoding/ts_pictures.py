"""What ffmpeg is fed to transcode one run of MPEG-TS, and which of its pictures the slice owns."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pipelines.indexed_segment import ticks_90k
from pipelines.loss import Loss, LossCause
from pipelines.media import TrackKind
from pipelines.mpegts.packets import read_packets
from pipelines.picture_format import PLAIN, configured_format
from pipelines.repair import Repair, RepairKind
from pipelines.repeated_segments import NEAREST
from pipelines.segment_index import NO_TIME, TS_TIMESCALE, TS_WRAP
from pipelines.transcoding.anchor import earliest_picture
from pipelines.transcoding.ownership import NextPictures, ownership
from pipelines.transcoding.picture_times import PictureLog
from pipelines.ts_feed import TsRunFeed
from pipelines.wall_clock import is_later

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from fractions import Fraction

    from pipelines.edges import Edges
    from pipelines.indexed_segment import IndexedSegment
    from pipelines.media import Codec
    from pipelines.picture_format import PictureFormat
    from pipelines.playlist import Segment
    from pipelines.segment_index import TrackIndex
    from pipelines.segment_stream import SegmentStream
    from pipelines.transcoding.anchor import TsAnchor
    from pipelines.transcoding.filter_chain import PictureWindow
    from pipelines.transcoding.picture_times import OwnPictures

#: ffmpeg counts from below zero when its input begins less than this before the clock's wrap
#: (libavformat, ``update_wrap_reference``), seconds.
WRAP_MARGIN_SECONDS = 60
#: payload_unit_start_indicator, in the second byte of a packet (ISO/IEC 13818-1, 2.4.3.2).
UNIT_START = 0x40


class TsPictureFeed(TsRunFeed):
    """A run that is decoded: it owns the pictures that are shown from the first one of its first
    segment on, to the first one of the segment behind the slice.

    So pictures that are stored before that segment, but shown behind its first, come from the
    lead-in. Sound is owned as in a copy.
    """

    def __init__(
        self,
        stream: SegmentStream,
        edges: Edges,
        coming: Sequence[Segment],
        max_hole: Fraction,
        *,
        neighbours: bool,
        reaches: bool | None,
        anchor: TsAnchor | None = None,
    ) -> None:
        """``coming``: the slice's segments from the run's first on. ``neighbours``: pictures depend
        on those beside them, so that some of each side are fed too. ``reaches``: whether the run
        reaches the slice's end, None to judge that by the clock. ``anchor``: that of constant
        rates; None to count from the clock's zero."""
        first = stream.peek()
        if first is None:
            raise LookupError("a run needs a segment")
        self._log = PictureLog()
        self._edges = edges
        self._neighbours = neighbours
        self._fed_before = self._ended_with_slice = False
        lead_in = edges.lead_in(first, wanted=neighbours)
        super().__init__(stream, lead_in, self._goes_on_behind, max_hole)
        self.video = next((t for t in self.tracks if t.kind is TrackKind.VIDEO), None)
        self._behind = edges.following({track.track: track.codec for track in self.tracks})
        shown = self._first_picture(first)
        if shown is not None and not lead_in:
            shown = self._first_new_picture(first, shown)
        following = self._next_pictures(shown)
        begin = 0 if anchor is None or shown is None else anchor.on_clock(shown)
        self._ownership = ownership(
            shown, following, TS_TIMESCALE, coming, max_hole, reaches, begin, first.piece
        )
        self._counts_from = _clock_offset([*lead_in, first])

    @property
    def format(self) -> PictureFormat:
        """The format of the pictures that it decodes."""
        fed = (*self._lead_in, self.first)
        tracks = [each.index.track(self.video.track) for each in fed if self.video]
        told = next((each.configuration for each in tracks if each and each.configuration), None)
        return configured_format(told) if told else PLAIN

    @property
    def window(self) -> PictureWindow:
        """What the run owns of the pictures that it decodes, in ffmpeg's own count of 90 kHz."""
        return self._ownership.window.moved(-self._counts_from)

    def own_pictures(self, *, held: bool) -> OwnPictures:
        """The pictures inside the window, in ffmpeg's count; after the feed has ended.

        ``held``: the last picture lasts until the window ends. Pictures that no slice shows are told
        as lost, as are those that nothing in the lead-in lets be decoded. Raises as
        ``Ownership.pictures``.
        """
        sizes = [len(indexed.data) for indexed in self._lead_in]
        reached = self._ended_with_slice
        own = self._ownership.pictures(self._log, reached=reached, held=held)
        unshown = self._ownership.unshown(self._log, self._last, reached=reached)
        undecoded = self._ownership.undecoded(self._log, sizes, self.first.segment)
        self._stream.losses += filter(None, (undecoded, unshown))
        return own.moved(-self._counts_from)

    def _first_picture(self, first: IndexedSegment) -> int | None:
        """When the first picture of the run's own is shown; None to take all that is decoded."""
        track = first.index.track(self.video.track) if self.video else None
        shown = earliest_picture(track) if track else None
        if track is None or shown is None:
            latest = self._log.latest
            return None if latest is None else latest + 1
        keys = track.pts[track.sync & (track.pts != NO_TIME)]
        if self._log.first_key is None and len(keys):
            shown = max(shown, int(keys[0]))
        return shown + ticks_90k(self._unwrap(first))

    def _first_new_picture(self, first: IndexedSegment, shown: int) -> int:
        """When the first picture is shown that does not come before the run as well.

        Those are told as repeated that are shown within the time of what comes before, if each is
        one of that, byte for byte: else they are another take of that time. A segment of nothing
        else may be told to be new by the clock on the wall.
        """
        track = first.index.track(self.video.track) if self.video else None
        if track is None or track.hashes is None:
            return shown
        earlier = _earlier_pictures(self._edges.pieces_before(first), track)
        latest = max((pts for pts, _ in earlier), default=NO_TIME)
        again = (track.pts != NO_TIME) & (track.pts <= latest)
        repeated = list(zip(track.pts[again].tolist(), track.hashes[again].tolist(), strict=True))
        # The first picture may have got parameter sets that were sent before.
        if len(repeated) > 1 and again[0] and repeated[0][0] in {pts for pts, _ in earlier}:
            del repeated[0]
        if not repeated or not earlier.keys() >= set(repeated):
            return shown
        if again.all() and is_later(first.segment, earlier[repeated[-1]]):
            return shown
        self._tell_repeated(first.segment, track, again)
        new = track.pts > latest
        self._tell_undecoded(first.segment, int((new & (track.pts < shown)).sum()))
        new &= track.pts >= shown
        return int(track.pts[new].min()) if new.any() else max(shown, latest + 1)

    def _tell_repeated(self, segment: Segment, track: TrackIndex, again: np.ndarray) -> None:
        count = int(again.sum())
        detail = (
            f"pictures that segment {segment.sequence} begins with came twice and are kept once"
        )
        by_track = ((track.track, count),)
        kind = RepairKind.DUPLICATE
        self._stream.repairs.append(
            Repair(segment.sequence, kind, detail, count, by_track=by_track)
        )

    def _tell_undecoded(self, segment: Segment, units: int) -> None:
        """Tell of new pictures before the first key frame, behind repeated ones without one."""
        if not units:
            return
        where, cause = str(segment.location), LossCause.SEGMENT_DAMAGED
        detail = "no key frame lies before its pictures in what it repeats"
        self._stream.losses.append(
            Loss(segment.sequence, where, cause, detail, whole=False, units=units)
        )

    def _next_pictures(self, shown: int | None) -> NextPictures | None:
        """The pictures behind the slice, on the round of the clock next to ``shown``."""
        track = self._behind.index.track(self.video.track) if self._behind and self.video else None
        earliest = earliest_picture(track) if track else None
        if track is None or earliest is None or shown is None:
            return None
        clean = track.starts_clean and not track.continues_previous
        rounds = round((shown - earliest) / TS_WRAP)
        return NextPictures(earliest + rounds * TS_WRAP, clean)

    def _goes_on_behind(
        self, tracks: Mapping[int, Codec], unfinished: bool
    ) -> IndexedSegment | None:
        """The segment behind the slice, when a unit that starts in the slice may go on in it."""
        behind = self._edges.following(tracks)
        if behind is None:
            return None
        goes_on = any(track.continues_previous for track in behind.index.tracks)
        return behind if unfinished or goes_on else None

    def _enter(self, indexed: IndexedSegment) -> int:
        unwrap = super()._enter(indexed)
        for track in indexed.index.tracks:
            if track.kind is TrackKind.VIDEO:
                shown = np.ones(len(track), np.bool_)
                if track.second_fields is not None:
                    shown &= ~track.second_fields
                if not self._fed_before:
                    shown[: track.headless] = False
                pts = np.where(track.pts == NO_TIME, NO_TIME, track.pts + unwrap)
                self._log.add(pts[shown], track.sync[shown])
        self._fed_before = True
        return unwrap

    def _tail(self, following: IndexedSegment | None) -> IndexedSegment | None:
        """What finishes the run's last units; pictures beside them too, when those matter.

        The pictures of a segment that other runs own are not decoded where nothing would leave
        them out again.
        """
        if following is None and self._behind is not None and self._continues(self._behind):
            self._ended_with_slice = True
            if self._neighbours and self._ownership.reaches and self._finishes(self._behind):
                return self._behind
        tail = super()._tail(following)
        return tail if tail is None or self.video is None else _without_pictures(tail, self.video)


def _earlier_pictures(
    before: Iterator[IndexedSegment], track: TrackIndex
) -> dict[tuple[int, int], Segment]:
    """The segments of the pictures before ``track`` that reach into it, by their time on its clock
    and their hash.

    ``before`` are the pieces before its own, the nearest first.
    """
    begin = earliest_picture(track)
    found: dict[tuple[int, int], Segment] = {}
    for piece in itertools.islice(before if begin is not None else (), NEAREST):
        earlier = piece.index.track(track.track)
        if begin is None or earlier is None or earlier.hashes is None:
            break
        timed = earlier.pts != NO_TIME
        pts, hashes = earlier.pts[timed], earlier.hashes[timed]
        latest = int(pts.max(initial=NO_TIME))
        rounds = TS_WRAP * round((latest - begin) / TS_WRAP)
        if latest - rounds < begin or not len(pts):
            break
        times = zip((pts - rounds).tolist(), hashes.tolist(), strict=True)
        found |= dict.fromkeys(times, piece.segment)
    return found


def _clock_offset(fed: Sequence[IndexedSegment]) -> int:
    """Ticks of 90 kHz by which ffmpeg's count lies below the run's: whole rounds of the clock.

    ffmpeg decides by the first packet that it reads: before a wrap it counts from below zero.
    """
    tracks = [track for track in fed[0].index.tracks if (track.dts != NO_TIME).any()]
    if not tracks:
        return 0
    opening = min(tracks, key=lambda track: track.first_offset)
    first = int(opening.dts[opening.dts != NO_TIME][0])
    counted = first % TS_WRAP
    if counted >= TS_WRAP - WRAP_MARGIN_SECONDS * TS_TIMESCALE:
        counted -= TS_WRAP
    return first - counted


def _without_pictures(tail: IndexedSegment, video: TrackIndex) -> IndexedSegment:
    """A segment without the pictures that begin in it: what ends one from before it stays."""
    packets, _ = read_packets(tail.data)
    pictures = packets.of(video.track)
    begins = np.flatnonzero(packets.rows[pictures, 1] & UNIT_START)
    kept = np.ones(len(packets.rows), np.bool_)
    if len(begins):
        kept[pictures[begins[0] :]] = False
    return replace(tail, data=packets.rows[kept].tobytes())
