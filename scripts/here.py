"""Does the work of sessions in this process: a dispatcher without a queue and without workers."""

from __future__ import annotations

import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from typing import TYPE_CHECKING, Self

import structlog
from redis.exceptions import RedisError

from worker.dispatch import TRANSCODING, queue_of
from worker.perform import perform
from worker.reconcile import reconcile

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from worker.runtime import Runtime
    from worker.work import Claim

log = structlog.get_logger(__name__)

#: Claims that are worked on at a time; a copy waits for the store more than for the processor.
THREADS = 4
#: The same of transcodes: one keeps all processors busy by itself.
TRANSCODES = 1


class Here:
    """A context in which claimed work is done by a few threads of this process.

    Nobody sweeps here: call ``look`` again and again. On leaving, what is under way is finished;
    after an exception, and after ``stop``, it is handed back instead.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="here")
        self._transcodes = ThreadPoolExecutor(TRANSCODES, thread_name_prefix="here-transcode")
        self._lock = threading.Lock()
        self._pending: set[Future[None]] = set()
        self._asked: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self.stop()
        try:
            self._drain()
        except BaseException:
            self.stop()
            raise
        finally:
            self._transcodes.shutdown()
            self._pool.shutdown()

    def stop(self) -> None:
        """Begin nothing more, and have what is under way handed back."""
        self._runtime.stop.set()

    def look(self, session_id: str) -> None:
        """Have the session reconciled if it is due; raises what a piece of work has raised."""
        self._raise_failures()
        due = self._runtime.sessions.due_ms(session_id)
        if due is not None and due <= self._runtime.sessions.now_ms():
            self.reconcile(session_id)

    def reconcile(self, session_id: str) -> None:
        """Have the session looked at; asking twice before that is asking once."""
        with self._lock:
            if session_id in self._asked or self._runtime.stop.is_set():
                return
            self._asked.add(session_id)
        self._submit(self._pool, partial(self._reconcile, session_id))

    def perform(self, claim: Claim) -> None:
        """Have a claimed item of work done."""
        transcodes = queue_of(claim.key.item) == TRANSCODING
        pool = self._transcodes if transcodes else self._pool
        self._submit(pool, partial(perform, claim.key, claim.token, self._runtime, self))

    def _reconcile(self, session_id: str) -> None:
        with self._lock:
            self._asked.discard(session_id)
        reconcile(session_id, self._runtime, self)

    def _submit(self, pool: ThreadPoolExecutor, work: Callable[[], None]) -> None:
        with self._lock:
            self._pending.add(pool.submit(_tolerating_outages, work))

    def _drain(self) -> None:
        """Wait until nothing is pending: what ends may have asked for more before it did."""
        while pending := self._snapshot():
            wait(pending, return_when=FIRST_COMPLETED)
            self._raise_failures()

    def _snapshot(self) -> set[Future[None]]:
        with self._lock:
            return set(self._pending)

    def _raise_failures(self) -> None:
        ended = {future for future in self._snapshot() if future.done()}
        with self._lock:
            self._pending -= ended
        for future in ended:
            future.result()


def _tolerating_outages(work: Callable[[], None]) -> None:
    """Redis being away only postpones: the session stays due, and is looked at again."""
    try:
        work()
    except RedisError as error:
        log.warning("Redis did not answer.", action="postponed", error=type(error).__name__)
