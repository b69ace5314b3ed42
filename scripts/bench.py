"""Measures the product beside other ways of doing the same work: ``./scripts/bench NAME``."""

from __future__ import annotations

import signal
import sys
from pathlib import Path  # noqa: TC003  (typer reads annotations while the program runs)
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from scripts import bench_copy
from scripts.bench_result import BenchFailedError
from scripts.child import ChildFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from scripts.bench_result import BenchResult

#: Every bench: takes minutes of media, rounds, and where to say what it does.
BENCHES: Mapping[str, Callable[[float, int, Callable[[str], None]], BenchResult]] = {
    "copy": bench_copy.run,
}


def main(
    name: Annotated[str, typer.Argument(help=f"Which: {', '.join(BENCHES)}.")],
    json_file: Annotated[
        Path | None,
        typer.Option("--json", help="Write the same figures as JSON.", dir_okay=False),
    ] = None,
    minutes: Annotated[float, typer.Option(min=0.1, help="Length of the recording.")] = 40,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; the figures are medians.")] = 3,
) -> None:
    """Run one bench; prints a table, and writes the same figures as JSON when asked to."""
    bench = BENCHES.get(name)
    if bench is None:
        print(f"There is no bench {name!r}; there is: {', '.join(BENCHES)}.", file=sys.stderr)
        raise typer.Exit(2)
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    console = Console(width=100, highlight=False)
    try:
        result = bench(minutes, rounds, lambda words: print(words, file=sys.stderr, flush=True))
    except (BenchFailedError, ChildFailedError) as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from None
    console.print(result.table())
    for ratio, value in result.ratios.items():
        console.print(f"{ratio}: {value:.2f}")
    for note in result.notes:
        console.print(f"- {note}")
    if json_file is not None:
        json_file.write_text(result.to_json())


if __name__ == "__main__":
    typer.run(main)
