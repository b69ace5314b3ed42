"""The rounds of a bench: who takes a turn and when, and how that ends in time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING

from scripts.bench_result import BenchFailedError, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from scripts.bench_turn import Contest, Packets, Way
    from scripts.measure import Usage

WALL: Callable[[Row], float] = attrgetter("wall_seconds")
CPU: Callable[[Row], float] = attrgetter("cpu_seconds")


@dataclass(frozen=True)
class Ratio:
    """How many times as much of a quantity one row has as another."""

    quantity: Callable[[Row], float]
    of: str
    to: str


@dataclass(frozen=True)
class Rounds:
    """What was measured, and in words what was left out."""

    rows: Sequence[Row]
    shortage: Sequence[str]

    @property
    def count(self) -> int:
        """How many rounds were made."""
        return len(self.rows[0].rounds)

    def ratios(self, wanted: Mapping[str, Ratio]) -> dict[str, float]:
        """Those of the ratios whose rows were measured."""
        rows = {row.name: row for row in self.rows}
        return {
            name: ratio.quantity(rows[ratio.of]) / ratio.quantity(rows[ratio.to])
            for name, ratio in wanted.items()
            if {ratio.of, ratio.to} <= rows.keys()
        }


@dataclass(frozen=True)
class Clock:
    """When the bench began (``time.monotonic``), and after how many seconds it is to end."""

    began: float
    limit: float

    def allows(self, seconds: float) -> bool:
        """Whether something that takes ``seconds`` would end in time."""
        return time.monotonic() - self.began + seconds <= self.limit


def take_rounds(
    contest: Contest, ways: Mapping[str, Way], rounds: int, clock: Clock, say: Callable[[str], None]
) -> Rounds:
    """Have every way take a turn in each round; the first round compares what they made.

    The first way always takes its turn. Another is left out when it would not end in time if it
    took as long as the longest before it; a later round is, when it would not as a whole.
    Raises BenchFailedError when two ways do not make the same.
    """
    usages: dict[str, list[Usage]] = {}
    packets: dict[str, Packets] = {}
    seconds: dict[str, float] = {}
    shortage = []
    for name, way in ways.items():
        if seconds and not clock.allows(max(seconds.values())):
            shortage.append(f"Time is short: {name} was left out.")
            continue
        started = time.monotonic()
        usage, packets[name] = contest.take(way, count=True)
        seconds[name] = time.monotonic() - started
        usages[name] = [usage]
        say(_took(1, name, usage))
    _refuse_unequal(packets)
    for number in range(1, rounds):
        if not clock.allows(sum(seconds.values())):
            shortage.append(f"Time is short: {number} rounds were made, not {rounds}.")
            break
        for name in _turned(list(usages), number):
            usage, _ = contest.take(ways[name], count=False)
            usages[name].append(usage)
            say(_took(number + 1, name, usage))
    return Rounds([Row(name, used) for name, used in usages.items()], shortage)


def _turned(names: Sequence[str], number: int) -> Sequence[str]:
    """Whoever comes first finds the disk at rest, so each comes first in its turn."""
    at = number % len(names)
    return [*names[at:], *names[:at]]


def _took(number: int, name: str, usage: Usage) -> str:
    return f"round {number}: {name} took {usage.wall_seconds:.2f} s"


def _refuse_unequal(packets: Mapping[str, Packets]) -> None:
    """Only who makes the same MP4s may be compared, beside those who make none."""
    (first, expected), *others = [made for made in packets.items() if made[1]]
    for name, found in others:
        if found != expected:
            raise BenchFailedError(f"{name} made {found} packets, {first} has {expected}")
