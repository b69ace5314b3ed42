"""When a live session is idle or abandoned, and what then becomes of it: a run, nothing, or a look
later.

A session is *abandoned* after ``FINALIZER_ABANDON_AFTER`` without a sign of life while there is no
playlist: whatever else would still be waited for then is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.errors import ErrorCode, FinalizerError, PermanentError, TransientError
from pipelines.session import Phase
from worker.ending import fail
from worker.run import Run
from worker.waiting import note_waiting

if TYPE_CHECKING:
    from worker.records import SessionRecord
    from worker.runtime import Runtime

#: How soon a recording that is not there yet, or cannot be read, is looked for again.
LOOK_AGAIN_MS = 5_000
#: The longest pause between two looks while the source is away.
LONGEST_PAUSE_MS = 60_000


def is_silent(record: SessionRecord, runtime: Runtime) -> bool:
    """Whether a live session was silent for so long that something may have to be done."""
    return runtime.sessions.now_ms() >= silent_at(record, runtime)


def silent_at(record: SessionRecord, runtime: Runtime) -> int:
    """When that is so, Unix ms, unless there is another sign of life."""
    return record.session.active_at + round(runtime.settings.silence * 1000)


def end_when_idle(record: SessionRecord, runtime: Runtime) -> SessionRecord | None:
    """Begin a run for a live session that is idle; the record of the run, None while it is not.

    The run of one that is abandoned ends at once, for there is nothing to be planned.
    """
    now = runtime.sessions.now_ms()
    idle_at = record.session.active_at + runtime.idle_ms
    abandoned_at = record.session.active_at + round(runtime.settings.abandon_after * 1000)
    run = Run(runtime, record)
    try:
        has_segments = run.read_recording().segment_count > 0
    except PermanentError as error:
        has_segments = error.code is not ErrorCode.PLAYLIST_MISSING
    except TransientError as error:
        patience = min(idle_at + runtime.settings.give_up_after * 1000, abandoned_at)
        if now > max(idle_at, patience):
            give_up(record, runtime, error)
        else:
            pause = min(LONGEST_PAUSE_MS, max(LOOK_AGAIN_MS, (now - idle_at) // 10))
            runtime.sessions.schedule(record.id, now + pause)
            note_waiting(run, error)
        runtime.outages.tell(error)
        return None
    if not has_segments and _never_seen(record):
        runtime.sessions.transition(
            record.id,
            expect={Phase.LIVE},
            to=Phase.EMPTY,
            last_seen=record.session.last_seen,
            due_ms=now if record.run else None,  # to clean up after a run
            event={"action": "empty", "reason": "nothing was ever seen, and there is no segment"},
        )
        return None
    abandoned = not has_segments and now >= abandoned_at
    if now < idle_at and not abandoned:
        runtime.sessions.schedule(record.id, idle_at)
        return None
    grace_ends = idle_at + round(runtime.settings.missing_grace * 1000)
    if not has_segments and not abandoned and now < grace_ends:
        again = min(now + LOOK_AGAIN_MS, grace_ends, abandoned_at)
        runtime.sessions.schedule(record.id, again)
        return None
    _finalize(run, "abandoned" if abandoned else "idle")
    return runtime.sessions.get(record.id)


def _finalize(run: Run, reason: str) -> None:
    """Go on with the run that packaged while the session was live, or begin one; unless a sign of
    life has come meanwhile."""
    sessions, record = run.runtime.sessions, run.record
    known = run.plan()
    if known is None or known.final:
        sessions.begin_generation(
            record.id,
            expect={Phase.LIVE},
            reason=reason,
            last_seen=record.session.last_seen,
        )
        return
    sessions.transition(
        record.id,
        expect={Phase.LIVE},
        to=Phase.FINALIZING,
        generation=record.generation,
        last_seen=record.session.last_seen,
        due_ms=sessions.now_ms(),
        event={"action": Phase.FINALIZING, "generation": record.generation, "reason": reason},
    )


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
