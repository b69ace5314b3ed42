"""Transcoding one run of MPEG-TS: pictures encoded or copied, sound copied or laid in."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from pipelines.cutter import Window
from pipelines.media import TrackKind
from pipelines.mp4.fragments import FragmentReader
from pipelines.segment_index import TS_TIMESCALE, Container
from pipelines.transcoding.command import DecodedInput, PictureTrack, SoundTrack
from pipelines.transcoding.encoded_run import EncodedPictures, run_ffmpeg
from pipelines.ts_run import TsRunOutput

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pipelines.cutter import SampleCutter
    from pipelines.interleaver import LaidIn
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
    decoded = (
        PictureTrack(f"i:{video.track}", video.codec, TS_TIMESCALE, feed.format.colours)
        if video
        else None
    )
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
        laid_in: LaidIn,
        replaced: Collection[int] = (),
        reader: FragmentReader | None = None,
    ) -> None:
        """``laid_in``: sound that is laid between the pictures; ``replaced``: PIDs of the run's own
        sound whose place it takes; ``reader``: reads what ffmpeg writes, unless it is to be read as
        it is."""
        tracks = [track for track in feed.tracks if track.track not in replaced]
        super().__init__(feed, writer, tracks, laid_in)
        self._reader = reader or FragmentReader()
        self.encoding = encoding if feed.video else None
        self.sound = tuple(
            SoundTrack(f"i:{track.track}", track.codec)
            for track in tracks
            if track.kind is TrackKind.AUDIO
        )
        self._pictures = feed.video.track if feed.video and encoding else None
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
