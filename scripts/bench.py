"""Measures the product beside other ways of doing the same work: ``./scripts/bench NAME``."""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path  # noqa: TC003  (typer reads annotations while the program runs)
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from scripts import (
    bench_copy,
    bench_length,
    bench_ready,
    bench_scale,
    bench_sessions,
    bench_transcode,
)
from scripts.bench_definition import BenchOptions
from scripts.bench_result import BenchFailedError
from scripts.child import ChildFailedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scripts.bench_definition import Bench

BENCHES: Mapping[str, Bench] = {
    bench.name: bench
    for bench in (
        bench_copy.BENCH,
        bench_transcode.BENCH,
        bench_ready.BENCH,
        bench_scale.BENCH,
        bench_sessions.BENCH,
        bench_length.BENCH,
    )
}

_MINUTES = ", ".join(f"{bench.minutes:g} for {bench.name}" for bench in BENCHES.values())
_ROUNDS = ", ".join(f"{bench.rounds} for {bench.name}" for bench in BENCHES.values())
#: Even sides that every encoder takes.
_SIZE = re.compile(r"[1-9]\d{1,3}x[1-9]\d{1,3}", re.ASCII)


def _size(value: str) -> str:
    if not _SIZE.fullmatch(value) or any(int(side) % 2 for side in value.split("x")):
        raise typer.BadParameter(f"{value!r} is no WIDTHxHEIGHT of even numbers, such as 1280x720")
    return value


def main(
    name: Annotated[str, typer.Argument(help=f"Which: {', '.join(BENCHES)}.")],
    json_file: Annotated[
        Path | None,
        typer.Option("--json", help="Write the same figures as JSON.", dir_okay=False),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.1, help=f"Length of the recording; {_MINUTES}.")
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(min=1, help=f"Rounds, the figures are medians; {_ROUNDS}.")
    ] = None,
    size: Annotated[str, typer.Option(callback=_size, help="Size of its pictures.")] = "1920x1080",
    sessions: Annotated[
        int, typer.Option(min=10, help="Live sessions, for the bench of that name.")
    ] = 10_000,
    png_file: Annotated[
        Path | None,
        typer.Option("--png", help="Draw the figures, where there are curves.", dir_okay=False),
    ] = None,
) -> None:
    """Run one bench; prints a table, and writes the same figures as JSON and PNG when asked to."""
    bench = BENCHES.get(name)
    if bench is None:
        print(f"There is no bench {name!r}; there is: {', '.join(BENCHES)}.", file=sys.stderr)
        raise typer.Exit(2)
    options = BenchOptions(minutes or bench.minutes, rounds or bench.rounds, size, sessions)
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    console = Console(width=100, highlight=False)
    try:
        result = bench.hold(options, lambda words: print(words, file=sys.stderr, flush=True))
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
    if png_file is not None and not result.plot(png_file):
        print(f"The bench {name!r} has no curves: nothing was drawn.", file=sys.stderr)


if __name__ == "__main__":
    typer.run(main)
