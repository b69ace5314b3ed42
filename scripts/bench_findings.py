"""What a bench found that is no contest: rows of named figures, as a table, as JSON, as curves."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from rich.table import Table

from scripts.bench_plot import draw

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from scripts.bench_plot import Curves

#: None: it was not measured.
Figure: TypeAlias = float | int | str | None

_DIGITS = 3


@dataclass(frozen=True)
class Findings:
    """Rows of figures by their names in JSON, each with the ``headings`` that people read."""

    bench: str
    subject: str
    headings: Mapping[str, str]
    rows: Sequence[Mapping[str, Figure]]
    ratios: Mapping[str, float]
    notes: Sequence[str] = ()
    curves: Curves | None = None

    def to_json(self) -> str:
        """The figures for programs: seconds and bytes."""
        figures = {
            "bench": self.bench,
            "ratios": {name: _rounded(ratio) for name, ratio in self.ratios.items()},
            "rows": [{name: _rounded(value) for name, value in row.items()} for row in self.rows],
            "notes": list(self.notes),
        }
        return json.dumps(figures, indent=2) + "\n"

    def table(self) -> Table:
        """The same figures for people."""
        table = Table(title=f"{self.bench}: {self.subject}", title_justify="left")
        for number, heading in enumerate(self.headings.values()):
            table.add_column(heading, justify="right" if number else "left")
        for row in self.rows:
            table.add_row(*(_shown(row.get(name)) for name in self.headings))
        return table

    def plot(self, file: Path) -> bool:
        """Draw the curves, if there are any."""
        if self.curves is not None:
            draw(self.curves, file)
        return self.curves is not None


def _rounded(value: Figure) -> Figure:
    return round(value, _DIGITS) if isinstance(value, float) else value


def _shown(value: Figure) -> str:
    if value is None:
        return "-"
    return f"{value:,.2f}" if isinstance(value, float) else str(value)
