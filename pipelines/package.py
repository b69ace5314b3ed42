"""Packaging one slice: its segments become payload in parts, and tables that assembly merges."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.edges import Edges
from pipelines.errors import ErrorCode, PermanentError
from pipelines.fmp4_run import Fmp4Stream, InitSections, package_fmp4_run
from pipelines.object_store import MIN_PART_BYTES
from pipelines.packaged_slice import PackagedRun, PackagedSlice
from pipelines.parts import PartWriter, WrittenPayload, first_part_number, part_bytes
from pipelines.segment_stream import SegmentStream
from pipelines.source import measure, read_ahead
from pipelines.ts_feed import TsRunFeed
from pipelines.ts_run import package_ts_run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from fractions import Fraction

    from pipelines.loss import Loss
    from pipelines.parts import PartUpload
    from pipelines.repair import Repair
    from pipelines.slices import Slice
    from pipelines.source import SourceReader


@dataclass(frozen=True)
class Packager:
    """What packaging needs besides the slice; one per worker, safe to share between threads."""

    reader: SourceReader
    ffmpeg: str  #: path of the program
    max_hole: Fraction  #: seconds; a longer forward jump of the clock begins a new period
    #: Whether a segment that is not there is given up: soon after the session's end it may come.
    missing_is_final: bool = True


@dataclass(frozen=True, eq=False)
class Packaged:
    """A packaged slice and the bytes at the start of its payload, which are staged beside it."""

    tables: PackagedSlice
    staged: bytes


def package_slice(
    work: Slice,
    packager: Packager,
    upload: PartUpload,
    checkpoint: Callable[[], None],
) -> Packaged:
    """Package one slice; bytes flow from the source through ffmpeg into parts, never to disk.

    ``checkpoint`` is called often and raises to cancel. Raises ``PermanentError`` for a recording
    that cannot be packaged truly, ``ToolError`` when ffmpeg or its result is at fault,
    ``TransientError`` for an outage; on every error the parts sent so far count for nothing.
    """
    refuse_mixed(work)
    sizes = measure(packager.reader, work.segments)
    source_bytes = sum(sizes.values())
    with PartWriter(
        upload,
        first_number=first_part_number(work.number),
        part_bytes=part_bytes(source_bytes),
        stage_bytes=MIN_PART_BYTES if work.number == 0 else 0,
    ) as writer:
        if work.segments[0].init_section is not None:
            runs = _fmp4_runs(work, packager, sizes, writer, checkpoint)
        else:
            runs = _ts_runs(work, packager, sizes, writer, checkpoint)
        payload = writer.finish()
    return packaged(work, runs, payload, source_bytes)


def packaged(
    work: Slice,
    runs: Sequence[PackagedRun],
    payload: WrittenPayload,
    source_bytes: int,
    losses: Sequence[Loss] = (),
    repairs: Sequence[Repair] = (),
) -> Packaged:
    """The result of a slice, all of whose runs lie in the payload."""
    tables = PackagedSlice(
        number=work.number,
        identity=work.identity,
        runs=tuple(runs),
        payload_bytes=payload.size,
        staged_bytes=len(payload.staged),
        parts=payload.parts,
        source_bytes=source_bytes,
        source_segments=len(work.segments),
        listed_seconds=sum(segment.duration for segment in work.segments),
        losses=tuple(losses),
        repairs=tuple(repairs),
    )
    return Packaged(tables, payload.staged)


def _fmp4_runs(
    work: Slice,
    packager: Packager,
    sizes: Mapping[int, int],
    writer: PartWriter,
    checkpoint: Callable[[], None],
) -> list[PackagedRun]:
    runs = []
    with contextlib.closing(read_ahead(packager.reader, work.segments, sizes)) as fetched:
        stream = Fmp4Stream(fetched, InitSections(packager.reader), checkpoint)
        while stream.peek() is not None:
            runs.append(package_fmp4_run(stream, writer, packager.max_hole))
    return runs


def _ts_runs(
    work: Slice,
    packager: Packager,
    sizes: Mapping[int, int],
    writer: PartWriter,
    checkpoint: Callable[[], None],
) -> list[PackagedRun]:
    edges = Edges(work, packager)
    runs: list[PackagedRun] = []
    with contextlib.closing(read_ahead(packager.reader, work.segments, sizes)) as fetched:
        stream = SegmentStream(fetched, edges.announced_before, checkpoint)
        while (first := stream.peek()) is not None:
            feed = TsRunFeed(stream, edges.lead_in(first), edges.lead_out, packager.max_hole)
            runs.append(package_ts_run(feed, writer, packager.ffmpeg, checkpoint))
    return runs


def refuse_mixed(work: Slice) -> None:
    """Refuse a slice whose segments mix MPEG-TS and fragmented MP4."""
    fragmented = {segment.init_section is not None for segment in work.segments}
    if len(fragmented) > 1:
        message = f"slice {work.number} mixes MPEG-TS and fragmented MP4 segments"
        raise PermanentError(ErrorCode.CONFIGURATION_CHANGED, message)
