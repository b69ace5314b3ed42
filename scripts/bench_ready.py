"""``bench ready``: from the moment a session is idle to ``ready``, by the recording's length."""

from __future__ import annotations

import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from pipelines.plan import SOURCE
from scripts.bench_findings import Findings
from scripts.bench_live import LiveSession
from scripts.bench_plot import Curves
from scripts.bench_recording import BUCKET
from scripts.bench_rounds import Clock
from scripts.bench_site import Reconciler
from scripts.bench_venue import open_venue
from scripts.recordings import NOISE, playlist, put_file
from worker.store import SessionStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from scripts.bench_definition import BenchOptions
    from scripts.bench_turn import Contest

LIVE, AFTER, SERIAL = "live", "after", "serial"
#: In the order in which they are measured, and left out when time is short.
_WAYS = (LIVE, AFTER, SERIAL)

#: Lengths in minutes; a bench of less leaves out the longer ones.
LENGTHS = (1, 10, 60, 240)
#: Up to this length the figures are medians of several rounds: the others take long enough.
_SHORT = 10

#: Long enough that a session is seen to be quiet, and its end is packaged, before it is idle.
_IDLE_S = 40
_COPIES = 4 * 1.2
_LIMIT_S = 1800.0
#: As ``./scripts/stack`` has them, without those that transcode.
_QUEUES = ("control", "package", "package")
_HEADINGS = {
    "name": "recording",
    AFTER: "packaged after, s",
    LIVE: "while live, s",
    SERIAL: "serial recipe, s",
}
_NOTES = (
    "live, after: seconds from the moment of idle (last sign of life + idle timeout, "
    f"{_IDLE_S} s here) to `ready`, by Redis' clock, proof included; the session is packaged "
    "while it is live, or (FINALIZER_PACKAGE_LIVE=false) after. A control process and two worker "
    "processes of three threads; the sweep finds an idle session within its default of 2 s.",
    "The recording is one real encode of 32 s, repeated with its clocks moved on, all of it "
    "stored; the shorter ones are its beginnings. While the session is live its playlist grows as "
    "fast as the workers package, faster than life; it ends when all slices but the last are "
    "packaged, as they would be at the pace of life. Those are packaged while it is quiet, before "
    "it is idle.",
    "serial: download, `ffmpeg -c copy -movflags +faststart`, upload; it proves nothing. It starts "
    "at once, without an idle timeout.",
    "The S3 server runs on the same cores.",
)


@dataclass(frozen=True)
class _Race:
    """All that the ways have in common, and how long each has taken per minute of recording."""

    contest: Contest
    store: SessionStore
    reconciler: Reconciler

    def take(self, way: str, minutes: float) -> float:
        """Seconds that one way takes for the first ``minutes``; its outputs are removed."""
        site = self.contest.site
        with tempfile.TemporaryDirectory(dir=site.directory) as folder:
            seconds = self._took(way, minutes * 60, Path(folder))
        site.empty_outputs(site.s3.client())
        return seconds

    def _took(self, way: str, seconds: float, scratch: Path) -> float:
        contest, recording = self.contest, self.contest.recording
        if way == SERIAL:
            beginning = replace(recording, key=self._beginning(seconds))
            shorter = replace(contest, recording=beginning)
            return shorter.recipe("copy/serial", {SOURCE: None}, scratch).usage.wall_seconds
        choice = {"FINALIZER_PACKAGE_LIVE": "true" if way == LIVE else "false"}
        session = LiveSession.new(contest.site, self.store, self.reconciler, recording, seconds)
        with contest.site.workers(_QUEUES, scratch, [choice] * len(_QUEUES)):
            return session.broadcast() if way == LIVE else session.at_once()

    def _beginning(self, seconds: float) -> str:
        """The key of a playlist of the recording's first ``seconds``."""
        recording = self.contest.recording
        key = f"{recording.key.rpartition('/')[0]}/first{seconds:g}.m3u8"
        text = playlist(recording.durations[: recording.first(seconds)], ended=True)
        put_file(self.contest.site.s3.client(), BUCKET, key, text.encode())
        return key


@dataclass(frozen=True)
class ReadyBench:
    """How long a viewer waits for the MP4, with and without packaging while live."""

    name: str = "ready"
    minutes: float = LENGTHS[-1]
    rounds: int = 3

    def hold(self, options: BenchOptions, say: Callable[[str], None]) -> Findings:
        """Measure every length in every way; raises BenchFailedError when a way fails."""
        clock = Clock(time.monotonic(), _LIMIT_S)
        chosen = {"FINALIZER_IDLE_TIMEOUT": str(_IDLE_S)}
        with open_venue(NOISE, options, _COPIES, say, chosen) as (contest, scaled):
            site, recording = contest.site, contest.recording
            longest = recording.seconds / 60
            lengths = _lengths(longest)
            with closing(Reconciler(site.settings)) as reconciler:
                race = _Race(contest, SessionStore.open(site.settings), reconciler)
                found, shortage = _measure(race, lengths, options.rounds, clock, say)
        rate = recording.size * 8 / recording.seconds / 1e6
        return Findings(
            bench=self.name,
            subject=f"{longest:g} min of {options.size} at {rate:.1f} Mbit/s and its beginnings",
            headings=_HEADINGS,
            rows=[{"name": f"{minutes:g} min", **found[minutes]} for minutes in lengths],
            ratios=_ratios(found),
            notes=[*_NOTES, *scaled, *shortage],
            curves=_curves(found),
        )


def _lengths(longest: float) -> Sequence[float]:
    """The lengths to measure, minutes: the usual ones below the longest, and that."""
    return [*(each for each in LENGTHS if each < longest), longest]


def _measure(
    race: _Race, lengths: Sequence[float], rounds: int, clock: Clock, say: Callable[[str], None]
) -> tuple[dict[float, dict[str, float]], list[str]]:
    """Seconds by length and way, and in words what there was no time for."""
    found: dict[float, dict[str, float]] = {}
    shortage = []
    rate = dict.fromkeys(_WAYS, 0.0)  # seconds that a way takes for a minute of recording
    for minutes in lengths:
        found[minutes] = {}
        for way in _WAYS:
            if not clock.allows(rate[way] * minutes):
                shortage.append(f"Time is short: {way} of {minutes:g} minutes was left out.")
                continue
            began = time.monotonic()
            times = rounds if minutes <= _SHORT and way != SERIAL else 1
            taken = [race.take(way, minutes) for _ in range(times)]
            rate[way] = (time.monotonic() - began) / times / minutes
            found[minutes][way] = median(taken)
            each = " ".join(f"{seconds:.2f}" for seconds in taken)
            say(f"{minutes:g} minutes, {way}: {each} s")
    return found, shortage


def _ratios(found: Mapping[float, Mapping[str, float]]) -> dict[str, float]:
    """What the bench is about: the longest beside the shortest, and beside the other ways."""
    shortest, longest = found[min(found)], found[max(found)]
    wanted = {
        "liveLongestToShortest": (longest.get(LIVE), shortest.get(LIVE)),
        "afterToLive": (longest.get(AFTER), longest.get(LIVE)),
        "serialToLive": (longest.get(SERIAL), longest.get(LIVE)),
    }
    return {name: of / to for name, (of, to) in wanted.items() if of is not None and to}


def _curves(found: Mapping[float, Mapping[str, float]]) -> Curves:
    names = {
        AFTER: "packaged after the session",
        LIVE: "packaged while live",
        SERIAL: "serial recipe, its total",
    }
    points = {
        names[way]: [(minutes, ways[way]) for minutes, ways in found.items() if way in ways]
        for way in _WAYS
    }
    title = "From the moment of idle to ready"
    return Curves(title, "recording, minutes", "seconds", points)


BENCH = ReadyBench()
