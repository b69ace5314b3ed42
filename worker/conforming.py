"""Conforming for a run: one slice of a rendition made again, its odd runs as the rest of it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from pipelines.errors import InterruptedWork
from pipelines.transcoding.conform import conform_slice
from pipelines.transcoding.transcode import HardwareFailed, RenditionOutput
from worker.planning import current_slice, plan_of
from worker.progress import SHOWN_EVERY_MS
from worker.rendition_upload import RenditionUpload
from worker.slice_result import SliceResult
from worker.transcoding import encoded_sound, go_on_in_software

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.package import Packaged
    from pipelines.rendition_layout import RenditionLayout
    from pipelines.slices import Slice
    from worker.run import Run
    from worker.run_plan import PlannedRendition, RunPlan
    from worker.standing import Standing
    from worker.work import Lease

log = structlog.get_logger(__name__)


def conform_one(
    run: Run,
    lease: Lease,
    rendition: str,
    number: int,
    checkpoint: Callable[[], None],
    progress: Callable[[float], None],
) -> str:
    """Conform slice ``number`` to the layout of its rendition; a ``SliceResult`` as JSON.

    Its parts take the place of those that the slice had before. Hands the work back when the layout
    does not count any more. ``progress`` is told how many seconds of the slice's media are done.
    """
    began = run.runtime.sessions.now_ms()
    plan = plan_of(run)
    standing = run.standing(plan)
    planned, layout = _decided(standing, rendition, number)

    def is_claimed(each: Slice) -> bool:
        return planned.conformed(each.identity, number, layout) == lease.state.identity

    work = current_slice(run, planned, number, is_claimed)
    # Only a look shows how far it has come; from the first on, each asks for the next.
    run.runtime.sessions.schedule(run.session_id, began + SHOWN_EVERY_MS, earlier_only=True)
    output = RenditionOutput(
        rendition,
        planned.video,
        planned.encodes_audio,
        RenditionUpload(run, plan, planned, work),
    )
    sound = _sound(run, plan, planned, number)
    try:
        packaged = conform_slice(work, run.packager, layout, output, sound, checkpoint, progress)
    except HardwareFailed as error:
        go_on_in_software(run, [planned], error)
        raise InterruptedWork(f"hardware failed, software goes on: {error.message}") from error
    checkpoint()
    staging = run.runtime.staging(run.session_id)
    receipt = staging.write(run.generation, rendition, lease.token, packaged)
    ended = run.runtime.sessions.now_ms()
    details = {
        "rendition": rendition,
        "slice": number,
        "runs": len(layout.slices[number]),
        "seconds": (ended - began) / 1000,
        "mediaSeconds": round(work.duration, 3),
        "bytes": packaged.tables.payload_bytes,
    }
    log.info("A slice is conformed.", action="slice_conformed", **details)
    run.runtime.sessions.add_event(run.session_id, "slice_conformed", **details)
    return SliceResult(began, ended, {rendition: receipt}).to_json()


def _decided(
    standing: Standing, rendition: str, number: int
) -> tuple[PlannedRendition, RenditionLayout]:
    """The rendition and its layout; hands the work back when the slice is not to be conformed."""
    planned = standing.plan.rendition(rendition)
    layout = standing.layout(planned) if planned else None
    if planned is None or layout is None or number not in layout.slices:
        raise InterruptedWork(f"the layout of {rendition} is another one by now")
    return planned, layout


def _sound(run: Run, plan: RunPlan, planned: PlannedRendition, number: int) -> Packaged | None:
    """The encoded sound of the slice, when the rendition takes its sound from there."""
    if not planned.encodes_audio:
        return None
    group = next(each for each in plan.groups if planned in each.renditions)
    return encoded_sound(run, plan, group, number)
