"""What chaos does and when: strikes drawn from a seed, every kind of them again and again."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Seconds between two strikes.
_PAUSES = (1.0, 3.5)


class StrikeKind(StrEnum):
    """One way to disturb a running product."""

    KILL_WORKER = "kill a worker"
    KILL_WORKERS = "kill all workers"
    KILL_API = "kill the API"
    KILL_REDIS = "kill Redis"
    KILL_S3 = "kill the S3 server"
    KILL_EVERYTHING = "kill everything at once"
    STOP_WORKER = "stop a worker past its lease"
    END_WORKER = "ask a worker to end"
    DROP_MESSAGES = "drop messages"
    DOUBLE_MESSAGES = "double messages"
    LOSE_ANSWERS = "lose the store's answers"
    LOSE_REQUESTS = "lose requests to the store"
    SLOW_DOWN = "have the store throttle"
    ABORT_UPLOADS = "abort open uploads"


@dataclass(frozen=True)
class Strike:
    """``kind``, ``pause`` seconds after the strike before it; ``seed`` decides what it hits."""

    kind: StrikeKind
    pause: float
    seed: int


def strikes(seed: int) -> Iterator[Strike]:
    """Strikes without end: the same for the same seed, each kind as often as any other.

    When they hit, and what is under way then, no seed can tell.
    """
    draw = Random(seed)
    while True:
        for kind in draw.sample([*StrikeKind], len(StrikeKind)):
            yield Strike(kind, draw.uniform(*_PAUSES), draw.getrandbits(32))
