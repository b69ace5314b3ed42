"""Disturbs a stack of its own in every way we know, and compares what it made with an undisturbed run.

``./scripts/chaos [--sessions N] [--minutes M | --seconds S] [--seed K] [--workers W] [--dir DIR]``
"""

from __future__ import annotations

import secrets
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from pipelines.errors import FinalizerError
from pipelines.tools import locate
from scripts.api_client import ApiFailedError
from scripts.chaos_result import show
from scripts.chaos_run import ChaosRun
from scripts.chaos_sessions import SessionLateError, make_kinds
from scripts.child import ChildFailedError
from scripts.stack_directory import DirectoryRefusedError

#: Why chaos could not reign.
_FAILURES = (
    ApiFailedError, ChildFailedError, DirectoryRefusedError, FinalizerError, SessionLateError,
)  # fmt: skip
_PLAIN_WIDTH = 120
_MINUTE_S = 60.0

_Sessions = Annotated[int, typer.Option(min=1, help="Sessions that are recorded at a time.")]
_Minutes = Annotated[float | None, typer.Option(min=0, help="How long to disturb them.")]
_Seconds = Annotated[float | None, typer.Option(min=0, help="The same in seconds.")]
_Seed = Annotated[int | None, typer.Option(help="Draws the same strikes again. Default: any.")]
_Workers = Annotated[
    int, typer.Option(min=1, help="Worker processes: so many that copy, so many that transcode.")
]
_Directory = Annotated[
    Path | None,
    typer.Option("--dir", help="Keep data and logs here. Default: kept only after a failure."),
]


def main(
    sessions: _Sessions = 4,
    minutes: _Minutes = None,
    seconds: _Seconds = None,
    seed: _Seed = None,
    workers: _Workers = 2,
    directory: _Directory = None,
) -> None:
    """Strike a stack again and again while sessions are recorded, and judge every object it made.

    Exits with 0 only when every session became ready with the very objects of an undisturbed run,
    nothing was left over, and no more was packaged again than was in flight.
    """
    if minutes is not None and seconds is not None:
        _end("Give --minutes or --seconds, not both.", 2)
    length = seconds if seconds is not None else _MINUTE_S * (3.0 if minutes is None else minutes)
    chosen = secrets.randbelow(1 << 32) if seed is None else seed
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _PLAIN_WIDTH
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    where = directory.absolute() if directory else Path(tempfile.mkdtemp(prefix="chaos-"))
    where.mkdir(parents=True, exist_ok=True)
    console.print(f"seed {chosen}, {length:g} s, {sessions} sessions at a time, {workers} workers")
    harmed = True
    try:
        with tempfile.TemporaryDirectory(prefix="chaos-media-") as scratch:
            kinds = make_kinds(locate(), Path(scratch))
        result = ChaosRun(where / "stack", kinds, workers, console.print).run(
            chosen, length, sessions
        )
        show(console, result)
        harmed = bool(result.complaints)
    except _FAILURES as error:
        _end(f"{error}\nThe logs are in {where}.", 2)
    finally:
        if directory is None and not harmed:
            shutil.rmtree(where, ignore_errors=True)
    if harmed:
        console.print(f"again with --seed {chosen}; the stack's data and logs are in {where}")
    raise typer.Exit(1 if harmed else 0)


def _end(sentence: str, code: int) -> NoReturn:
    print(sentence, file=sys.stderr, flush=True)
    raise typer.Exit(code)


if __name__ == "__main__":
    typer.run(main)
