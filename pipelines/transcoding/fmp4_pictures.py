"""What ffmpeg is fed to transcode one run of fragmented MP4, and what of it the slice owns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipelines.cutter import SampleCutter, Window
from pipelines.fmp4_run import belongs, source_track
from pipelines.fmp4_stream import Fmp4Segment, open_segment
from pipelines.fragment_units import FragmentUnits
from pipelines.indexed_segment import MAX_LEAD_IN_BYTES
from pipelines.interleaver import SoundPiece
from pipelines.media import TrackKind
from pipelines.mp4.samples import starts
from pipelines.payload_hash import payload_hash
from pipelines.segment_begins import SegmentBegins
from pipelines.source import fetch_segment
from pipelines.timeline import Relation, step
from pipelines.transcoding.ownership import NextPictures, ownership
from pipelines.transcoding.picture_times import PictureLog

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from fractions import Fraction

    from pipelines.fmp4_stream import Fmp4Stream, OpenedSegment
    from pipelines.init_sections import InitSections
    from pipelines.packaged_slice import PackagedTrack
    from pipelines.playlist import Segment
    from pipelines.slices import Slice
    from pipelines.source import SourceReader
    from pipelines.timeline import Span
    from pipelines.transcoding.filter_chain import PictureWindow
    from pipelines.transcoding.picture_times import OwnPictures


class Fmp4Edges:
    """What lies before and behind the runs of one slice of fragmented MP4."""

    def __init__(
        self, work: Slice, reader: SourceReader, inits: InitSections, max_hole: Fraction
    ) -> None:
        self._work = work
        self._reader = reader
        self._inits = inits
        self._max_hole = max_hole

    def lead_in(self, first: Fmp4Segment, *, wanted: bool) -> tuple[Fmp4Segment, ...]:
        """The nearest segments before ``first`` that decoding can begin with, if they are needed.

        ``wanted``: also when it can begin with ``first``.
        """
        if first.tagged or first.broken or first.piece or (starts_clean(first) and not wanted):
            return ()
        own = [s for s in self._work.segments if s.sequence < first.segment.sequence]
        found: list[Fmp4Segment] = []
        held = 0
        for segment in reversed((*self._work.lead_in, *own)):
            opened = self._open(segment)
            if not opened.clean:
                break
            earlier = opened.pieces[0]
            after = found[0] if found else first
            if earlier.data == after.data:
                continue  # which came twice
            held += len(earlier.data)
            if held > MAX_LEAD_IN_BYTES or not self._goes_on(earlier, after):
                break
            found.insert(0, earlier)
            if starts_clean(earlier) or segment.discontinuity:
                break
        return tuple(found)

    def following(self) -> Fmp4Segment | None:
        """The segment behind the slice, as far as it has one clock.

        None behind the last, before a tagged discontinuity, and where that segment is lost.
        """
        opened = self._open(self._work.lead_out) if self._work.lead_out else None
        return opened.pieces[0] if opened and opened.pieces else None

    def _open(self, segment: Segment) -> OpenedSegment:
        final = self._inits.missing_is_final
        return open_segment(
            fetch_segment(self._reader, segment, missing_is_final=final), self._inits
        )

    def _goes_on(self, earlier: Fmp4Segment, later: Fmp4Segment) -> bool:
        if earlier.movie != later.movie or not earlier.spans() or not later.spans():
            return False
        related = step(earlier.spans(), later.spans(), wraps=False, max_hole=self._max_hole)
        return related.relation is not Relation.RESET


class Fmp4PictureFeed:
    """The bytes of one run for ffmpeg's stdin: a header, lead-in, the run's own segments.

    Iterated by the feeding thread. It ends before a segment that another run must begin with.
    ffmpeg makes pictures of it only: sound is taken out here, as it is in the segments.
    """

    def __init__(
        self,
        stream: Fmp4Stream,
        edges: Fmp4Edges,
        inits: InitSections,
        coming: Sequence[Segment],
        max_hole: Fraction,
        *,
        neighbours: bool,
        reaches: bool | None,
        anchor: int | None = None,
    ) -> None:
        """As ``TsPictureFeed``."""
        first = stream.peek()
        if first is None:
            raise LookupError("a run needs a segment")
        self.first = first
        self._last = first.segment  # of the run's own
        self._stream = stream
        self._header = inits.data(first.segment)
        self._max_hole = max_hole
        self._neighbours = neighbours
        self.video = next((t for t in first.movie.tracks if t.kind is TrackKind.VIDEO), None)
        self._lead_in = edges.lead_in(first, wanted=neighbours) if self.video else ()
        self._behind = edges.following() if self.video else None
        self._log = PictureLog()
        for segment in self._lead_in:
            self._log.add(*pictures(segment))
        self._clock: dict[int, Span] = {}
        self._reached = False
        #: Media sequences of the segments whose units are expected.
        self.sequences: list[int] = []
        #: When they begin on the clock of the run.
        self.begins = SegmentBegins()
        self.sound_tracks = [t for t in first.movie.tracks if t.kind is TrackKind.AUDIO]
        #: Sound of the run as it is read, in the order of the segments.
        self.sound_pieces: list[SoundPiece] = []
        self._sound = SampleCutter(_Counted(), {t.track_id: Window() for t in self.sound_tracks})
        self._units = FragmentUnits()
        scale = self.video.timescale if self.video else 1
        self._ownership = ownership(
            self._first_picture(),
            self._next_pictures(),
            scale,
            coming,
            max_hole,
            reaches if first.last else False,
            anchor or 0,
            first.piece,
        )

    def probe_bytes(self) -> int:
        """Bytes by which the first pictures have come, from the first byte fed."""
        first = self._lead_in[0] if self._lead_in else self.first
        return len(self._header) + len(first.data)

    @property
    def window(self) -> PictureWindow:
        """What the run owns of the pictures that it decodes, ticks of the track."""
        return self._ownership.window

    def __iter__(self) -> Iterator[bytes]:
        yield self._header
        for segment in self._lead_in:
            yield segment.data
        following = None
        while (following := self._stream.peek()) is not None and self._belongs(following):
            segment = self._stream.take()
            self._last = segment.segment
            spans = segment.spans()
            self._clock |= spans
            self.begins.note(segment.segment.sequence, spans)
            self._log.add(*pictures(segment))
            self.sequences.append(segment.segment.sequence)
            self._take_sound(segment)
            yield segment.data
        behind = self._behind if following is None else None
        if behind is not None and self._belongs(behind):
            self._reached = True
            if self._neighbours and self._ownership.reaches:
                yield behind.data

    def own_pictures(self, *, held: bool) -> OwnPictures:
        """The pictures inside the window, after the feed has ended; see ``TsPictureFeed``."""
        sizes = [len(segment.data) for segment in self._lead_in]
        own = self._ownership.pictures(self._log, reached=self._reached, held=held)
        unshown = self._ownership.unshown(self._log, self._last, reached=self._reached)
        undecoded = self._ownership.undecoded(self._log, sizes, self.first.segment)
        self._stream.losses += filter(None, (undecoded, unshown))
        return own

    def sound(self) -> list[PackagedTrack]:
        """The run's tracks of sound, as a copy has them; their placement says nothing."""
        scale = self.first.movie.timescale
        tracks = [source_track(each, scale, self._sound, self._units) for each in self.sound_tracks]
        return [track for track in tracks if len(track.samples)]

    def _belongs(self, following: Fmp4Segment) -> bool:
        return belongs(following, self.first, self._clock, self._max_hole)

    def _take_sound(self, segment: Fmp4Segment) -> None:
        segment.note(self._units, TrackKind.AUDIO)
        segment.cut(self._sound, TrackKind.AUDIO)
        scales = {header.track_id: header.timescale for header in self.sound_tracks}
        for fragment in segment.fragments:
            found = [(track, run) for track in fragment.tracks for run in track.runs]
            for track, run in sorted(found, key=lambda each: each[1].offset):
                if track.track_id not in scales:
                    continue
                decoded = (track.base_decode_time or 0) + starts(track.durations)
                begin = float(decoded[run.first_sample] / scales[track.track_id])
                data = bytes(fragment.payload[run.offset : run.offset + run.size])
                held, value = memoryview(data), payload_hash(data)
                self.sound_pieces.append(SoundPiece(track.track_id, begin, run.count, held, value))

    def _first_picture(self) -> int | None:
        """When the first picture of the run's own is shown; None to take all that is decoded."""
        pts, sync = pictures(self.first)
        if not len(pts):
            latest = self._log.latest
            return None if latest is None else latest + 1
        keys = pts[sync]
        if self._log.first_key is None and len(keys):
            return max(int(pts.min()), int(keys[0]))
        return int(pts.min())

    def _next_pictures(self) -> NextPictures | None:
        if self._behind is None:
            return None
        pts, _ = pictures(self._behind)
        return NextPictures(int(pts.min()), starts_clean(self._behind)) if len(pts) else None


class _Counted:
    """Stands for a payload of which only the tables are wanted."""

    def write(self, data: memoryview) -> int:
        """Nothing is written; no place is told."""
        return 0


def pictures(segment: Fmp4Segment) -> tuple[np.ndarray, np.ndarray]:
    """Presentation times (int64[n], ticks of the track) and key flags of a segment's pictures."""
    video = {t.track_id for t in segment.movie.tracks if t.kind is TrackKind.VIDEO}
    found = [
        (track.base_decode_time + starts(track.durations) + track.composition, track.sync)
        for fragment in segment.fragments
        for track in fragment.tracks
        if track.track_id in video and track.base_decode_time is not None
    ]
    if not found:
        return np.zeros(0, np.int64), np.zeros(0, np.bool_)
    return np.concatenate([pts for pts, _ in found]), np.concatenate([sync for _, sync in found])


def starts_clean(segment: Fmp4Segment) -> bool:
    """Whether decoding can begin with a segment: a key frame before which nothing is shown."""
    pts, sync = pictures(segment)
    return not len(pts) or bool(sync[0] and (pts[1:] > pts[0]).all())
