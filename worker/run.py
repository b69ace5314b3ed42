"""One run of a session: its record, its plan, its work items, as reconcile and the workers see it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pipelines.assemble import MP4, NONCE, OpenUpload
from pipelines.read_recording import read_recording
from pipelines.session import Phase
from worker.decided_layout import DecidedLayout
from worker.live_pace import SOONEST_MS
from worker.remembered_listing import with_remembered
from worker.run_memory import revision_made
from worker.run_plan import RunPlan
from worker.standing import Standing
from worker.work_item import State, WorkKey

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipelines.location import Location
    from pipelines.package import Packager
    from pipelines.part_scheme import PartScheme
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
    """A session's record while it is packaged live, or finalized, under ``record.generation``."""

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
        has been silent for ``FINALIZER_MISSING_GRACE``: until then, and while it is live, it may
        just be late."""
        silent_ms = self.runtime.sessions.now_ms() - self.record.session.active_at
        final = not self.is_live and silent_ms >= 1000 * self.runtime.settings.missing_grace
        return replace(self.runtime.packager, missing_is_final=final)

    @property
    def revision(self) -> int:
        """The revision that this run will publish."""
        return revision_made(self.record)

    @property
    def is_live(self) -> bool:
        """Whether the session was live when its record was read."""
        return self.record.phase is Phase.LIVE

    def key(self, item: str) -> WorkKey:
        """Names one of the run's work items."""
        return WorkKey(self.session_id, self.generation, item)

    def read_recording(self) -> Recording:
        """The recording as its playlists are now, behind what they are known to have listed."""
        location = self.runtime.playlist_location(self.record.session)
        now = read_recording(self.runtime.reader, location, self.runtime.permitted_sources)
        return with_remembered(self, now)

    def mp4(self, rendition: str) -> Location:
        """Where this run's MP4 of a rendition goes."""
        return self.runtime.names(self.session_id).mp4(self.revision, rendition)

    # -- the plan --------------------------------------------------------------------------

    def plan(self) -> RunPlan | None:
        """The plan that counts; None until there is one."""
        text = self.runtime.work.value(self.session_id, self.generation, _PLAN)
        return RunPlan.from_json(text) if text else None

    def keep_plan(self, made: RunPlan) -> tuple[RunPlan, bool]:
        """Keep a plan, or a later one of a session that was live, unless a final one is there; the
        one that counts, and whether it is ours.

        One in the format of another version of ours does not count.
        """
        work = self.runtime.work
        ours = made.to_json(by=uuid.uuid4().hex)
        before = work.value(self.session_id, self.generation, _PLAN) or ""
        known = RunPlan.from_json(before) if before else None
        if known is not None and known.final:
            return known, False
        text = work.replace(self.session_id, self.generation, _PLAN, before, ours)
        return RunPlan.from_json(text) or made, text == ours

    def now(self) -> Run:
        """The same run as its session's record has it by now: it may have gone idle meanwhile."""
        record = self.runtime.sessions.get(self.session_id)
        is_ours = record is not None and record.generation == self.generation
        return replace(self, record=record) if record is not None and is_ours else self

    def begin_anew(self, reason: str, remembers: Mapping[str, Any] | None = None) -> bool:
        """Have another run follow this one, since what it was planned upon is no longer so.

        A run has one final plan; the next one goes on with whatever is finished and still wanted,
        and ``remembers`` what it is told. False when the session has moved on by itself.
        """
        begun = self.runtime.sessions.begin_generation(
            self.session_id,
            expect={self.record.phase},
            to=self.record.phase,
            generation=self.generation,
            reason=reason,
            remembers=remembers,
        )
        return begun is not None

    def look_for_the_missing(self) -> None:
        """Forget how long work waits for what was not there while the session was live."""
        now = self.runtime.sessions.now_ms()
        for item, state in self.runtime.work.items(self.session_id, self.generation).items():
            waits = state.state is State.RELEASED and state.not_before > now
            if waits and not state.attempts:
                self.drop(item)

    def look_again(self) -> None:
        """Have the playlist of a live session read soon, at a bounded rate: it may be another one
        at every reading."""
        soon = self.runtime.sessions.now_ms() + SOONEST_MS
        self.runtime.sessions.update(self.session_id, self.generation, {"look_at": soon})

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
        return OpenUpload.from_json(text) if text else None

    def open_upload(self, rendition: str, scheme: PartScheme) -> OpenUpload:
        """The upload that counts; when there is none, one of such parts is opened."""
        return self.upload(rendition) or self._opened(rendition, scheme, _LOST)[0]

    def renew_upload(self, rendition: str, small: OpenUpload, scheme: PartScheme) -> bool:
        """Put an upload of other parts in the place of one, which is aborted with all its parts;
        False when another has taken its place already."""
        _, is_ours = self._opened(rendition, scheme, small.to_json())
        if is_ours:
            self.runtime.output.abort_upload(self.mp4(rendition), small.upload_id)
        return is_ours

    def _opened(self, rendition: str, scheme: PartScheme, before: str) -> tuple[OpenUpload, bool]:
        """The upload that counts, and whether it is opened now, in the place of the one ``before``.
        Of two that race, one is aborted."""
        where, nonce = self.mp4(rendition), uuid.uuid4().hex
        upload_id = self.runtime.output.create_upload(where, MP4, {NONCE: nonce})
        mine = OpenUpload(upload_id, nonce, self.runtime.sessions.now_ms(), scheme).to_json()
        counts = self.runtime.work.replace(
            self.session_id, self.generation, _UPLOAD + rendition, before, mine
        )
        if counts != mine:
            self.runtime.output.abort_upload(where, upload_id)
        return OpenUpload.from_json(counts), counts == mine

    def forget_upload(self, rendition: str, lost: OpenUpload) -> None:
        """Note that the store dropped an upload, so that the next slice opens another."""
        self.runtime.work.replace(
            self.session_id, self.generation, _UPLOAD + rendition, lost.to_json(), _LOST
        )

    def uploads(self, plan: RunPlan) -> dict[str, OpenUpload]:
        """The open uploads of a plan's renditions, by name."""
        names = [each.name for each in plan.renditions]
        fields = [_UPLOAD + name for name in names]
        texts = self.runtime.work.values(self.session_id, self.generation, fields)
        return {
            name: OpenUpload.from_json(text)
            for name, text in zip(names, texts, strict=True)
            if text
        }

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
