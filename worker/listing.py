"""In which lists a session stands, so that each question is one range of one sorted set.

Every list is a sorted set with score 0 throughout: Redis then orders it by its members, which
start with a time of fixed width. A member is its own stable cursor, whatever is added or removed
meanwhile, and no question costs more than its answer.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from pipelines.session import Phase, RecordingStatus

if TYPE_CHECKING:
    from worker.records import SessionRecord

#: States of a recording that is wanted and not there: those can be overdue.
UNREADY = (RecordingStatus.WAITING, RecordingStatus.FAILED)

_CURSOR = re.compile(r"[0-9]{15}:[A-Za-z0-9_-]{1,64}")


class InvalidCursor(ValueError):
    """The cursor is none that an earlier page ended with."""


class Page(NamedTuple):
    """Some records, and the cursor of the next page (None: this was the last)."""

    records: list[SessionRecord]
    next_cursor: str | None


def entries(record: SessionRecord) -> frozenset[tuple[str, str]]:
    """The (list, member) pairs of a record; writing it removes the old pairs and adds the new."""
    created = member(record.session.created_at, record.id)
    active = member(record.session.active_at, record.id)
    found = {(by_creation(), created)}
    if record.status is not None:
        found.add((by_creation(record.status), created))
    if record.status in UNREADY:
        found |= {(by_activity(), active), (by_activity(record.status), active)}
    if record.status is not None and record.phase is Phase.LIVE and record.session.parent_id:
        found.add((live_of(record.session.parent_id), record.id))
    return frozenset(found)


def member(at_ms: int, session_id: str = "") -> str:
    """A member that sorts by time; without an id it sorts before all of that time."""
    return f"{at_ms:015d}:{session_id}"


def session_id_of(listed: str) -> str:
    """The session that a member stands for."""
    return listed.partition(":")[2]


def checked_cursor(cursor: str) -> str:
    """The cursor as it came; raises InvalidCursor unless it has the form of a member."""
    if not _CURSOR.fullmatch(cursor):
        raise InvalidCursor("cursor: is none that a page ended with")
    return cursor


def by_creation(status: RecordingStatus | None = None) -> str:
    """The list of all sessions (of that status) by the time of their creation."""
    return f"by_creation:{status}" if status else "by_creation"


def by_activity(status: RecordingStatus | None = None) -> str:
    """The list of sessions without a ready recording by the time of their last sign of life."""
    return f"by_activity:{status}" if status else "by_activity"


def live_of(parent_id: str) -> str:
    """The list of a stream's recorded sessions in phase live."""
    return f"live_of:{parent_id}"
