"""One ffmpeg that makes several renditions of one run: every pipe is read, pictures are compared."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from pipelines.errors import ErrorCode, ToolError
from pipelines.media import Codec
from pipelines.mp4.boxes import Mp4Error
from pipelines.packaged_slice import Expectation, PackagedTrack
from pipelines.process import FilterProcess, open_pipes
from pipelines.profile import Encoder
from pipelines.segment_index import NO_TIME
from pipelines.transcoding.command import EncodedOutput, transcode_argv
from pipelines.transcoding.filter_chain import grid
from pipelines.transcoding.picture_times import expectation, in_presentation_order, usual_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from fractions import Fraction

    from pipelines.mp4.movie_header import TrackHeader
    from pipelines.packaged_slice import Placement, Samples
    from pipelines.transcoding.command import DecodedInput, SoundTrack
    from pipelines.transcoding.encoding import VideoEncoding
    from pipelines.transcoding.filter_chain import PictureWindow
    from pipelines.transcoding.picture_times import OwnPictures

#: Seconds that one ffmpeg may take for a run: a hang is killed, never waited for.
DEADLINE_SECONDS = 6 * 3600.0

_CODECS = {Encoder.H264: Codec.H264, Encoder.HEVC: Codec.HEVC, Encoder.VP9: Codec.VP9}


class NothingEncoded(ToolError):
    """ffmpeg failed before it wrote a fragment of every rendition: an encoder may not have opened."""


class RenditionReader(Protocol):
    """Takes what ffmpeg writes of one rendition."""

    @property
    def encoding(self) -> VideoEncoding | None:
        """How its pictures are encoded; None: they are copied."""

    @property
    def sound(self) -> tuple[SoundTrack, ...]:
        """The sound that ffmpeg copies into it."""

    @property
    def begun(self) -> bool:
        """Whether a fragment has come."""

    def take(self, piece: bytes) -> None:
        """Read the next bytes; ``Mp4Error`` for what is damaged."""

    def close(self) -> None:
        """Say that ffmpeg has ended; ``Mp4Error`` when its output is cut off."""


def run_ffmpeg(
    ffmpeg: str,
    source: DecodedInput,
    window: PictureWindow,
    feed: Iterable[bytes],
    readers: Sequence[RenditionReader],
    checkpoint: Callable[[], None],
) -> None:
    """Feed a run to ffmpeg and all that it writes to the readers.

    Raises ``ToolError`` when ffmpeg fails, ``NothingEncoded`` when it had not written something of
    every rendition before.
    """
    with open_pipes(len(readers)) as pipes:
        beside = list(zip(pipes, readers, strict=True))
        outputs = [EncodedOutput(p.descriptor, r.encoding, r.sound) for p, r in beside]
        by_descriptor = {pipe.descriptor: reader for pipe, reader in beside}
        child = FilterProcess(
            transcode_argv(ffmpeg, source, window, outputs),
            feed,
            pipes=pipes,
            deadline_seconds=DEADLINE_SECONDS,
            checkpoint=checkpoint,
        )
        try:
            with child:
                for descriptor, piece in child.outputs():
                    by_descriptor[descriptor].take(piece)
                child.outcome()
                for reader in readers:
                    reader.close()
        except Mp4Error as error:
            message = f"ffmpeg's output is not what we accept: {error}"
            raise ToolError(ErrorCode.FFMPEG_FAILED, message) from error
        except ToolError as error:
            if all(reader.begun for reader in readers):
                raise
            raise NothingEncoded(error.code, error.message) from error


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
        usual = usual_duration(self.samples.pts, round(scale / self.encoding.nominal_rate))
        samples = in_presentation_order(self.samples, usual, name)
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
        )
