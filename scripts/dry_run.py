"""What a re-run would make: the plan with its reasons, and the slices; nothing is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.errors import PermanentError
from pipelines.plan import plan
from pipelines.session import Phase
from pipelines.slices import cut
from scripts.event_words import count_words, printable
from worker.rerun import refusal
from worker.run import Run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.plan import Copy
    from pipelines.playlist import Recording
    from pipelines.slices import Slice
    from worker.records import SessionRecord
    from worker.runtime import Runtime


@dataclass(frozen=True)
class DryRun:
    """The lines that tell what would become of a session, and whether it could become ready."""

    lines: tuple[str, ...]
    feasible: bool


def rehearse(runtime: Runtime, record: SessionRecord, *, force: bool) -> DryRun:
    """Read the recording as it is now and plan it, whatever state the session is in.

    Raises TransientError when the store does not answer.
    """
    lines = [f"{record.id}: {record.phase}, revision {record.revision}", _start(record, force)]
    try:
        recording = Run(runtime, record).read_recording()
        lines += _recording_lines(recording)
        lines += _plan_lines(runtime, record, recording)
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


def _plan_lines(runtime: Runtime, record: SessionRecord, recording: Recording) -> Iterator[str]:
    decided = plan(record.session, recording)
    for copy in decided.renditions:
        slices = _slices(runtime, record, recording, copy)
        yield f"  {copy.name}: copy of variant {copy.variant} in {count_words(len(slices), 'slice')}."
        yield f"    {copy.reason}"
        yield from map(_slice_line, slices)
    for profile in decided.not_made:
        yield f"  {profile.name}: not made."
        yield f"    {profile.reason}"


def _slices(
    runtime: Runtime, record: SessionRecord, recording: Recording, copy: Copy
) -> tuple[Slice, ...]:
    playlist = recording.variant(copy.variant).playlists[0]
    idle = record.phase is not Phase.LIVE
    return cut(playlist, idle=idle, slice_seconds=runtime.settings.slice_seconds)


def _slice_line(each: Slice) -> str:
    first, last = each.segments[0].sequence, each.segments[-1].sequence
    growing = "" if each.settled else ", still growing"
    return (
        f"    slice {each.number}: segments {first} to {last}, "
        f"{each.start:.3f} s to {each.start + each.duration:.3f} s{growing}"
    )
