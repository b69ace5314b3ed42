"""The look at a session that is still live: what is settled of its recording is packaged at once."""

from __future__ import annotations

from dataclasses import replace
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
from worker.claiming import claim, failed_too_often, missing_while_live
from worker.idle import silent_at
from worker.live_pace import LATEST_MS, pause_ms, pause_while_away_ms
from worker.planning import await_sound
from worker.progress import show_progress
from worker.quiet import is_news, note_attempt, note_quiet, quiet_at
from worker.records import Changes
from worker.remembered_listing import remember_listed
from worker.run import Run
from worker.run_memory import HINDERED, LISTED
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
    from worker.standing import Standing
    from worker.work_item import ItemState

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
        if record.look_at:
            runtime.sessions.update(record.id, record.generation, {"look_at": 0})
        runtime.sessions.schedule(record.id, idle_at)
        return
    run = Run(runtime, record)
    plan, is_read = run.plan(), False
    now = runtime.sessions.now_ms()
    try:
        if now >= record.look_at or is_news(record, runtime, now):
            run, plan, is_read = _read(run, plan, now)
    except InterruptedWork:
        dispatcher.reconcile(record.id)
        return
    due = idle_at if now >= quiet_at(record, runtime) else quiet_at(record, runtime)
    if plan is not None and not plan.final:
        due = min(due, _package(run, plan, dispatcher, is_read=is_read))
    elif is_read:
        _note_hindrance(run, None, "")
    runtime.sessions.schedule(record.id, due)


def put_off(record: SessionRecord, runtime: Runtime) -> None:
    """Leave a live session alone for as long as its playlist may stay unread."""
    look_at = runtime.sessions.now_ms() + LATEST_MS
    runtime.sessions.update(record.id, record.generation, {"look_at": look_at})
    runtime.sessions.schedule(record.id, silent_at(record, runtime))


def _package(run: Run, plan: RunPlan, dispatcher: Dispatcher, *, is_read: bool) -> int:
    """Claim slices that are lacking, and show how far it has come.

    ``is_read``: the playlists were readable just now. Returns when to look again should every
    message be lost, Unix ms.
    """
    standing = run.standing(plan)
    code, message = _hindrance(run, standing)
    missing = [] if code else missing_while_live(run, standing)
    if code or is_read:  # else the last reading may have failed, which is to stay noted
        run = _note_hindrance(run, code, message)
    for key, refused in claim(run, missing, dispatcher, (Phase.LIVE, Phase.FINALIZING)):
        if refused.reason is Reason.POISON:
            _note_hindrance(run, *_poison(key.item, refused.state))
    show_progress(run, standing)
    now = standing.now_ms
    times = [state.expires for state in standing.items.values() if state.active(now)]
    times += [state.not_before for state in standing.items.values() if state.not_before > now]
    if missing:
        times.append(now + run.runtime.lease_ms)
    return min(times, default=now + LATEST_MS)


def _read(run: Run, known: RunPlan | None, now: int) -> tuple[Run, RunPlan | None, bool]:
    """Read the playlists, and write down when to read them again; the run and the plan that count
    then, and whether they could be read."""
    plan, changes, is_read = known, Changes(), False
    try:
        recording = run.read_recording()
        remember_listed(run, recording)
        run, quiet = note_quiet(run, recording, now)
        ends_in = quiet.ends_in(recording) if quiet else None
        run, plan = _planned(run, known, recording, ended=ends_in == 0)
        pause = min(ends_in or LATEST_MS, pause_ms(recording, _unsettled(run, plan, recording)))
        if run.record.waiting and run.record.waiting.item is None:
            changes["waiting"] = None
        is_read = True
    except InterruptedWork:
        raise
    except FinalizerError as error:
        run = note_attempt(run, now)
        since = run.record.phase_since
        if isinstance(error, TransientError):
            changes["waiting"] = waiting = kept_waiting(run.record, error, now)
            since = waiting.since
        elif not _is_early(error):
            run = _note_hindrance(run, error.code, error.message)
        elif known is not None or LISTED in run.record.run:
            since = now  # it was there before: its window may go on at any moment
        pause = pause_while_away_ms(now - since)
        log.info("A live session is looked at later.", action="live_look_later", error=str(error))
    changes["look_at"] = now + pause
    run.runtime.sessions.update(run.session_id, run.generation, changes)
    return run, plan, is_read


def _is_early(error: FinalizerError) -> bool:
    """Whether a live session may just have nothing to show yet."""
    return isinstance(error, PermanentError) and error.code is ErrorCode.PLAYLIST_MISSING


def _planned(
    run: Run, known: RunPlan | None, recording: Recording, *, ended: bool
) -> tuple[Run, RunPlan | None]:
    """The run and its plan, grown with the recording, to its end if it seems to have ``ended``;
    another run where the session asks for other profiles, or where its recording goes on after its
    end was planned."""
    asked = known is not None and known.asked == asked_of(run.record.session)
    if known is not None and asked and known.final and known.fingerprint == recording.fingerprint:
        return run, known
    if known is not None and asked and not known.final:
        await_sound(run, recording)
        grown = known.grown(recording, run.runtime.settings.slice_seconds, ended=ended)
        if grown.renditions == known.renditions:
            return run, known
        return run, run.keep_plan(grown)[0]
    if run.runtime.sessions.cleanup_lock(run.session_id).locked():
        raise TransientError("what an earlier run left is being removed")
    begun = plan_live(run, recording, ended=ended) if recording.segment_count else None
    return begun or (run, known)


def _unsettled(run: Run, plan: RunPlan | None, recording: Recording) -> Iterator[float]:
    """Seconds of media that the next slice of each rendition lacks until it closes."""
    seconds = run.runtime.settings.slice_seconds
    if plan is None or plan.final:
        listed = recording.duration
        if plan is not None and plan.fingerprint == recording.fingerprint:
            listed = 0.0  # it is planned to its end: nothing lacks until more is listed
        yield max(0.0, lengths_of(RenditionKind.TRANSCODE, seconds).of(0) - listed)
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


def _hindrance(run: Run, standing: Standing) -> tuple[str | None, str]:
    """Code and words of what keeps a live session from being packaged; None when nothing does."""
    if _is_too_old(run, standing.plan):
        return TOO_OLD, "the store might soon expire the open upload"
    item = failed_too_often(standing)
    return _poison(item, standing.items[item]) if item else (None, "")


def _poison(item: str, state: ItemState | None) -> tuple[str, str]:
    """Code and words of an item that failed too often: as it failed last, if that was written."""
    told = state.error if state else None
    return (told.code if told else ErrorCode.SLICE_POISON), f"{item} failed too often"


def _note_hindrance(run: Run, code: str | None, message: str) -> Run:
    """Note why a live session is not packaged, None when it is, and say so once in its events; the
    run that knows it."""
    if run.record.run.get(HINDERED) == code:
        return run

    def noted(record: SessionRecord) -> Changes:
        memory = {name: value for name, value in record.run.items() if name != HINDERED}
        return {"run": {**memory, HINDERED: code} if code else memory}

    event = {"action": "live_packaging_waits", "code": code, "message": message} if code else None
    record = run.runtime.sessions.update_by(run.session_id, run.generation, noted, event)
    return replace(run, record=record) if record else run
