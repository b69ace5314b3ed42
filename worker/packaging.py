"""Packaging one slice of a run: from the playlist as it is now to a receipt that counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from pipelines.package import package_slice
from worker.planning import current_slice, plan_of, planned_rendition
from worker.rendition_upload import RenditionUpload
from worker.slice_result import SliceResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.run import Run
    from worker.work import Lease

log = structlog.get_logger(__name__)


def package_one(
    run: Run, lease: Lease, rendition: str, number: int, checkpoint: Callable[[], None]
) -> str:
    """Package slice ``number``; a ``SliceResult`` as JSON. Its objects carry the lease's token."""
    began = run.runtime.sessions.now_ms()
    plan = plan_of(run)
    planned = planned_rendition(plan, rendition)
    work = current_slice(run, planned, number, lambda each: each.identity == lease.state.identity)
    upload = RenditionUpload(run, plan, planned, work)
    packaged = package_slice(work, run.packager, upload, checkpoint)
    checkpoint()
    staging = run.runtime.staging(run.session_id)
    receipt = staging.write(run.generation, rendition, lease.token, packaged)
    ended = run.runtime.sessions.now_ms()
    details = {
        "rendition": rendition,
        "slice": number,
        "seconds": (ended - began) / 1000,
        "mediaSeconds": round(work.duration, 3),
        "bytes": packaged.tables.source_bytes,
    }
    log.info("A slice is packaged.", action="slice_packaged", **details)
    run.runtime.sessions.add_event(run.session_id, "slice_packaged", **details)
    return SliceResult(began, ended, {rendition: receipt}).to_json()
