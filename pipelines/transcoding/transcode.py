"""Transcoding one slice of a variant: decoded once, or batch by batch, into its renditions."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from pipelines.demuxed_sound import demuxed_sound
from pipelines.errors import ToolError
from pipelines.slice_memory import SliceSizes
from pipelines.transcoding.batches import batches
from pipelines.transcoding.kit import Hardware
from pipelines.transcoding.slice_attempt import SliceAttempt
from pipelines.transcoding.slice_progress import SliceProgress
from pipelines.transcoding.spared_sound import without_silenced
from pipelines.transcoding.transcode_memory import transcoding_bytes
from pipelines.transcoding.treatment import AsAsked

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from pipelines.package import Packaged, Packager
    from pipelines.parts import PartUpload
    from pipelines.slices import Slice
    from pipelines.transcoding.encoding import VideoEncoding


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
) -> Generator[tuple[str, Packaged]]:
    """Transcode one slice into all ``outputs``; the name and the result of each, as it is made.

    ``sound`` is the slice's encoded sound, when any of them ``encodes_audio``. ``checkpoint`` is
    called often and raises to cancel; ``progress`` is called often with the seconds of the slice's
    media that are done. Raises ``HardwareFailed``, and what ``package_slice`` raises; on every
    error the parts sent so far count for nothing. Close it when it is left before its end: it holds
    its share of the process's memory.
    """

    def staged_bytes(out: RenditionOutput) -> int:
        return len(sound.staged) if sound and out.encodes_audio else 0

    work = without_silenced(work, sound)
    sizes = SliceSizes.of(work, packager)
    grouped = list(batches(outputs))
    need = max(
        transcoding_bytes(sizes, work.duration, [out.video for out in batch]) for batch in grouped
    )
    reaching: dict[tuple[int, int], bool] = {}
    done = SliceProgress(work.duration, len(grouped), progress)
    with packager.memory.admitted(need, checkpoint):
        demuxed = demuxed_sound(work, packager, sizes.sound, checkpoint)
        for number, batch in enumerate(grouped):
            at = partial(done.at, number)
            attempt = SliceAttempt(
                work,
                packager,
                batch,
                AsAsked(sound, packager),
                staged_bytes,
                checkpoint,
                at,
                sizes.segments,
                reaching,
                demuxed,
            )
            with telling_of(work, batch):
                made = attempt.judged() if hardware_encoders(batch) else attempt.spared()
            at(work.duration)
            yield from made.items()


@contextlib.contextmanager
def telling_of(work: Slice, outputs: Sequence[RenditionOutput]) -> Iterator[None]:
    """Say of which slice and renditions a tool's failure is; ``HardwareFailed`` with hardware."""
    try:
        yield
    except ToolError as error:
        names = ", ".join(out.name for out in outputs)
        message = f"slice {work.number} of {names}: {error.message}"
        if hardware := hardware_encoders(outputs):
            message = f"{', '.join(hardware)} cannot be used: {message}"
            raise HardwareFailed(error.code, message) from error
        raise ToolError(error.code, message) from error


def hardware_encoders(outputs: Sequence[RenditionOutput]) -> list[str]:
    """The encoders of hardware that make any of the outputs, by their names in ffmpeg."""
    kinds = {kind.value for kind in Hardware}
    names = {out.video.implementation for out in outputs if out.video}
    return sorted(name for name in names if name.rpartition("_")[2] in kinds)
