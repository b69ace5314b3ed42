"""Starting sessions by hand and following them to their end, with an outcome for the shell."""

from __future__ import annotations

import sys
import time
from enum import IntEnum
from typing import TYPE_CHECKING

from pipelines.session import Phase
from scripts.event_words import printable
from worker import rerun, views
from worker.records import UnknownFormat

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scripts.screen import Screen
    from worker.records import SessionRecord
    from worker.runtime import Runtime

_LOOK_S = 0.2


class Outcome(IntEnum):
    """How it went, as the exit code says it; of several sessions the highest counts."""

    ACCEPTED = 0  #: with --wait and --here: ready
    OUR_FAULT = 1
    USAGE = 2
    UNKNOWN_SESSION = 3
    REFUSED = 4
    ENDED_FAILED = 5
    GAVE_UP = 6


class ManualRun:
    """Starts sessions and follows them; ``timeout`` (s, None: never) counts from the start."""

    def __init__(self, runtime: Runtime, *, force: bool, timeout: float | None) -> None:
        self.runtime = runtime
        self._store = runtime.sessions
        self._force = force
        self._timeout = timeout
        self._deadline = None if timeout is None else time.monotonic() + timeout

    @property
    def expired(self) -> bool:
        """Whether there is no time left to follow anything."""
        return self._deadline is not None and time.monotonic() >= self._deadline

    def start(self, session_id: str, screen: Screen | None = None) -> Outcome:
        """Start one session, or say on standard error why not."""
        if screen is not None:
            screen.skip(session_id, self._store.events(session_id))
        try:
            generation = rerun.start(self._store, session_id, force=self._force)
        except rerun.SessionNotFound:
            complain(f"There is no session {session_id}.")
            return Outcome.UNKNOWN_SESSION
        except rerun.RerunRefused as refused:
            complain(str(refused))
            return Outcome.REFUSED
        except UnknownFormat as newer:
            complain(str(newer))
            return Outcome.OUR_FAULT
        print(f"{session_id}: accepted, run {generation}.", flush=True)
        return Outcome.ACCEPTED

    def follow(
        self, session_ids: Sequence[str], screen: Screen, tend: Callable[[str], None]
    ) -> Outcome:
        """Show the sessions until each has come to an end; ``tend`` is called at every look."""
        pending, worst = list(session_ids), Outcome.ACCEPTED
        while pending:
            for session_id in tuple(pending):
                tend(session_id)
                record = self._store.get(session_id)
                if record is not None:
                    self._show(record, screen)
                if (outcome := _ending(record)) is not None:
                    pending.remove(session_id)
                    screen.leave(session_id)
                    _tell_end(session_id, record)
                    worst = max(worst, outcome)
            if pending and self.expired:
                for session_id in pending:
                    complain(f"Gave up waiting for session {session_id} after {self._timeout:g} s.")
                return Outcome.GAVE_UP
            time.sleep(_LOOK_S if pending else 0)
        return worst

    def _show(self, record: SessionRecord, screen: Screen) -> None:
        view = views.session_view(record, self.runtime.settings)
        screen.look(record.id, view, self._store.events(record.id))


def _ending(record: SessionRecord | None) -> Outcome | None:
    """How a session ended; None while it has not."""
    if record is None:
        return Outcome.OUR_FAULT
    if record.phase in (Phase.LIVE, Phase.FINALIZING):
        return None
    return Outcome.ACCEPTED if record.phase is Phase.READY else Outcome.ENDED_FAILED


def _tell_end(session_id: str, record: SessionRecord | None) -> None:
    if record is None:
        complain(f"Session {session_id} is gone: its record was removed.")
    elif record.phase is Phase.READY:
        print(f"{session_id}: ready, revision {record.revision}, {record.mp4_url}", flush=True)
    elif record.error is not None:
        complain(f"{session_id}: {record.phase}: {record.error.message} ({record.error.code})")
    else:
        complain(f"{session_id}: {record.phase}")


def complain(sentence: str) -> None:
    """Say it on standard error, whatever it holds, without steering the terminal."""
    lines = sentence.splitlines() or [""]
    print("\n".join(map(printable, lines)), file=sys.stderr, flush=True)
