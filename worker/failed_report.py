"""The report of a run that has failed: why, and what was known of its recording by then."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import structlog

import worker
from pipelines.errors import FinalizerError, ToolError, TransientError
from pipelines.rendition_report import unproven_report
from pipelines.run_report import RunOrigin, report
from pipelines.staging import SliceLost
from pipelines.window_report import window_report
from worker.longer_revision import forgotten_segments
from worker.made_again import made_again_of
from worker.progress import rendition_views
from worker.rendition_view import unmade_view
from worker.timings import timings_of

if TYPE_CHECKING:
    from pipelines.loss import Loss
    from pipelines.playlist import Recording
    from pipelines.report import RenditionReport, Report
    from pipelines.run_report import RunError
    from pipelines.staging import SliceReceipt
    from worker.run import Run
    from worker.run_plan import RunPlan
    from worker.standing import Standing

log = structlog.get_logger(__name__)

#: Slice results that are read side by side.
READERS = 8


def failed_report(run: Run, plan: RunPlan | None, error: RunError) -> Report:
    """The report with the reason; whatever cannot be read by now is left out of it."""
    standing = run.standing(plan) if plan else None
    origin = RunOrigin(
        run.generation,
        None,
        _ffmpeg_version(run),
        worker.__version__,
        timings_of(run, standing, {}) if standing else {},
        made_again_of(standing) if standing else {},
    )
    renditions = _renditions(run, standing) if standing else []
    mp4 = plan.mp4 if plan else None
    recording = _recording(run)
    window = None
    if recording is not None:
        window = window_report(recording, forgotten=forgotten_segments(run, recording))
    session = run.record.session
    return report(session, recording, renditions, mp4, origin, window=window, error=error)


def _ffmpeg_version(run: Run) -> str | None:
    try:
        return run.runtime.tools.version()
    except ToolError:
        return None


def _recording(run: Run) -> Recording | None:
    try:
        return run.read_recording()
    except FinalizerError as error:
        log.info("The recording cannot be read.", action="not_reported", reason=error.message)
        return None


def _renditions(run: Run, standing: Standing) -> list[RenditionReport]:
    losses = {
        planned.name: [
            result.receipts[planned.name] for result in standing.first(planned) if result
        ]
        for planned in standing.plan.renditions
    }
    return [
        unproven_report(unmade_view(view, "failed"), _losses(run, losses.get(view["name"], [])))
        for view in rendition_views(run, standing)
    ]


def _losses(run: Run, receipts: list[SliceReceipt]) -> list[Loss]:
    """What the finished slices of a rendition lack, as far as their results can be read."""
    staging = run.runtime.staging(run.session_id)

    def read(receipt: SliceReceipt) -> tuple[Loss, ...]:
        try:
            return staging.losses(receipt)
        except SliceLost:
            return ()

    found: list[Loss] = []
    pool = ThreadPoolExecutor(READERS, thread_name_prefix="read-losses")
    try:
        for losses in pool.map(read, receipts):
            found += losses
    except TransientError as error:
        log.info("The losses cannot be read.", action="not_reported", reason=error.message)
    finally:
        pool.shutdown(cancel_futures=True)
    return found
