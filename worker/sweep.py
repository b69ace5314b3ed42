"""The sweep: looks for sessions that are due, in every worker process, a few at a time."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import structlog
from dramatiq.errors import BrokerError
from redis.exceptions import RedisError

from worker.redis_refusal import refusal_of

if TYPE_CHECKING:
    from worker.dispatch import QueueDispatcher
    from worker.runtime import Runtime

log = structlog.get_logger(__name__)

#: Short messages that may wait for a worker: what the sweep hands on makes no more of them, so that
#: whatever else is asked of those workers soon has its turn.
MOST_WAITING = 10
#: Seconds between two looks at least.
LEAST_PAUSE_S = 0.1
#: A session that was handed on is due again after this at most, should its message be lost.
HOLD_MS = 30_000


class Sweep:
    """A background thread that hands due sessions on to ``reconcile``.

    It is what heals every lost message. Several processes sweep at once without harm: a due
    session is taken by one of them. A ``prompt`` one looks as soon as a session is due; it is
    enough when those do so that will look at it, whatever the size of the fleet.
    """

    def __init__(
        self, runtime: Runtime, dispatcher: QueueDispatcher, *, prompt: bool = True
    ) -> None:
        self._runtime = runtime
        self._dispatcher = dispatcher
        self._prompt = prompt
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweep", daemon=True)

    def start(self) -> None:
        """Begin to sweep: when a session is due, and every ``FINALIZER_SWEEP_INTERVAL`` seconds."""
        self._thread.start()

    def stop(self) -> None:
        """Stop, and wait until the look that is under way has ended."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        usual, handed_on_at = self._runtime.settings.sweep_interval, time.monotonic()
        away, pause = False, usual
        while not self._ended.wait(pause):
            pause = usual
            try:
                # Messages that others send all the time hold no session up for ever.
                is_late = self._prompt and time.monotonic() - handed_on_at >= usual
                if sweep_once(self._runtime, self._dispatcher, at_least=int(is_late)):
                    handed_on_at = time.monotonic()
                if self._prompt:
                    pause = pause_s(self._runtime)
            except (RedisError, BrokerError) as error:
                if not away:
                    log.warning(
                        "The sweep cannot look; it tries again and again.",
                        action="sweep_postponed",
                        error=type(error).__name__,
                        reason=refusal_of(error) if isinstance(error, RedisError) else None,
                    )
                away = True
            else:
                if away:
                    log.info("The sweep looks again.", action="sweep_goes_on")
                away = False


def pause_s(runtime: Runtime) -> float:
    """Seconds until the next look: until a session is due, if that is before the usual time."""
    usual, next_due = runtime.settings.sweep_interval, runtime.sessions.next_due_ms()
    if next_due is None:
        return usual
    return min(usual, max(LEAST_PAUSE_S, (next_due - runtime.sessions.now_ms()) / 1000))


def room(waiting: int) -> int:
    """How many more short messages there may be while so many wait."""
    return max(0, MOST_WAITING - waiting)


def sweep_once(runtime: Runtime, dispatcher: QueueDispatcher, *, at_least: int = 0) -> int:
    """Hand sessions that are due on to ``reconcile``, the longest due first, as many as there is
    room for, and ``at_least`` so many; how many they were."""
    limit = max(at_least, room(dispatcher.waiting()))
    if not limit:
        return 0
    due = runtime.sessions.take_due(limit, min(HOLD_MS, runtime.lease_ms))
    for session_id in due:
        dispatcher.reconcile(session_id)
    if due:
        log.debug("Due sessions were handed on.", action="swept", sessions=len(due))
    return len(due)
