"""Packaging one run of MPEG-TS: segments through ffmpeg, own samples cut out and compared."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from pipelines.cutter import PayloadWriter, SampleCutter, Window
from pipelines.errors import ErrorCode, ToolError
from pipelines.ffmpeg_movie import read_movie
from pipelines.interleaver import Interleaver, LaidIn, pieces_of
from pipelines.mp4.fragments import FragmentReader, Header
from pipelines.packaged_slice import PackagedRun, PackagedTrack, Samples
from pipelines.process import FilterProcess
from pipelines.remux import RemuxInput, remux_argv
from pipelines.sample_proof import as_left_out, compare, compare_configuration, compare_hashes
from pipelines.segment_index import TS_TIMESCALE, TS_WRAP, Container, TrackIndex

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipelines.mp4.movie_fragment import Fragment
    from pipelines.mp4.movie_header import MovieHeader, TrackHeader
    from pipelines.ts_feed import TsRunFeed

#: Seconds that one ffmpeg run may take, whatever it is fed: a hang is killed, never waited for.
DEADLINE_SECONDS = 3600.0


def package_ts_run(
    feed: TsRunFeed,
    writer: PayloadWriter,
    ffmpeg_path: str,
    checkpoint: Callable[[], None],
    laid_in: LaidIn | None = None,
) -> PackagedRun:
    """Copy one run through ffmpeg into the writer; its tables.

    ``laid_in`` is sound that is laid between what comes out of ffmpeg, as further tracks. Raises
    ``ToolError`` when ffmpeg fails or its samples are not those that the index saw.
    """
    argv = remux_argv(ffmpeg_path, RemuxInput(feed.tracks, feed.probe_bytes()))
    child = FilterProcess(argv, feed, deadline_seconds=DEADLINE_SECONDS, checkpoint=checkpoint)
    with child:
        output = TsRunOutput(feed, writer, feed.tracks, laid_in)
        read_movie(child, output)
    return output.packaged()


class TsRunOutput:
    """Reads ffmpeg's fragmented MP4 and cuts the run's own samples out of it.

    ``tracks`` are those of the feed's that ffmpeg was told to write, in that order; ``laid_in`` is
    sound that is laid between them.
    """

    def __init__(
        self,
        feed: TsRunFeed,
        writer: PayloadWriter,
        tracks: Sequence[TrackIndex],
        laid_in: LaidIn | None = None,
    ) -> None:
        self._feed = feed
        sound = laid_in or LaidIn()
        self._laid_in = [_on_clock(track, feed.first_dts) for track in sound.tracks]
        self._interleaver = Interleaver(writer, pieces_of(self._laid_in, sound.payload))
        self._writer = writer
        self._indexes = tracks
        self._reader = FragmentReader()
        self._movie: MovieHeader | None = None
        self._cutter: SampleCutter | None = None
        self._clock_offset = 0  # 90 kHz ticks that ffmpeg's clock lies below the index's

    def take(self, piece: bytes) -> None:
        """Read the next bytes of ffmpeg's output; ``Mp4Error`` for what is damaged."""
        for event in self._reader.feed(piece):
            if isinstance(event, Header):
                self._movie = event.movie
            else:
                self._cut(self._cutter or self._open(event), event)

    def close(self) -> None:
        """Say that ffmpeg has ended; ``Mp4Error`` when its output is cut off."""
        self._reader.close()

    def packaged(self) -> PackagedRun:
        """The run's tables, compared with what the index saw."""
        tracks = self._tracks()
        first = self._feed.first
        began = first.segment.program_date_time
        return PackagedRun(
            container=Container.MPEGTS,
            tagged=first.segment.discontinuity,
            starts_clean=all(track.starts_clean for track in first.index.tracks),
            first_sequence=first.segment.sequence,
            tracks=tuple(track for track in tracks if len(track.samples)),
            piece=first.piece,
            broken=first.broken,
            wall_clock=began.timestamp() if began and not first.piece else None,
            sequences=tuple(self._feed.sequences),
            begins=self._feed.begins.all,
        )

    def _cut(self, cutter: SampleCutter, fragment: Fragment) -> None:
        cutter.take(fragment)
        track = fragment.tracks[0]
        scale = next(h.timescale for h, _ in self._numbered() if h.track_id == track.track_id)
        end = ((track.base_decode_time or 0) + track.duration) / scale
        self._interleaver.write_until(end + self._clock_offset / TS_TIMESCALE)

    def _tracks(self) -> list[PackagedTrack]:
        """All tracks, the feed's in its order, then what is laid in besides."""
        self._interleaver.write_until(math.inf)
        made = self._written() if self._indexes else []
        made += [
            replace(track, placement=self._interleaver.placement(track.track))
            for track in self._laid_in
        ]
        order = [track.track for track in self._feed.tracks]
        made.sort(key=lambda each: order.index(each.track) if each.track in order else len(order))
        return made

    def _written(self) -> list[PackagedTrack]:
        numbered = self._numbered()
        if self._cutter is None:
            self._refuse_nothing()
            return []
        return [self._track(header, number) for header, number in numbered]

    def _refuse_nothing(self) -> None:
        """Refuse a movie without a fragment where the source has units."""
        for track in self._indexes:
            expected = len(self._feed.expectation(track.track))
            if expected:
                message = f"PID {track.track:#x}: {expected} units in the source, no sample out"
                raise ToolError(ErrorCode.VERIFICATION_FAILED, message)

    def _numbered(self) -> list[tuple[TrackHeader, int]]:
        """ffmpeg's tracks beside the PIDs they come from: it numbers them as they were mapped."""
        if self._movie is None:
            raise ToolError(ErrorCode.FFMPEG_FAILED, "ffmpeg wrote no movie header")
        headers = self._movie.tracks
        if len(headers) != len(self._indexes):
            raise ToolError(ErrorCode.FFMPEG_FAILED, "ffmpeg wrote another number of tracks")
        numbers = [track.track for track in self._indexes]
        return list(zip(headers, numbers, strict=True))

    def _open(self, fragment: Fragment) -> SampleCutter:
        """Find out which round of the clock ffmpeg counts in, and give the windows its times."""
        numbered = self._numbered()
        begin = fragment.tracks[0]
        scale = next(h.timescale for h, _ in numbered if h.track_id == begin.track_id)
        if begin.base_decode_time is not None:
            dts = begin.base_decode_time * TS_TIMESCALE // scale
            self._clock_offset = TS_WRAP * round((self._feed.first_dts - dts) / TS_WRAP)
        windows = {header.track_id: self._window(header, number) for header, number in numbered}
        self._cutter = SampleCutter(self._writer, windows)
        return self._cutter

    def _window(self, header: TrackHeader, number: int) -> Window:
        return _ScaledWindow(self._feed.windows[number], header.timescale, self._clock_offset)

    def _track(self, header: TrackHeader, number: int) -> PackagedTrack:
        assert self._cutter is not None
        index = next(track for track in self._indexes if track.track == number)
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
        expected = as_left_out(expected, self._feed.optional(number), samples.sizes)
        name = f"PID {number:#x}"
        compare(samples, header.timescale, expected, index.kind, name)
        compare_hashes(self._cutter.hashes(header.track_id), expected.hashes, name)
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


def _on_clock(track: PackagedTrack, first_dts: int) -> PackagedTrack:
    """A track of sound in that round of the clock in which the run begins at ``first_dts``.

    Another lead-in may have made it count in another one.
    """
    samples = track.samples
    if not len(samples):
        return track
    begin = int(samples.dts[0]) * TS_TIMESCALE // track.timescale
    by = Fraction(TS_WRAP * round((first_dts - begin) / TS_WRAP), TS_TIMESCALE)
    return replace(
        track,
        samples=replace(samples, dts=samples.dts + round(by * track.timescale)),
        expected=track.expected.moved(by),
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
