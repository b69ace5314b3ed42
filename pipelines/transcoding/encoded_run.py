"""One ffmpeg that makes several renditions of one run: every pipe is read, pictures are compared."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from pipelines.errors import ErrorCode, ToolError
from pipelines.ffmpeg_movie import MovieReader, refusing_damage
from pipelines.media import Codec
from pipelines.packaged_slice import Expectation, PackagedTrack, TrackMade
from pipelines.process import LONGEST_DEADLINE_SECONDS, FilterProcess, open_pipes
from pipelines.profile import Encoder
from pipelines.segment_index import NO_TIME
from pipelines.stretches import SLOW
from pipelines.transcoding.command import EncodedOutput, transcode_argv
from pipelines.transcoding.encoding import OddEncoder
from pipelines.transcoding.filter_chain import grid
from pipelines.transcoding.picture_times import (
    expectation,
    in_presentation_order,
    pauses,
    usual_duration,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from fractions import Fraction

    from pipelines.mp4.movie_header import TrackHeader
    from pipelines.packaged_slice import Placement, Samples
    from pipelines.transcoding.command import DecodedInput, SoundTrack
    from pipelines.transcoding.encoding import PictureEncoder, VideoEncoding
    from pipelines.transcoding.filter_chain import PictureWindow
    from pipelines.transcoding.picture_times import OwnPictures

#: Seconds that one ffmpeg may take in any case: to start, and to wait for the store.
LEAST_DEADLINE_SECONDS = 600.0
#: Seconds that it may take besides for a second of media in one rendition: far slower than any
#: encoder that somebody would wait for.
SLOWEST = 60.0

_CODECS: dict[PictureEncoder, Codec] = {
    Encoder.H264: Codec.H264,
    Encoder.HEVC: Codec.HEVC,
    Encoder.VP9: Codec.VP9,
    OddEncoder.AV1: Codec.AV1,
    OddEncoder.MPEG2: Codec.MPEG2_VIDEO,
}


@dataclass(frozen=True)
class Execution:
    """How one ffmpeg is run: which, for how long at most, and who is told what comes of it."""

    ffmpeg: str
    deadline_seconds: float
    checkpoint: Callable[[], None]  #: called often; raises to cancel
    #: Called often with the media seconds of the run that are done.
    encoded: Callable[[float], None]


def deadline_seconds(media_seconds: float, renditions: int) -> float:
    """How long one ffmpeg may take for so much media in so many renditions; then it hangs."""
    allowed = LEAST_DEADLINE_SECONDS + SLOWEST * media_seconds * renditions
    return min(allowed, LONGEST_DEADLINE_SECONDS)


class RenditionReader(MovieReader, Protocol):
    """Takes what ffmpeg writes of one rendition."""

    @property
    def encoding(self) -> VideoEncoding | None:
        """How its pictures are encoded; None: they are copied."""

    @property
    def sound(self) -> tuple[SoundTrack, ...]:
        """The sound that ffmpeg copies into it."""

    @property
    def seconds(self) -> float:
        """Seconds of media that have come."""


def run_ffmpeg(
    execution: Execution,
    source: DecodedInput,
    window: PictureWindow,
    feed: Iterable[bytes],
    readers: Sequence[RenditionReader],
) -> None:
    """Feed a run to ffmpeg and all that it writes to the readers.

    What all of them have is told on the way. Raises ``ToolError`` when ffmpeg fails.
    """
    with open_pipes(len(readers)) as pipes:
        beside = list(zip(pipes, readers, strict=True))
        outputs = [EncodedOutput(p.descriptor, r.encoding, r.sound) for p, r in beside]
        by_descriptor = {pipe.descriptor: reader for pipe, reader in beside}
        child = FilterProcess(
            transcode_argv(execution.ffmpeg, source, window, outputs),
            feed,
            pipes=pipes,
            deadline_seconds=execution.deadline_seconds,
            checkpoint=execution.checkpoint,
        )
        with refusing_damage(), child:
            for descriptor, piece in child.outputs():
                by_descriptor[descriptor].take(piece)
                execution.encoded(min(reader.seconds for reader in readers))
            child.outcome()
            for reader in readers:
                reader.close()


@dataclass(frozen=True, eq=False)
class EncodedPictures:
    """The encoded pictures of one run as they came out of ffmpeg, in its own count of time."""

    header: TrackHeader
    samples: Samples
    placement: Placement
    encoding: VideoEncoding

    def packaged(
        self,
        number: int,
        own: OwnPictures,
        source_timescale: int,
        shift: Fraction,
        edit_start: int | None,
    ) -> PackagedTrack:
        """The track ``number`` of the source, whose clock is ``shift`` seconds ahead of ffmpeg's.

        Raises ``ToolError`` (``verification_failed``) unless the pictures are the source's ``own``.
        """
        name = f"track {number:#x} in {self.encoding.encoder.value}"
        scale = self.header.timescale
        samples = in_presentation_order(self.samples, self._last_duration(), name)
        expected = expectation(
            samples.pts, samples.sync, own, self.encoding, source_timescale, name
        )
        if expected.timescale != scale:
            message = f"{name}: {scale} ticks per second instead of {expected.timescale}"
            raise ToolError(ErrorCode.VERIFICATION_FAILED, message)
        on_grid = grid(self.encoding, source_timescale, own.anchor)
        ticks = round(shift * scale) + (on_grid.phase if on_grid else 0)
        pts = np.where(expected.pts == NO_TIME, NO_TIME, expected.pts + ticks)
        return PackagedTrack(
            track=number,
            codec=_CODECS[self.encoding.encoder],
            timescale=scale,
            sample_entry=self.header.sample_entry,
            language=self.header.language,
            width=self.header.width,
            height=self.header.height,
            edit_start=edit_start,
            samples=replace(samples, dts=samples.dts + ticks),
            placement=self.placement,
            expected=Expectation(scale, expected.dts + ticks, pts, expected.sync),
            made=TrackMade.ENCODED,
            repeats=pauses(own, source_timescale, shift) if on_grid else (),
            pause=SLOW * usual_duration(own.times, 0) / source_timescale if on_grid else 0.0,
        )

    def _last_duration(self) -> int:
        """Ticks that the last picture lasts: as the decoder says, as in a copy, where the encoder
        hands that on, and no longer than the others do."""
        nominal = round(self.header.timescale / self.encoding.nominal_rate)
        told = self.samples.last_duration
        usual = usual_duration(self.samples.pts, told or nominal)
        return min(told, usual) if told else usual
