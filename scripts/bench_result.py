"""What a bench found: a row per way of doing the work, as a table for people and as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from scripts.measure import Usage


class BenchFailedError(Exception):
    """What is to be measured did not do its work; the message says why."""


@dataclass(frozen=True)
class Row:
    """One way of doing the work, and what it used in each round."""

    name: str
    rounds: Sequence[Usage]

    @property
    def wall_seconds(self) -> float:
        """Median over the rounds, as are all of these."""
        return median(usage.wall_seconds for usage in self.rounds)

    @property
    def cpu_seconds(self) -> float:
        """User and system time of all its processes."""
        return median(usage.cpu_seconds for usage in self.rounds)

    @property
    def peak_rss_bytes(self) -> int:
        """Memory of all its processes at the worst moment (PSS)."""
        return round(median(usage.peak_rss_bytes for usage in self.rounds))

    @property
    def peak_disk_bytes(self) -> int:
        """Scratch space at the worst moment."""
        return round(median(usage.peak_disk_bytes for usage in self.rounds))


@dataclass(frozen=True)
class BenchResult:
    """The rows of one bench, its ratios, and what a reader must know to judge them."""

    bench: str
    subject: str
    rows: Sequence[Row]
    ratios: Mapping[str, float]
    notes: Sequence[str] = ()

    def to_json(self) -> str:
        """The figures for programs: seconds and bytes."""
        rows = [
            {
                "name": row.name,
                "wallSeconds": round(row.wall_seconds, 3),
                "cpuSeconds": round(row.cpu_seconds, 3),
                "peakRssBytes": row.peak_rss_bytes,
                "peakDiskBytes": row.peak_disk_bytes,
            }
            for row in self.rows
        ]
        ratios = {name: round(ratio, 3) for name, ratio in self.ratios.items()}
        figures = {"bench": self.bench, "ratios": ratios, "rows": rows}
        return json.dumps(figures, indent=2) + "\n"

    def table(self) -> Table:
        """The same figures for people."""
        table = Table(title=f"{self.bench}: {self.subject}", title_justify="left")
        table.add_column("")
        for heading in ("wall s", "each round", "CPU s", "peak RSS MB", "peak disk MB"):
            table.add_column(heading, justify="right")
        for row in self.rows:
            table.add_row(
                row.name,
                f"{row.wall_seconds:.2f}",
                " ".join(f"{usage.wall_seconds:.2f}" for usage in row.rounds),
                f"{row.cpu_seconds:.2f}",
                f"{row.peak_rss_bytes / 1e6:.0f}",
                f"{row.peak_disk_bytes / 1e6:.0f}",
            )
        return table

    def plot(self, file: Path) -> bool:
        """Nothing: a table says it all."""
        return False
