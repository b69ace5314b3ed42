"""Recordings with faults, to see what becomes of them: ``./scripts/faults list|make|run``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipelines.errors import FinalizerError
from pipelines.tools import locate
from scripts.api_client import ApiFailedError
from scripts.fault_base import Bases
from scripts.fault_kit import BY_NAME, FAULTS
from scripts.fault_run import FaultStack, scratch_folder
from worker.settings import InvalidSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scripts.fault_entries import Fault

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)
_console = Console(highlight=False)

_Names = Annotated[list[str], typer.Argument(metavar="NAME…", help="Faults, as in `list`.")]
_AnyNames = Annotated[
    list[str] | None, typer.Argument(metavar="NAME…", help="Faults, as in `list`. Default: all.")
]
_Folder = Annotated[
    Path, typer.Option("--dir", help="Each recording gets a folder here.", metavar="DIR")
]
_Stack = Annotated[
    Path, typer.Option("--stack", help="The folder of a running stack.", metavar="DIR")
]


@app.command("list")
def show() -> None:
    """Every fault, and what it is."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for fault in FAULTS:
        table.add_row(fault.name, fault.what)
    _console.print(table)


@app.command()
def make(names: _Names, folder: _Folder = Path()) -> None:
    """Write recordings with faults, and what is true of them (``truth.json``)."""
    with scratch_folder() as scratch:
        bases = _bases(Path(scratch))
        for fault in _chosen(names):
            playlist = fault.make(bases).write(folder / fault.name)
            _console.print(escape(str(playlist)))


@app.command()
def run(names: _AnyNames = None, stack: _Stack = Path(".stack")) -> None:
    """Finalize recordings with faults on a running stack, and judge each MP4 by decoding it.

    Exits with 0 only when every flash and beep is at its time and every verdict is right.
    """
    failed = 0
    with scratch_folder() as scratch:
        try:
            there = FaultStack(stack, _bases(Path(scratch)))
            begun = [there.begin(fault) for fault in _chosen(names or list(BY_NAME))]
            for each in begun:
                complaints = there.complaints(each)
                failed += bool(complaints)
                mark = "[red]✗[/]" if complaints else "[green]✓[/]"
                _console.print(f"{mark} {each.fault:<22}{each.session_id}")
                for complaint in complaints:
                    _console.print(f"    {escape(complaint)}")
        except (ApiFailedError, InvalidSettings) as error:
            _end(str(error), 2)
    raise typer.Exit(1 if failed else 0)


def _bases(folder: Path) -> Bases:
    try:
        return Bases(locate(), folder)
    except FinalizerError as error:
        _end(str(error), 2)


def _chosen(names: Sequence[str]) -> list[Fault]:
    unknown = [name for name in names if name not in BY_NAME]
    if unknown:
        _end(f"There is no fault {', '.join(unknown)}: see ./scripts/faults list.", 2)
    return [BY_NAME[name] for name in names]


def _end(sentence: str, code: int) -> NoReturn:
    print(sentence, file=sys.stderr, flush=True)
    raise typer.Exit(code)


if __name__ == "__main__":
    app()
