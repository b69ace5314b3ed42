"""Packaging one run of MPEG-TS: segments through ffmpeg, own samples cut out, counts compared."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from pipelines.cutter import SampleCutter, Window
from pipelines.errors import ErrorCode, PermanentError, ToolError
from pipelines.media import Codec, TrackKind
from pipelines.mp4.boxes import Mp4Error
from pipelines.mp4.fragments import FragmentReader, Header
from pipelines.mp4.sample_entry import read_sample_entry
from pipelines.mpegts.nal import SET_LIMIT
from pipelines.packaged_slice import Expectation, PackagedRun, PackagedTrack, Samples
from pipelines.process import FilterProcess
from pipelines.remux import RemuxInput, remux_argv
from pipelines.segment_index import (
    NO_TIME,
    TS_TIMESCALE,
    TS_WRAP,
    UNKNOWN_SIZE,
    Container,
    TrackIndex,
)
from pipelines.segment_stream import ticks_90k
from pipelines.timeline import Relation, step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pipelines.media import Configuration
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
        lead_out: Callable[[Mapping[int, Codec], bool], IndexedSegment | None],
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
        self._kinds = {track.track: track.kind for track in self.tracks}
        self._clock: dict[int, Span] = {}
        self._own: dict[int, list[Expectation]] = {track.track: [] for track in self.tracks}
        self._optional: dict[int, list[np.ndarray]] = {number: [] for number in self._own}
        self._unfinished = dict.fromkeys(self._own, False)
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
        tail = self._tail(following)
        self._finish_units({track.track: track for track in tail.index.tracks} if tail else {})
        if tail is not None:
            for number, window in self.windows.items():
                if number in self._clock:
                    window.last = ticks_90k(self._clock[number].last_dts)
            yield tail.data

    def expectation(self, number: int) -> Expectation:
        """What the index saw of one track in the run's own segments."""
        own = self._own[number]
        if not own:
            nothing = np.zeros(0, np.int64)
            return Expectation(TS_TIMESCALE, nothing, nothing, np.zeros(0, np.bool_), nothing)
        return Expectation(
            TS_TIMESCALE,
            np.concatenate([each.dts for each in own]),
            np.concatenate([each.pts for each in own]),
            np.concatenate([each.sync for each in own]),
            np.concatenate([each.sizes for each in own]),
        )

    def optional(self, number: int) -> np.ndarray:
        """Bytes of each expected size that ffmpeg may leave out, int64[n]."""
        pieces = self._optional[number]
        return np.concatenate(pieces) if pieces else np.zeros(0, np.int64)

    def _tail(self, following: IndexedSegment | None) -> IndexedSegment | None:
        """What is fed behind the run, so that its last units come out whole."""
        unfinished = any(self._unfinished.values())
        if following is None:
            codecs = {track.track: track.codec for track in self.tracks}
            tail = self._lead_out(codecs, unfinished)
            return tail if tail and self._relation(tail) is not Relation.RESET else None
        goes_on = unfinished or any(each.continues_previous for each in following.index.tracks)
        same_clock = not following.segment.discontinuity and goes_on
        return following if same_clock and self._continues(following) else None

    def _continues(self, following: IndexedSegment) -> bool:
        return self._relation(following) is Relation.CONTINUES

    def _finish_units(self, following: Mapping[int, TrackIndex]) -> None:
        """Add to each track's last size what the next segment fed holds of that unit."""
        for number, own in self._own.items():
            after = following.get(number)
            if not own or not len(own[-1].sizes) or own[-1].sizes[-1] == UNKNOWN_SIZE:
                continue
            sizes = own[-1].sizes
            if self._kinds[number] is TrackKind.VIDEO:
                sizes[-1] += after.carried if after else 0
            elif self._unfinished[number] != (after is not None and after.continues_previous):
                sizes[-1] = UNKNOWN_SIZE  # cut off in the source, or something else behind it

    def _belongs(self, following: IndexedSegment) -> bool:
        if not self._began:
            return True
        if following.segment.discontinuity:
            return False
        if any(track.track not in self.windows for track in following.index.tracks):
            return False
        return self._continues(following)

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
        if self._began:
            self._finish_units({track.track: track for track in indexed.index.tracks})
        self._began = True
        for track in indexed.index.tracks:
            self._unfinished[track.track] = track.ends_unfinished
            # Units without a PES header go on from a segment that is not there: nothing, ffmpeg
            # included, can tell when they belong.
            first = track.headless if opens else 0
            dts, pts, sync = track.dts[first:], track.pts[first:], track.sync[first:]
            sizes = track.sizes[first:].copy()
            optional = track.optional
            self._optional[track.track].append(
                np.zeros(len(sizes), np.int64) if optional is None else optional[first:]
            )
            if opens and track.continues_previous and len(sizes):
                sizes[0] = UNKNOWN_SIZE  # ffmpeg may take what comes before for a part of it
            self._own[track.track].append(
                Expectation(
                    TS_TIMESCALE,
                    np.where(dts == NO_TIME, NO_TIME, dts + unwrap),
                    np.where(pts == NO_TIME, NO_TIME, pts + unwrap),
                    sync,
                    sizes,
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
        numbered = self._numbered()
        if self._cutter is None:
            self._refuse_nothing()
        tracks = [self._track(header, number) for header, number in numbered if self._cutter]
        first = self._feed.first
        return PackagedRun(
            container=Container.MPEGTS,
            tagged=first.segment.discontinuity,
            starts_clean=all(track.starts_clean for track in first.index.tracks),
            first_sequence=first.segment.sequence,
            tracks=tuple(track for track in tracks if len(track.samples)),
        )

    def _refuse_nothing(self) -> None:
        """Refuse a movie without a fragment where the source has units."""
        for track in self._feed.tracks:
            expected = len(self._feed.expectation(track.track))
            if expected:
                message = f"PID {track.track:#x}: {expected} units in the source, no sample out"
                raise ToolError(ErrorCode.VERIFICATION_FAILED, message)

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
        expected = _as_left_out(expected, self._feed.optional(number), samples.sizes)
        name = f"PID {number:#x}"
        compare(samples, header.timescale, expected, index.kind, name)
        compare_configuration(header.sample_entry, index.configuration, name)
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


def _as_left_out(expected: Expectation, optional: np.ndarray, sizes: np.ndarray) -> Expectation:
    """The expectation without what ffmpeg leaves out of all samples, if the first lacks it."""
    where = np.flatnonzero((optional > 0) & (expected.sizes != UNKNOWN_SIZE))
    if not len(where) or len(sizes) != len(expected):
        return expected
    if sizes[where[0]] == expected.sizes[where[0]]:
        return expected
    known = expected.sizes != UNKNOWN_SIZE
    left = np.where(known, expected.sizes - optional, UNKNOWN_SIZE)
    return replace(expected, sizes=left)


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
    sizes too where they are known, presentation times within two ticks of 90 kHz (and the
    rounding to the track's rate), those of sound within ``AUDIO_TOLERANCE_SECONDS``.
    """
    code = ErrorCode.VERIFICATION_FAILED
    if len(samples) != len(expected.pts):
        message = f"{name}: {len(expected.pts)} units in the source, {len(samples)} samples out"
        raise ToolError(code, message)
    if not np.array_equal(samples.sync, expected.sync):
        at = int(np.flatnonzero(samples.sync != expected.sync)[0])
        raise ToolError(code, f"{name}: sample {at} has another key flag than in the source")
    compare_sizes(samples.sizes, expected.sizes, name)
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


def compare_sizes(sizes: np.ndarray, expected: np.ndarray, name: str) -> None:
    """Refuse samples that have not as many bytes as their units in the source.

    Raises ``ToolError`` (``verification_failed``); a unit of ``UNKNOWN_SIZE`` may have any.
    """
    if not len(expected):
        return
    off = np.flatnonzero((expected != UNKNOWN_SIZE) & (sizes != expected))
    if len(off):
        at = int(off[0])
        message = (
            f"{name}: sample {at} has {sizes[at]} bytes, its unit in the source {expected[at]}"
        )
        raise ToolError(ErrorCode.VERIFICATION_FAILED, message)


def compare_configuration(entry: bytes, source: Configuration | None, name: str) -> None:
    """Refuse a sample entry that does not describe what the index saw in the source.

    Parameter sets are compared by content: avcC and hvcC number them by position, streams by id.
    ffmpeg need not have seen all of them, but none that is not there. Of an AudioSpecificConfig
    the end may be ffmpeg's own (the channels of the first frame). Raises ``ToolError``.
    """
    if source is None:
        return
    described = read_sample_entry(entry).configuration
    what = None
    if described is None or described.codec is not source.codec:
        what = f"codec {described.codec if described else None}"
    else:
        units = {unit for _, unit in source.parameter_sets}
        for title, unit in described.parameter_sets:
            seen = any(same.startswith(title[:3]) for same, _ in source.parameter_sets)
            if seen and not _is_one_of(unit, units, source.codec):
                what = f"parameter set {title}"
    if what is not None:
        message = f"{name}: the sample entry has another {what} than the source"
        raise ToolError(ErrorCode.VERIFICATION_FAILED, message)


def _is_one_of(unit: bytes, units: set[bytes], codec: Codec) -> bool:
    if codec is Codec.AAC:
        return any(unit.startswith(each) for each in units)
    return unit.rstrip(b"\0")[:SET_LIMIT] in {each.rstrip(b"\0") for each in units}
