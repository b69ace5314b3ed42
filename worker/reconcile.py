"""The one step that everything asks for: read what is true, work out what is missing, claim it.

Level-triggered: webhooks, heartbeats, the sweep, finished work and people all call ``reconcile``;
a lost, late or doubled call changes nothing, and the next one heals it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from dramatiq.errors import BrokerError
from redis.exceptions import RedisError

from pipelines.errors import (
    ErrorCode,
    InterruptedWork,
    PermanentError,
    ToolError,
    TransientError,
    known_code,
)
from pipelines.session import Phase
from worker.beginning import plan_finally, recovered
from worker.claiming import MAX_ATTEMPTS, claim, missing_work, next_look
from worker.cleanup import clean
from worker.ending import fail
from worker.idle import LOOK_AGAIN_MS, end_when_idle, give_up, is_silent
from worker.live import look_while_live, put_off
from worker.progress import show_progress
from worker.run import Run
from worker.run_plan import asked_of
from worker.transitions import is_at_work
from worker.waiting import note_waiting
from worker.work import Reason, Refused

if TYPE_CHECKING:
    from worker.dispatch import Dispatcher
    from worker.records import SessionRecord
    from worker.runtime import Runtime
    from worker.work_item import WorkKey

log = structlog.get_logger(__name__)

#: In a run's record: how often a bug of ours stopped the look at the session.
FAULTS = "faults"
#: How soon a session is looked at again while an earlier run is cleaned up.
CLEANING_MS = 300


def reconcile(session_id: str, runtime: Runtime, dispatcher: Dispatcher) -> None:
    """Do for one session what is due now; safe to call at any time, from anywhere, at once."""
    record = runtime.sessions.get(session_id)
    if record is None:
        return
    try:
        _look(record, runtime, dispatcher)
    except (RedisError, BrokerError):
        raise
    except Exception as error:
        log.exception("A bug of ours stopped the look at a session.", action="internal_error")
        message = f"an unexpected {type(error).__name__}; see the worker's log"
        _count_fault(session_id, runtime, ToolError(ErrorCode.INTERNAL_ERROR, message))


def _look(seen: SessionRecord, runtime: Runtime, dispatcher: Dispatcher) -> None:
    if not is_at_work(seen):
        clean(runtime, seen)
        return
    record: SessionRecord | None = seen
    if seen.phase is Phase.LIVE:
        if not is_silent(seen, runtime):
            look_while_live(seen, runtime, dispatcher)
            return
        record = end_when_idle(seen, runtime)
    if record is not None and record.phase is Phase.FINALIZING:
        _advance(Run(runtime, record), dispatcher)


def _count_fault(session_id: str, runtime: Runtime, error: ToolError) -> None:
    """Look again a few times, then fail the session: one that can never be looked at is told of.

    One that still shows life is put off: its end decides.
    """
    record = runtime.sessions.get(session_id)
    if record is None or record.phase not in (Phase.LIVE, Phase.FINALIZING):
        return
    if record.phase is Phase.LIVE and not is_silent(record, runtime):
        put_off(record, runtime)
        return
    faults = int(record.run.get(FAULTS, 0)) + 1
    if faults < MAX_ATTEMPTS:
        runtime.sessions.update_by(
            session_id, record.generation, lambda now: {"run": {**now.run, FAULTS: faults}}
        )
        runtime.sessions.schedule(session_id, runtime.sessions.now_ms() + LOOK_AGAIN_MS)
        return
    give_up(record, runtime, error)


def _advance(run: Run, dispatcher: Dispatcher) -> None:
    """Claim whatever the run still lacks and send it to the workers."""
    runtime = run.runtime
    known = run.plan()
    if known is not None and known.asked != asked_of(run.record.session):
        run.begin_anew("other profiles are asked for")
        dispatcher.reconcile(run.session_id)
        return
    if known is None and runtime.sessions.cleanup_lock(run.session_id).locked():
        # What an earlier run left is being removed under the names that this one will use.
        runtime.sessions.schedule(run.session_id, runtime.sessions.now_ms() + CLEANING_MS)
        return
    try:
        if known is None:
            run = recovered(run)
        if known is None or not known.final:
            run, plan = plan_finally(run)
            run.look_for_the_missing()
        else:
            plan = known
    except InterruptedWork:
        return
    except PermanentError as error:
        fail(run, error.code, error.message)
        return
    except TransientError as error:
        _wait_out(run, error)
        return
    except ToolError as error:
        log.warning("The recording could not be planned.", action="plan_failed", error=str(error))
        _count_fault(run.session_id, runtime, error)
        return
    standing = run.standing(plan)
    missing = missing_work(run, standing)
    runtime.sessions.schedule(run.session_id, next_look(run, standing))
    for key, refused in claim(run, missing, dispatcher, (Phase.FINALIZING,)):
        if not _tolerable(run, key, refused):
            return
    show_progress(run, standing)


def _tolerable(run: Run, key: WorkKey, refused: Refused) -> bool:
    """Whether the run goes on although an item could not be claimed; fails the session if not."""
    state = refused.state
    if refused.reason is Reason.STALE:
        return False
    if refused.reason is Reason.POISON:
        code = ErrorCode.SLICE_POISON
        message = (
            f"it ended its worker {MAX_ATTEMPTS} times; see the workers' logs (out of memory?), "
            "then run the session again"
        )
        if refused.error is not None and refused.error.code != ErrorCode.INTERRUPTED:
            code, message = known_code(refused.error.code), refused.error.message
        fail(run, code, message, key.item)
        return False
    if refused.reason is Reason.WAITING and state is not None:
        patience = run.runtime.settings.give_up_after * 1000
        now = run.runtime.sessions.now_ms()
        if state.error and state.failing_since and now - state.failing_since > patience:
            fail(run, known_code(state.error.code), f"given up: {state.error.message}", key.item)
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
    note_waiting(run, error)
    run.runtime.outages.tell(error)
