"""``bench copy``: a recording's way to an MP4, by the product, by two usual recipes, by no work."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pipelines.plan import SOURCE
from scripts.bench_contest import ContestBench
from scripts.bench_rounds import WALL, Ratio
from scripts.recordings import NOISE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from scripts.bench_turn import Contest, Turn, Way

OURS, SERIAL, PRESIGNED, FLOOR = "ours", "serial", "presigned", "floor"

#: One process each, as in production.
_QUEUES = ("control", "package")


def _ways(contest: Contest) -> Mapping[str, Way]:
    def recipe(name: str) -> Way:
        return lambda scratch: contest.recipe(f"copy/{name}", {SOURCE: None}, scratch)

    def floor(scratch: Path) -> Turn:
        return replace(recipe(FLOOR)(scratch), urls={})  # the segments as they are: no MP4

    return {
        OURS: lambda scratch: contest.ours(_QUEUES, {}, scratch),
        SERIAL: recipe(SERIAL),
        PRESIGNED: recipe(PRESIGNED),
        FLOOR: floor,
    }


BENCH = ContestBench(
    name="copy",
    scene=NOISE,
    ways=_ways,
    ratios={"toFloor": Ratio(WALL, OURS, FLOOR), "serialToOurs": Ratio(WALL, SERIAL, OURS)},
    notes=(
        "ours: a control process and one worker process of three threads, new and idle, from the "
        "session's PUT to `ready`, proof included. The recipes prove nothing.",
    ),
    minutes=40,
    rounds=3,
    # Input, output, the serial recipe's segments and its file, and a fifth for the server's ways.
    copies=4 * 1.2,
    limit=460,
)
