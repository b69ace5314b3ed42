"""One way through a slice for a batch of renditions: run after run, each as it is to be treated."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from pipelines.copied_runs import RunStart, is_fragmented, source_sizes, stretches
from pipelines.demuxed_sound import DemuxedSound
from pipelines.edges import Edges
from pipelines.errors import ErrorCode, PermanentError, ToolError
from pipelines.fmp4_run import package_fmp4_run
from pipelines.fmp4_stream import Fmp4Stream, earlier_segments, is_lost_before
from pipelines.init_sections import InitSections
from pipelines.last_resort import Nowhere, spare_the_rest
from pipelines.package import Packaged, packaged
from pipelines.parts import PartWriter, refuse_too_large
from pipelines.segment_stream import SegmentStream
from pipelines.source import read_ahead
from pipelines.transcoding.anchor import fmp4_anchor, ts_anchor
from pipelines.transcoding.encoded_run import Execution, deadline_seconds
from pipelines.transcoding.fmp4_pictures import Fmp4Edges, Fmp4PictureFeed
from pipelines.transcoding.fmp4_transcode import Fmp4Rendition, transcode_fmp4_run
from pipelines.transcoding.ownership import EndMisjudged
from pipelines.transcoding.ts_pictures import TsPictureFeed
from pipelines.transcoding.ts_transcode import TsRendition, transcode_ts_run
from pipelines.ts_feed import TsRunFeed
from pipelines.ts_run import package_ts_run

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

    from pipelines.indexed_segment import IndexedSegment
    from pipelines.loss import Loss
    from pipelines.package import Packager
    from pipelines.packaged_slice import PackagedRun
    from pipelines.playlist import Segment
    from pipelines.repair import Repair
    from pipelines.slices import Slice
    from pipelines.source import FetchedSegment
    from pipelines.transcoding.transcode import RenditionOutput
    from pipelines.transcoding.treatment import FirstSegment, Treat, Treatment

#: Bytes/s that copied sound takes at most, for the size of parts.
SOUND_BYTES = 250_000
#: What a slice may hold beyond its bit rate times its listed duration.
SPARE = 1.25


@dataclass(frozen=True)
class SliceAttempt:
    """One way through the slice for ``outputs``, which are made together.

    ``treat`` decides what becomes of each run; ``made_bytes`` says how many bytes of a rendition's
    payload are not copied from its segments, at most. ``reaching`` says which runs, by the media
    sequence and the piece of their first segment, are known to reach the slice's end, or not to. ``demuxed`` is the sound of
    playlists of its own.
    """

    work: Slice
    packager: Packager
    outputs: Sequence[RenditionOutput]
    treat: Treat
    made_bytes: Callable[[RenditionOutput], int]
    checkpoint: Callable[[], None]
    progress: Callable[[float], None]
    sizes: Mapping[int, int]
    reaching: dict[tuple[int, int], bool]
    demuxed: DemuxedSound

    def judged(self) -> dict[str, Packaged]:
        """Make the batch, anew when it turns out that the end of a run was misjudged."""
        while True:
            try:
                return self._make()
            except EndMisjudged as error:
                start = error.sequence, error.piece
                if start in self.reaching:
                    message = f"where its run from segment {error.sequence} ends cannot be told"
                    raise ToolError(ErrorCode.VERIFICATION_FAILED, message) from error
                self.reaching[start] = error.reaches

    def spared(self) -> dict[str, Packaged]:
        """As ``judged``; segments that ffmpeg fails over are given up, as by ``spare_the_rest``."""
        return spare_the_rest(
            self.work,
            lambda each: self.judged() if each is self.work else self._of(each).judged(),
            lambda each: self._trial(each).judged(),
        )

    def _of(self, work: Slice) -> SliceAttempt:
        """The same way through a part of the slice."""
        return replace(
            self,
            work=work,
            treat=self.treat.of(work),
            sizes=source_sizes(work, self.packager),
            reaching={},
        )

    def _trial(self, work: Slice) -> SliceAttempt:
        """A way through a part of the slice of which nothing is kept, sound of its own left out."""
        alone = replace(work, sound=())
        return replace(
            self._of(alone),
            outputs=[replace(out, upload=Nowhere()) for out in self.outputs],
            progress=lambda _: None,
            demuxed=DemuxedSound(alone),
        )

    def _make(self) -> dict[str, Packaged]:
        with contextlib.ExitStack() as stack:
            writers = [stack.enter_context(self._writer(out)) for out in self.outputs]
            way = _Way(self, writers)
            made = way.runs()
            payloads = [writer.finish() for writer in writers]
        size = sum(self.sizes.values()) + self.demuxed.source_bytes
        losses = (*way.losses, *self.demuxed.losses)
        repairs = (*way.repairs, *self.demuxed.repairs)
        return {
            out.name: packaged(self.work, runs, payload, size, losses, repairs)
            for out, runs, payload in zip(self.outputs, made, payloads, strict=True)
        }

    def _writer(self, out: RenditionOutput) -> PartWriter:
        payload_bytes = self._payload_bytes(out)
        return PartWriter(out.upload, number=self.work.number, payload_bytes=payload_bytes)

    def _payload_bytes(self, out: RenditionOutput) -> int:
        """About how large the payload of an output will be."""
        source = sum(self.sizes.values()) + self.demuxed.source_bytes
        made = self.made_bytes(out)
        if out.video is None and not made:
            refuse_too_large(source)
            return source
        if out.video is None:
            return source + made
        seconds = self.work.duration
        sound = max(made, min(source, round(SOUND_BYTES * seconds)))
        return round(SPARE * (out.video.bitrate / 8 * seconds + sound))


class _Way:
    """Goes through the slice's segments once; ``writers`` take the payloads of the outputs."""

    def __init__(self, attempt: SliceAttempt, writers: Sequence[PartWriter]) -> None:
        self._attempt = attempt
        self._packager = attempt.packager
        self._writers = writers
        self._hand_outs = [attempt.demuxed.hand_out(self._packager.max_hole) for _ in writers]
        self.losses: list[Loss] = []
        self.repairs: list[Repair] = []

    def runs(self) -> list[tuple[PackagedRun, ...]]:
        """The runs of every output."""
        made: list[list[PackagedRun]] = []
        for stretch in stretches(self._attempt.work):
            with contextlib.closing(self._fetched(stretch)) as fetched:
                if is_fragmented(stretch.segments[0]):
                    made += self._fmp4_runs(stretch, fetched)
                else:
                    made += self._ts_runs(stretch, fetched)
        return [
            hand_out.settled([run[number] for run in made], writer)
            for number, (hand_out, writer) in enumerate(
                zip(self._hand_outs, self._writers, strict=True)
            )
        ]

    def _fetched(self, stretch: Slice) -> Generator[FetchedSegment]:
        return read_ahead(
            self._packager.reader,
            stretch.segments,
            self._attempt.sizes,
            missing_is_final=self._packager.missing_is_final,
        )

    def _coming(self, first: Segment) -> tuple[Segment, ...]:
        """The slice's segments from ``first`` on."""
        return tuple(s for s in self._attempt.work.segments if s.sequence >= first.sequence)

    def _execution(self, first: Segment) -> Execution:
        """How ffmpeg is run from segment ``first`` on."""
        attempt = self._attempt
        coming = sum(segment.duration for segment in self._coming(first))
        before = attempt.work.duration - coming
        return Execution(
            self._packager.ffmpeg,
            deadline_seconds(coming, len(self._writers)),
            attempt.checkpoint,
            lambda seconds: attempt.progress(before + seconds),
        )

    def _treatments(self, first: FirstSegment) -> list[Treatment]:
        start = RunStart.of(first)
        made = []
        for out, hand_out in zip(self._attempt.outputs, self._hand_outs, strict=True):
            made.append(self._attempt.treat(out, first, hand_out.laid_in(start)))
            hand_out.replace(made[-1].replaced)
        return made

    def _ts_runs(
        self, stretch: Slice, fetched: Iterator[FetchedSegment]
    ) -> Iterator[list[PackagedRun]]:
        edges = Edges(stretch, self._packager)
        stream = SegmentStream(fetched, edges, self._attempt.checkpoint)
        while (first := stream.peek()) is not None:
            treatments = self._treatments(first)
            if len(treatments) == 1 and treatments[0].copies:
                made = [self._copied_ts_run(stream, edges, treatments[0])]
            else:
                made = self._ts_run(stream, edges, treatments)
            yield _finished(made, treatments)
        self.losses += stream.losses
        self.repairs += stream.repairs

    def _copied_ts_run(
        self, stream: SegmentStream, edges: Edges, treatment: Treatment
    ) -> PackagedRun:
        lead_in = edges.lead_in(_first(stream))
        feed = TsRunFeed(stream, lead_in, edges.lead_out, self._packager.max_hole)
        return package_ts_run(
            feed,
            self._writers[0],
            self._packager.ffmpeg,
            self._attempt.checkpoint,
            treatment.laid_in,
        )

    def _ts_run(
        self, stream: SegmentStream, edges: Edges, treatments: Sequence[Treatment]
    ) -> list[PackagedRun]:
        first = _first(stream)
        period = self._attempt.work.period_at(first.segment.sequence)
        on_grid = _on_grid(treatments)
        feed = TsPictureFeed(
            stream,
            edges,
            self._coming(first.segment),
            self._packager.max_hole,
            neighbours=_neighbours(treatments),
            reaches=self._attempt.reaching.get((first.segment.sequence, first.piece)),
            anchor=ts_anchor(period, first, self._packager.reader) if on_grid else None,
        )
        renditions = [
            TsRendition(feed, writer, each.video, each.laid_in, each.replaced, each.reader())
            for each, writer in zip(treatments, self._writers, strict=True)
        ]
        return transcode_ts_run(feed, renditions, self._execution(feed.first.segment))

    def _fmp4_runs(
        self, stretch: Slice, fetched: Iterator[FetchedSegment]
    ) -> Iterator[list[PackagedRun]]:
        packager = self._packager
        inits = InitSections(packager.reader, missing_is_final=packager.missing_is_final)
        edges = Fmp4Edges(stretch, packager.reader, inits, packager.max_hole)
        lost_before = partial(is_lost_before, stretch, packager.reader, inits)
        earlier = earlier_segments(stretch, packager.reader, inits)
        stream = Fmp4Stream(fetched, inits, self._attempt.checkpoint, lost_before, earlier)
        while (first := stream.peek()) is not None:
            treatments = self._treatments(first)
            if len(treatments) == 1 and treatments[0].video is None:
                made = [self._copied_fmp4_run(stream, treatments[0])]
            else:
                made = self._fmp4_run(stream, inits, edges, treatments)
            yield _finished(made, treatments)
        self.losses += stream.losses
        self.repairs += stream.repairs

    def _copied_fmp4_run(self, stream: Fmp4Stream, treatment: Treatment) -> PackagedRun:
        return package_fmp4_run(
            stream,
            self._writers[0],
            self._packager.max_hole,
            treatment.laid_in,
            treatment.replaced,
        )

    def _fmp4_run(
        self,
        stream: Fmp4Stream,
        inits: InitSections,
        edges: Fmp4Edges,
        treatments: Sequence[Treatment],
    ) -> list[PackagedRun]:
        first = stream.peek()
        if first is None:
            raise LookupError("a run needs a segment")
        reader = self._packager.reader
        period = self._attempt.work.period_at(first.segment.sequence)
        on_grid = _on_grid(treatments)
        feed = Fmp4PictureFeed(
            stream,
            edges,
            inits,
            self._coming(first.segment),
            self._packager.max_hole,
            neighbours=_neighbours(treatments),
            reaches=self._attempt.reaching.get((first.segment.sequence, first.piece)),
            anchor=fmp4_anchor(period, first, reader, inits) if on_grid else None,
        )
        renditions = []
        for each, writer in zip(treatments, self._writers, strict=True):
            if each.video is None:
                message = (
                    f"segment {first.segment.sequence}: fragmented MP4 is copied, or encoded, but"
                    " not both at once"
                )
                raise PermanentError(ErrorCode.CODEC_UNSUPPORTED, message)
            renditions.append(
                Fmp4Rendition(feed, writer, each.video, each.laid_in, each.replaced, each.reader())
            )
        return transcode_fmp4_run(feed, renditions, self._execution(first.segment))


def _first(stream: SegmentStream) -> IndexedSegment:
    first = stream.peek()
    if first is None:
        raise LookupError("a run needs a segment")
    return first


def _finished(made: Sequence[PackagedRun], treatments: Sequence[Treatment]) -> list[PackagedRun]:
    return [each.finish(run) for run, each in zip(made, treatments, strict=True)]


def _neighbours(treatments: Sequence[Treatment]) -> bool:
    """Whether pictures depend on those beside them."""
    return any(each.video and each.video.deinterlace for each in treatments)


def _on_grid(treatments: Sequence[Treatment]) -> bool:
    """Whether pictures are shown at a constant rate."""
    return any(each.video and each.video.constant_rate for each in treatments)
