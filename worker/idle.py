"""When a live session is idle, and what then becomes of it: a run, nothing, or a look later."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from pipelines.errors import ErrorCode, FinalizerError, PermanentError, TransientError
from pipelines.session import Phase
from worker.ending import fail
from worker.run import Run

if TYPE_CHECKING:
    from worker.records import SessionRecord
    from worker.runtime import Runtime

log = structlog.get_logger(__name__)

#: How soon a recording that is not there yet, or cannot be read, is looked for again.
LOOK_AGAIN_MS = 5_000
#: The longest pause between two looks while the source is away.
LONGEST_PAUSE_MS = 60_000


def end_when_idle(record: SessionRecord, runtime: Runtime) -> SessionRecord | None:
    """Begin a run for a live session that is idle; the record of the run, None while it is not."""
    now = runtime.sessions.now_ms()
    idle_at = record.session.active_at + runtime.idle_ms
    if now < idle_at:
        runtime.sessions.schedule(record.id, idle_at)
        return None
    run = Run(runtime, record)
    try:
        has_segments = run.read_recording().segment_count > 0
    except PermanentError as error:
        has_segments = error.code is not ErrorCode.PLAYLIST_MISSING
    except TransientError as error:
        if now - idle_at > runtime.settings.give_up_after * 1000:
            give_up(record, runtime, error)
        else:
            pause = min(LONGEST_PAUSE_MS, max(LOOK_AGAIN_MS, (now - idle_at) // 10))
            runtime.sessions.schedule(record.id, now + pause)
        log.warning("The recording could not be read yet.", action="store_away", error=str(error))
        return None
    if not has_segments and _never_seen(record):
        runtime.sessions.transition(
            record.id,
            expect={Phase.LIVE},
            to=Phase.EMPTY,
            last_seen=record.session.last_seen,
            due_ms=None,
            event={"action": "empty", "reason": "nothing was ever seen, and there is no segment"},
        )
        return None
    grace_ends = idle_at + round(runtime.settings.missing_grace * 1000)
    if not has_segments and now < grace_ends:
        runtime.sessions.schedule(record.id, min(now + LOOK_AGAIN_MS, grace_ends))
        return None
    runtime.sessions.begin_generation(
        record.id,
        expect={Phase.LIVE},
        reason="idle",
        last_seen=record.session.last_seen,
    )
    return runtime.sessions.get(record.id)


def _never_seen(record: SessionRecord) -> bool:
    """DESIGN 3: only this, and no playlist with a segment, makes a session empty."""
    return not record.session.last_seen and not record.session.source_segments


def give_up(record: SessionRecord, runtime: Runtime, error: FinalizerError) -> None:
    """Fail a session of which not even a plan could be made."""
    runtime.sessions.begin_generation(
        record.id,
        expect={record.phase},
        reason="given up",
        last_seen=record.session.last_seen,
    )
    begun = runtime.sessions.get(record.id)
    if begun is not None and begun.phase is Phase.FINALIZING:
        fail(Run(runtime, begun), error.code, f"given up: {error.message}")
