"""The units of work of a run in Redis: claimed for a message, leased by a worker, done exactly once.

    (absent) ── claim ──> claimed ── lease ──> leased ── complete ──> done
                  ^          │ (expires)         │ (expires: a crash)   │ (another identity)
                  └──────────┴───── released <───┴── release            └──> claimed

A run is one generation of a session and lives in one hash. Every operation is one atomic script
that goes by Redis' own clock, and a token is what fences: only who holds an item's token can
renew, complete or release it. All of them may be called again when an answer was lost.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from typing import TYPE_CHECKING, Any

from worker.keys import run_key, session_key
from worker.work_item import ItemError, ItemState, State, WorkKey, parse_item

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from redis import Redis

#: How long a run that nobody writes to is kept, in milliseconds: nothing leaks for ever.
KEEP_MS = 30 * 86_400_000
#: A longer message of an error is cut; it is for people, and is read on every look at the run.
MAX_MESSAGE = 2000

_ITEM = "item:"
_VALUE = "value:"


class Reason(StrEnum):
    """Why an item cannot be claimed now."""

    DONE = "done"  #: with this very identity
    CLAIMED = "claimed"  #: a message for it is on its way
    LEASED = "leased"  #: a worker is on it
    WAITING = "waiting"  #: it was released for a while; see ``not_before``
    POISON = "poison"  #: it failed too often
    STALE = "stale"  #: the session's generation or phase has moved on


@dataclass(frozen=True)
class Refused:
    """A claim that was not given; ``state`` is the item as it was found (None when stale)."""

    reason: Reason
    state: ItemState | None = None

    @property
    def attempts(self) -> int:
        """Failures that counted so far."""
        return self.state.attempts if self.state else 0

    @property
    def error(self) -> ItemError | None:
        """The last failure, if there was one."""
        return self.state.error if self.state else None


@dataclass(frozen=True)
class Claim:
    """The right to send one message for an item; ``token`` travels in the message."""

    key: WorkKey
    token: str
    state: ItemState


@dataclass(frozen=True)
class Lease:
    """The right to work on an item; ``token`` is new with every lease and fences its effects."""

    key: WorkKey
    token: str
    state: ItemState


class Work:
    """Every operation on units of work; ``prefix`` is what all keys in Redis start with."""

    def __init__(self, client: Redis[str], prefix: str) -> None:
        self._client = client
        self._prefix = prefix
        self._claim = client.register_script(_source("claim"))
        self._lease = client.register_script(_source("lease"))
        self._renew = client.register_script(_source("renew"))
        self._complete = client.register_script(_source("complete"))
        self._release = client.register_script(_source("release"))
        self._drop = client.register_script(_source("drop"))
        self._value = client.register_script(_source("value"))

    def claim(
        self, key: WorkKey, identity: str, ttl_ms: int, max_attempts: int, phases: Iterable[str]
    ) -> Claim | Refused:
        """Claim one item for ``ttl_ms``, if it is free and the session in one of ``phases``.

        Free is what is absent, released (and its delay over), held by somebody whose time ran out
        (a lease that ran out counts as one attempt), or done with another ``identity``.
        """
        (answer,) = self.claim_many([(key, identity)], ttl_ms, max_attempts, phases)
        return answer

    def claim_many(
        self,
        wanted: Sequence[tuple[WorkKey, str]],
        ttl_ms: int,
        max_attempts: int,
        phases: Iterable[str],
    ) -> list[Claim | Refused]:
        """Claim each (key, identity) as ``claim`` does, in one round trip; answers in order."""
        allowed = tuple(phases)
        tokens = [uuid.uuid4().hex for _ in wanted]
        with self._client.pipeline(transaction=False) as pipe:
            for (key, identity), token in zip(wanted, tokens, strict=True):
                arguments = [key.generation, token, identity, ttl_ms, max_attempts, *allowed]
                self._run(self._claim, key, arguments, client=pipe)
            answers = pipe.execute()
        return [
            _claimed(key, token, verdict, item)
            for (key, _), token, (verdict, item) in zip(wanted, tokens, answers, strict=True)
        ]

    def lease(self, key: WorkKey, token: str, owner: str, ttl_ms: int) -> Lease | None:
        """Turn the claim of ``token`` into a lease; None when it is used up or was taken over.

        A claim that ran out is still good as long as nobody else took the item.
        """
        mine = uuid.uuid4().hex
        item = self._run(self._lease, key, [key.generation, token, mine, owner, ttl_ms])
        state = parse_item(item) if item else None
        return Lease(key, mine, state) if state else None

    def renew(self, lease: Lease, ttl_ms: int, done_seconds: float = 0.0) -> bool:
        """Hold the lease for ``ttl_ms`` from now; False when it, or the generation, is gone.

        ``done_seconds`` of the item's media are done: that is for people who watch.
        """
        arguments = [lease.key.generation, lease.token, ttl_ms, round(done_seconds * 1000)]
        return bool(self._run(self._renew, lease.key, arguments))

    def complete(self, lease: Lease, result: str) -> bool:
        """Write the one result that counts; False, and nothing changed, when it does not.

        It counts while the lease was not taken over, even late, and the session's generation is
        still the lease's.
        """
        arguments = [lease.key.generation, lease.token, _storable(result)]
        return bool(self._run(self._complete, lease.key, arguments))

    def release(
        self,
        held: Claim | Lease,
        *,
        counts: bool,
        error: tuple[str, str] | None,
        delay_ms: int = 0,
    ) -> bool:
        """Give an item back undone; it can be claimed again ``delay_ms`` from now.

        ``counts`` is for failures of the work itself, not for outages and shutdowns; ``error`` is
        (code, message), None when nothing failed. False when the item was no longer held.
        """
        code, message = error or ("", "")
        text = _storable(message[:MAX_MESSAGE])
        arguments = [held.token, int(counts), delay_ms, str(code), text]
        return bool(self._run(self._release, held.key, arguments))

    def drop(self, key: WorkKey) -> bool:
        """Have an item done again, with its failures forgotten; False when somebody holds it."""
        run = self._run_key(key.session_id, key.generation)
        return bool(self._drop(keys=[run], args=[_ITEM + key.item, KEEP_MS]))

    def item(self, key: WorkKey) -> ItemState | None:
        """One item as it is now; None when it is not there."""
        text = self._client.hget(self._run_key(key.session_id, key.generation), _ITEM + key.item)
        return parse_item(text) if text else None

    def items(self, session_id: str, generation: int) -> dict[str, ItemState]:
        """Every item of the run that is written in a format we know, by name."""
        fields = self._client.hgetall(self._run_key(session_id, generation))
        return _items(fields)

    def active(self, session_id: str, generation: int) -> int:
        """How many claims and leases of the run have not run out."""
        with self._client.pipeline(transaction=False) as pipe:
            pipe.hgetall(self._run_key(session_id, generation))
            pipe.time()
            fields, (seconds, micros) = pipe.execute()
        now = int(seconds) * 1000 + int(micros) // 1000
        return sum(state.active(now) for state in _items(fields).values())

    def set_if_absent(self, session_id: str, generation: int, field: str, value: str) -> str:
        """Keep ``value`` under ``field`` of the run unless there is one; the one that counts."""
        run = self._run_key(session_id, generation)
        return str(self._value(keys=[run], args=[_VALUE + field, KEEP_MS, value]))

    def replace(
        self, session_id: str, generation: int, field: str, expected: str, value: str
    ) -> str:
        """Put ``value`` in the place of ``expected`` (or of nothing); the one that counts."""
        run = self._run_key(session_id, generation)
        return str(self._value(keys=[run], args=[_VALUE + field, KEEP_MS, value, expected]))

    def value(self, session_id: str, generation: int, field: str) -> str | None:
        """What ``set_if_absent`` or ``replace`` left under ``field`` of the run."""
        return self._client.hget(self._run_key(session_id, generation), _VALUE + field)

    def values(self, session_id: str, generation: int, fields: Sequence[str]) -> list[str | None]:
        """What ``value`` tells of each field, in one round trip."""
        names = [_VALUE + field for field in fields]
        return self._client.hmget(self._run_key(session_id, generation), names) if names else []

    def adopt(
        self, session_id: str, from_generation: int, to_generation: int, values: tuple[str, ...]
    ) -> None:
        """Let a run go on with what an earlier one finished: its done items, and what it kept
        under names that begin with one of ``values``.

        The earlier run is forgotten; whoever still works for it can complete nothing any more.
        Calling it again does no harm.
        """
        before = self._run_key(session_id, from_generation)
        fields = self._client.hgetall(before)
        items = _items(fields)
        kept = tuple(_VALUE + begin for begin in values)
        finished = {
            name: text
            for name, text in fields.items()
            if name.startswith(kept)
            or ((item := items.get(name.removeprefix(_ITEM))) and item.state is State.DONE)
        }
        after = self._run_key(session_id, to_generation)
        with self._client.pipeline(transaction=True) as pipe:
            for name, text in finished.items():
                pipe.hsetnx(after, name, text)
            pipe.pexpire(after, KEEP_MS)
            pipe.unlink(before)
            pipe.execute()

    def discard_run(self, session_id: str, generation: int) -> None:
        """Forget everything about a run; claims and leases of it can do nothing any more."""
        self._client.unlink(self._run_key(session_id, generation))

    def _run_key(self, session_id: str, generation: int) -> str:
        return run_key(self._prefix, session_id, generation)

    def _run(self, script: Any, key: WorkKey, arguments: list[Any], client: Any = None) -> Any:
        keys = [
            self._run_key(key.session_id, key.generation),
            session_key(self._prefix, key.session_id),
        ]
        return script(keys=keys, args=[_ITEM + key.item, KEEP_MS, *arguments], client=client)


def _source(operation: str) -> str:
    folder = resources.files("worker") / "lua"
    names = ("work_item.lua", f"work_{operation}.lua")
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in names)


def _claimed(key: WorkKey, token: str, verdict: str, item: str) -> Claim | Refused:
    state = parse_item(item)
    if verdict == "claimed" and state is not None and state.token == token:
        return Claim(key, token, state)
    return Refused(Reason(verdict), state)


def _items(fields: dict[str, str]) -> dict[str, ItemState]:
    parsed = {name: parse_item(text) for name, text in fields.items() if name.startswith(_ITEM)}
    return {name.removeprefix(_ITEM): state for name, state in parsed.items() if state}


def _storable(text: str) -> str:
    """The text without halves of surrogate pairs, which names of foreign files may contain."""
    return text.encode("utf-8", "replace").decode("utf-8")
