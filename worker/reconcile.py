"""The one step that everything asks for: read what is true, work out what is missing, claim it.

Level-triggered: webhooks, heartbeats, the sweep, finished work and people all call ``reconcile``;
a lost, late or doubled call changes nothing, and the next one heals it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import structlog
from dramatiq.errors import BrokerError
from redis.exceptions import RedisError

from pipelines.errors import ErrorCode, PermanentError, ToolError, TransientError, known_code
from pipelines.session import Phase
from worker.cleanup import clean
from worker.ending import fail
from worker.idle import LOOK_AGAIN_MS, end_when_idle, give_up
from worker.progress import rendition_views
from worker.recovery import published_before
from worker.run import ADOPTS, MAKES, Run, assembled, done, packaged
from worker.run_plan import PUBLISH, RunPlan, assemble_item, package_item
from worker.work import Claim, Reason, Refused

if TYPE_CHECKING:
    from worker.dispatch import Dispatcher
    from worker.records import Changes, SessionRecord
    from worker.runtime import Runtime
    from worker.work_item import ItemState, WorkKey

log = structlog.get_logger(__name__)

#: Failures and crashes after which an item of work fails its session.
MAX_ATTEMPTS = 3
#: Slices that a session claims at a time, per live worker thread: bounds the queue, and is fair.
WINDOW_PER_THREAD = 2
#: The window when no worker is known to live.
LEAST_WINDOW = 4
#: In a run's record: how often a bug of ours stopped the look at the session.
FAULTS = "faults"
#: How soon a session is looked at again while an earlier run is cleaned up.
CLEANING_MS = 300


def reconcile(session_id: str, runtime: Runtime, dispatcher: Dispatcher) -> None:
    """Do for one session what is due now; safe to call at any time, from anywhere, at once."""
    record = runtime.sessions.get(session_id)
    if record is None or not record.session.record:
        return
    try:
        _look(record, runtime, dispatcher)
    except (RedisError, BrokerError):
        raise
    except Exception as error:
        log.exception("A bug of ours stopped the look at a session.", action="internal_error")
        _count_fault(session_id, runtime, error)


def _look(record: SessionRecord | None, runtime: Runtime, dispatcher: Dispatcher) -> None:
    if record is not None and record.phase is Phase.LIVE:
        record = end_when_idle(record, runtime)
    if record is not None and record.phase is Phase.FINALIZING:
        _advance(Run(runtime, record), dispatcher)
    elif record is not None and record.phase is not Phase.LIVE:
        clean(runtime, record)


def _count_fault(session_id: str, runtime: Runtime, error: Exception) -> None:
    """Look again a few times, then fail the session: one that can never be looked at is told of."""
    record = runtime.sessions.get(session_id)
    if record is None or record.phase not in (Phase.LIVE, Phase.FINALIZING):
        return
    faults = int(record.run.get(FAULTS, 0)) + 1
    if faults < MAX_ATTEMPTS:
        changes: Changes = {"run": {**record.run, FAULTS: faults}}
        runtime.sessions.update(session_id, record.generation, changes)
        runtime.sessions.schedule(session_id, runtime.sessions.now_ms() + LOOK_AGAIN_MS)
        return
    message = f"an unexpected {type(error).__name__}; see the worker's log"
    give_up(record, runtime, ToolError(ErrorCode.INTERNAL_ERROR, message))


def _advance(run: Run, dispatcher: Dispatcher) -> None:
    """Claim whatever the run still lacks and send it to the workers."""
    runtime = run.runtime
    known = run.plan()
    if known is None and runtime.sessions.cleanup_lock(run.session_id).locked():
        # What an earlier run left is being removed under the names that this one will use.
        runtime.sessions.schedule(run.session_id, runtime.sessions.now_ms() + CLEANING_MS)
        return
    try:
        if known is None:
            run = _recovered(run)
        plan = known or _planned(run)
    except PermanentError as error:
        fail(run, error.code, error.message)
        return
    except TransientError as error:
        _wait_out(run, error)
        return
    items = run.items()
    missing = _missing(run, plan, items)
    runtime.sessions.schedule(run.session_id, _first_to_run_out(run, items))
    # A message may be on its way for as long as a worker may be silent.
    answers = (
        runtime.work.claim_many(missing, runtime.lease_ms, MAX_ATTEMPTS, (Phase.FINALIZING,))
        if missing
        else []
    )
    for (key, _), answer in zip(missing, answers, strict=True):
        if isinstance(answer, Claim):
            dispatcher.perform(answer)
        elif not _tolerable(run, key, answer):
            return
    _show_progress(run, plan, items)


def _recovered(run: Run) -> Run:
    """The run, knowing what was published of its session before the store lost it, if anything."""
    changes = published_before(run.runtime, run.record)
    if not changes:
        return run
    event = {"action": "recovered", "revision": changes["revision"]}
    run.runtime.sessions.update(run.session_id, run.generation, changes, event=event)
    return Run(run.runtime, replace(run.record, **changes))


def _planned(run: Run) -> RunPlan:
    _adopt(run)
    recording = run.read_recording()
    slice_seconds = run.runtime.settings.slice_seconds
    made = RunPlan.make(run.record.session, recording, slice_seconds)
    # Before anything is written that would have to be cleaned up.
    changes: Changes = {"run": {MAKES: run.revision}}
    run.runtime.sessions.update(run.session_id, run.generation, changes)
    plan, is_ours = run.keep_plan(made)
    if is_ours:
        run.runtime.sessions.add_event(
            run.session_id,
            "planned",
            segments=recording.segment_count,
            seconds=round(recording.duration, 3),
            renditions=[[each.name, len(each.slices)] for each in plan.renditions],
            notMade=[dict(each) for each in plan.not_made],
        )
    return plan


def _adopt(run: Run) -> None:
    """Go on with what a run finished that a late sign of life ended: late heartbeats are normal.

    Its results count as far as their input is still the same, and only for the same revision.
    """
    earlier = run.record.run.get(ADOPTS)
    if earlier and run.record.run.get(MAKES) == run.revision:
        run.adopt(earlier)
    elif earlier:
        run.runtime.work.discard_run(run.session_id, earlier)


def _missing(run: Run, plan: RunPlan, items: dict[str, ItemState]) -> list[tuple[WorkKey, str]]:
    """The next items of work, with the identity of their input; slices up to the window."""
    results = assembled(items, plan)
    if results is not None:
        return [(run.key(PUBLISH), plan.identity)]
    missing: list[tuple[WorkKey, str]] = []
    now = run.runtime.sessions.now_ms()
    active = sum(state.active(now) for name, state in items.items() if name.startswith("package/"))
    threads = run.runtime.roster.threads("package")
    room = max(LEAST_WINDOW, WINDOW_PER_THREAD * threads) - active
    for planned in plan.renditions:
        if packaged(items, plan, planned.name) is not None:
            if done(items, assemble_item(planned.name), planned.identity) is None:
                missing.append((run.key(assemble_item(planned.name)), planned.identity))
            continue
        lacking = [
            (run.key(name), identity)
            for number, identity in enumerate(planned.slices)
            if _is_free(items.get(name := package_item(planned.name, number)), identity, now)
        ]
        missing += lacking[: max(0, room)]
        room -= len(lacking)
    return missing


def _is_free(state: ItemState | None, identity: str, now_ms: int) -> bool:
    """Whether nobody has the item, and it is not done for this input."""
    if state is None or state.identity != identity:
        return True
    return not state.active(now_ms) and state.result is None


def _first_to_run_out(run: Run, items: dict[str, ItemState]) -> int:
    """When to look again even if every message is lost and every worker dies, Unix ms."""
    now = run.runtime.sessions.now_ms()
    held = [state.expires for state in items.values() if state.active(now)]
    return min([*held, now + run.runtime.lease_ms])


def _tolerable(run: Run, key: WorkKey, refused: Refused) -> bool:
    """Whether the run goes on although an item could not be claimed; fails the session if not."""
    state = refused.state
    if refused.reason is Reason.STALE:
        return False
    if refused.reason is Reason.POISON:
        code, message = ErrorCode.SLICE_POISON, f"{key.item} ended its worker {MAX_ATTEMPTS} times"
        if refused.error is not None and refused.error.code != ErrorCode.INTERRUPTED:
            code, message = known_code(refused.error.code), refused.error.message
        fail(run, code, message)
        return False
    if refused.reason is Reason.WAITING and state is not None:
        patience = run.runtime.settings.give_up_after * 1000
        now = run.runtime.sessions.now_ms()
        if state.error and state.failing_since and now - state.failing_since > patience:
            fail(run, known_code(state.error.code), f"given up: {state.error.message}")
            return False
        run.runtime.sessions.schedule(run.session_id, state.not_before, earlier_only=True)
    return True


def _wait_out(run: Run, error: TransientError) -> None:
    """Look again later, or give up after a whole day of outage."""
    now = run.runtime.sessions.now_ms()
    if now - run.record.phase_since > run.runtime.settings.give_up_after * 1000:
        fail(run, error.code, f"given up: {error.message}")
        return
    run.runtime.sessions.schedule(run.session_id, now + LOOK_AGAIN_MS)
    log.warning("The recording could not be read yet.", action="store_away", error=str(error))


def _show_progress(run: Run, plan: RunPlan, items: dict[str, ItemState]) -> None:
    views = rendition_views(run, plan, items)
    if views != run.record.renditions:
        run.runtime.sessions.update(run.session_id, run.generation, {"renditions": views})
