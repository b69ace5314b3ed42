"""Packaging one run of MPEG-TS: segments through ffmpeg, own samples cut out, counts compared."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from pipelines.cutter import SampleCutter, Window
from pipelines.errors import ErrorCode, PermanentError, ToolError
from pipelines.media import Codec, TrackKind
from pipelines.mp4.boxes import Mp4Error
from pipelines.mp4.fragments import FragmentReader, Header
from pipelines.packaged_slice import Expectation, PackagedRun, PackagedTrack, Samples
from pipelines.process import FilterProcess
from pipelines.remux import RemuxInput, remux_argv
from pipelines.segment_index import NO_TIME, TS_TIMESCALE, TS_WRAP, Container, TrackIndex
from pipelines.segment_stream import ticks_90k
from pipelines.timeline import Relation, step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pipelines.mp4.movie_fragment import Fragment
    from pipelines.mp4.movie_header import MovieHeader, TrackHeader
    from pipelines.parts import PartWriter
    from pipelines.segment_stream import IndexedSegment, SegmentStream
    from pipelines.timeline import Span

#: Codecs that MPEG-TS carries and MP4 takes as they are.
COPIED = frozenset({Codec.H264, Codec.HEVC, Codec.AAC, Codec.MP3, Codec.AC3, Codec.EAC3})
#: Seconds that one ffmpeg run may take, whatever it is fed: a hang is killed, never waited for.
DEADLINE_SECONDS = 3600.0
#: Ticks of 90 kHz by which a sample's time may differ from the index: rounding to the sample rate.
TOLERANCE_TICKS = 2
#: Seconds by which sound may differ: ffmpeg sums rounded frame lengths up within a PES packet.
#: Its times are rebuilt from whole frames at assembly.
AUDIO_TOLERANCE_SECONDS = 0.002


class TsRunFeed:
    """The bytes of one run for ffmpeg's stdin, and what the index says of its own segments.

    Iterated by the feeding thread. It ends before a segment that another run must begin with:
    a tagged discontinuity, another clock, a gap, or a track that was not there before. Windows are set
    before the bytes that they concern are handed out.
    """

    def __init__(
        self,
        stream: SegmentStream,
        lead_in: Sequence[IndexedSegment],
        lead_out: Callable[[Mapping[int, Codec]], IndexedSegment | None],
        max_hole: Fraction,
    ) -> None:
        first = stream.peek()
        if first is None:
            raise LookupError("a run needs a segment")
        self.first = first
        self._stream = stream
        self._lead_in = lead_in
        self._lead_out = lead_out
        self._max_hole = max_hole
        self.tracks = _tracks_of([*lead_in, first])
        self.windows = {track.track: Window() for track in self.tracks}
        self._clock: dict[int, Span] = {}
        self._own: dict[int, list[Expectation]] = {track.track: [] for track in self.tracks}
        self._began = False  # with a segment of its own
        self.first_dts = 0  #: 90 kHz, of the first unit fed: which round of the clock it is

    def probe_bytes(self) -> int:
        """Bytes by which every track has shown a complete unit, from the first byte fed."""
        fed = 0
        seen: dict[int, int] = {}
        for indexed in [*self._lead_in, self.first]:
            for track in indexed.index.tracks:
                seen.setdefault(track.track, fed + track.first_offset)
            fed += len(indexed.data)
        return max(seen.values())

    def __iter__(self) -> Iterator[bytes]:
        for indexed in self._lead_in:
            self._enter(indexed)
        for number, span in self._clock.items():
            self.windows[number].first = ticks_90k(span.last_dts) + 1
        for indexed in self._lead_in:
            yield indexed.data
        while (following := self._stream.peek()) is not None and self._belongs(following):
            indexed = self._stream.take()
            self._account(indexed)
            yield indexed.data
        if following is None:
            for number, window in self.windows.items():
                if number in self._clock:
                    window.last = ticks_90k(self._clock[number].last_dts)
            tail = self._lead_out({track.track: track.codec for track in self.tracks})
            if tail is not None and self._relation(tail) is not Relation.RESET:
                yield tail.data

    def expectation(self, number: int) -> Expectation:
        """What the index saw of one track in the run's own segments."""
        own = self._own[number]
        if not own:
            nothing = np.zeros(0, np.int64)
            return Expectation(TS_TIMESCALE, nothing, nothing, np.zeros(0, np.bool_))
        return Expectation(
            TS_TIMESCALE,
            np.concatenate([each.dts for each in own]),
            np.concatenate([each.pts for each in own]),
            np.concatenate([each.sync for each in own]),
        )

    def _belongs(self, following: IndexedSegment) -> bool:
        if not self._began:
            return True
        if following.segment.discontinuity:
            return False
        if any(track.track not in self.windows for track in following.index.tracks):
            return False
        return self._relation(following) is Relation.CONTINUES

    def _relation(self, following: IndexedSegment) -> Relation:
        spans = following.spans
        if not spans or not self._clock:
            return Relation.CONTINUES
        return step(self._clock, spans, wraps=True, max_hole=self._max_hole).relation

    def _enter(self, indexed: IndexedSegment) -> int:
        """Note the clock of a segment that is fed; ticks that unwrap it to the run's clock."""
        spans = indexed.spans
        unwrap = Fraction(0)
        if self._clock and spans:
            unwrap = step(self._clock, spans, wraps=True, max_hole=self._max_hole).unwrap
        if spans and not self._clock:
            self.first_dts = ticks_90k(min(span.first_dts for span in spans.values()))
        self._clock |= {number: span.moved(unwrap) for number, span in spans.items()}
        return ticks_90k(unwrap)

    def _account(self, indexed: IndexedSegment) -> None:
        self._refuse_changes(indexed)
        unwrap = self._enter(indexed)
        opens = not self._began and not self._lead_in
        self._began = True
        for track in indexed.index.tracks:
            # Units without a PES header go on from a segment that is not there: nothing, ffmpeg
            # included, can tell when they belong.
            first = track.headless if opens else 0
            dts, pts, sync = track.dts[first:], track.pts[first:], track.sync[first:]
            self._own[track.track].append(
                Expectation(
                    TS_TIMESCALE,
                    np.where(dts == NO_TIME, NO_TIME, dts + unwrap),
                    np.where(pts == NO_TIME, NO_TIME, pts + unwrap),
                    sync,
                )
            )

    def _refuse_changes(self, indexed: IndexedSegment) -> None:
        known = {track.track: track.configuration for track in self.tracks}
        for track in indexed.index.tracks:
            before = known.get(track.track)
            if before is None or track.configuration is None:
                continue
            conflict = before.conflict_with(track.configuration)
            if conflict is not None:
                segment = indexed.segment
                message = f"segment {segment.sequence} ({segment.location}): {conflict}"
                raise PermanentError(ErrorCode.CONFIGURATION_CHANGED, message)


def _tracks_of(segments: Sequence[IndexedSegment]) -> tuple[TrackIndex, ...]:
    """The tracks of a run, pictures first, each as first seen with its configuration.

    Raises ``PermanentError`` for what one MP4 cannot hold as it is.
    """
    found: dict[int, TrackIndex] = {}
    for indexed in segments:
        for track in indexed.index.tracks:
            if track.track not in found or found[track.track].configuration is None:
                found[track.track] = track
    where = f"segment {segments[-1].segment.sequence}"
    if not found:
        message = f"{where} holds no pictures and no sound"
        raise PermanentError(ErrorCode.SEGMENT_DAMAGED, message)
    tracks = sorted(found.values(), key=lambda track: track.kind is not TrackKind.VIDEO)
    if len(tracks) > 1 and tracks[1].kind is TrackKind.VIDEO:
        message = f"{where} holds more than one video track"
        raise PermanentError(ErrorCode.RENDITION_UNSUPPORTED, message)
    for track in tracks:
        if track.codec not in COPIED:
            message = f"{where}: {track.codec} cannot be copied into MP4"
            raise PermanentError(ErrorCode.CODEC_UNSUPPORTED, message)
    return tuple(tracks)


def package_ts_run(
    feed: TsRunFeed, writer: PartWriter, ffmpeg_path: str, checkpoint: Callable[[], None]
) -> PackagedRun:
    """Copy one run through ffmpeg into the writer; its tables.

    Raises ``ToolError`` when ffmpeg fails or its samples are not those that the index saw.
    """
    argv = remux_argv(ffmpeg_path, RemuxInput(feed.tracks, feed.probe_bytes()))
    child = FilterProcess(argv, feed, deadline_seconds=DEADLINE_SECONDS, checkpoint=checkpoint)
    with child:
        output = _TsRunOutput(feed, writer)
        try:
            for piece in child.output():
                output.take(piece)
            child.outcome()
            output.close()
        except Mp4Error as error:
            message = f"ffmpeg's output is not what we accept: {error}"
            raise ToolError(ErrorCode.FFMPEG_FAILED, message) from error
    return output.packaged()


class _TsRunOutput:
    """Reads ffmpeg's fragmented MP4 and cuts the run's own samples out of it."""

    def __init__(self, feed: TsRunFeed, writer: PartWriter) -> None:
        self._feed = feed
        self._writer = writer
        self._reader = FragmentReader()
        self._movie: MovieHeader | None = None
        self._cutter: SampleCutter | None = None
        self._clock_offset = 0  # 90 kHz ticks that ffmpeg's clock lies below the index's

    def take(self, piece: bytes) -> None:
        for event in self._reader.feed(piece):
            if isinstance(event, Header):
                self._movie = event.movie
            else:
                cutter = self._cutter or self._open(event)
                cutter.take(event)

    def close(self) -> None:
        self._reader.close()

    def packaged(self) -> PackagedRun:
        tracks = [
            self._track(header, number) for header, number in self._numbered() if self._cutter
        ]
        first = self._feed.first
        return PackagedRun(
            container=Container.MPEGTS,
            tagged=first.segment.discontinuity,
            starts_clean=all(track.starts_clean for track in first.index.tracks),
            first_sequence=first.segment.sequence,
            tracks=tuple(track for track in tracks if len(track.samples)),
        )

    def _numbered(self) -> list[tuple[TrackHeader, int]]:
        """ffmpeg's tracks beside the PIDs they come from: it numbers them as they were mapped."""
        if self._movie is None:
            raise ToolError(ErrorCode.FFMPEG_FAILED, "ffmpeg wrote no movie header")
        headers = self._movie.tracks
        if len(headers) != len(self._feed.tracks):
            raise ToolError(ErrorCode.FFMPEG_FAILED, "ffmpeg wrote another number of tracks")
        numbers = [track.track for track in self._feed.tracks]
        return list(zip(headers, numbers, strict=True))

    def _open(self, fragment: Fragment) -> SampleCutter:
        """Find out which round of the clock ffmpeg counts in, and give the windows its times."""
        numbered = self._numbered()
        begin = fragment.tracks[0]
        scale = next(h.timescale for h, _ in numbered if h.track_id == begin.track_id)
        if begin.base_decode_time is not None:
            dts = begin.base_decode_time * TS_TIMESCALE // scale
            self._clock_offset = TS_WRAP * round((self._feed.first_dts - dts) / TS_WRAP)
        windows = {
            header.track_id: _ScaledWindow(
                self._feed.windows[number], header.timescale, self._clock_offset
            )
            for header, number in numbered
        }
        self._cutter = SampleCutter(self._writer, windows)
        return self._cutter

    def _track(self, header: TrackHeader, number: int) -> PackagedTrack:
        assert self._cutter is not None
        index = next(track for track in self._feed.tracks if track.track == number)
        samples = self._cutter.samples(header.track_id)
        offset = self._clock_offset * header.timescale / TS_TIMESCALE
        samples = Samples(
            samples.dts + round(offset),
            samples.composition,
            samples.sizes,
            samples.sync,
            _frame_length(index, header.timescale) or samples.last_duration,
        )
        expected = self._feed.expectation(number)
        compare(samples, header.timescale, expected, index.kind, f"PID {number:#x}")
        return PackagedTrack(
            track=number,
            codec=index.codec,
            timescale=header.timescale,
            sample_entry=header.sample_entry,
            language=header.language,
            width=header.width,
            height=header.height,
            edit_start=None,
            samples=samples,
            placement=self._cutter.placement(header.track_id),
            expected=expected,
        )


def _frame_length(index: TrackIndex, timescale: int) -> int:
    """Ticks of one frame of sound, exact though the index counts in 90 kHz; 0 for pictures."""
    return round(Fraction(index.unit_duration * timescale, TS_TIMESCALE))


class _ScaledWindow(Window):
    """A window of 90 kHz ticks of the index's clock, asked about times of ffmpeg's track."""

    def __init__(self, window: Window, timescale: int, clock_offset: int) -> None:
        super().__init__()
        self._window = window
        self._timescale = timescale
        self._offset = clock_offset

    def keeps(self, dts: np.ndarray) -> np.ndarray:
        """Which of these decode times are the slice's own, bool[n]."""
        # The division rounds to the track's rate: half a millisecond is far below one sample.
        ticks = dts.astype(np.float64) * (TS_TIMESCALE / self._timescale) + self._offset
        margin = 0 if self._timescale == TS_TIMESCALE else TS_TIMESCALE // 2000
        return (ticks >= self._window.first + margin) & (ticks <= self._window.last + margin)


def compare(
    samples: Samples, timescale: int, expected: Expectation, kind: TrackKind, name: str
) -> None:
    """Refuse samples that are not exactly the units which the index saw in the source.

    Raises ``ToolError`` (``verification_failed``): counts and key flags must be equal,
    presentation times within two ticks of 90 kHz (and the rounding to the track's rate), those of
    sound within ``AUDIO_TOLERANCE_SECONDS``.
    """
    code = ErrorCode.VERIFICATION_FAILED
    if len(samples) != len(expected.pts):
        message = f"{name}: {len(expected.pts)} units in the source, {len(samples)} samples out"
        raise ToolError(code, message)
    if not np.array_equal(samples.sync, expected.sync):
        at = int(np.flatnonzero(samples.sync != expected.sync)[0])
        raise ToolError(code, f"{name}: sample {at} has another key flag than in the source")
    known = expected.pts != NO_TIME
    seconds = samples.pts[known] / timescale
    off = np.abs(seconds - expected.pts[known] / expected.timescale)
    allowed = TOLERANCE_TICKS / TS_TIMESCALE + 1 / timescale
    if kind is TrackKind.AUDIO:
        allowed += AUDIO_TOLERANCE_SECONDS
    if (off > allowed).any():
        at = int(np.argmax(off))
        message = f"{name}: a sample is shown {off[at] * 1000:.3f} ms away from its source time"
        raise ToolError(code, message)
