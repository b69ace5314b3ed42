"""The session store: what may happen to a session, each as one guarded write in Redis."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import redis

from pipelines.session import Phase, merge
from worker import listing
from worker.guarded import DUE, KEPT_EVENTS, LOOKS, Due, GuardedRecords, Write, lua, millis
from worker.keys import report_key, run_key
from worker.live_pace import FIRST_LOOK_MS, QUIET_SHARE
from worker.records import Changes, SessionRecord, json_text
from worker.redis_refusal import WriteProbe
from worker.run_memory import carried_on, left_behind, revision_made, runs_of
from worker.transitions import (
    deleted,
    entering,
    is_at_work,
    matches,
    merged,
    moved,
    next_generation,
    switched_off,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from redis.lock import Lock

    from pipelines.session import RecordingStatus
    from worker.settings import Settings


#: Seconds after which the lock of a cleaner that died is free again.
CLEANUP_S = 60


class Put(NamedTuple):
    """What became of a PUT: the record now, whether it is new, what was set right."""

    record: SessionRecord
    created: bool
    notes: tuple[str, ...]


def open_redis(settings: Settings) -> redis.Redis[str]:
    """A client of the settings' Redis that gives up on a silent server after ten seconds."""
    return redis.Redis.from_url(
        settings.redis_url,
        decode_responses=True,
        socket_timeout=10,
        socket_connect_timeout=5,
        health_check_interval=30,
    )


class SessionStore:
    """Sessions by id. Methods raise ``redis.RedisError`` when the server does not answer, and
    UnknownFormat for a record of another version of ours.

    ``idle_timeout`` (seconds) sets how long after a sign of life a live session is due;
    with ``package_live`` it is also so whenever its playlist is to be read.
    """

    def __init__(
        self,
        client: redis.Redis[str],
        *,
        prefix: str = "finalizer:",
        idle_timeout: float = 60,
        package_live: bool = True,
    ) -> None:
        self._redis = client
        self._probe = WriteProbe(client, prefix)
        self._prefix = prefix
        self._records = GuardedRecords(client, prefix)
        self._idle_ms = round(idle_timeout * 1000)
        self._package_live = package_live
        self._take_due = client.register_script(lua("take_due"))
        self._schedule = client.register_script(lua("schedule"))
        self._add_event = client.register_script(lua("add_event"))
        self._set_report = client.register_script(lua("set_report"))

    @classmethod
    def open(cls, settings: Settings) -> SessionStore:
        """The store that the settings name."""
        return cls(
            open_redis(settings),
            prefix=settings.redis_prefix,
            idle_timeout=settings.silence,
            package_live=settings.package_live,
        )

    def ping(self) -> None:
        """Raise ``redis.RedisError`` unless the server answers."""
        self._redis.ping()

    def refusal(self) -> str | None:
        """Why nothing can be written just now, as it was a moment ago; None when it can."""
        return self._probe.refusal()

    def now_ms(self) -> int:
        """The server's time, Unix ms: the one clock of all workers."""
        return millis(self._redis.time())

    def get(self, session_id: str) -> SessionRecord | None:
        """The record as it is now; None when there is no such session."""
        return self._records.read(session_id)[0]

    def put(self, session_id: str, patch: Mapping[str, Any]) -> Put:
        """Create the session or merge the patch into it, as ``pipelines.session.merge`` says.

        A newer sign of life makes a session live again, in the same write. Raises FieldError when
        a value is refused: then nothing changes.
        """

        def decide(record: SessionRecord | None, now: int) -> Write:
            before = record.session if record else None
            session, notes = merge(before, session_id, patch, now)
            corrected = [{"action": "corrected", "note": note} for note in notes]
            if record is None:
                new = SessionRecord(
                    session=session,
                    phase=Phase.LIVE,
                    phase_since=now,
                    look_at=self._first_look(now),
                )
                created = ({"action": "created"}, *corrected)
                return Write(new, created, self._due_when_live(new), notes)
            after, events = merged(record, session, now)
            is_unseen = after.phase is Phase.LIVE and not after.look_at
            if is_unseen or _goes_live(record, after):
                after = replace(after, look_at=self._first_look(now))
            due = self._due_after_merge(record, after, now)
            forgets = self._runs(record) if switched_off(record, after) else ()
            return Write(after, (*events, *corrected), due, notes, forgets=forgets)

        write = self._records.change(session_id, decide)
        return Put(write.record, write.record.version == 1, write.notes)

    def transition(
        self,
        session_id: str,
        *,
        expect: Collection[Phase],
        to: Phase,
        due_ms: int | None,
        generation: int | None = None,
        last_seen: int | None = None,
        changes: Changes | None = None,
        event: Mapping[str, Any] | None = None,
    ) -> bool:
        """Move a session to another phase; False, and nothing changed, if a guard does not match.

        Guards: the phase is one of ``expect``; if given, ``generation`` and ``last_seen`` are still
        those that the caller decided upon. ``due_ms`` is when to look again (None: never).
        Raises ValueError for a move that no session makes.
        """

        def decide(record: SessionRecord | None, now: int) -> Write | None:
            if not matches(record, expect=expect, generation=generation, last_seen=last_seen):
                return None
            after = replace(moved(record, to, now), **(changes or {}))
            return Write(after, (event or entering(to),), _due(due_ms))

        return self._records.change(session_id, decide) is not None

    def begin_generation(
        self,
        session_id: str,
        *,
        expect: Collection[Phase],
        reason: str,
        to: Phase = Phase.FINALIZING,
        generation: int | None = None,
        last_seen: int | None = None,
        remembers: Mapping[str, Any] | None = None,
    ) -> int | None:
        """Start a run under a new fencing token; None, and nothing changed, if a guard fails.

        The token is ``max(previous + 1, server time in ms)``: a server that lost its last writes
        hands none out twice. The last run's error is cleared, the session is due now, and the new
        run remembers what ``carried_on`` says of the last one, and ``remembers``. Guards as in ``transition``.
        """

        def decide(record: SessionRecord | None, now: int) -> Write | None:
            if not matches(record, expect=expect, generation=generation, last_seen=last_seen):
                return None
            if not record.session.record:
                return None
            token = next_generation(record, now)
            fresh: Changes = {"error": None, "run": {**carried_on(record), **(remembers or {})}}
            if to is Phase.LIVE:
                fresh["look_at"] = now
            begun = replace(moved(record, to, now), generation=token, **fresh)
            return Write(begun, ({**entering(to), "generation": token, "reason": reason},), now)

        write = self._records.change(session_id, decide)
        return write.record.generation if write else None

    def delete(self, session_id: str) -> SessionRecord | None:
        """Mark a session as deleted, for good; the record now, None when there is no such session.

        In the same write its run loses every claim, lease and commit, its report and its run are
        forgotten, and it is due: what was written of it is to be removed. Again, it does nothing.
        """

        def decide(record: SessionRecord | None, now: int) -> Write | None:
            if record is None or record.phase is Phase.DELETED:
                return None
            gone = deleted(record, now)
            forgets = (*self._runs(record), report_key(self._prefix, session_id))
            return Write(gone, (entering(Phase.DELETED),), now, forgets=forgets)

        write = self._records.change(session_id, decide)
        return write.record if write else self.get(session_id)

    def update(
        self,
        session_id: str,
        generation: int,
        changes: Changes,
        event: Mapping[str, Any] | None = None,
    ) -> bool:
        """Write a run's progress; False, and nothing changed, if the generation is another."""
        return self.update_by(session_id, generation, lambda _: changes, event) is not None

    def update_by(
        self,
        session_id: str,
        generation: int,
        changes: Callable[[SessionRecord], Changes],
        event: Mapping[str, Any] | None = None,
    ) -> SessionRecord | None:
        """Write as ``update`` does what ``changes`` makes of the record as it is; the record then.

        None, and nothing changed, if the generation is another.
        """

        def decide(record: SessionRecord | None, now: int) -> Write | None:
            if record is None or record.generation != generation:
                return None
            return Write(replace(record, **changes(record)), (event,) if event else ())

        write = self._records.change(session_id, decide)
        return write.record if write else None

    def settle(
        self, session_id: str, generation: int, *, run: Mapping[str, Any], due_ms: int | None
    ) -> bool:
        """Write what is still to be cleaned up after a run, and when to look again (None: never).

        False, and nothing changed, when the session has moved on: it is recorded or runs again.
        """

        def decide(record: SessionRecord | None, now: int) -> Write | None:
            if record is None or record.generation != generation:
                return None
            if is_at_work(record):
                return None
            return Write(replace(record, run=run), (), _due(due_ms))

        return self._records.change(session_id, decide) is not None

    def clean_again(self, session_id: str, left: Mapping[str, Any]) -> bool:
        """Have a session cleaned up once more, after a run that remembered ``left``.

        False, and nothing changed, when it will be anyway: it is recorded, runs, or is not done
        with its cleaning.
        """

        def decide(record: SessionRecord | None, now: int) -> Write | None:
            if record is None or is_at_work(record) or record.run:
                return None
            return Write(replace(record, run=left_behind(record, left)), (), now)

        return self._records.change(session_id, decide) is not None

    def commit(
        self,
        session_id: str,
        generation: int,
        *,
        recording_url: str,
        mp4_url: str,
        renditions: tuple[Mapping[str, Any], ...],
        report: str | None = None,
        due_ms: int | None = None,
        event: Mapping[str, Any] | None = None,
    ) -> int | None:
        """Publish: the revision that the run makes, its URLs, its report (JSON text) and ``ready``
        in one write.

        Returns the revision; None, and nothing changed, unless the session is still finalizing
        under this generation.
        """

        def decide(record: SessionRecord | None, now: int) -> Write | None:
            if not matches(record, expect={Phase.FINALIZING}, generation=generation):
                return None
            ready = replace(
                moved(record, Phase.READY, now),
                revision=revision_made(record),
                error=None,
                recording_url=recording_url,
                mp4_url=mp4_url,
                renditions=renditions,
            )
            published = event or {**entering(Phase.READY), "revision": ready.revision}
            return Write(ready, (published,), _due(due_ms), report=report)

        write = self._records.change(session_id, decide)
        return write.record.revision if write else None

    def schedule(self, session_id: str, due_ms: int, *, earlier_only: bool = False) -> bool:
        """Make a session due at a time; False when there is none that is recorded or left
        something to be cleaned up."""
        keys = [self._records.session_key(session_id), self._records.key(DUE)]
        return bool(
            self._schedule(keys=keys, args=[session_id, due_ms, "LT" if earlier_only else "CH"])
        )

    def take_due(self, limit: int, hold_ms: int) -> list[str]:
        """Up to ``limit`` due sessions, longest due first; each is due again in ``hold_ms``.

        Those that are only to be looked at while they are live come last, a quarter more of them
        when there is no room.
        """
        keys = [self._records.key(DUE), self._records.key(LOOKS)]
        return list(self._take_due(keys=keys, args=[limit, hold_ms]))

    def next_due_ms(self) -> int | None:
        """When the next session is due, Unix ms; None when none is."""
        with self._redis.pipeline(transaction=False) as pipeline:
            for name in (DUE, LOOKS):
                pipeline.zrange(self._records.key(name), 0, 0, withscores=True)
            times = [int(score) for first in pipeline.execute() for _, score in first]
        return min(times, default=None)

    def due_ms(self, session_id: str) -> int | None:
        """When the session is due, Unix ms; None when it is not."""
        with self._redis.pipeline(transaction=False) as pipeline:
            for name in (DUE, LOOKS):
                pipeline.zscore(self._records.key(name), session_id)
            times = [int(score) for score in pipeline.execute() if score is not None]
        return min(times, default=None)

    def events(self, session_id: str) -> list[dict[str, Any]]:
        """The last events of the session, oldest first: ``{"at", "action", …}``."""
        return [
            json.loads(event)
            for event in self._redis.lrange(self._records.events_key(session_id), 0, -1)
        ]

    def add_event(self, session_id: str, action: str, **details: Any) -> bool:
        """Append an event stamped with the server's time; False when there is no such session."""
        keys = [self._records.session_key(session_id), self._records.events_key(session_id)]
        event = json_text({"action": action, **details})
        return bool(self._add_event(keys=keys, args=[event, KEPT_EVENTS]))

    def page(
        self,
        *,
        status: RecordingStatus | None = None,
        overdue_ms: int | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> listing.Page:
        """Sessions of a status (None: all), the newest first.

        With ``overdue_ms``: those without a ready recording that showed no life for longer than
        that, the most overdue first. A record of another version of ours is left out. Raises
        InvalidCursor.
        """
        after = listing.checked_cursor(cursor) if cursor else None
        if overdue_ms is None:
            key = self._records.key(listing.by_creation(status))
            top = f"({after}" if after else "+"
            listed = self._redis.zrevrangebylex(key, top, "-", 0, limit + 1)
        else:
            key = self._records.key(listing.by_activity(status))
            top = f"({listing.member(max(0, self.now_ms() - overdue_ms))}"
            listed = self._redis.zrangebylex(key, f"({after}" if after else "-", top, 0, limit + 1)
        more = listed[limit - 1] if len(listed) > limit else None
        ids = [listing.session_id_of(member) for member in listed[:limit]]
        return listing.Page(self._records.read_many(ids), more)

    def live_sessions_of(self, parent_id: str) -> list[str]:
        """The recorded sessions of a stream that are in phase live."""
        return self._redis.zrangebylex(self._records.key(listing.live_of(parent_id)), "-", "+")

    def cleanup_lock(self, session_id: str) -> Lock:
        """The lock under which a session's leftovers are removed; no run begins while it is held."""
        key = self._records.key(f"cleanup:{session_id}")
        return self._redis.lock(key, timeout=CLEANUP_S, blocking=False, thread_local=False)

    def report(self, session_id: str) -> str | None:
        """The session's latest report, JSON text; None until there is one."""
        return self._redis.get(report_key(self._prefix, session_id))

    def set_report(self, session_id: str, report: str) -> None:
        """Keep a report (JSON text) as the session's latest; a deleted session keeps none."""
        keys = [self._records.session_key(session_id), report_key(self._prefix, session_id)]
        self._set_report(keys=keys, args=[report])

    def is_remembered(self, event_id: str) -> bool:
        """Whether the effects of this webhook event are known to be done."""
        return bool(self._redis.exists(self._records.key(f"webhook:{event_id}")))

    def remember(self, event_id: str, ttl_seconds: int) -> None:
        """Note, once they are done, that the effects of a webhook event are."""
        self._redis.set(self._records.key(f"webhook:{event_id}"), "1", ex=ttl_seconds)

    def _due_when_live(self, record: SessionRecord) -> int | Due:
        if not record.session.record:
            return Due.REMOVED
        share = QUIET_SHARE if self._package_live else 1.0
        return record.session.active_at + round(share * self._idle_ms)

    def _first_look(self, now_ms: int) -> int:
        """When a session that goes live is to be looked at; 0: it is not while it is live."""
        return now_ms + FIRST_LOOK_MS if self._package_live else 0

    def _runs(self, record: SessionRecord) -> tuple[str, ...]:
        """The keys of the runs of which nobody will need anything any more."""
        return tuple(run_key(self._prefix, record.id, generation) for generation in runs_of(record))

    def _due_after_merge(
        self, before: SessionRecord, after: SessionRecord, now_ms: int
    ) -> int | Due:
        if after.phase is Phase.DELETED:
            return Due.KEPT
        if switched_off(before, after):
            return now_ms
        if not after.session.record:
            has_leftovers = after.run or after.phase is not Phase.LIVE
            return Due.KEPT if has_leftovers else Due.REMOVED
        is_later = after.session.active_at > before.session.active_at
        if _goes_live(before, after) or is_later:
            return self._due_when_live(after)
        return Due.KEPT


def _goes_live(before: SessionRecord, after: SessionRecord) -> bool:
    """Whether an update has woken a session, or is the first that wants it to be recorded."""
    return before.phase is not after.phase or (
        bool(after.session.record) and not before.session.record
    )


def _due(due_ms: int | None) -> int | Due:
    return Due.REMOVED if due_ms is None else due_ms
