"""Planning a run: what its recording's media is and what is made of it, asked in one place.

Planning looks at the media (``survey``) and so costs a fetch of the first segments: it is done once
for a run, and again only when the recording lists something else or hardware has failed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from pipelines.errors import ErrorCode, InterruptedWork, TransientError
from pipelines.plan import plan
from pipelines.plan_options import PlanOptions
from pipelines.transcoding.kit import hardware_implementation, probe_kit
from pipelines.transcoding.survey import survey
from worker.live_pace import SOONEST_MS
from worker.run_plan import RunPlan, slices_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from pipelines.plan import Plan
    from pipelines.playlist import Recording
    from pipelines.slices import Slice
    from worker.run import Run
    from worker.run_plan import PlannedRendition

log = structlog.get_logger(__name__)


def decide(run: Run, recording: Recording) -> Plan:
    """What is made of the recording with the settings, the tools and the hardware at hand.

    Raises ``PermanentError`` when nothing can be, ``TransientError`` when the media cannot be read,
    ``ToolError`` when ffmpeg or ffprobe does not run.
    """
    runtime, settings = run.runtime, run.runtime.settings
    await_sound(run, recording)
    media = survey(runtime.reader, recording.source, runtime.tools.ffprobe)
    if not (media.video or media.audio or run.packager.missing_is_final):
        message = f"the first segments of {recording.source.location} are not there yet"
        raise TransientError(message, ErrorCode.SEGMENT_MISSING)
    options = PlanOptions(
        preset=settings.preset,
        hardware=None if run.software_only else settings.hardware,
        default_ladder=settings.default_profiles,
        web_for_hevc=settings.web_for_hevc,
    )
    kit = probe_kit(runtime.tools.ffmpeg)
    return plan(run.record.session, recording, media, kit, options)


def await_sound(run: Run, recording: Recording) -> None:
    """Raise ``TransientError`` while a playlist of sound may just be late, or away: without it each
    slice would be another one, to be packaged anew."""
    sound = (each for variant in recording.variants for each in variant.sound)
    unread = [each for each in sound if each.playlist is None]
    if unread and not run.packager.missing_is_final:
        message = f"the playlist {unread[0].location} of sound is not there yet"
        raise TransientError(message, ErrorCode.PLAYLIST_MISSING)


def make_plan(
    run: Run, recording: Recording, *, final: bool = True, ended: bool = False
) -> RunPlan:
    """The plan of the run upon this reading of its recording, as ``RunPlan.make`` has it; raises as
    ``decide`` does."""
    decided = decide(run, recording)
    seconds = run.runtime.settings.slice_seconds
    return RunPlan.make(recording, run.record.session, decided, seconds, final=final, ended=ended)


def unlisted_hardware(run: Run, plan: RunPlan) -> set[str]:
    """Names of the hardware encoders that the settings prefer and this ffmpeg does not even list."""
    hardware = run.runtime.settings.hardware
    if hardware is None:
        return set()
    wanted = {
        hardware_implementation(each.video.encoder, hardware)
        for each in plan.renditions
        if each.video is not None
    }
    return {name for name in wanted if name} - probe_kit(run.runtime.tools.ffmpeg).encoders


def tell_fallback(run: Run, implementations: Collection[str], reason: str) -> None:
    """Say in the log and in the session's events that software encodes what hardware should have."""
    details = {"implementation": ", ".join(sorted(implementations)), "reason": reason}
    message = "A hardware encoder cannot be used; software encoders go on."
    log.warning(message, action="encoder_fallback", **details)
    run.runtime.sessions.add_event(run.session_id, "encoder_fallback", **details)


def plan_of(run: Run) -> RunPlan:
    """The plan that counts; raises ``InterruptedWork`` when the run has none any more."""
    plan = run.plan()
    if plan is None:
        raise InterruptedWork("the run is over: its plan is gone")
    return plan


def planned_rendition(plan: RunPlan, name: str) -> PlannedRendition:
    """The rendition that an item names; hands the work back when the plan has none such any more."""
    planned = plan.rendition(name)
    if planned is None:
        raise InterruptedWork("the run was planned anew since the work was claimed")
    return planned


def current_slices(
    run: Run,
    planned: PlannedRendition | None,
    is_claimed: Callable[[tuple[Slice, ...]], bool],
) -> tuple[Slice, ...]:
    """The slices of a rendition as its playlist lists them now, for work that was claimed before.

    Raises ``InterruptedWork`` when they are not the claimed ones by now, after having another run
    follow this one (of a live session: its plan looked at again), and when the plan (None: no such rendition) is not that of the claim.
    """
    if planned is None:
        raise InterruptedWork("the plan knows nothing of what was claimed")
    seconds, recording = run.runtime.settings.slice_seconds, run.read_recording()
    await_sound(run, recording)
    slices = slices_of(recording, planned.variant, planned.kind, seconds)
    if is_claimed(slices):
        return slices
    told = "the recording is another one by now; it is planned anew"
    if run.is_live:
        run.look_again()
        raise InterruptedWork(told, SOONEST_MS)
    run.begin_anew("the recording is another one by now")
    raise InterruptedWork(told)


def current_slice(
    run: Run,
    planned: PlannedRendition | None,
    number: int,
    is_claimed: Callable[[Slice], bool],
) -> Slice:
    """One slice, as ``current_slices`` gives all."""

    def is_there(slices: tuple[Slice, ...]) -> bool:
        return number < len(slices) and is_claimed(slices[number])

    return current_slices(run, planned, is_there)[number]
