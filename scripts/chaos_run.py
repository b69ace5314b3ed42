"""One run of chaos: the undisturbed sessions first, then strikes while others are recorded, then the
verdict."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from scripts.api_client import ApiFailedError
from scripts.chaos_judge import differences, leftovers, outcome_of
from scripts.chaos_schedule import strikes
from scripts.chaos_sessions import Origin, SessionKind, SessionLateError
from scripts.chaos_stack import ChaosStack
from scripts.chaos_strikes import Account, Striker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from scripts.chaos_judge import Outcome

#: Leases run out soon, so that much happens in little time; live sessions are idle soon.
_SETTINGS = {
    "FINALIZER_LEASE": "10",
    "FINALIZER_IDLE_TIMEOUT": "6",
    "FINALIZER_SWEEP_INTERVAL": "0.5",
    "FINALIZER_SLICE_SECONDS": "4",
}
#: Seconds that a session may take once its recording is whole, and that what is left may stay.
_PATIENCE_S = 180.0
#: Seconds between the beginnings of sessions that are recorded side by side.
_STAGGER_S = 1.0


@dataclass
class ChaosResult:
    """What chaos did, and what came of it; ``complaints`` is empty when nothing was harmed."""

    seed: int
    seconds: float
    strikes: int = 0
    account: Account = field(default_factory=Account)
    sessions: Counter[str] = field(default_factory=Counter)
    made_again: Counter[str] = field(default_factory=Counter)
    objects: int = 0
    complaints: list[str] = field(default_factory=list)


class ChaosRun:
    """A run of chaos on a stack in ``directory``; ``say`` is told what happens."""

    def __init__(
        self,
        directory: Path,
        kinds: Sequence[SessionKind],
        workers: int,
        say: Callable[[str], None],
    ) -> None:
        self._directory = directory
        self._kinds = kinds
        self._workers = workers
        self._say = say
        self._lock = threading.Lock()
        self._disturbed = threading.Event()
        self._over = threading.Event()
        self._ended = threading.Event()

    def run(self, seed: int, seconds: float, sessions: int) -> ChaosResult:
        """Strike for ``seconds`` while so many ``sessions`` at a time are recorded.

        Raises ChildFailedError when the stack itself cannot be started or ends, SessionLateError
        when not even an undisturbed session becomes ready.
        """
        self._result = ChaosResult(seed, seconds)
        stack = ChaosStack(self._directory, workers=self._workers, settings=_SETTINGS)
        with stack:
            origin = Origin(stack, _PATIENCE_S, self._disturbed, self._ended)
            undisturbed = self._undisturbed(stack, origin)
            with ThreadPoolExecutor(sessions, thread_name_prefix="session") as pool:
                self._disturbed.set()
                recording = [
                    pool.submit(self._keep_recording, stack, origin, undisturbed, number)
                    for number in range(sessions)
                ]
                try:
                    self._disturb(stack)
                except BaseException:
                    self._ended.set()
                    raise
                finally:
                    self._over.set()
                    self._disturbed.clear()
            for each in recording:
                each.result()
            self._complain(self._account_for())
            kept = ("calm-", *{each.partition(" ")[0] for each in self._result.complaints})
            self._complain(leftovers(stack, origin, _PATIENCE_S, kept))
        return self._result

    # -- sessions --------------------------------------------------------------------------

    def _undisturbed(self, stack: ChaosStack, origin: Origin) -> Mapping[str, Outcome]:
        """What becomes of each kind of session when nothing goes wrong."""

        def made(number: int) -> Outcome:
            session = origin.record(self._kinds[number], f"calm-{number}")
            if session["phase"] != "ready":
                raise SessionLateError(f"undisturbed, {session['id']} failed: {session['error']}")
            outcome, complaints = outcome_of(stack, origin, session)
            if complaints:
                raise SessionLateError(f"undisturbed, {session['id']}: {complaints}")
            return outcome

        began = time.monotonic()
        with ThreadPoolExecutor(len(self._kinds)) as pool:
            outcomes = [*pool.map(made, range(len(self._kinds)))]
        self._say(f"undisturbed: {len(outcomes)} sessions in {time.monotonic() - began:.1f} s")
        return {kind.name: each for kind, each in zip(self._kinds, outcomes, strict=True)}

    def _keep_recording(
        self,
        stack: ChaosStack,
        origin: Origin,
        undisturbed: Mapping[str, Outcome],
        number: int,
    ) -> None:
        """Record one session after the other until the time is over."""
        draw = Random(f"{self._result.seed} {number}")
        kinds = [*self._kinds[number % len(self._kinds) :], *self._kinds]
        self._over.wait(number * _STAGGER_S)
        count = 0
        while count == 0 or not self._over.is_set():
            kind = kinds[0] if count == 0 else draw.choice(self._kinds)
            session_id = f"chaos-{number}-{count}"
            try:
                self._record(stack, origin, kind, undisturbed[kind.name], session_id)
            except (SessionLateError, ApiFailedError, OSError) as error:
                self._complain([f"{session_id} ({kind.name}): {error}"])
            count += 1

    def _record(
        self,
        stack: ChaosStack,
        origin: Origin,
        kind: SessionKind,
        undisturbed: Outcome,
        session_id: str,
    ) -> None:
        session = origin.record(kind, session_id)
        if session["phase"] != "ready":
            self._complain([f"{session_id} ({kind.name}) {session['phase']}: {session['error']}"])
            return
        outcome, complaints = outcome_of(stack, origin, session)
        complaints += differences(outcome, undisturbed)
        self._complain(f"{session_id} ({kind.name}): {each}" for each in complaints)
        if not complaints:
            origin.remove(kind, session_id)
        with self._lock:
            self._result.sessions[kind.name] += not complaints
            self._result.objects += len(outcome.objects)
            self._result.made_again.update(outcome.made_again)

    # -- strikes ---------------------------------------------------------------------------

    def _disturb(self, stack: ChaosStack) -> None:
        striker = Striker(stack, self._say)
        self._result.account = striker.account
        over = time.monotonic() + self._result.seconds
        for strike in strikes(self._result.seed):
            striker.strike(strike)
            self._result.strikes += 1
            if time.monotonic() > over:
                break
        striker.end()

    def _account_for(self) -> Iterator[str]:
        """Whether more was packaged again than was in flight when something was struck."""
        again, account = self._result.made_again, self._result.account
        limits = {
            "silent": account.silent,
            "handedBack": account.handed_back,
            "lost": account.lost,
            "failed": 0,
        }
        for ending, limit in limits.items():
            if again[ending] > limit:
                yield f"{again[ending]} slices were made again ({ending}), {limit} were in flight"

    def _complain(self, complaints: Iterator[str] | Sequence[str]) -> None:
        with self._lock:
            for each in complaints:
                self._result.complaints.append(each)
                self._say(f"HARM: {each}")
