"""The runs of a slice of one playlist, copied: MPEG-TS through ffmpeg, fragmented MP4 as it is."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from pipelines.edges import Edges
from pipelines.fmp4_run import edit_shifts, package_fmp4_run
from pipelines.fmp4_stream import Fmp4Stream, earlier_segments, is_lost_before
from pipelines.indexed_segment import IndexedSegment
from pipelines.init_sections import InitSections
from pipelines.segment_stream import SegmentStream
from pipelines.source import measure, read_ahead
from pipelines.ts_feed import TsRunFeed
from pipelines.ts_run import package_ts_run

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
    from fractions import Fraction

    from pipelines.cutter import PayloadWriter
    from pipelines.fmp4_stream import Fmp4Segment
    from pipelines.interleaver import LaidIn
    from pipelines.loss import Loss
    from pipelines.package import Packager
    from pipelines.packaged_slice import PackagedRun
    from pipelines.playlist import Segment
    from pipelines.repair import Repair
    from pipelines.slices import Slice
    from pipelines.source import FetchedSegment


@dataclass(frozen=True)
class RunStart:
    """Where a run begins: its first segment, and what is shown first on its clock."""

    segment: Segment
    begin: Fraction | None  #: seconds; None when nothing tells
    wraps: bool  #: the clock is MPEG-TS's, which comes round

    @classmethod
    def of(cls, first: IndexedSegment | Fmp4Segment) -> RunStart:
        """The start of the run that begins with ``first``."""
        if isinstance(first, IndexedSegment):
            begins = [span.first_pts for span in first.spans.values()]
            return cls(first.segment, min(begins, default=None), wraps=True)
        shifts = edit_shifts(first.movie)
        begins = [span.first_pts + shifts[number] for number, span in first.spans().items()]
        return cls(first.segment, min(begins, default=None), wraps=False)


@dataclass(frozen=True, eq=False)
class CopiedRuns:
    """The runs in order, what the segments lack, and what had to be mended."""

    runs: tuple[PackagedRun, ...]
    losses: tuple[Loss, ...]
    repairs: tuple[Repair, ...]


def source_sizes(work: Slice, packager: Packager) -> dict[int, int]:
    """Bytes of the slice's segments by media sequence; raises as ``measure`` does."""
    final = packager.missing_is_final
    return measure(packager.reader, work.segments, missing_is_final=final)


def copy_runs(
    work: Slice,
    packager: Packager,
    sizes: Mapping[int, int],
    writer: PayloadWriter,
    checkpoint: Callable[[], None],
    laid_in: Callable[[RunStart], LaidIn] | None = None,
) -> CopiedRuns:
    """Copy a slice's segments, of ``sizes`` bytes, into the writer, run by run.

    ``laid_in`` is asked at the start of each run for sound that is laid into it. Raises as
    ``package_slice`` does.
    """
    runs: list[PackagedRun] = []
    losses: list[Loss] = []
    repairs: list[Repair] = []
    for stretch in stretches(work):
        copying = _Copying(stretch, packager, sizes, writer, checkpoint, laid_in)
        made = copying.fmp4() if is_fragmented(stretch.segments[0]) else copying.mpegts()
        runs += made.runs
        losses += made.losses
        repairs += made.repairs
    return CopiedRuns(tuple(runs), tuple(losses), tuple(repairs))


def is_fragmented(segment: Segment) -> bool:
    """Whether a segment is fragmented MP4; else it is MPEG-TS, or packed audio."""
    return segment.init_section is not None


def stretches(work: Slice) -> Iterator[Slice]:
    """The slice, cut where its container changes: neighbours of another kind tell nothing."""
    before = _runs_of_a_kind(work.lead_in)
    groups = _runs_of_a_kind(work.segments)
    behind = work.lead_out
    for number, group in enumerate(groups):
        first, last = number == 0, number == len(groups) - 1
        yield replace(
            work,
            segments=group,
            lead_in=before[-1] if first and before and _alike(before[-1][0], group[0]) else (),
            lead_out=behind if last and behind and _alike(behind, group[0]) else None,
            beyond=tuple(each for each in work.beyond if _alike(each, group[0])),
        )


def _runs_of_a_kind(segments: Iterable[Segment]) -> list[tuple[Segment, ...]]:
    return [tuple(group) for _, group in itertools.groupby(segments, is_fragmented)]


def _alike(one: Segment, other: Segment) -> bool:
    return is_fragmented(one) == is_fragmented(other)


@dataclass(frozen=True)
class _Copying:
    """One stretch of segments of a single container on its way into the payload."""

    work: Slice
    packager: Packager
    sizes: Mapping[int, int]
    writer: PayloadWriter
    checkpoint: Callable[[], None]
    laid_in: Callable[[RunStart], LaidIn] | None

    def mpegts(self) -> CopiedRuns:
        """The runs of MPEG-TS, which packed audio becomes."""
        edges, packager = Edges(self.work, self.packager), self.packager
        runs = []
        with contextlib.closing(self._fetched()) as fetched:
            stream = SegmentStream(fetched, edges, self.checkpoint)
            while (first := stream.peek()) is not None:
                laid_in = self._laid_in(first)
                feed = TsRunFeed(stream, edges.lead_in(first), edges.lead_out, packager.max_hole)
                runs.append(
                    package_ts_run(feed, self.writer, packager.ffmpeg, self.checkpoint, laid_in)
                )
        return CopiedRuns(tuple(runs), tuple(stream.losses), tuple(stream.repairs))

    def fmp4(self) -> CopiedRuns:
        """The runs of fragmented MP4."""
        runs = []
        with contextlib.closing(self._fetched()) as fetched:
            packager = self.packager
            inits = InitSections(packager.reader, missing_is_final=packager.missing_is_final)
            lost_before = partial(is_lost_before, self.work, packager.reader, inits)
            earlier = earlier_segments(self.work, packager.reader, inits)
            stream = Fmp4Stream(fetched, inits, self.checkpoint, lost_before, earlier)
            while (first := stream.peek()) is not None:
                laid_in = self._laid_in(first)
                runs.append(package_fmp4_run(stream, self.writer, self.packager.max_hole, laid_in))
        return CopiedRuns(tuple(runs), tuple(stream.losses), tuple(stream.repairs))

    def _laid_in(self, first: IndexedSegment | Fmp4Segment) -> LaidIn | None:
        return self.laid_in(RunStart.of(first)) if self.laid_in else None

    def _fetched(self) -> Generator[FetchedSegment]:
        return read_ahead(
            self.packager.reader,
            self.work.segments,
            self.sizes,
            missing_is_final=self.packager.missing_is_final,
        )
