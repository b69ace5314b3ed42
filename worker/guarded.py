"""Records in Redis, each read with the server's clock and written only as it was read.

A write is decided in Python upon one reading of the record and lands only if nobody wrote the
record meanwhile (``lua/guarded_write.lua``); else it is decided again. One write moves the record,
its lists, its due time and its events together. All keys are on one server (no Redis Cluster).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from importlib import resources
from typing import TYPE_CHECKING, Any, TypeVar

from pipelines.errors import TransientError
from worker import listing
from worker.keys import report_key, session_key
from worker.live_pace import look_due
from worker.records import SessionRecord, decode, encode, is_readable, json_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from redis import Redis

#: Sorted sets of sessions by when they are due (Unix ms): for whatever may have become of them, and
#: for a look at the playlist while they are live, which follows from the record.
DUE, LOOKS = "due", "looks"
#: Events that are kept of one session; the oldest go first.
KEPT_EVENTS = 500
#: Readings after which a write gives way: each lost one means that another write succeeded.
_TRIES = 100


class Due(enum.Enum):
    """What a write does to the due time, when it does not set one."""

    KEPT = "kept"
    REMOVED = "removed"


@dataclass(frozen=True)
class Write:
    """The record that a decision wants, with its new events and due time.

    ``report`` replaces the session's report, ``forgets`` are keys that are unlinked with it;
    ``notes`` are for the caller alone.
    """

    record: SessionRecord
    events: tuple[Mapping[str, Any], ...] = ()
    due: int | Due = Due.KEPT
    notes: tuple[str, ...] = ()
    report: str | None = None
    forgets: tuple[str, ...] = ()


#: What a decision gives: for some, not to write is an answer too.
Decision = TypeVar("Decision", Write, Write | None)


class GuardedRecords:
    """The records, their event logs and due times below one prefix of a Redis."""

    def __init__(self, client: Redis[str], prefix: str) -> None:
        self._redis = client
        self._prefix = prefix
        self._guarded_write = client.register_script(lua("guarded_write"))

    def key(self, name: str) -> str:
        """A key of this deployment."""
        return self._prefix + name

    def session_key(self, session_id: str) -> str:
        """The key of a session's hash."""
        return session_key(self._prefix, session_id)

    def events_key(self, session_id: str) -> str:
        """The key of a session's event log."""
        return self.key(f"events:{session_id}")

    def read(self, session_id: str) -> tuple[SessionRecord | None, int]:
        """The record (None: there is none) and the server's time, Unix ms, in one round trip.

        Raises UnknownFormat for a record of another version of ours.
        """
        with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.time()
            pipeline.hgetall(self.session_key(session_id))
            time, fields = pipeline.execute()
        return (decode(session_id, fields) if fields else None), millis(time)

    def read_many(self, ids: Sequence[str]) -> list[SessionRecord]:
        """The records of those ids that are there and of our version, in one round trip."""
        with self._redis.pipeline(transaction=False) as pipeline:
            for session_id in ids:
                pipeline.hgetall(self.session_key(session_id))
            found = zip(ids, pipeline.execute(), strict=True)
        return [decode(session_id, fields) for session_id, fields in found if is_readable(fields)]

    def change(
        self,
        session_id: str,
        decide: Callable[[SessionRecord | None, int], Decision],
    ) -> Decision:
        """Read, decide, write if nobody wrote meanwhile, else again; None: decided not to write.

        ``decide`` gets the record and the server's time; what it raises is passed on. Raises
        TransientError when others write the record all the time.
        """
        for _ in range(_TRIES):
            before, now = self.read(session_id)
            write = decide(before, now)
            if write is None:
                return None
            version = before.version if before else 0
            write = replace(write, record=replace(write.record, version=version + 1))
            words: list[str] = _words(self.commands(before, write, now))
            expected = str(version) if before else ""
            if self._guarded_write(keys=[self.session_key(session_id)], args=[expected, *words]):
                return write
        raise TransientError(f"Session {session_id} is written too often by others; try again.")

    def commands(
        self, before: SessionRecord | None, write: Write, now: int
    ) -> list[tuple[str, ...]]:
        """What a write of a record that is ``before`` in Redis does there, command by command."""
        record = write.record
        old, new = (encode(before) if before else {}), encode(record)
        changed = [(name, value) for name, value in new.items() if old.get(name) != value]
        commands = [("HSET", self.session_key(record.id), *(w for pair in changed for w in pair))]
        if gone := old.keys() - new.keys():
            commands.append(("HDEL", self.session_key(record.id), *gone))
        were, are = (listing.entries(before) if before else frozenset()), listing.entries(record)
        commands += [("ZREM", self.key(name), member) for name, member in were - are]
        commands += [("ZADD", self.key(name), "0", member) for name, member in are - were]
        looked_at, look_at = (look_due(before) if before else None), look_due(record)
        if look_at is not None and look_at != looked_at:
            commands.append(("ZADD", self.key(LOOKS), str(look_at), record.id))
        elif look_at is None and looked_at is not None:
            commands.append(("ZREM", self.key(LOOKS), record.id))
        if write.due is Due.REMOVED:
            commands.append(("ZREM", self.key(DUE), record.id))
        elif write.due is not Due.KEPT:
            commands.append(("ZADD", self.key(DUE), str(write.due), record.id))
        if write.events:
            key = self.events_key(record.id)
            commands.append(("RPUSH", key, *(json_text({"at": now, **e}) for e in write.events)))
            commands.append(("LTRIM", key, str(-KEPT_EVENTS), "-1"))
        if write.report is not None:
            commands.append(("SET", report_key(self._prefix, record.id), write.report))
        if write.forgets:
            commands.append(("UNLINK", *write.forgets))
        return commands


def lua(name: str) -> str:
    """The text of one of our scripts."""
    return resources.files("worker").joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")


def millis(time: tuple[int, int]) -> int:
    """Unix ms out of what TIME answers: seconds and microseconds."""
    return time[0] * 1000 + time[1] // 1000


def _words(commands: Iterable[tuple[str, ...]]) -> list[str]:
    """Commands as the script takes them: each preceded by its length."""
    return [word for command in commands for word in (str(len(command)), *command)]
