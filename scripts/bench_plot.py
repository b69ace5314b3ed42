"""Curves of a bench as a PNG."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_INCHES = (8.0, 5.0)
_DOTS_PER_INCH = 120


@dataclass(frozen=True)
class Curves:
    """Points (x, y) by the name of their curve; both axes are logarithmic."""

    title: str
    x_label: str
    y_label: str
    points: Mapping[str, Sequence[tuple[float, float]]]


def draw(curves: Curves, file: Path) -> None:
    """Write the PNG ``file``."""
    # Imported here: only who draws needs it, and it takes a second.
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator, ScalarFormatter

    figure = Figure(figsize=_INCHES, layout="constrained")
    axes = figure.subplots()
    for name, points in curves.points.items():
        axes.plot([x for x, _ in points], [y for _, y in points], marker="o", label=name)
    axes.set(xscale="log", yscale="log", xlabel=curves.x_label, ylabel=curves.y_label)
    axes.set_xticks(sorted({x for points in curves.points.values() for x, _ in points}))
    axes.xaxis.set_minor_locator(NullLocator())
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(ScalarFormatter())
    axes.set_title(curves.title)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(file, dpi=_DOTS_PER_INCH, format="png")
