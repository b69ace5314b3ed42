"""The sweep: looks for sessions that are due, in every worker process, a few at a time."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import structlog
from dramatiq.errors import BrokerError
from redis.exceptions import RedisError

from worker.redis_refusal import refusal_of

if TYPE_CHECKING:
    from worker.dispatch import Dispatcher
    from worker.runtime import Runtime

log = structlog.get_logger(__name__)

#: Due sessions that one look hands on.
BATCH = 200
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

    def __init__(self, runtime: Runtime, dispatcher: Dispatcher, *, prompt: bool = True) -> None:
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
        away, pause = False, self._runtime.settings.sweep_interval
        while not self._ended.wait(pause):
            pause = self._runtime.settings.sweep_interval
            try:
                while sweep_once(self._runtime, self._dispatcher) == BATCH:
                    if self._ended.is_set():
                        return
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


def sweep_once(runtime: Runtime, dispatcher: Dispatcher) -> int:
    """Hand the sessions that are due on to ``reconcile``; how many there were."""
    due = runtime.sessions.take_due(BATCH, min(HOLD_MS, runtime.lease_ms))
    for session_id in due:
        dispatcher.reconcile(session_id)
    if due:
        log.debug("Due sessions were handed on.", action="swept", sessions=len(due))
    return len(due)
