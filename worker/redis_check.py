"""The preflight of the session store."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import redis

from worker.finding import Finding, Level, fail, ok, warn
from worker.store import open_redis

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.settings import Settings


def redis_findings(settings: Settings) -> Iterator[Finding]:
    """Whether the session store answers, keeps what it is told, and drops nothing."""
    with contextlib.closing(open_redis(settings)) as client:
        answers = redis_answers(client)
        yield from answers
        if any(finding.level is Level.FAIL for finding in answers):
            return
        try:
            facts: dict[str, Any] = dict(client.info())
        except redis.RedisError as error:
            yield warn("redis", f"INFO is refused ({error}): check persistence and policy by hand.")
            return
    yield _persistence(bool(facts.get("aof_enabled")))
    yield _policy(str(facts.get("maxmemory_policy")))


def redis_answers(client: redis.Redis[str]) -> list[Finding]:
    """Whether the session store answers."""
    try:
        client.ping()
    except redis.RedisError as error:
        # The message of an authentication error may repeat what was sent; the type does not.
        kind = type(error).__name__
        return [fail("redis", f"does not answer ({kind}): check FINALIZER_REDIS_URL.")]
    return [ok("redis", "answers")]


def _persistence(append_only: bool) -> Finding:
    if append_only:
        return ok("redis", "appendonly is yes: sessions survive a restart")
    return fail("redis", "appendonly is no: a restart forgets every session. Set appendonly yes.")


def _policy(policy: str) -> Finding:
    if policy == "noeviction":
        return ok("redis", "maxmemory-policy is noeviction")
    return fail(
        "redis",
        f"maxmemory-policy is {policy}: sessions may be dropped. Set maxmemory-policy noeviction.",
    )
