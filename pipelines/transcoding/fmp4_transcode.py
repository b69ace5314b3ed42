"""Transcoding one run of fragmented MP4: pictures encoded, sound as it is in the segments."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

from pipelines.cutter import SampleCutter, Window
from pipelines.errors import ErrorCode, ToolError
from pipelines.fmp4_run import edit_shift, edit_shifts, wall_clock
from pipelines.interleaver import Interleaver, pieces_of
from pipelines.mp4.fragments import FragmentReader, Header
from pipelines.packaged_slice import PackagedRun
from pipelines.picture_format import entry_format
from pipelines.segment_index import Container
from pipelines.transcoding.command import DecodedInput, PictureTrack, SoundTrack
from pipelines.transcoding.encoded_run import EncodedPictures, run_ffmpeg

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pipelines.interleaver import LaidIn
    from pipelines.mp4.movie_fragment import Fragment
    from pipelines.mp4.movie_header import TrackHeader
    from pipelines.packaged_slice import PackagedTrack
    from pipelines.parts import PartWriter
    from pipelines.transcoding.encoded_run import Execution
    from pipelines.transcoding.encoding import VideoEncoding
    from pipelines.transcoding.fmp4_pictures import Fmp4PictureFeed
    from pipelines.transcoding.picture_times import OwnPictures


def transcode_fmp4_run(
    feed: Fmp4PictureFeed,
    renditions: Sequence[Fmp4Rendition],
    execution: Execution,
) -> list[PackagedRun]:
    """Make one run of every rendition, decoding its pictures once; in the order of ``renditions``.

    Raises ``EndMisjudged``, and ``ToolError`` when ffmpeg fails or its pictures are not the source's.
    """
    video = feed.video
    if video is None or video.codec is None:
        for _ in feed:
            execution.checkpoint()
        return [rendition.transcoded(None) for rendition in renditions]
    colours = entry_format(video.sample_entry).colours
    decoded = PictureTrack("v:0", video.codec, video.timescale, colours)
    source = DecodedInput(Container.FMP4, decoded, feed.probe_bytes())
    run_ffmpeg(execution, source, feed.window, feed, renditions)
    held = any(rendition.encoding.constant_rate for rendition in renditions)
    own = feed.own_pictures(held=held)
    return [rendition.transcoded(own) for rendition in renditions]


class Fmp4Rendition:
    """One rendition of a run: the pictures that ffmpeg writes, the segments' sound between them."""

    sound: tuple[SoundTrack, ...] = ()  #: that ffmpeg would copy

    def __init__(
        self,
        feed: Fmp4PictureFeed,
        writer: PartWriter,
        encoding: VideoEncoding,
        laid_in: LaidIn,
        replaced: Collection[int] = (),
        reader: FragmentReader | None = None,
    ) -> None:
        """``laid_in``: sound that is laid between the pictures; ``replaced``: track_IDs of the run's
        own sound whose place it takes; ``reader``: reads what ffmpeg writes, unless it is to be
        read as it is."""
        self.encoding = encoding
        self._feed = feed
        self._reader = reader or FragmentReader()
        self._header: TrackHeader | None = None
        self._cutter: SampleCutter | None = None
        self._writer = writer
        self._replaced = replaced
        self._interleaver = Interleaver(writer, feed.sound_pieces, replaced)
        self._laid_in = laid_in
        pieces = pieces_of(self._laid_in.tracks, self._laid_in.payload)
        self._besides = Interleaver(writer, pieces)
        shifts = edit_shifts(feed.first.movie)  # of the pictures: sound besides is in shown time
        self._shift = float(shifts[feed.video.track_id]) if feed.video else 0.0
        self._began: float | None = None  # when ffmpeg's first fragment begins, seconds
        self._seconds = 0.0

    @property
    def seconds(self) -> float:
        """Seconds of media that have come."""
        return self._seconds

    def take(self, piece: bytes) -> None:
        """Read the next bytes of ffmpeg's output; ``Mp4Error`` for what is damaged."""
        for event in self._reader.feed(piece):
            if isinstance(event, Header):
                [self._header] = event.movie.tracks
            else:
                self._cut(event)

    def close(self) -> None:
        """Say that ffmpeg has ended; ``Mp4Error`` when its output is cut off."""
        self._reader.close()

    def transcoded(self, own: OwnPictures | None) -> PackagedRun:
        """The run's tables; ``own`` are the pictures that it must hold, if there are any:
        there is none without a key frame."""
        self._interleaver.write_until(math.inf)
        self._besides.write_until(math.inf)
        shown = own is not None and (len(own) > 0 or self._cutter is not None)
        tracks = [self._pictures(own)] if own is not None and shown else []
        for track in self._feed.sound():
            if track.track in self._replaced:
                continue
            placement = self._interleaver.placement(track.track)
            tracks.append(replace(track, placement=placement))
        tracks += [
            replace(track, placement=self._besides.placement(track.track))
            for track in self._laid_in.tracks
        ]
        first = self._feed.first
        return PackagedRun(
            container=Container.FMP4,
            tagged=first.tagged,
            starts_clean=True,
            first_sequence=first.segment.sequence,
            tracks=tuple(track for track in tracks if len(track.samples)),
            piece=first.piece,
            broken=first.broken,
            wall_clock=wall_clock(first),
            sequences=tuple(self._feed.sequences),
            begins=self._feed.begins.all,
        )

    def _cut(self, fragment: Fragment) -> None:
        if self._header is None:
            raise LookupError("a fragment without a header came past the reader")
        if self._cutter is None:
            self._cutter = SampleCutter(self._writer, {self._header.track_id: Window()})
        self._cutter.take(fragment)
        [track] = fragment.tracks
        scale = self._header.timescale
        begin = track.base_decode_time or 0
        end = (begin + track.duration) / scale
        self._began = begin / scale if self._began is None else self._began
        self._seconds = end - self._began
        self._interleaver.write_until(end)
        self._besides.write_until(end + self._shift)

    def _pictures(self, own: OwnPictures) -> PackagedTrack:
        source = self._feed.video
        if self._header is None or self._cutter is None or source is None:
            message = f"{len(own)} pictures in the source, none came out"
            raise ToolError(ErrorCode.VERIFICATION_FAILED, message)
        pictures = EncodedPictures(
            self._header,
            self._cutter.samples(self._header.track_id),
            self._cutter.placement(self._header.track_id),
            self.encoding,
        )
        ticks, edit_start = edit_shift(source, self._feed.first.movie.timescale)
        shift = Fraction(ticks, source.timescale)
        return pictures.packaged(source.track_id, own, source.timescale, shift, edit_start)
