"""The look at a session that is still live: what is settled of its recording is packaged at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from pipelines.errors import (
    ErrorCode,
    FinalizerError,
    InterruptedWork,
    PermanentError,
    TransientError,
)
from pipelines.report import RenditionKind
from pipelines.session import Phase
from worker.beginning import plan_live
from worker.claiming import claim, missing_while_live
from worker.idle import silent_at
from worker.live_pace import LATEST_MS, pause_ms, pause_while_away_ms
from worker.progress import show_progress
from worker.records import Changes
from worker.remembered_listing import remember_listed
from worker.run import Run
from worker.run_memory import HINDERED
from worker.run_plan import asked_of, lengths_of
from worker.waiting import kept_waiting
from worker.work import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.playlist import Recording
    from worker.dispatch import Dispatcher
    from worker.records import SessionRecord
    from worker.run_plan import RunPlan
    from worker.runtime import Runtime

log = structlog.get_logger(__name__)

#: What keeps a live session from being packaged when its upload was opened long ago.
TOO_OLD = "upload_too_old"


def look_while_live(record: SessionRecord, runtime: Runtime, dispatcher: Dispatcher) -> None:
    """Read the playlist if that is due, and claim slices that are settled.

    Between two readings it asks the source for nothing, however often it is called. Nothing that
    goes wrong here ends the session: whatever still does at its end will.
    """
    idle_at = silent_at(record, runtime)
    if not runtime.settings.package_live:
        runtime.sessions.schedule(record.id, idle_at)
        return
    run, look_at = Run(runtime, record), record.look_at
    plan = run.plan()
    try:
        if runtime.sessions.now_ms() >= look_at:
            run, plan, look_at = _read(run, plan)
    except InterruptedWork:
        dispatcher.reconcile(record.id)
        return
    due = min(idle_at, look_at)
    if plan is not None and not plan.final:
        due = min(due, _package(run, plan, dispatcher))
    runtime.sessions.schedule(record.id, due)


def put_off(record: SessionRecord, runtime: Runtime) -> None:
    """Leave a live session alone for as long as its playlist may stay unread."""
    look_at = runtime.sessions.now_ms() + LATEST_MS
    runtime.sessions.update(record.id, record.generation, {"look_at": look_at})
    runtime.sessions.schedule(record.id, min(silent_at(record, runtime), look_at))


def _package(run: Run, plan: RunPlan, dispatcher: Dispatcher) -> int:
    """Claim slices that are lacking, and show how far it has come; when to look again should every message be lost, Unix ms."""
    standing = run.standing(plan)
    missing = [] if _is_too_old(run, plan) else missing_while_live(run, standing)
    for key, refused in claim(run, missing, dispatcher, (Phase.LIVE, Phase.FINALIZING)):
        if refused.reason is Reason.POISON:
            code = refused.error.code if refused.error else ErrorCode.SLICE_POISON
            _note_hindrance(run, code, f"{key.item} failed too often")
    show_progress(run, standing)
    now = standing.now_ms
    times = [state.expires for state in standing.items.values() if state.active(now)]
    times += [state.not_before for state in standing.items.values() if state.not_before > now]
    if missing:
        times.append(now + run.runtime.lease_ms)
    return min(times, default=now + LATEST_MS)


def _read(run: Run, known: RunPlan | None) -> tuple[Run, RunPlan | None, int]:
    """Read the playlists; the run and the plan that count then, and when to read them again (Unix
    ms), which is written down."""
    now = run.runtime.sessions.now_ms()
    plan, changes = known, Changes()
    try:
        recording = run.read_recording()
        remember_listed(run, recording)
        run, plan = _planned(run, known, recording)
        pause = pause_ms(recording, _unsettled(run, plan, recording))
        if run.record.waiting and run.record.waiting.item is None:
            changes["waiting"] = None
        if plan is not None and not plan.final and _is_too_old(run, plan):
            _note_hindrance(run, TOO_OLD, "the store might soon expire the open upload")
        else:
            _note_hindrance(run, None, "")
    except InterruptedWork:
        raise
    except FinalizerError as error:
        pause = pause_while_away_ms(now - run.record.phase_since)
        if isinstance(error, TransientError):
            changes["waiting"] = kept_waiting(run.record, error, now)
        elif not _is_early(error):
            _note_hindrance(run, error.code, error.message)
        log.info("A live session is looked at later.", action="live_look_later", error=str(error))
    changes["look_at"] = now + pause
    run.runtime.sessions.update(run.session_id, run.generation, changes)
    return run, plan, now + pause


def _is_early(error: FinalizerError) -> bool:
    """Whether a live session may just have nothing to show yet."""
    return isinstance(error, PermanentError) and error.code is ErrorCode.PLAYLIST_MISSING


def _planned(run: Run, known: RunPlan | None, recording: Recording) -> tuple[Run, RunPlan | None]:
    """The run and its plan, grown with the recording; another run where the session asks for other
    profiles, or where its recording goes on after its end was planned."""
    asked = known is not None and known.asked == asked_of(run.record.session)
    if known is not None and asked and known.final and known.fingerprint == recording.fingerprint:
        return run, known
    if known is not None and asked and not known.final:
        grown = known.grown(recording, run.runtime.settings.slice_seconds)
        if grown.renditions == known.renditions:
            return run, known
        return run, run.keep_plan(grown)[0]
    if run.runtime.sessions.cleanup_lock(run.session_id).locked():
        raise TransientError("what an earlier run left is being removed")
    begun = plan_live(run, recording) if recording.segment_count else None
    return begun or (run, known)


def _unsettled(run: Run, plan: RunPlan | None, recording: Recording) -> Iterator[float]:
    """Seconds of media that the next slice of each rendition lacks until it closes."""
    seconds = run.runtime.settings.slice_seconds
    if plan is None or plan.final:
        yield max(0.0, lengths_of(RenditionKind.TRANSCODE, seconds).of(0) - recording.duration)
        return
    for planned in plan.renditions:
        closes = planned.seconds + lengths_of(planned.kind, seconds).of(len(planned.slices))
        yield max(0.0, closes - recording.variant(planned.variant).playlists[0].duration)


def _is_too_old(run: Run, plan: RunPlan) -> bool:
    """Whether an upload of the run is so old that the store may soon expire it."""
    opened = [each.opened_ms for each in run.uploads(plan).values()]
    if not opened:
        return False
    age = run.runtime.sessions.now_ms() - min(opened)
    return age > run.runtime.settings.eager_max_age * 1000


def _note_hindrance(run: Run, code: str | None, message: str) -> None:
    """Note why a live session is not packaged, None when it is, and say so once in its events."""
    if run.record.run.get(HINDERED) == code:
        return

    def noted(record: SessionRecord) -> Changes:
        memory = {name: value for name, value in record.run.items() if name != HINDERED}
        return {"run": {**memory, HINDERED: code} if code else memory}

    event = {"action": "live_packaging_waits", "code": code, "message": message} if code else None
    run.runtime.sessions.update_by(run.session_id, run.generation, noted, event)
