"""Transcoding one slice of a variant: decoded once, or batch by batch, into its renditions."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from pipelines.edges import Edges
from pipelines.errors import ErrorCode, ToolError
from pipelines.fmp4_run import Fmp4Stream, InitSections
from pipelines.interleaver import LaidIn
from pipelines.object_store import MIN_PART_BYTES
from pipelines.package import Packaged, packaged, refuse_mixed
from pipelines.parts import PartWriter, estimated_part_bytes, first_part_number, part_bytes
from pipelines.segment_stream import SegmentStream
from pipelines.source import measure, read_ahead
from pipelines.transcoding.anchor import fmp4_anchor, ts_anchor
from pipelines.transcoding.batches import batches
from pipelines.transcoding.encoded_run import Execution, deadline_seconds
from pipelines.transcoding.fmp4_pictures import Fmp4Edges, Fmp4PictureFeed
from pipelines.transcoding.fmp4_transcode import Fmp4Rendition, transcode_fmp4_run
from pipelines.transcoding.kit import Hardware
from pipelines.transcoding.ownership import EndMisjudged
from pipelines.transcoding.slice_progress import SliceProgress
from pipelines.transcoding.sound_stretch import encoded_tracks
from pipelines.transcoding.ts_pictures import TsPictureFeed
from pipelines.transcoding.ts_transcode import TsRendition, transcode_ts_run

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from pipelines.package import Packager
    from pipelines.packaged_slice import PackagedRun
    from pipelines.parts import PartUpload
    from pipelines.playlist import Segment
    from pipelines.slices import Slice
    from pipelines.source import FetchedSegment
    from pipelines.transcoding.encoding import VideoEncoding

#: Bytes/s that copied sound takes at most, for the size of parts.
SOUND_BYTES = 250_000
#: What a slice may hold beyond its bit rate times its listed duration.
SPARE = 1.25


class HardwareFailed(ToolError):
    """What a hardware encoder was part of failed, at its start or later: software has to do it.

    Should the recording be to blame, software fails as well and says of what.
    """


@dataclass(frozen=True)
class RenditionOutput:
    """One rendition that a slice is transcoded into, and where its parts go."""

    name: str
    video: VideoEncoding | None  #: None: the pictures are copied
    encodes_audio: bool  #: sound that browsers do not play comes from the staged AAC
    upload: PartUpload


def transcode_slice(
    work: Slice,
    packager: Packager,
    outputs: Sequence[RenditionOutput],
    sound: Packaged | None,
    checkpoint: Callable[[], None],
    progress: Callable[[float], None],
) -> Iterator[tuple[str, Packaged]]:
    """Transcode one slice into all ``outputs``; the name and the result of each, as it is made.

    ``sound`` is the slice's encoded sound, when any of them ``encodes_audio``. ``checkpoint`` is
    called often and raises to cancel; ``progress`` is called often with the seconds of the slice's
    media that are done. Raises ``HardwareFailed``, and what ``package_slice`` raises; on every
    error the parts sent so far count for nothing.
    """
    refuse_mixed(work)
    sizes = measure(packager.reader, work.segments)
    reaching: dict[int, bool] = {}
    grouped = list(batches(outputs))
    done = SliceProgress(work.duration, len(grouped), progress)
    for number, batch in enumerate(grouped):
        at = partial(done.at, number)
        attempt = _Attempt(work, packager, batch, sound, checkpoint, at, sizes, reaching)
        try:
            made = attempt.judged()
        except ToolError as error:
            names = ", ".join(out.name for out in batch)
            message = f"slice {work.number} of {names}: {error.message}"
            if hardware := _hardware_encoders(batch):
                message = f"{', '.join(hardware)} cannot be used: {message}"
                raise HardwareFailed(error.code, message) from error
            raise ToolError(error.code, message) from error
        at(work.duration)
        yield from made.items()


def _hardware_encoders(outputs: Sequence[RenditionOutput]) -> list[str]:
    kinds = {kind.value for kind in Hardware}
    names = {out.video.implementation for out in outputs if out.video}
    return sorted(name for name in names if name.rpartition("_")[2] in kinds)


@dataclass(frozen=True)
class _Attempt:
    """One way through the slice for a batch of ``outputs``; ``reaching`` says which runs, by their
    first media sequence, are known to reach its end, or not to."""

    work: Slice
    packager: Packager
    outputs: Sequence[RenditionOutput]
    sound: Packaged | None
    checkpoint: Callable[[], None]
    progress: Callable[[float], None]
    sizes: Mapping[int, int]
    reaching: dict[int, bool]

    def judged(self) -> dict[str, Packaged]:
        """Make the batch, anew when it turns out that the end of a run was misjudged."""
        while True:
            try:
                return self._make()
            except EndMisjudged as error:
                if error.sequence in self.reaching:
                    message = f"where its run from segment {error.sequence} ends cannot be told"
                    raise ToolError(ErrorCode.VERIFICATION_FAILED, message) from error
                self.reaching[error.sequence] = error.reaches

    def _make(self) -> dict[str, Packaged]:
        fragmented = self.work.segments[0].init_section is not None
        fetched = read_ahead(self.packager.reader, self.work.segments, self.sizes)
        with contextlib.ExitStack() as stack:
            stack.enter_context(contextlib.closing(fetched))
            writers = [stack.enter_context(self._writer(out)) for out in self.outputs]
            make = self._fmp4_runs if fragmented else self._ts_runs
            runs = list(make(fetched, writers))
            payloads = [writer.finish() for writer in writers]
        size = sum(self.sizes.values())
        return {
            out.name: packaged(self.work, [run[number] for run in runs], payload, size)
            for number, (out, payload) in enumerate(zip(self.outputs, payloads, strict=True))
        }

    def _writer(self, out: RenditionOutput) -> PartWriter:
        return PartWriter(
            out.upload,
            first_number=first_part_number(self.work.number),
            part_bytes=self._part_bytes(out),
            stage_bytes=MIN_PART_BYTES if self.work.number == 0 else 0,
        )

    def _part_bytes(self, out: RenditionOutput) -> int:
        source = sum(self.sizes.values())
        staged = len(self.sound.staged) if self.sound and out.encodes_audio else 0
        if out.video is None:
            return part_bytes(source + staged)
        seconds = self.work.duration
        sound = max(staged, min(source, round(SOUND_BYTES * seconds)))
        return estimated_part_bytes(round(SPARE * (out.video.bitrate / 8 * seconds + sound)))

    def _coming(self, first: Segment) -> tuple[Segment, ...]:
        """The slice's segments from ``first`` on."""
        return tuple(s for s in self.work.segments if s.sequence >= first.sequence)

    def _execution(self, first: Segment) -> Execution:
        """How ffmpeg is run from segment ``first`` on."""
        coming = sum(segment.duration for segment in self._coming(first))
        before = self.work.duration - coming
        return Execution(
            self.packager.ffmpeg,
            deadline_seconds(coming, len(self.outputs)),
            self.checkpoint,
            lambda seconds: self.progress(before + seconds),
        )

    @property
    def _neighbours(self) -> bool:
        """Whether pictures depend on those beside them."""
        return any(out.video and out.video.deinterlace for out in self.outputs)

    @property
    def _on_grid(self) -> bool:
        """Whether pictures are shown at a constant rate."""
        return any(out.video and out.video.constant_rate for out in self.outputs)

    def _ts_runs(
        self, fetched: Iterator[FetchedSegment], writers: Sequence[PartWriter]
    ) -> Iterator[list[PackagedRun]]:
        reader = self.packager.reader
        edges = Edges(self.work, self.packager)
        stream = SegmentStream(fetched, edges.announced_before, self.checkpoint)
        number = 0
        while (first := stream.peek()) is not None:
            period = self.work.period_at(first.segment.sequence)
            feed = TsPictureFeed(
                stream,
                edges,
                self._coming(first.segment),
                self.packager.max_hole,
                neighbours=self._neighbours,
                reaches=self.reaching.get(first.segment.sequence),
                anchor=ts_anchor(period, first, reader) if self._on_grid else None,
            )
            renditions = [
                TsRendition(feed, writer, out.video, *self._laid_in(out, feed, number))
                for out, writer in zip(self.outputs, writers, strict=True)
            ]
            yield transcode_ts_run(feed, renditions, self._execution(first.segment))
            number += 1

    def _laid_in(
        self, out: RenditionOutput, feed: TsPictureFeed, number: int
    ) -> tuple[LaidIn, Collection[int]]:
        """The sound of run ``number`` that was encoded before, and the PIDs that it replaces."""
        wanted = encoded_tracks(feed.tracks) if out.encodes_audio else {}
        if not wanted:
            return LaidIn(), ()
        runs = self.sound.tables.runs if self.sound else ()
        sequence = feed.first.segment.sequence
        if self.sound is None or number >= len(runs) or runs[number].first_sequence != sequence:
            message = f"no encoded sound from segment {sequence} on"
            raise ToolError(ErrorCode.VERIFICATION_FAILED, message)
        tracks = tuple(track for track in runs[number].tracks if track.track in wanted)
        return LaidIn(tracks, self.sound.staged), wanted.keys()

    def _fmp4_runs(
        self, fetched: Iterator[FetchedSegment], writers: Sequence[PartWriter]
    ) -> Iterator[list[PackagedRun]]:
        reader, max_hole = self.packager.reader, self.packager.max_hole
        inits = InitSections(reader)
        edges = Fmp4Edges(self.work, reader, inits, max_hole)
        stream = Fmp4Stream(fetched, inits, self.checkpoint)
        while (first := stream.peek()) is not None:
            period = self.work.period_at(first.segment.sequence)
            feed = Fmp4PictureFeed(
                stream,
                edges,
                inits,
                self._coming(first.segment),
                max_hole,
                neighbours=self._neighbours,
                reaches=self.reaching.get(first.segment.sequence),
                anchor=fmp4_anchor(period, first, reader, inits) if self._on_grid else None,
            )
            renditions = [
                Fmp4Rendition(feed, writer, out.video)
                for out, writer in zip(self.outputs, writers, strict=True)
            ]
            yield transcode_fmp4_run(feed, renditions, self._execution(first.segment))
