"""The preflight of the session store."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import redis

from worker.finding import Finding, Level, fail, ok, warn
from worker.redis_refusal import write_refusal
from worker.store import open_redis

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.settings import Settings


#: Share of ``maxmemory`` from which on it is time to act.
NEARLY_FULL = 0.9


def redis_findings(settings: Settings) -> Iterator[Finding]:
    """Whether the session store answers, keeps what it is told, and drops nothing."""
    with contextlib.closing(open_redis(settings)) as client:
        answers = redis_answers(client, settings.redis_prefix)
        yield from answers
        if any(finding.level is Level.FAIL for finding in answers):
            return
        try:
            facts: dict[str, Any] = dict(client.info())
        except redis.RedisError as error:
            yield warn("redis", f"INFO is refused ({error}): check persistence and policy by hand.")
            return
    yield from _memory(int(facts.get("used_memory", 0)), int(facts.get("maxmemory", 0)))
    yield _persistence(bool(facts.get("aof_enabled")))
    yield _policy(str(facts.get("maxmemory_policy")))


def redis_answers(client: redis.Redis[str], prefix: str) -> list[Finding]:
    """Whether the session store answers, and takes what it is told."""
    try:
        refusal = write_refusal(client, prefix)
    except redis.RedisError as error:
        # The message of an authentication error may repeat what was sent; the type does not.
        kind = type(error).__name__
        return [fail("redis", f"does not answer ({kind}): check FINALIZER_REDIS_URL.")]
    return [fail("redis", refusal) if refusal else ok("redis", "answers and takes writes")]


def _memory(used: int, most: int) -> Iterator[Finding]:
    """How near the server is to its limit, if it has one."""
    if most and used > NEARLY_FULL * most:
        yield warn(
            "redis",
            f"{used >> 20} MiB of maxmemory's {most >> 20} MiB are used: when it is full, nothing"
            " is decided any more. Give it more memory.",
        )


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
