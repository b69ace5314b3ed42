"""Keeps a lease alive from the background while its holder works, and says when to stop.

What the holder says of its progress is written down with a renewal.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Self

from redis.exceptions import RedisError

from pipelines.errors import InterruptedWork

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from worker.work import Lease, Work

#: Renewals in the time of one lease: two may fail before it is in danger.
RENEWALS = 3
#: After a failure it is tried again this many times in the time of one lease.
RETRIES = 12
#: Seconds between two looks at the progress; a renewal tells of it when there is any.
TELLS_EVERY = 2.0
#: Seconds after which the work of a worker that stops is handed back for its holder, who waits for
#: a store that does not answer, or the like: well below the time that workers are given to end.
HANDS_BACK_AFTER = 2.0


class LeaseKeeper:
    """A context in which ``lease`` is renewed; it does not complete it.

    ``ttl_ms`` is how long each renewal holds. ``stop`` is set when the worker is asked to end: a
    holder that does not notice soon loses the lease, which is released, and ``handed_back`` is
    called. A Redis that is away for less than ``ttl_ms`` goes unnoticed.
    """

    def __init__(
        self,
        work: Work,
        lease: Lease,
        ttl_ms: int,
        stop: threading.Event,
        handed_back: Callable[[], object] = lambda: None,
    ) -> None:
        self._work = work
        self._lease = lease
        self._ttl_ms = ttl_ms
        self._stop = stop
        self._handed_back = handed_back
        self._stops_since: float | None = None
        self._ended = threading.Event()
        self._lost = threading.Event()
        self._outage = ""
        self._done_seconds = 0.0
        self._held_until = time.monotonic() + ttl_ms / 1000
        self._thread = threading.Thread(
            target=self._renew, name=f"lease-{lease.key.item}", daemon=True
        )

    def __enter__(self) -> Self:
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

    def check(self) -> None:
        """Return while the work may go on; call it often.

        Raises InterruptedWork when the lease is lost, could not be renewed for its whole time
        (somebody else may have it by now), or the worker is asked to stop.
        """
        item = self._lease.key.item
        if self._lost.is_set():
            raise InterruptedWork(f"The lease of {item} was lost: another worker goes on with it.")
        if time.monotonic() > self._held_until:
            raise InterruptedWork(
                f"The lease of {item} could not be renewed for {self._ttl_ms / 1000:g} s"
                f"{self._outage}: it will be done again."
            )
        if self._stop.is_set():
            raise InterruptedWork(f"The worker stops; {item} will be done by another one.")

    def progress(self, done_seconds: float) -> None:
        """Note how many seconds of the item's media are done; cheap, call it as often as you like."""
        self._done_seconds = done_seconds

    def confirm(self) -> None:
        """Ask Redis now whether the lease still holds: before a write that others will read.

        ``check`` is only as fresh as the last renewal. Raises InterruptedWork, as it does.
        """
        self.check()
        asked = time.monotonic()
        try:
            renewed = self._work.renew(self._lease, self._ttl_ms, self._done_seconds)
        except RedisError as error:
            name = type(error).__name__
            raise InterruptedWork(f"Redis did not confirm the lease ({name}).") from error
        if not renewed:
            self._lost.set()
            self.check()
        self._held_until = asked + self._ttl_ms / 1000

    def _is_overdue(self, now: float) -> bool:
        """Whether the worker was asked to end, and the holder has not noticed for too long."""
        if not self._stop.is_set():
            return False
        self._stops_since = self._stops_since or now
        return now - self._stops_since >= HANDS_BACK_AFTER

    def _hand_back(self) -> None:
        self._lost.set()
        if self._work.release(self._lease, counts=False, error=None):
            self._handed_back()

    def _renew(self) -> None:
        period = self._ttl_ms / 1000
        pause = period / RENEWALS
        due = time.monotonic() + pause
        told = 0.0
        while not self._ended.wait(min(TELLS_EVERY, max(0.0, due - time.monotonic()))):
            # Counted from before the call: we never believe in a lease longer than Redis does.
            asked, done = time.monotonic(), self._done_seconds
            try:
                if self._is_overdue(asked):
                    self._hand_back()
                    return
                if asked < due and done == told:
                    continue
                renewed = self._work.renew(self._lease, self._ttl_ms, done)
            except RedisError as error:
                self._outage = f" ({type(error).__name__})"
                due = asked + period / RETRIES
                continue
            if not renewed:
                self._lost.set()
                return
            told = done
            self._held_until = asked + period
            due = asked + pause
