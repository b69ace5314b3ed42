"""Keeps the parts of a stack running: a part that dies is started again, a failing one ever later."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scripts.ports import ports_are_free

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scripts.child import Child

_FIRST_DELAY_S = 0.1
_LONGEST_DELAY_S = 10.0

#: A part that ran for this long has recovered: its next death counts as its first.
_RECOVERED_S = 20.0

#: So many deaths before a part answered for the first time mean that it never will.
_DEATHS_AT_START = 3


class PartFailedError(Exception):
    """A part cannot be brought up; the message says which, and where its log is."""


class PortTakenError(PartFailedError):
    """A part cannot be brought up because another program listens on its port."""


@dataclass
class Part:
    """One program of the stack, the ports it listens on, and how it fared so far.

    ``launch`` starts the child without waiting for it. Times are of the monotonic clock, in seconds.
    """

    child: Child
    launch: Callable[[], None]
    ports: range = range(0)
    deaths: int = 0
    started: float = 0.0
    next_start: float = 0.0
    answered: bool = False

    @property
    def name(self) -> str:
        """The part's name in ``pids`` and of its log."""
        return self.child.name


def delay_after(deaths: int) -> float:
    """Seconds to wait before a start that follows ``deaths`` deaths in a row."""
    return float(min(_FIRST_DELAY_S * 4 ** max(0, deaths - 1), _LONGEST_DELAY_S))


def start_part(part: Part) -> None:
    """Start a part that does not run."""
    part.launch()
    part.started = time.monotonic()


def tend(parts: Sequence[Part]) -> None:
    """Look at every part once: note answers and deaths, start what is due to be started again.

    Raises PartFailedError when a part that never answered keeps dying.
    """
    for part in parts:
        if not part.child.started:
            if time.monotonic() >= part.next_start:
                start_part(part)
        elif not part.child.running():
            _bury(part)
        elif not part.answered:
            part.answered = part.child.answers()


def process_ids(parts: Sequence[Part]) -> dict[str, int]:
    """The process id of every part that runs."""
    return {part.name: part.child.pid for part in parts if part.child.running()}


def stop_parts(parts: Sequence[Part], grace: float) -> None:
    """End all parts side by side: ``grace`` seconds in all to end by themselves, then killed."""
    deadline = time.monotonic() + grace
    for part in parts:
        part.child.terminate()
    for part in parts:
        part.child.stop(max(0.0, deadline - time.monotonic()))


def _bury(part: Part) -> None:
    now = time.monotonic()
    code = part.child.exit_code()
    part.child.kill()  # what it started must not live on beside its successor
    part.deaths = 1 if now - part.started > _RECOVERED_S else part.deaths + 1
    if not part.answered:
        _give_up_when_hopeless(part, code)
    delay = delay_after(part.deaths)
    part.next_start = now + delay
    print(
        f"{part.name} ended ({describe_exit(code)}); it is started again in {delay:g} s. "
        f"Log: {part.child.log}",
        file=sys.stderr,
        flush=True,
    )


def _give_up_when_hopeless(part: Part, code: int | None) -> None:
    if part.ports and not ports_are_free(part.ports.start, len(part.ports)):
        raise PortTakenError(
            f"{part.name} cannot start: another program uses its port {part.ports.start}. "
            "End that program, or start with --fresh (which removes all data)."
        )
    if part.deaths >= _DEATHS_AT_START:
        raise PartFailedError(
            f"{part.name} ends as soon as it is started ({describe_exit(code)}); "
            f"its log {part.child.log} ends with:\n{part.child.last_words()}"
        )


def describe_exit(code: int | None) -> str:
    """An exit code in words."""
    if code is None:
        return "still running"
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"
