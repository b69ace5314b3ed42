"""How a session moves between its phases: the table, the guards, and what a sign of life does."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeGuard

from pipelines.session import Phase
from worker.rendition_view import withdrawn
from worker.run_memory import stopped_memory

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pipelines.session import Session
    from worker.records import SessionRecord

#: Where each phase may go (``deleted`` is final). A phase may also stay: that moves the due time.
LEAVES_TO: Mapping[Phase, frozenset[Phase]] = {
    Phase.LIVE: frozenset({Phase.FINALIZING, Phase.EMPTY, Phase.DELETED}),
    Phase.FINALIZING: frozenset({Phase.READY, Phase.FAILED, Phase.LIVE, Phase.DELETED}),
    Phase.READY: frozenset({Phase.FINALIZING, Phase.LIVE, Phase.DELETED}),
    Phase.FAILED: frozenset({Phase.FINALIZING, Phase.LIVE, Phase.DELETED}),
    Phase.EMPTY: frozenset({Phase.LIVE, Phase.DELETED}),
    Phase.DELETED: frozenset(),
}

#: Phases that a newer sign of life ends; a deleted session stays deleted.
_WAKEABLE = frozenset({Phase.FINALIZING, Phase.READY, Phase.FAILED, Phase.EMPTY})
#: Wire names whose change is worth an event; the others change with every heartbeat.
_NOTABLE = ("record", "profiles", "sourceUrl", "playbackId", "parentId", "name")


def matches(
    record: SessionRecord | None,
    *,
    expect: Collection[Phase],
    generation: int | None = None,
    last_seen: int | None = None,
) -> TypeGuard[SessionRecord]:
    """Whether the record is still what a decision was made upon; None matches every value."""
    return (
        record is not None
        and record.phase in expect
        and generation in (None, record.generation)
        and last_seen in (None, record.session.last_seen)
    )


def moved(record: SessionRecord, to: Phase, now_ms: int) -> SessionRecord:
    """The record in phase ``to``; raises ValueError for a move that no session makes."""
    if record.phase is to:
        return record
    if to not in LEAVES_TO[record.phase]:
        raise ValueError(f"no session goes from {record.phase} to {to}")
    return replace(record, phase=to, phase_since=now_ms, waiting=None)


def entering(phase: Phase) -> dict[str, Any]:
    """The event of a move that says no more than where it went."""
    return {"action": phase.value}


def next_generation(record: SessionRecord, now_ms: int) -> int:
    """The fencing token that follows the record's; ``now_ms`` is the server's time.

    A server that lost its last writes hands none out twice.
    """
    return max(record.generation + 1, now_ms)


def deleted(record: SessionRecord, now_ms: int) -> SessionRecord:
    """The record of a session that was deleted: nothing of it is shown, and nothing counts."""
    gone = _stopped(record, Phase.DELETED, now_ms)
    return replace(gone, error=None, recording_url=None, mp4_url=None, renditions=())


def switched_off(before: SessionRecord, after: SessionRecord) -> bool:
    """Whether an update of a session stopped a run, for the session is not recorded any more."""
    return before.generation != after.generation and not after.session.record


def _stopped(record: SessionRecord, to: Phase, now_ms: int) -> SessionRecord:
    """The record in phase ``to`` under a generation of its own: whoever works for the run before
    it can neither complete nor commit anything."""
    return replace(
        moved(record, to, now_ms),
        generation=next_generation(record, now_ms),
        renditions=withdrawn(record, "waiting"),
        run=stopped_memory(record),
        waiting=None,
    )


def is_at_work(record: SessionRecord) -> bool:
    """Whether a run of the session goes on or may begin any time, so that nothing is cleaned up."""
    return bool(record.session.record) and record.phase in (Phase.LIVE, Phase.FINALIZING)


def _has_run(record: SessionRecord) -> bool:
    """Whether somebody may be at work for the session."""
    return record.phase is Phase.FINALIZING or (record.phase is Phase.LIVE and bool(record.run))


def merged(
    record: SessionRecord, session: Session, now_ms: int
) -> tuple[SessionRecord, tuple[Mapping[str, Any], ...]]:
    """The record with an updated session, and the events of that: a sign of life wakes it up, and
    the end of being recorded stops its run."""
    events: list[Mapping[str, Any]] = []
    changed = _notable_changes(record.session, session)
    if changed:
        events.append({"action": "changed", "fields": changed})
    after = replace(record, session=session)
    if record.session.record and not session.record and _has_run(record):
        after = _stopped(after, Phase.LIVE, now_ms)
        events.append({"action": "stopped", "reason": "the session is not recorded any more"})
    if session.record and _shows_life(record, session):
        after = moved(after, Phase.LIVE, now_ms)
        if record.phase is Phase.FINALIZING:
            after = replace(after, renditions=withdrawn(after, "waiting"))
        events.append(
            {**entering(Phase.LIVE), "reason": f"a sign of life while {record.phase.value}"}
        )
    return after, tuple(events)


def _shows_life(record: SessionRecord, session: Session) -> bool:
    if record.phase not in _WAKEABLE:
        return False
    newer = session.last_seen > record.session.last_seen
    counted = session.source_segments > record.session.source_segments
    return newer or (record.phase is Phase.EMPTY and counted)


def _notable_changes(before: Session, after: Session) -> list[str]:
    old = before.model_dump(mode="json", exclude_unset=True)
    new = after.model_dump(mode="json", exclude_unset=True)
    return [name for name in _NOTABLE if old.get(name) != new.get(name)]
