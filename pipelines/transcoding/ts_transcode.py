"""Transcoding one run of MPEG-TS: pictures encoded or copied, sound copied or laid in."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

from pipelines.cutter import Window
from pipelines.interleaver import Interleaver, pieces_of
from pipelines.media import TrackKind
from pipelines.segment_index import TS_TIMESCALE, TS_WRAP, Container
from pipelines.transcoding.command import DecodedInput, PictureTrack, SoundTrack
from pipelines.transcoding.encoded_run import EncodedPictures, run_ffmpeg
from pipelines.ts_run import TsRunOutput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipelines.cutter import SampleCutter
    from pipelines.mp4.movie_fragment import Fragment
    from pipelines.mp4.movie_header import TrackHeader
    from pipelines.packaged_slice import PackagedRun, PackagedTrack
    from pipelines.parts import PartWriter
    from pipelines.transcoding.encoded_run import Execution
    from pipelines.transcoding.encoding import VideoEncoding
    from pipelines.transcoding.picture_times import OwnPictures
    from pipelines.transcoding.ts_pictures import TsPictureFeed


def transcode_ts_run(
    feed: TsPictureFeed,
    renditions: Sequence[TsRendition],
    execution: Execution,
) -> list[PackagedRun]:
    """Make one run of every rendition, decoding its pictures once; in the order of ``renditions``.

    Raises ``EndMisjudged``, and ``ToolError`` when ffmpeg fails or its pictures are not the source's.
    """
    video = feed.video
    decoded = PictureTrack(f"i:{video.track}", video.codec, TS_TIMESCALE) if video else None
    source = DecodedInput(Container.MPEGTS, decoded, feed.probe_bytes())
    written = [rendition for rendition in renditions if rendition.writes]
    if written:
        run_ffmpeg(execution, source, feed.window, feed, written)
    else:
        for _ in feed:
            execution.checkpoint()
    encodings = [each.encoding for each in renditions if each.encoding]
    held = any(encoding.constant_rate for encoding in encodings)
    own = feed.own_pictures(held=held) if encodings else None
    return [rendition.transcoded(own) for rendition in renditions]


class TsRendition(TsRunOutput):
    """One rendition of a run: what ffmpeg writes of it, and the sound that was encoded before."""

    def __init__(
        self,
        feed: TsPictureFeed,
        writer: PartWriter,
        encoding: VideoEncoding | None,
        laid_in: Mapping[int, PackagedTrack | None],
        payload: bytes,
    ) -> None:
        """``laid_in``: sound by PID that takes the place of the run's own, its samples in
        ``payload``; None where there is none to hear."""
        tracks = [track for track in feed.tracks if track.track not in laid_in]
        super().__init__(feed, writer, tracks)
        self.encoding = encoding if feed.video else None
        self.sound = tuple(
            SoundTrack(f"i:{track.track}", track.codec)
            for track in tracks
            if track.kind is TrackKind.AUDIO
        )
        self._pictures = feed.video.track if feed.video and encoding else None
        self._laid_in = [
            _on_clock(track, feed.first_dts) for track in laid_in.values() if track is not None
        ]
        self._interleaver = Interleaver(writer, pieces_of(self._laid_in, payload))
        self._own: OwnPictures | None = None
        self._began: float | None = None  # when ffmpeg's first fragment begins, seconds
        self._seconds = 0.0

    @property
    def seconds(self) -> float:
        """Seconds of media that have come."""
        return self._seconds

    @property
    def writes(self) -> bool:
        """Whether ffmpeg has anything to write of it."""
        return bool(self._indexes)

    def transcoded(self, own: OwnPictures | None) -> PackagedRun:
        """The run's tables; ``own`` are the pictures that it must hold, if they are encoded."""
        self._own = own
        return self.packaged()

    def _window(self, header: TrackHeader, number: int) -> Window:
        return Window() if number == self._pictures else super()._window(header, number)

    def _cut(self, cutter: SampleCutter, fragment: Fragment) -> None:
        super()._cut(cutter, fragment)
        track = fragment.tracks[0]
        scale = next(h.timescale for h, _ in self._numbered() if h.track_id == track.track_id)
        begin = track.base_decode_time or 0
        end = (begin + track.duration) / scale
        self._began = begin / scale if self._began is None else self._began
        self._seconds = end - self._began
        self._interleaver.write_until(end + self._clock_offset / TS_TIMESCALE)

    def _tracks(self) -> list[PackagedTrack]:
        self._interleaver.write_until(math.inf)
        made = super()._tracks() if self.writes else []
        made += [
            replace(track, placement=self._interleaver.placement(track.track))
            for track in self._laid_in
        ]
        order = [track.track for track in self._feed.tracks]
        return sorted(made, key=lambda track: order.index(track.track))

    def _track(self, header: TrackHeader, number: int) -> PackagedTrack:
        if number != self._pictures or self.encoding is None:
            return super()._track(header, number)
        if self._own is None or self._cutter is None:
            raise LookupError("pictures came out of a run that has none")
        pictures = EncodedPictures(
            header,
            self._cutter.samples(header.track_id),
            self._cutter.placement(header.track_id),
            self.encoding,
        )
        shift = Fraction(self._clock_offset, TS_TIMESCALE)
        return pictures.packaged(number, self._own, TS_TIMESCALE, shift, None)


def _on_clock(track: PackagedTrack, first_dts: int) -> PackagedTrack:
    """A track of sound in that round of the clock in which the run begins at ``first_dts``.

    Another lead-in may have made it count in another one.
    """
    samples, expected = track.samples, track.expected
    if not len(samples):
        return track
    begin = int(samples.dts[0]) * TS_TIMESCALE // track.timescale
    rounds = round((first_dts - begin) / TS_WRAP)
    ticks, expected_ticks = (
        round(Fraction(rounds * TS_WRAP * scale, TS_TIMESCALE))
        for scale in (track.timescale, expected.timescale)
    )
    return replace(
        track,
        samples=replace(samples, dts=samples.dts + ticks),
        expected=replace(
            expected, dts=expected.dts + expected_ticks, pts=expected.pts + expected_ticks
        ),
    )
