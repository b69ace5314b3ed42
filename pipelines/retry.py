"""The one retry policy around a single I/O call: short, with jitter, for outages only."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from tenacity import (
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    stop_after_delay,
    wait_random_exponential,
)

from pipelines.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")

#: Calls of one I/O operation before the outage is handed to the layer above (the queue).
ATTEMPTS = 5
#: Seconds after which no further call is begun; well below a lease, so that a worker that waits
#: for its store is never taken for a dead one.
PATIENCE_SECONDS = 15.0


def retrying(call: Callable[[], Result]) -> Result:
    """Make ``call``, and make it again while it raises ``TransientError``.

    Raises the last ``TransientError`` when the outage outlasts the policy; every other error
    comes through at once. The longer patience (hours) belongs to the queue, not here.
    """
    policy = Retrying(
        stop=stop_after_attempt(ATTEMPTS) | stop_after_delay(PATIENCE_SECONDS),
        wait=wait_random_exponential(multiplier=0.2, max=5.0),
        retry=retry_if_exception_type(TransientError),
        reraise=True,
    )
    return policy(call)
