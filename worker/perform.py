"""Doing one claimed item of work under a lease, and writing down how it ended."""

from __future__ import annotations

import os
import random
import socket
import time
from typing import TYPE_CHECKING

import structlog
from redis.exceptions import RedisError
from structlog.contextvars import bound_contextvars

from pipelines.errors import (
    ErrorCode,
    FinalizerError,
    InterruptedWork,
    PermanentError,
    ToolError,
    TransientError,
)
from pipelines.session import Phase
from worker.assembling import assemble_and_prove
from worker.cleanup import clean_after
from worker.conforming import conform_one
from worker.dispatch import CONTROL, queue_of
from worker.ending import fail
from worker.lease_keeper import LeaseKeeper
from worker.packaging import package_one
from worker.publishing import publish_and_commit
from worker.run import Run
from worker.run_plan import ASSEMBLE, CONFORM, PACKAGE, PUBLISH, SOUND, TRANSCODE
from worker.transcoding import encode_sound_of, transcode_one
from worker.work import Claim
from worker.work_item import Ending

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.dispatch import Dispatcher
    from worker.runtime import Runtime
    from worker.work import Lease
    from worker.work_item import WorkKey

log = structlog.get_logger(__name__)

#: First and longest pause after an outage, milliseconds; each further outage doubles it.
FIRST_PAUSE_MS = 1_000
LONGEST_PAUSE_MS = 60_000
#: Pause after a failure that counts.
FAILURE_PAUSE_MS = 500
#: How soon a segment that is listed and not there yet is looked for again, once the session is over.
LATE_PAUSE_MS = 3_000
#: Seconds until it is tried again to write down how work ended.
WRITE_AGAIN_SECONDS = 1.0
#: Work that is done while a session is live, too.
WHILE_LIVE = frozenset({PACKAGE, TRANSCODE})


def perform(key: WorkKey, token: str, runtime: Runtime, dispatcher: Dispatcher) -> None:
    """Lease the item that ``token`` claimed and do it; a stale or doubled message does nothing.

    Every ending but a lost lease is written down; then the session is reconciled. Raises only
    when Redis does not answer.
    """
    if queue_of(key.item) == CONTROL:  # never waits: looks at sessions would wait behind it
        _perform(key, token, runtime, dispatcher)
        return
    before = runtime.work.item(key)
    is_suspect = before is not None and Ending.SILENT in before.earlier
    with runtime.isolation.entered(runtime.stop, alone=is_suspect) as admitted:
        if admitted:
            _perform(key, token, runtime, dispatcher)
        elif before is not None:
            runtime.work.release(Claim(key, token, before), counts=False, error=None)
            dispatcher.reconcile(key.session_id)


def _perform(key: WorkKey, token: str, runtime: Runtime, dispatcher: Dispatcher) -> None:
    owner = f"{socket.gethostname()}:{os.getpid()}"
    lease = runtime.work.lease(key, token, owner, runtime.lease_ms)
    if lease is None:
        log.info("A message came too late or twice.", action="message_dropped", item=key.item)
        return
    with bound_contextvars(session_id=key.session_id, generation=key.generation, item=key.item):
        _leased(lease, runtime)
    dispatcher.reconcile(key.session_id)


def _leased(lease: Lease, runtime: Runtime) -> None:
    key = lease.key
    record = runtime.sessions.get(key.session_id)
    if record is None or record.generation != key.generation or not _is_wanted(key, record.phase):
        runtime.work.release(lease, counts=False, error=None)
        return
    run = Run(runtime, record)
    if not _done(run, lease):
        clean_after(run)


def _done(run: Run, lease: Lease) -> bool:
    """Do the item and write down how it ended; whether its result counts."""
    runtime, key = run.runtime, lease.key
    sessions = runtime.sessions

    def look_soon() -> None:
        sessions.schedule(run.session_id, sessions.now_ms(), earlier_only=True)

    try:
        with LeaseKeeper(runtime.work, lease, runtime.lease_ms, runtime.stop, look_soon) as keeper:
            result = _do(run, lease, keeper)
    except PermanentError as error:
        if run.is_live:
            _release(lease, run, error)
            return False
        runtime.work.release(lease, counts=False, error=(error.code, error.message))
        fail(run, error.code, error.message, key.item)
    except FinalizerError as error:
        _release(lease, run, error)
    except RedisError:
        raise
    except Exception as error:
        log.exception("A bug of ours stopped the work.", action="internal_error")
        message = f"an unexpected {type(error).__name__} stopped {key.item}; see the worker's log"
        _release(lease, run, ToolError(ErrorCode.INTERNAL_ERROR, message))
    else:
        counts = _written(runtime, lambda: runtime.work.complete(lease, result))
        if not counts:
            log.warning("The result came too late to count.", action="result_refused")
        runtime.outages.over()
        return counts
    return False


def _written(runtime: Runtime, write: Callable[[], bool]) -> bool:
    """What ``write`` gives, which writes down how work ended: made again while Redis is away or
    full, for as long as a lease. Else the work would be done again, and count as a crash."""
    until = time.monotonic() + runtime.lease_ms / 1000
    while True:
        try:
            return write()
        except RedisError:
            if time.monotonic() > until or runtime.stop.wait(WRITE_AGAIN_SECONDS):
                raise


def _is_wanted(key: WorkKey, phase: Phase) -> bool:
    """Whether an item of work is done while its session is in a phase."""
    kind = key.item.partition("/")[0]
    return phase is Phase.FINALIZING or (phase is Phase.LIVE and kind in WHILE_LIVE)


def _do(run: Run, lease: Lease, keeper: LeaseKeeper) -> str:
    kind, _, rest = lease.key.item.partition("/")
    if kind == PACKAGE:
        rendition, _, number = rest.rpartition("/")
        return package_one(run, lease, rendition, int(number), keeper.check)
    if kind == TRANSCODE:
        group, _, number = rest.rpartition("/")
        return transcode_one(run, lease, group, int(number), keeper.check, keeper.progress)
    if kind == CONFORM:
        rendition, _, number = rest.rpartition("/")
        return conform_one(run, lease, rendition, int(number), keeper.check, keeper.progress)
    if kind == SOUND:
        return encode_sound_of(run, lease, rest, keeper.check)
    if kind == ASSEMBLE:
        return assemble_and_prove(run, rest, keeper.check)
    if kind == PUBLISH:
        return publish_and_commit(run, keeper.confirm)
    raise ToolError(ErrorCode.INTERNAL_ERROR, f"this version knows no work called {kind}")


def _release(lease: Lease, run: Run, error: FinalizerError) -> None:
    """Give the item back: failures count, outages wait, an interruption says nothing.

    What can never be done of a session that is live may be mended before its end, as a playlist that
    is away for a moment: it waits, too. If it is not, the session fails of it then.
    """
    runtime = run.runtime
    if isinstance(error, InterruptedWork):
        runtime.work.release(lease, counts=False, error=None, delay_ms=error.pause_ms)
        log.info("The work was handed back.", action="interrupted", reason=error.message)
        return
    outage = isinstance(error, TransientError)
    late = outage and error.code is ErrorCode.SEGMENT_MISSING
    counts = not outage and not isinstance(error, PermanentError)
    pause = FAILURE_PAUSE_MS if counts else pause_ms(lease.state.outages)
    if (late or not outage) and not _is_live(run):
        pause = min(pause, LATE_PAUSE_MS)
    reason = (error.code, error.message)
    _written(
        runtime,
        lambda: runtime.work.release(lease, counts=counts, error=reason, delay_ms=pause),
    )
    if isinstance(error, TransientError) and not late:
        runtime.outages.tell(error)
    else:
        log.warning(
            "The work has to wait." if late else "The work failed.",
            action="postponed" if late else "attempt_failed",
            code=error.code,
            reason=error.message,
            pause_ms=pause,
        )
    told = lease.state.error
    if not counts and lease.state.outages and told and told.code == error.code:
        return  # told once, and tried again and again
    runtime.sessions.add_event(
        lease.key.session_id,
        "postponed" if outage else "attempt_failed",
        item=lease.key.item,
        code=error.code,
        message=error.message,
    )


def _is_live(run: Run) -> bool:
    """Whether the session is live by now: it may have ended while the work was done."""
    record = run.runtime.sessions.get(run.session_id)
    return record is not None and record.phase is Phase.LIVE


def pause_ms(outages: int) -> int:
    """How long to wait after the nth outage in a row, with jitter, milliseconds."""
    longest = min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS << min(outages, 16))
    return round(longest * random.uniform(0.5, 1.0))
