"""The manual re-run of a session: when it is refused, and how it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.session import Phase

if TYPE_CHECKING:
    from worker.records import SessionRecord
    from worker.store import SessionStore

#: Readings after which a session that changes phase all the time is left alone.
_TRIES = 5


class RerunRefused(Exception):
    """The session is in a state that is not run again; the message says which, and what helps."""


class SessionNotFound(Exception):
    """There is no session of that id."""


def refusal(record: SessionRecord, *, force: bool) -> str | None:
    """Why a re-run is refused; None when it is not."""
    if not record.session.record:
        return f"Session {record.id} is not recorded: nothing is ever packaged of it."
    if record.phase is Phase.LIVE:
        return f"Session {record.id} is live: it is finalized by itself once it is idle."
    if record.phase is Phase.DELETED:
        return f"Session {record.id} is deleted."
    if record.phase is Phase.READY and not force:
        return f"Session {record.id} is ready: use force to make a new revision."
    return None


def start(store: SessionStore, session_id: str, *, force: bool) -> int:
    """Start a run and return its generation; the session is due at once.

    A session that is being finalized is joined (with ``force``: begun anew); an empty one goes live
    to be looked at again. Raises SessionNotFound, RerunRefused.
    """
    for _ in range(_TRIES):
        record = store.get(session_id)
        if record is None:
            raise SessionNotFound(session_id)
        reason = refusal(record, force=force)
        if reason:
            raise RerunRefused(reason)
        if record.phase is Phase.FINALIZING and not force:
            return record.generation
        to = Phase.LIVE if record.phase is Phase.EMPTY else Phase.FINALIZING
        generation = store.begin_generation(
            session_id,
            expect={record.phase},
            to=to,
            reason="re-run, forced" if force else "re-run",
        )
        if generation is not None:
            return generation
    raise RerunRefused(f"Session {session_id} changes its phase all the time; try again.")
