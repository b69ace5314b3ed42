"""What every bench has, whatever it measures: a name, options, and figures for people and programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from rich.table import Table


@dataclass(frozen=True)
class BenchOptions:
    """How much is measured: what a bench has no use for, it does not look at.

    ``minutes`` is the length of the (longest) recording, ``size`` that of its pictures as
    ``WIDTHxHEIGHT``, ``sessions`` how many are live at once.
    """

    minutes: float
    rounds: int
    size: str
    sessions: int


class Outcome(Protocol):
    """What a bench found."""

    @property
    def ratios(self) -> Mapping[str, float]:
        """The figures that it is about."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """What a reader must know to judge the figures."""
        ...

    def table(self) -> Table:
        """All figures for people."""
        ...

    def to_json(self) -> str:
        """All figures for programs: seconds and bytes."""
        ...

    def plot(self, file: Path) -> bool:
        """Draw the figures into a PNG; False when there is nothing to draw."""
        ...


class Bench(Protocol):
    """One thing that is measured."""

    @property
    def name(self) -> str:
        """What it is called for."""
        ...

    @property
    def minutes(self) -> float:
        """Length of the (longest) recording, unless the caller decides."""
        ...

    @property
    def rounds(self) -> int:
        """How often it is measured, unless the caller decides."""
        ...

    def hold(self, options: BenchOptions, say: Callable[[str], None]) -> Outcome:
        """Measure once; raises BenchFailedError when that cannot be done."""
        ...
