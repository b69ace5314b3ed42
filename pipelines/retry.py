"""The one retry policy around a single I/O call: short, with jitter, for outages only."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type
from tenacity.nap import sleep, sleep_using_event

from pipelines.errors import TransientError
from pipelines.store_errors import Throttled

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

Result = TypeVar("Result")

#: Calls of one I/O operation before the outage is handed to the layer above (the queue).
ATTEMPTS = 5
#: Seconds after which no further call is begun; well below a lease, so that a worker that waits
#: for its store is never taken for a dead one.
PATIENCE_SECONDS = 15.0
#: The same while the store asks for fewer calls, however often: handing the slice back would cost
#: the store all of its calls once more.
THROTTLED_PATIENCE_SECONDS = 60.0
#: Seconds of the first pause and of the longest, of which a random share is waited.
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
#: The same while the store asks for fewer calls.
THROTTLED_FIRST_PAUSE, THROTTLED_LONGEST_PAUSE = 0.5, 10.0


def retrying(
    call: Callable[[], Result], stop: threading.Event | None = None, attempts: int = ATTEMPTS
) -> Result:
    """Make ``call``, and make it again while it raises ``TransientError``.

    Raises the last ``TransientError`` when the outage outlasts the policy or ``attempts`` (calls
    refused for their pace do not count among these), or once ``stop`` is set; every other error
    comes through at once. The longer patience (hours) belongs to the queue.
    """
    tries = _Tries(stop, attempts)
    policy = Retrying(
        stop=tries.over,
        wait=tries.pause,
        sleep=sleep_using_event(stop) if stop else sleep,
        retry=retry_if_exception_type(TransientError),
        reraise=True,
    )

    def once() -> Result:
        try:
            return call()
        except TransientError as error:
            tries.count(error)
            raise

    return policy(once)


class _Tries:
    """How one operation has failed so far: refusals for the store's pace count apart from outages.

    It knows nothing of the call: a ``Retrying`` lies in a cycle of references, and whatever it
    leads to, such as a part's bytes, would stay until Python looks for cycles.
    """

    def __init__(self, stop: threading.Event | None, attempts: int) -> None:
        self._stop = stop
        self._attempts = attempts
        self._outages = 0
        self._refusals = 0

    def count(self, error: TransientError) -> None:
        """Note one more failure."""
        if isinstance(error, Throttled):
            self._refusals += 1
        else:
            self._outages += 1

    def over(self, state: RetryCallState) -> bool:
        """Whether the last failure stands."""
        error, waited = _failure(state), state.seconds_since_start or 0.0
        if self._stop is not None and self._stop.is_set():
            return True
        if isinstance(error, Throttled):
            return waited + (error.retry_after or 0.0) >= THROTTLED_PATIENCE_SECONDS
        return self._outages >= self._attempts or waited >= PATIENCE_SECONDS

    def pause(self, state: RetryCallState) -> float:
        """Seconds until the next call."""
        error = _failure(state)
        if isinstance(error, Throttled):
            share = _doubled(THROTTLED_FIRST_PAUSE, THROTTLED_LONGEST_PAUSE, self._refusals)
            return (error.retry_after or 0.0) + random.uniform(0.0, share)
        return random.uniform(0.0, _doubled(FIRST_PAUSE, LONGEST_PAUSE, self._outages))


def _failure(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def _doubled(first: float, longest: float, times: int) -> float:
    """``first``, doubled by each further time, at most ``longest``."""
    return min(longest, first * float(2 ** min(times - 1, 16)))
