"""Packaging one slice: its segments become payload in parts, and tables that assembly merges."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pipelines.copied_runs import copy_runs, source_sizes
from pipelines.demuxed_sound import DemuxedSound, demuxed_sound
from pipelines.head_start import HeadStart
from pipelines.last_resort import Nowhere, spare_the_rest
from pipelines.memory_budget import MemoryBudget
from pipelines.packaged_slice import PackagedRun, PackagedSlice
from pipelines.parts import (
    STAGED_SLICE_BYTES,
    PartUpload,
    PartWriter,
    WrittenPayload,
    refuse_too_large,
)
from pipelines.sample_proof import compare_listed, compare_payload
from pipelines.slice_memory import SliceSizes, copying_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from fractions import Fraction

    from pipelines.errors import FinalizerError
    from pipelines.loss import Loss
    from pipelines.object_store import UploadedPart
    from pipelines.part_scheme import PartScheme
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
    #: Of the process: a slice waits until there is room for it.
    memory: MemoryBudget = field(default_factory=MemoryBudget)
    #: Of the process: slices that are uploaded begin one after the other.
    head_start: HeadStart = field(default_factory=HeadStart)


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

    Segments that ffmpeg fails over are given up (``spare_the_rest``). ``checkpoint`` is called often
    and raises to cancel. Raises ``PermanentError`` for a recording that cannot be packaged truly,
    ``ToolError`` when ffmpeg or its result is at fault,
    ``TransientError`` for an outage; on every error the parts sent so far count for nothing.
    """
    sizes = SliceSizes.of(work, packager)

    def measured(each: Slice) -> Mapping[int, int]:
        return sizes.segments if each is work else source_sizes(each, packager)

    with (
        packager.memory.admitted(copying_bytes(sizes), checkpoint),
        _begun(upload, sizes, packager, checkpoint) as upload,
    ):
        sound = demuxed_sound(work, packager, sizes.sound, checkpoint)
        silent = DemuxedSound(replace(work, sound=()))
        return spare_the_rest(
            work,
            lambda each: _package(each, packager, measured(each), sound, upload, checkpoint),
            lambda each: _package(each, packager, measured(each), silent, Nowhere(), checkpoint),
        )


@dataclass(frozen=True, eq=False)
class _BeginningUpload(PartUpload):
    """The upload of a slice whose beginning is over when its first part goes up."""

    upload: PartUpload
    begun: Callable[[], None]

    def scheme(self, payload_bytes: int) -> PartScheme:
        """As ``PartUpload``."""
        return self.upload.scheme(payload_bytes)

    def upload_part(self, number: int, body: bytes) -> UploadedPart:
        """As ``PartUpload``."""
        self.begun()
        return self.upload.upload_part(number, body)

    def outgrown(self) -> FinalizerError:
        """As ``PartUpload``."""
        return self.upload.outgrown()


@contextlib.contextmanager
def _begun(
    upload: PartUpload, sizes: SliceSizes, packager: Packager, checkpoint: Callable[[], None]
) -> Iterator[PartUpload]:
    """Wait for those that begin, if the slice is large enough to be uploaded by itself."""
    if sizes.total < STAGED_SLICE_BYTES:
        yield upload
        return
    with packager.head_start.given(checkpoint) as begun:
        yield _BeginningUpload(upload, begun)


def _package(
    work: Slice,
    packager: Packager,
    sizes: Mapping[int, int],
    sound: DemuxedSound,
    upload: PartUpload,
    checkpoint: Callable[[], None],
) -> Packaged:
    source_bytes = sum(sizes.values()) + sound.source_bytes
    refuse_too_large(source_bytes)
    with PartWriter(upload, number=work.number, payload_bytes=source_bytes) as writer:
        hand_out = sound.hand_out(packager.max_hole)
        made = copy_runs(work, packager, sizes, writer, checkpoint, hand_out.laid_in)
        runs = hand_out.settled(made.runs, writer)
        payload = writer.finish()
    losses, repairs = (*made.losses, *sound.losses), (*made.repairs, *sound.repairs)
    return packaged(work, runs, payload, source_bytes, losses, repairs)


def packaged(
    work: Slice,
    runs: Sequence[PackagedRun],
    payload: WrittenPayload,
    source_bytes: int,
    losses: Sequence[Loss] = (),
    repairs: Sequence[Repair] = (),
) -> Packaged:
    """The result of a slice, all of whose runs lie in the payload.

    Raises ``ToolError`` when the payload is not exactly their samples, or when a listed segment is
    neither among them nor among what is lost.
    """
    own_losses = [loss for loss in losses if not loss.rendition]
    own_repairs = [repair for repair in repairs if not repair.rendition]
    compare_listed(work.segments, runs, own_losses, own_repairs)
    compare_payload(runs, payload)
    tables = PackagedSlice(
        number=work.number,
        identity=work.identity,
        runs=tuple(runs),
        payload_bytes=payload.size,
        staged_bytes=len(payload.staged),
        parts=payload.parts,
        source_bytes=source_bytes,
        source_segments=len(work.segments) + sum(len(each.work.segments) for each in work.sound),
        listed_seconds=sum(segment.duration for segment in work.segments),
        last_sequence=max((segment.sequence for segment in work.segments), default=None),
        losses=tuple(losses),
        repairs=tuple(repairs),
    )
    return Packaged(tables, payload.staged)
