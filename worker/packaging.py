"""Packaging one slice of a run: from the playlist as it is now to a receipt that counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from pipelines.errors import TransientError
from pipelines.package import package_slice
from pipelines.store_errors import UploadMissing
from worker.planning import current_slice, plan_of
from worker.slice_result import SliceResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.object_store import UploadedPart
    from worker.run import Run
    from worker.work import Lease

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class RenditionUpload:
    """Uploads parts of a rendition's MP4; the multipart upload is opened by the first of them."""

    run: Run
    rendition: str

    def upload_part(self, number: int, body: bytes) -> UploadedPart:
        """Upload one part; an upload that the store dropped is begun anew by the next attempt."""
        upload = self.run.open_upload(self.rendition)
        where = self.run.mp4(self.rendition)
        try:
            return self.run.runtime.output.upload_part(where, upload.upload_id, number, body)
        except UploadMissing as error:
            self.run.forget_upload(self.rendition, upload)
            raise TransientError(f"the store dropped the upload of {where}") from error


def package_one(
    run: Run, lease: Lease, rendition: str, number: int, checkpoint: Callable[[], None]
) -> str:
    """Package slice ``number``; a ``SliceResult`` as JSON. Its objects carry the lease's token."""
    began = run.runtime.sessions.now_ms()
    planned = plan_of(run).rendition(rendition)
    work = current_slice(run, planned, number, lambda each: each.identity == lease.state.identity)
    upload = RenditionUpload(run, rendition)
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
