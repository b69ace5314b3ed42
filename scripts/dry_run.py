"""What a re-run would make: the plan with its reasons, and the slices; nothing is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.errors import PermanentError
from pipelines.plan import Transcode
from pipelines.session import Phase
from scripts.event_words import count_words, printable
from worker.planning import decide
from worker.rerun import refusal
from worker.run import Run
from worker.run_plan import kind_of, slices_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.plan import Rendition
    from pipelines.playlist import Recording
    from pipelines.slices import Slice
    from pipelines.transcoding.encoding import VideoEncoding
    from worker.records import SessionRecord
    from worker.runtime import Runtime


@dataclass(frozen=True)
class DryRun:
    """The lines that tell what would become of a session, and whether it could become ready."""

    lines: tuple[str, ...]
    feasible: bool


def rehearse(runtime: Runtime, record: SessionRecord, *, force: bool) -> DryRun:
    """Read the recording as it is now and plan it, whatever state the session is in.

    Raises TransientError when the store does not answer, ToolError when ffmpeg does not run.
    """
    lines = [f"{record.id}: {record.phase}, revision {record.revision}", _start(record, force)]
    try:
        run = Run(runtime, record)
        recording = run.read_recording()
        lines += _recording_lines(recording)
        lines += _plan_lines(run, recording)
    except PermanentError as error:
        lines.append(f"  It would end failed: {error.message} ({error.code})")
        return DryRun(tuple(map(printable, lines)), feasible=False)
    return DryRun(tuple(map(printable, lines)), feasible=True)


def _start(record: SessionRecord, force: bool) -> str:
    refused = refusal(record, force=force)
    if refused:
        return f"  A re-run would be refused now. {refused}"
    joined = record.phase is Phase.FINALIZING and not force
    return "  A re-run would join the run under way." if joined else "  A re-run would begin now."


def _recording_lines(recording: Recording) -> Iterator[str]:
    ended = "with ENDLIST" if recording.ended else "without ENDLIST"
    segments = count_words(recording.segment_count, "segment")
    yield f"  {recording.location}: {segments}, {recording.duration:.3f} s, {ended}"


def _plan_lines(run: Run, recording: Recording) -> Iterator[str]:
    decided = decide(run, recording)
    for rendition in decided.renditions:
        slices = _slices(run, recording, rendition)
        made = _making(rendition)
        yield f"  {rendition.name}: {made}, in {count_words(len(slices), 'slice')}."
        yield f"    {rendition.reason}"
        yield from map(_slice_line, slices)
    for profile in decided.not_made:
        yield f"  {profile.name}: not made."
        yield f"    {profile.reason}"


def _making(rendition: Rendition) -> str:
    """How a rendition is made, with everything that an encoder is told."""
    if not isinstance(rendition, Transcode):
        return f"copy of variant {rendition.variant}"
    pictures = _encoding_words(rendition.video) if rendition.video else "pictures copied"
    sound = "sound to AAC" if rendition.encodes_audio else "sound copied"
    return f"transcode of variant {rendition.variant}: {pictures}, {sound}"


def _encoding_words(video: VideoEncoding) -> str:
    rate = str(video.nominal_rate) if video.constant_rate else "source's"
    words = [
        f"{video.width}x{video.height}",
        f"{video.encoder} by {video.implementation}",
        f"{'at most' if video.quality is not None else 'at'} {video.bitrate} bit/s",
        f"{rate} frames/s",
    ]
    words += [f"quality {video.quality}"] if video.quality is not None else []
    words += [str(video.profile)] if video.profile else []
    words += ["deinterlaced"] if video.deinterlace else []
    words += ["tone-mapped"] if video.tone_map else []
    return ", ".join(words)


def _slices(run: Run, recording: Recording, rendition: Rendition) -> tuple[Slice, ...]:
    idle = run.record.phase is not Phase.LIVE
    seconds = run.runtime.settings.slice_seconds
    return slices_of(recording, rendition.variant, kind_of(rendition), seconds, idle=idle)


def _slice_line(each: Slice) -> str:
    first, last = each.segments[0].sequence, each.segments[-1].sequence
    growing = "" if each.settled else ", still growing"
    return (
        f"    slice {each.number}: segments {first} to {last}, "
        f"{each.start:.3f} s to {each.start + each.duration:.3f} s{growing}"
    )
