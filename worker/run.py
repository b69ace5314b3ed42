"""One run of a session: its record, its plan, its work items, as reconcile and the workers see it."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pipelines.assemble import MP4, NONCE, OpenUpload
from pipelines.read_recording import read_recording
from pipelines.session import Phase
from worker.decided_layout import DecidedLayout
from worker.run_memory import revision_made
from worker.run_plan import RunPlan
from worker.standing import Standing
from worker.work_item import WorkKey

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipelines.location import Location
    from pipelines.package import Packager
    from pipelines.playlist import Recording
    from worker.records import SessionRecord
    from worker.runtime import Runtime

_LAYOUT = "layout/"
_PLAN = "plan"
_UPLOAD = "upload/"
_SOFTWARE = "software"
_LOST = ""  # in the place of an upload that the store dropped


@dataclass(frozen=True)
class Run:
    """A session's record while it is finalized under ``record.generation``."""

    runtime: Runtime
    record: SessionRecord

    @property
    def session_id(self) -> str:
        """Id of the session."""
        return self.record.id

    @property
    def generation(self) -> int:
        """The fencing token of this run."""
        return self.record.generation

    @property
    def packager(self) -> Packager:
        """What packaging a slice needs. A segment that is not there is given up once the session
        has been silent for ``FINALIZER_MISSING_GRACE``: until then, it may just be late."""
        silent_ms = self.runtime.sessions.now_ms() - self.record.session.active_at
        final = silent_ms >= 1000 * self.runtime.settings.missing_grace
        return replace(self.runtime.packager, missing_is_final=final)

    @property
    def revision(self) -> int:
        """The revision that this run will publish."""
        return revision_made(self.record)

    def key(self, item: str) -> WorkKey:
        """Names one of the run's work items."""
        return WorkKey(self.session_id, self.generation, item)

    def read_recording(self) -> Recording:
        """The recording as its playlists are now."""
        location = self.runtime.playlist_location(self.record.session)
        return read_recording(self.runtime.reader, location, self.runtime.permitted_sources)

    def mp4(self, rendition: str) -> Location:
        """Where this run's MP4 of a rendition goes."""
        return self.runtime.names(self.session_id).mp4(self.revision, rendition)

    # -- the plan --------------------------------------------------------------------------

    def plan(self) -> RunPlan | None:
        """The plan that counts; None until there is one."""
        text = self.runtime.work.value(self.session_id, self.generation, _PLAN)
        return RunPlan.from_json(text) if text else None

    def keep_plan(self, made: RunPlan) -> tuple[RunPlan, bool]:
        """Keep a plan unless there is one already; the one that counts, and whether it is ours.

        One in the format of another version of ours does not count.
        """
        work = self.runtime.work
        ours = made.to_json(by=uuid.uuid4().hex)
        before = work.value(self.session_id, self.generation, _PLAN) or ""
        known = RunPlan.from_json(before) if before else None
        if known is not None:
            return known, False
        text = work.replace(self.session_id, self.generation, _PLAN, before, ours)
        return RunPlan.from_json(text) or made, text == ours

    def begin_anew(self, reason: str, remembers: Mapping[str, Any] | None = None) -> bool:
        """Have another run follow this one, since what it was planned upon is no longer so.

        A run has one plan; the next one goes on with whatever is finished and still wanted, and
        ``remembers`` what it is told. False when the session has moved on by itself.
        """
        begun = self.runtime.sessions.begin_generation(
            self.session_id,
            expect={Phase.FINALIZING},
            generation=self.generation,
            reason=reason,
            remembers=remembers,
        )
        return begun is not None

    @property
    def software_only(self) -> bool:
        """Whether hardware has failed in this run, so that it goes on without."""
        return bool(self.runtime.work.value(self.session_id, self.generation, _SOFTWARE))

    def note_software_only(self) -> None:
        """Note that hardware has failed: this run and those that follow it plan without."""
        self.runtime.work.set_if_absent(self.session_id, self.generation, _SOFTWARE, "1")

    # -- the multipart upload of a rendition -----------------------------------------------

    def upload(self, rendition: str) -> OpenUpload | None:
        """The upload that counts; None while there is none."""
        work = self.runtime.work
        text = work.value(self.session_id, self.generation, _UPLOAD + rendition)
        return OpenUpload(*json.loads(text)) if text else None

    def open_upload(self, rendition: str) -> OpenUpload:
        """The upload that counts; opened when there is none. Of two that race, one is aborted."""
        known = self.upload(rendition)
        if known is not None:
            return known
        nonce = uuid.uuid4().hex
        where = self.mp4(rendition)
        upload_id = self.runtime.output.create_upload(where, MP4, {NONCE: nonce})
        mine = json.dumps([upload_id, nonce])
        counts = self.runtime.work.replace(
            self.session_id, self.generation, _UPLOAD + rendition, _LOST, mine
        )
        if counts != mine:
            self.runtime.output.abort_upload(where, upload_id)
        return OpenUpload(*json.loads(counts))

    def forget_upload(self, rendition: str, lost: OpenUpload) -> None:
        """Note that the store dropped an upload, so that the next slice opens another."""
        mine = json.dumps([lost.upload_id, lost.nonce])
        self.runtime.work.replace(
            self.session_id, self.generation, _UPLOAD + rendition, mine, _LOST
        )

    def adopt(self, earlier: int) -> None:
        """Go on with the finished work, layouts and open uploads of an earlier generation."""
        self.runtime.work.adopt(self.session_id, earlier, self.generation, (_UPLOAD, _LAYOUT))

    def at(self, generation: int) -> Run:
        """The same session's run of another generation."""
        return replace(self, record=replace(self.record, generation=generation))

    # -- the layout of a rendition whose runs are not alike ---------------------------------

    def keep_layout(self, rendition: str, decided: DecidedLayout) -> None:
        """Keep the layout of a rendition in the place of an earlier one."""
        work, field = self.runtime.work, _LAYOUT + rendition
        before = work.value(self.session_id, self.generation, field) or ""
        work.replace(self.session_id, self.generation, field, before, decided.to_json())

    def _layouts(self, plan: RunPlan) -> dict[str, DecidedLayout]:
        names = [each.name for each in plan.renditions]
        fields = [_LAYOUT + name for name in names]
        texts = self.runtime.work.values(self.session_id, self.generation, fields)
        read = {
            name: DecidedLayout.from_json(text)
            for name, text in zip(names, texts, strict=True)
            if text
        }
        return {name: decided for name, decided in read.items() if decided}

    # -- work items ------------------------------------------------------------------------

    def standing(self, plan: RunPlan) -> Standing:
        """How the run stands now, measured by a plan."""
        items = self.runtime.work.items(self.session_id, self.generation)
        now = self.runtime.sessions.now_ms()
        return Standing(plan, items, now, self._layouts(plan))

    def drop(self, item: str) -> bool:
        """Have an item done again; False when somebody is on it just now."""
        return self.runtime.work.drop(self.key(item))
