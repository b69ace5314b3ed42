"""Which worker processes are alive, and how many threads they have for each queue."""

from __future__ import annotations

import json
import os
import socket
import threading
import uuid
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import structlog
from redis.exceptions import RedisError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from redis import Redis

FORMAT = 1
#: A process that was not heard of for this long is taken for dead, in milliseconds.
EXPIRES_MS = 15_000
#: Beats in that time: two may be lost.
BEATS = 3

log = structlog.get_logger()


@dataclass(frozen=True)
class WorkerProcess:
    """One process that consumes ``queues`` with ``threads`` threads; ``nonce`` makes it unique."""

    host: str
    pid: int
    queues: tuple[str, ...]
    threads: int
    nonce: str

    @classmethod
    def this(cls, queues: Iterable[str], threads: int) -> WorkerProcess:
        """Describe the calling process."""
        nonce = uuid.uuid4().hex[:8]
        return cls(socket.gethostname(), os.getpid(), tuple(sorted(queues)), threads, nonce)

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}:{self.nonce}"


class Roster:
    """The worker processes that were heard of lately; ``prefix`` is what all keys start with."""

    def __init__(self, client: Redis[str], prefix: str) -> None:
        self._client = client
        self._key = f"{prefix}workers"

    def beat(self, process: WorkerProcess, expires_ms: int = EXPIRES_MS) -> None:
        """Say that a process is alive for ``expires_ms`` from now; forget those that are not."""
        now = self._now()
        with self._client.pipeline(transaction=False) as pipe:
            pipe.zadd(self._key, {_member(process): now + expires_ms})
            pipe.zremrangebyscore(self._key, "-inf", now)
            pipe.execute()

    def leave(self, process: WorkerProcess) -> None:
        """Say that a process has ended."""
        self._client.zrem(self._key, _member(process))

    def processes(self) -> tuple[WorkerProcess, ...]:
        """Every process that is alive and wrote a format that we know."""
        members = self._client.zrangebyscore(self._key, f"({self._now()}", "+inf")
        parsed = (_parse_member(member) for member in members)
        return tuple(process for process in parsed if process is not None)

    def threads(self, queue: str) -> int:
        """How many live threads consume ``queue``; one may consume other queues as well."""
        return sum(process.threads for process in self.processes() if queue in process.queues)

    def _now(self) -> int:
        seconds, micros = self._client.time()
        return int(seconds) * 1000 + int(micros) // 1000


class Presence:
    """A context in which the roster hears of ``process`` again and again.

    It enters even when Redis is away: the work needs no roster, only the size of the claim window
    does.
    """

    def __init__(
        self, roster: Roster, process: WorkerProcess, expires_ms: int = EXPIRES_MS
    ) -> None:
        self._roster = roster
        self._process = process
        self._expires_ms = expires_ms
        self._ended = threading.Event()
        self._unheard = False  # told once
        self._thread = threading.Thread(target=self._beat, name="presence", daemon=True)

    def __enter__(self) -> Self:
        self._try_beat()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        try:
            self._roster.leave(self._process)
        except RedisError as away:
            log.warning(
                "The roster was not told that this worker ends; it will expire.",
                action="presence_not_left",
                error=type(away).__name__,
            )

    def _beat(self) -> None:
        while not self._ended.wait(self._expires_ms / 1000 / BEATS):
            self._try_beat()

    def _try_beat(self) -> None:
        try:
            self._roster.beat(self._process, self._expires_ms)
        except RedisError as away:
            if not self._unheard:
                log.warning(
                    "The roster was not told that this worker is alive; it is told again and again.",
                    action="presence_not_told",
                    error=type(away).__name__,
                )
            self._unheard = True
        else:
            self._unheard = False


def _member(process: WorkerProcess) -> str:
    return json.dumps({"v": FORMAT} | asdict(process), sort_keys=True)


def _parse_member(member: str) -> WorkerProcess | None:
    try:
        record: Any = json.loads(member)
    except ValueError:
        return None
    if not isinstance(record, dict) or record.pop("v", None) != FORMAT:
        return None
    return WorkerProcess(**record | {"queues": tuple(record["queues"])})
