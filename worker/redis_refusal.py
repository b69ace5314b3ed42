"""Why a Redis that answers takes no writes: it is full, its disk is, or it is a replica."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from redis.exceptions import (  # type: ignore[attr-defined]  # the stubs lack the first
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

if TYPE_CHECKING:
    from redis import Redis

#: Seconds that what a probe has found is good for.
KEPT_SECONDS = 3.0
#: Milliseconds after which the key of a probe is gone.
_PROBE_MS = 100


def refusal_of(error: RedisError) -> str | None:
    """What is wrong with a server that refused a write, and what to do; None for other errors."""
    if isinstance(error, OutOfMemoryError):
        return "is full (maxmemory is reached): give it more memory; nothing is lost meanwhile."
    if isinstance(error, ReadOnlyError):
        return "is a read-only replica: name the primary in FINALIZER_REDIS_URL."
    if isinstance(error, ResponseError) and str(error).startswith("MISCONF"):
        return "cannot write to its disk: make room there; nothing is lost meanwhile."
    return None


def write_refusal(client: Redis[str], prefix: str) -> str | None:
    """Why the server takes no writes just now, by making one; None when it does.

    Raises ``RedisError`` when it does not answer.
    """
    try:
        client.set(f"{prefix}probe", "", px=_PROBE_MS)
    except RedisError as error:
        found = refusal_of(error)
        if found is None:
            raise
        return found
    return None


class WriteProbe:
    """Asks now and then whether a Redis takes writes; safe to share between threads."""

    def __init__(self, client: Redis[str], prefix: str, kept: float = KEPT_SECONDS) -> None:
        self._client = client
        self._prefix = prefix
        self._kept = kept
        self._lock = threading.Lock()
        self._found: str | None = None
        self._asked: float | None = None

    def refusal(self) -> str | None:
        """As ``write_refusal``, of a moment ago."""
        with self._lock:
            now = time.monotonic()
            if self._asked is None or now - self._asked >= self._kept:
                self._found = write_refusal(self._client, self._prefix)
                self._asked = now
            return self._found
