"""Transcoding one slice of a variant: decoded once, or batch by batch, into its renditions."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from pipelines.copied_runs import source_sizes
from pipelines.demuxed_sound import demuxed_sound
from pipelines.errors import ToolError
from pipelines.transcoding.batches import batches
from pipelines.transcoding.kit import Hardware
from pipelines.transcoding.slice_attempt import SliceAttempt
from pipelines.transcoding.slice_progress import SliceProgress
from pipelines.transcoding.spared_sound import without_silenced
from pipelines.transcoding.treatment import AsAsked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

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
) -> Iterator[tuple[str, Packaged]]:
    """Transcode one slice into all ``outputs``; the name and the result of each, as it is made.

    ``sound`` is the slice's encoded sound, when any of them ``encodes_audio``. ``checkpoint`` is
    called often and raises to cancel; ``progress`` is called often with the seconds of the slice's
    media that are done. Raises ``HardwareFailed``, and what ``package_slice`` raises; on every
    error the parts sent so far count for nothing.
    """

    def staged_bytes(out: RenditionOutput) -> int:
        return len(sound.staged) if sound and out.encodes_audio else 0

    work = without_silenced(work, sound)
    sizes = source_sizes(work, packager)
    demuxed = demuxed_sound(work, packager, checkpoint)
    reaching: dict[tuple[int, int], bool] = {}
    grouped = list(batches(outputs))
    done = SliceProgress(work.duration, len(grouped), progress)
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
            sizes,
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
