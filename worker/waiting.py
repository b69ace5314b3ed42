"""What a session waits for: an outage that passes by itself or by an operator's hand, as GET shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.session import Phase
from worker.records import Waiting
from worker.work_item import State

if TYPE_CHECKING:
    from pipelines.errors import TransientError
    from worker.records import SessionRecord
    from worker.run import Run
    from worker.standing import Standing


def waiting_for(record: SessionRecord, standing: Standing) -> Waiting | None:
    """The outage of work that is tried again, the one that lasts longest; None when there is none.

    While a session is live, what keeps its playlist from being read stands until it is read.
    """
    failing = [
        Waiting(state.error.code, state.error.message, state.failing_since, item)
        for item, state in standing.items.items()
        if state.error and state.outages and state.failing_since and state.state is not State.DONE
    ]
    if failing:
        return min(failing, key=lambda each: (each.since, each.item))
    known = record.waiting
    return (
        known if record.phase is Phase.LIVE and known is not None and known.item is None else None
    )


def kept_waiting(record: SessionRecord, error: TransientError, now_ms: int) -> Waiting:
    """What a session waits for whose recording cannot be read: since when, if it did before."""
    known = record.waiting
    since = known.since if known and known.code == error.code else now_ms
    return Waiting(error.code, error.message, since)


def note_waiting(run: Run, error: TransientError) -> None:
    """Write down that the session waits for the recording to be readable again."""
    waiting = kept_waiting(run.record, error, run.runtime.sessions.now_ms())
    if waiting != run.record.waiting:
        run.runtime.sessions.update(run.session_id, run.generation, {"waiting": waiting})
