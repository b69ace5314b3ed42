"""The manual re-run of sessions: ``./scripts/rerun SESSION_ID…``."""

from __future__ import annotations

import signal
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from dramatiq.errors import BrokerError
from redis.exceptions import RedisError
from rich.console import Console

from pipelines.errors import FinalizerError
from pipelines.session import RecordingStatus
from scripts.dry_run import rehearse
from scripts.here import Here
from scripts.manual_run import ManualRun, Outcome, complain
from scripts.screen import Screen
from scripts.stack_settings import load_settings
from worker import log
from worker.records import UnknownFormat
from worker.runtime import Runtime
from worker.settings import InvalidSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from worker.settings import Settings
    from worker.store import SessionStore

_PAGE = 500


_SessionIds = Annotated[list[str] | None, typer.Argument(help="Sessions.", metavar="SESSION_ID…")]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan, write nothing.")]
_Wait = Annotated[bool, typer.Option("--wait", help="Follow to the end.")]
_Timeout = Annotated[
    float | None,
    typer.Option(min=0, metavar="SECONDS", help="Give up following after this. Default: never."),
]
_Force = Annotated[bool, typer.Option("--force", help="Also when ready, or begun already.")]
_AllFailed = Annotated[bool, typer.Option("--all-failed", help="Every session with status failed.")]
_Here = Annotated[
    bool, typer.Option("--here", help="Do the work in this process: no queue, no worker.")
]
_Stack = Annotated[
    Path | None,
    typer.Option("--stack", help="Take the settings of the stack in this folder.", metavar="DIR"),
]
_Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show the log.")]


def main(
    session_ids: _SessionIds = None,
    dry_run: _DryRun = False,
    wait: _Wait = False,
    timeout: _Timeout = None,
    force: _Force = False,
    all_failed: _AllFailed = False,
    here: _Here = False,
    stack: _Stack = None,
    verbose: _Verbose = False,
) -> None:
    """Finalize sessions again, with the environment of a worker.

    Exit codes: 0 accepted (with --wait or --here: ready), 1 our fault, 2 usage or settings,
    3 unknown session, 4 refused in this state, 5 ended failed (with --dry-run: would end so),
    6 gave up waiting. Of several sessions the highest.
    """
    if bool(session_ids) == all_failed:
        raise typer.BadParameter("name sessions, or --all-failed (one of the two)")
    if timeout is not None and not (wait or here):
        raise typer.BadParameter("--timeout belongs to --wait and --here")
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    try:
        settings = load_settings(stack)
        runtime = _open(settings, verbose)
        ids = _failed(runtime.sessions) if all_failed else list(dict.fromkeys(session_ids or ()))
        if dry_run:
            outcome = max((_show_plan(runtime, each, force) for each in ids), default=0)
        else:
            manual = ManualRun(runtime, force=force, timeout=timeout)
            outcome = _run(manual, ids, wait=wait, here=here, verbose=verbose)
    except InvalidSettings as error:
        complain(str(error))
        outcome = Outcome.USAGE
    except (RedisError, FinalizerError) as error:
        complain(str(error) or type(error).__name__)
        outcome = Outcome.OUR_FAULT
    raise typer.Exit(int(outcome))


def _run(
    manual: ManualRun, ids: Sequence[str], *, wait: bool, here: bool, verbose: bool
) -> Outcome | int:
    console = Console(highlight=False)
    # One picture for all, and none beside a log that is written to the same terminal.
    screen = Screen(console, several=len(ids) > 1)
    with nullcontext() if verbose or not (wait or here) else screen:
        if here:
            return max((_run_here(manual, each, screen) for each in ids), default=0)
        outcomes = {each: manual.start(each, screen if wait else None) for each in ids}
        accepted = [each for each, outcome in outcomes.items() if outcome is Outcome.ACCEPTED]
        _send(manual.runtime, accepted, verbose)
        ended = manual.follow(accepted, screen, lambda _: None) if wait else Outcome.ACCEPTED
        return max(ended, *outcomes.values(), 0)


def _run_here(manual: ManualRun, session_id: str, screen: Screen) -> Outcome:
    """Start one session and do its work; one after the other, so that each has all threads."""
    if manual.expired:
        complain(f"No time was left for session {session_id}: it was not run.")
        return Outcome.GAVE_UP
    outcome = manual.start(session_id, screen)
    if outcome is not Outcome.ACCEPTED:
        return outcome
    with Here(manual.runtime) as here:
        here.reconcile(session_id)
        outcome = manual.follow([session_id], screen, here.look)
        if outcome is Outcome.GAVE_UP:
            here.stop()
    return outcome


def _send(runtime: Runtime, ids: Sequence[str], verbose: bool) -> None:
    """Have the workers begin at once; without these messages their sweep would find the sessions."""
    if not ids:
        return
    # Importing it opens the broker, which --here and --dry-run must not need.
    from worker.actors import queue

    log.configure(_quiet(runtime.settings, verbose))
    try:
        for session_id in ids:
            queue.reconcile(session_id)
    except (BrokerError, RedisError) as error:
        complain(f"The queue does not answer ({type(error).__name__}): the next sweep begins it.")
    if not runtime.roster.processes():
        complain("No worker is known to run: start one, or use --here.")


def _show_plan(runtime: Runtime, session_id: str, force: bool) -> Outcome:
    try:
        record = runtime.sessions.get(session_id)
    except UnknownFormat as newer:
        complain(str(newer))
        return Outcome.OUR_FAULT
    if record is None:
        complain(f"There is no session {session_id}.")
        return Outcome.UNKNOWN_SESSION
    found = rehearse(runtime, record, force=force)
    print("\n".join(found.lines), flush=True)
    return Outcome.ACCEPTED if found.feasible else Outcome.ENDED_FAILED


def _failed(store: SessionStore) -> list[str]:
    """Every session with status failed; collected first, for starting one takes it off the list."""
    ids = list(_pages(store))
    if not ids:
        print("No session has failed.")
    return ids


def _pages(store: SessionStore) -> Iterator[str]:
    cursor = None
    while True:
        page = store.page(status=RecordingStatus.FAILED, limit=_PAGE, cursor=cursor)
        yield from (record.id for record in page.records)
        cursor = page.next_cursor
        if cursor is None:
            return


def _open(settings: Settings, verbose: bool) -> Runtime:
    log.configure(_quiet(settings, verbose))
    return Runtime.open(settings)


def _quiet(settings: Settings, verbose: bool) -> Settings:
    level = "info" if verbose else "error"
    return settings.model_copy(update={"log_format": "console", "log_level": level})


if __name__ == "__main__":
    typer.run(main)
