"""The multipart upload of a rendition as a slice sees it: opened when need be, begun anew when its
parts are too small, or the store has dropped it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from pipelines.errors import InterruptedWork, TransientError
from pipelines.object_store import MIN_PART_BYTES
from pipelines.part_scheme import VARYING_PARTS, PartScheme, slices_within, uniform_scheme
from pipelines.parts import PartUpload
from pipelines.store_errors import UploadMissing
from worker.run_plan import assemble_item, lengths_of
from worker.work_item import State

if TYPE_CHECKING:
    from pipelines.assemble import OpenUpload
    from pipelines.errors import FinalizerError
    from pipelines.object_store import UploadedPart
    from pipelines.slices import Slice
    from worker.run import Run
    from worker.run_plan import PlannedRendition, RunPlan

log = structlog.get_logger(__name__)

#: How long a session that is still live is taken to become, seconds: by that its equal parts are
#: chosen. One that becomes longer is uploaded anew, in larger parts.
LIVE_SECONDS = 24 * 3600
#: Slices that an ended session may still get, when it wakes up again.
LATER_SLICES = 8


def chosen_scheme(
    run: Run,
    plan: RunPlan,
    planned: PlannedRendition,
    slice_bytes: int,
    at_least: int = MIN_PART_BYTES,
) -> PartScheme:
    """The parts for a rendition's upload whose slices of full length have about ``slice_bytes``.

    Equal ones by setting, then ``at_least`` so large; raises as ``uniform_scheme`` does.
    """
    settings = run.runtime.settings
    if not settings.uniform_parts:
        return VARYING_PARTS
    lengths = lengths_of(planned.kind, settings.slice_seconds)
    slices = len(planned.slices) + LATER_SLICES
    if not plan.final:
        slices = max(2 * len(planned.slices), slices_within(LIVE_SECONDS, lengths))
    return uniform_scheme(slice_bytes / lengths.of(0), lengths, slices, at_least)


@dataclass
class RenditionUpload(PartUpload):
    """Uploads the parts of one slice of a rendition's MP4."""

    run: Run
    plan: RunPlan
    planned: PlannedRendition
    work: Slice
    _opened: OpenUpload | None = field(default=None, init=False)
    _slice_bytes: int = field(default=0, init=False)

    def scheme(self, payload_bytes: int) -> PartScheme:
        """The parts of the upload that counts; it is opened if there is none, and begun anew when
        its equal parts have no room for the slice."""
        self._slice_bytes = round(payload_bytes / self._share)
        name = self.planned.name
        self._opened = self.run.upload(name) or self.run.open_upload(name, self._wanted())
        scheme = self._opened.scheme
        if scheme.part_bytes and not scheme.holds(self.work.number, payload_bytes):
            raise self.outgrown()
        return scheme

    def upload_part(self, number: int, body: bytes) -> UploadedPart:
        """Upload one part; an upload that the store dropped is begun anew by the next attempt."""
        upload = self._opened or self.run.open_upload(self.planned.name, self._wanted())
        where = self.run.mp4(self.planned.name)
        try:
            return self.run.runtime.output.upload_part(where, upload.upload_id, number, body)
        except UploadMissing as error:
            self._lost(upload)
            raise TransientError(f"the store dropped the upload of {where}") from error

    @property
    def _share(self) -> float:
        """How long the slice is, as a multiple of the first."""
        lengths = lengths_of(self.planned.kind, self.run.runtime.settings.slice_seconds)
        return lengths.of(self.work.number) / lengths.of(0)

    def _lost(self, upload: OpenUpload) -> None:
        """Begin anew where the store has dropped the upload (stores expire open ones): what lay in
        it is made again now, and not only when the assembly misses it."""
        name = self.planned.name
        if self.run.upload(name) != upload:
            return  # somebody else has found it out before
        assembly = self.run.runtime.work.item(self.run.key(assemble_item(name)))
        if assembly is not None and assembly.state in (State.LEASED, State.DONE):
            return  # it was completed: whoever comes now has long lost the lease of the slice
        self.run.forget_upload(name, upload)
        self._make_again()
        details = {"rendition": name, "slice": self.work.number}
        log.warning("The store dropped an upload.", action="upload_lost", **details)
        self.run.runtime.sessions.add_event(self.run.session_id, "upload_lost", **details)

    def outgrown(self) -> FinalizerError:
        """Begin the upload anew with larger equal parts; parts that may differ cannot be larger."""
        small = self._opened
        if small is None or small.scheme.part_bytes is None:
            return super().outgrown()
        name, part_bytes = self.planned.name, small.scheme.part_bytes
        owned = small.scheme.numbers(self.work.number)
        owned_bytes = len(owned) * part_bytes
        self._slice_bytes = max(self._slice_bytes, round(owned_bytes / self._share))
        scheme = self._wanted(2 * part_bytes)
        if self.run.renew_upload(name, small, scheme):
            self._make_again()
            details = {"rendition": name, "slice": self.work.number, "bytes": scheme.part_bytes}
            log.info("An upload is begun anew, in larger parts.", action="parts_grown", **details)
            self.run.runtime.sessions.add_event(self.run.session_id, "parts_grown", **details)
        return InterruptedWork(f"{name} is uploaded anew, in parts that have room for its slices")

    def _make_again(self) -> None:
        """Have all slices made again that lie in the upload before."""
        standing = self.run.standing(self.plan)
        done = zip(standing.work(self.planned), standing.slices(self.planned), strict=True)
        for (item, _), result in done:
            if result is not None and result.receipts[self.planned.name].payload.parts:
                self.run.drop(item)

    def _wanted(self, at_least: int = MIN_PART_BYTES) -> PartScheme:
        return chosen_scheme(self.run, self.plan, self.planned, self._slice_bytes, at_least)
