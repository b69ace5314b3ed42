"""A contest: several ways to do one piece of work, held in rounds on one recording, and measured."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scripts.bench_result import BenchResult
from scripts.bench_rounds import Clock, take_rounds
from scripts.bench_venue import open_venue
from scripts.event_words import count_words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from scripts.bench_definition import BenchOptions
    from scripts.bench_rounds import Ratio
    from scripts.bench_turn import Contest, Way
    from scripts.recordings import Scene

#: What must be known of every bench to judge its figures.
_NOTES = (
    "The S3 server runs on the same cores; its CPU time is in no row. All use one boto3 "
    "configuration: ours.",
    "Figures are medians of the rounds. Peak RSS is the largest sum of the PSS of all processes of "
    "a row at one moment, ffmpeg's too.",
)


@dataclass(frozen=True)
class ContestBench:
    """Ways to do one piece of work, and what is told of them."""

    name: str
    scene: Scene
    ways: Callable[[Contest], Mapping[str, Way]]  #: by row, in the order of the first round
    ratios: Mapping[str, Ratio]
    notes: Sequence[str]
    minutes: float  #: length of the recording, unless the caller decides
    rounds: int  #: likewise
    copies: float  #: how often the recording's bytes are on disk at the worst moment
    limit: float  #: seconds after which no turn begins that would not end in time

    def hold(self, options: BenchOptions, say: Callable[[str], None]) -> BenchResult:
        """Hold the bench once, in a temporary folder of which nothing stays.

        Raises BenchFailedError when one of the ways does not do its work, or there is no room for it.
        """
        clock = Clock(time.monotonic(), self.limit)
        with open_venue(self.scene, options, self.copies, say) as (contest, scaled):
            recording = contest.recording
            rounds = take_rounds(contest, self.ways(contest), options.rounds, clock, say)
        return BenchResult(
            bench=self.name,
            subject=f"{recording.seconds / 60:g} min of {options.size}, {recording.size / 1e6:.0f} MB, "
            f"{recording.segments} segments; {count_words(rounds.count, 'round')}",
            rows=rounds.rows,
            ratios=rounds.ratios(self.ratios),
            notes=[*self.notes, *_NOTES, *scaled, *rounds.shortage],
        )
