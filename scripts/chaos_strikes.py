"""Carries strikes out on a stack, and keeps account of the slices that were in flight at each."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from scripts.chaos_schedule import Strike, StrikeKind
from scripts.chaos_stack import members
from scripts.chaos_work import WorkInFlight
from scripts.s3_proxy import LostAnswer, LostRequest, Refusal, no_faults
from worker.claiming import MAX_ATTEMPTS
from worker.dispatch import PACKAGING, THREADS

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from scripts.chaos_stack import ChaosStack
    from scripts.s3_proxy import Fault
    from scripts.s3_request import S3Request

    Found = TypeVar("Found")

#: How long messages are dropped or doubled, and the store's answers lost, seconds.
_WINDOW_S = 1.5
_LOOK_S = 0.01
#: How long a strike waits for something that it can hit, seconds.
_AIM_S = 8.0
#: Strikes that are for slices in flight.
_WHILE_BUSY = frozenset(
    {
        StrikeKind.KILL_WORKERS,
        StrikeKind.KILL_EVERYTHING,
        StrikeKind.KILL_REDIS,
        StrikeKind.KILL_S3,
    }
)
#: How likely each request is hit meanwhile.
_CHANCE = 0.4
#: How much longer than its lease a worker stands still, seconds.
_BEYOND_LEASE_S = 2.0
#: The store is asked about open uploads in the product's own words.
_OUTPUT = "vod"


@dataclass
class Account:
    """What was done, and how much work may have been done again because of it.

    ``silent`` are slices that were leased by processes which fell silent, ``handed_back`` those of
    processes that were asked to end, ``lost`` those whose parts were in aborted uploads: upper
    bounds, for ``MadeAgainReport``.
    """

    done: Counter[StrikeKind] = field(default_factory=Counter)
    spared: int = 0
    silent: int = 0
    handed_back: int = 0
    lost: int = 0
    messages_dropped: int = 0
    messages_doubled: int = 0
    uploads_aborted: int = 0


class Striker:
    """Carries out strikes on ``stack``, one after the other; ``say`` is told of each."""

    def __init__(self, stack: ChaosStack, say: Callable[[str], None]) -> None:
        self.account = Account()
        self._stack = stack
        self._say = say
        self._work = WorkInFlight(stack.redis, stack.settings.redis_prefix)
        self._stopped: dict[float, tuple[str, set[int]]] = {}
        self._began = time.monotonic()

    def strike(self, strike: Strike) -> None:
        """Pause as the strike asks for, and carry it out."""
        self._wait_until(time.monotonic() + strike.pause)
        self._stack.check()
        told = self._strike(strike)
        if told is None:
            self.account.spared += 1
            told = "spared: some work has failed too often already"
        else:
            self.account.done[strike.kind] += 1
        self._say(f"{time.monotonic() - self._began:7.1f} s  {strike.kind}  {told}")

    def end(self) -> None:
        """Disturb nothing any more: whoever stands still goes on when its time has come."""
        self._stack.proxy.rule = no_faults
        while self._stopped:
            self._wait_until(min(self._stopped))

    def _strike(self, strike: Strike) -> str | None:
        """Carry a strike out; what it hit, None when it would have been one too many."""
        draw = Random(strike.seed)
        names = self._stack.worker_names()

        def one() -> str:
            return self._busy_worker() or draw.choice(names)

        ways: dict[StrikeKind, Callable[[], str | None]] = {
            StrikeKind.KILL_WORKER: lambda: self._kill([one()]),
            StrikeKind.KILL_WORKERS: lambda: self._kill(names),
            StrikeKind.KILL_EVERYTHING: lambda: self._kill([*names, "redis", "api", "s3"]),
            StrikeKind.KILL_REDIS: lambda: self._kill(["redis"]),
            StrikeKind.KILL_API: lambda: self._kill_server("api"),
            StrikeKind.KILL_S3: lambda: self._kill_server("s3"),
            StrikeKind.STOP_WORKER: lambda: self._stop(one()),
            StrikeKind.END_WORKER: lambda: self._ask_to_end(one()),
            StrikeKind.DROP_MESSAGES: self._drop_messages,
            StrikeKind.DOUBLE_MESSAGES: self._double_messages,
            StrikeKind.LOSE_ANSWERS: lambda: self._disturb_store(draw, LostAnswer()),
            StrikeKind.LOSE_REQUESTS: lambda: self._disturb_store(draw, LostRequest()),
            StrikeKind.SLOW_DOWN: lambda: self._disturb_store(draw, Refusal(503, "SlowDown")),
            StrikeKind.ABORT_UPLOADS: self._abort_uploads,
        }
        if strike.kind in _WHILE_BUSY:
            self._until(self._work.holders)
        return ways[strike.kind]()

    # -- processes -------------------------------------------------------------------------

    def _busy_worker(self) -> str | None:
        """A worker that has a slice in flight; None when none has one for a while."""
        holders = self._until(self._work.holders) or set()
        parts = self._stack.parts()
        busy = (name for name, group in parts.items() if members(group) & holders)
        return next(busy, None)

    def _kill(self, names: list[str]) -> str | None:
        if self._is_one_too_many(names):
            return None
        struck = self._stack.signal(names, signal.SIGKILL)
        held = self._work.slices_held(None if "redis" in names else struck)
        self.account.silent += held
        return f"{_names(names)}, {held} slices in flight"

    def _kill_server(self, name: str) -> str:
        self._stack.signal([name], signal.SIGKILL)
        return ""

    def _stop(self, name: str) -> str | None:
        if self._is_one_too_many([name]):
            return None
        struck = self._stack.signal([name], signal.SIGSTOP)
        held = self._work.slices_held(struck)
        self.account.silent += held
        seconds = self._stack.settings.lease + _BEYOND_LEASE_S
        self._stopped[time.monotonic() + seconds] = (name, struck)
        return f"{name} for {seconds:g} s, {held} slices in flight"

    def _ask_to_end(self, name: str) -> str:
        held = self._work.slices_held(self._stack.ask_to_end(name))
        # As many as it has threads may have been taken up between our look and our signal.
        self.account.handed_back += held + THREADS[PACKAGING]
        return f"{name}, {held} slices in flight"

    def _is_one_too_many(self, names: list[str]) -> bool:
        """Whether some work would fail its session by this blow: three deaths upon one slice are for
        the product to tell of, not to survive."""
        parts = self._stack.parts()
        struck = {pid for name in names if name in parts for pid in members(parts[name])}
        anybody = len(names) > 1 or "redis" in names
        failures = self._work.most_failures(lambda each: anybody or each.owner in struck)
        return failures >= MAX_ATTEMPTS - 1

    # -- messages --------------------------------------------------------------------------

    def _drop_messages(self) -> str:
        dropped = self._sum_for_a_while(self._work.drop_messages)
        self.account.messages_dropped += dropped
        return f"{dropped} of them"

    def _double_messages(self) -> str:
        known: set[str] = set()
        doubled = self._sum_for_a_while(lambda: self._work.double_messages(known))
        self.account.messages_doubled += doubled
        return f"{doubled} of them"

    def _sum_for_a_while(self, count: Callable[[], int]) -> int:
        until, total = time.monotonic() + _WINDOW_S, 0
        while time.monotonic() < until:
            total += count()
            self._wait_until(min(until, time.monotonic() + _LOOK_S))
        return total

    # -- the store -------------------------------------------------------------------------

    def _disturb_store(self, draw: Random, fault: Fault) -> str:
        def rule(_request: S3Request) -> Fault | None:
            return fault if draw.random() < _CHANCE else None

        before = self._stack.proxy.traffic().faults.total()
        self._stack.proxy.rule = rule
        self._wait_until(time.monotonic() + _WINDOW_S)
        self._stack.proxy.rule = no_faults
        return f"{self._stack.proxy.traffic().faults.total() - before} of them"

    def _open_uploads(self) -> list[dict[str, str]]:
        try:
            answer = self._stack.s3.list_multipart_uploads(Bucket=_OUTPUT)
        except (BotoCoreError, ClientError):  # it was struck a moment ago
            return []
        return [*answer.get("Uploads", ())]

    def _abort_uploads(self) -> str | None:
        # A slice whose parts are gone is found out at the assembly, which then counts a failure.
        if self._work.most_failures(lambda each: each.is_assembly):
            return None
        listed = self._until(self._open_uploads) or []
        for upload in listed:
            with contextlib.suppress(BotoCoreError, ClientError):  # it has just been completed
                self._stack.s3.abort_multipart_upload(
                    Bucket=_OUTPUT, Key=upload["Key"], UploadId=upload["UploadId"]
                )
        self.account.lost += self._work.slices_done() + self._work.slices_held()
        self.account.uploads_aborted += len(listed)
        return f"{len(listed)} of them"

    # -- time ------------------------------------------------------------------------------

    def _until(self, look: Callable[[], Found]) -> Found | None:
        """What there is to be struck as soon as there is something; None when that takes too long."""
        until = time.monotonic() + _AIM_S
        while time.monotonic() < until:
            if found := look():
                return found
            self._wait_until(time.monotonic() + _LOOK_S)
        return None

    def _wait_until(self, moment: float) -> None:
        """Wait, and have those go on meanwhile that have stood still for long enough."""
        while True:
            now = time.monotonic()
            for due in [due for due in self._stopped if due <= now]:
                self._go_on(*self._stopped.pop(due))
            if now >= moment:
                return
            time.sleep(max(0.0, min([moment, *self._stopped]) - now))

    def _go_on(self, name: str, struck: set[int]) -> None:
        if self._stack.parts().get(name) not in struck:
            return  # it was killed while it stood still
        for pid in struck:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def _names(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} processes"
