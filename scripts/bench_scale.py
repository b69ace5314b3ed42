"""``bench scale``: one long recording over links as slow as links are, by 1, 2, 4 and 8 workers."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
import uuid
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.parts import STAGED_SLICE_BYTES
from pipelines.plan import SOURCE
from pipelines.report import Verdict
from scripts.bench_findings import Findings
from scripts.bench_plot import Curves
from scripts.bench_probe import ControlProbe, percentile
from scripts.bench_result import BenchFailedError
from scripts.bench_rounds import Clock
from scripts.bench_site import CONTROL, Reconciler
from scripts.bench_turn import wait_until_ready
from scripts.bench_venue import open_venue
from scripts.recordings import NOISE
from scripts.s3_proxy import Link, S3Proxy
from worker.dispatch import PACKAGING
from worker.run_plan import PACKAGE
from worker.store import SessionStore, open_redis
from worker.work import Work
from worker.work_item import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from scripts.bench_definition import BenchOptions
    from scripts.bench_findings import Figure
    from scripts.bench_turn import Contest
    from scripts.recordings import Repeated
    from worker.records import SessionRecord

#: What a worker's machine has: bytes per second each way, of which one connection may have all. So
#: little that the processors which all of them share here are not the limit before the links are.
LINK = Link(bytes_per_second=10e6, latency=0.02, bytes_per_second_of_all=10e6)
WORKERS = (1, 2, 4, 8)
SERIAL = "serial recipe"

_HOUR_MS = 3_600_000
#: A recording of hours is of this many slices; ours is shorter, and so are its slices.
_SLICES = 40
#: Payload that is uploaded by the slice itself, and not staged for the assembly to upload.
_LEAST_SLICE_BYTES = 2 * STAGED_SLICE_BYTES
_COPIES = 4 * 1.2
_LIMIT_S = 1200.0
_HEADINGS = {
    "name": "",
    "wallSeconds": "wall s",
    "efficiency": "efficiency",
    "linkUsed": "link used",
    "processorsUsed": "CPUs used",
    "slices": "slices of each worker",
    "controlP99": "control p99 s",
}
_NOTES = (
    f"Every worker has a link of its own to the store: {LINK.bytes_per_second_of_all or 0:g} bytes/s each way "
    f"for all of its connections, and {LINK.latency:g} s for each request to get there. "
    "The serial recipe has one such link. It downloads, joins and uploads one after the other, ten "
    "connections at a time.",
    "A worker is one process of three threads, as in production. The control process has a link as well.",
    "efficiency: wall time of one worker / (workers x wall time of so many). link used: bytes "
    "uploaded / what the links could have carried. CPUs used: busy processors of this machine, the "
    "S3 server's and the proxies' work among it: near all of them, the processor is the limit.",
    "control p99: from a control message to its effect, five a second beside the slices.",
)


@dataclass(frozen=True)
class _Turn:
    """What one turn took, and what passed the links."""

    wall: float
    uploaded: int
    processors: float
    requests: Counter[str]
    slices: Sequence[int] = ()
    control: Sequence[float] = ()


@dataclass
class _Owners:
    """Which process did each slice, as far as it was seen."""

    work: Work
    by_item: dict[str, str] = field(default_factory=dict)

    def look(self, record: SessionRecord) -> None:
        """See who has done what by now."""
        for item, state in self.work.items(record.id, record.generation).items():
            if item.startswith(f"{PACKAGE}/") and state.state is State.DONE and state.owner:
                self.by_item[item] = state.owner

    def counts(self, workers: int) -> Sequence[int]:
        """Slices of each of the ``workers``, the most first; 0 for those that had none."""
        found = sorted(Counter(self.by_item.values()).values(), reverse=True)
        return [*found, *[0] * (workers - len(found))]


@dataclass(frozen=True)
class _Road:
    """The contest on links: every process of it has one."""

    contest: Contest
    store: SessionStore
    reconciler: Reconciler

    def ours(
        self, workers: int, link: Link, chosen: Mapping[str, str], *, probed: bool = True
    ) -> _Turn:
        """The product, with so many workers; ``chosen`` are settings, ``probed``: with messages
        for control beside the slices.

        Raises BenchFailedError unless the session becomes ready, and nothing is missing.
        """
        site = self.contest.site
        owners = _Owners(Work(open_redis(site.settings), site.settings.redis_prefix))
        queues = (CONTROL, *[PACKAGING] * workers)
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=site.directory)))
            proxies = [stack.enter_context(S3Proxy(site.s3.port, link=link)) for _ in queues]
            own = [{**chosen, "AWS_ENDPOINT_URL_S3": each.endpoint} for each in proxies]
            stack.enter_context(site.workers(queues, folder, own))
            probe = ControlProbe(self.store, self.reconciler)
            with _measured(proxies) as turn:
                if probed:
                    stack.enter_context(probe)
                self._finalize(owners)
        site.empty_outputs(site.s3.client())
        return replace(turn(), slices=owners.counts(workers), control=probe.seconds)

    def recipe(self, link: Link) -> _Turn:
        """The serial recipe on one link."""
        site = self.contest.site
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=site.directory)))
            proxy = stack.enter_context(S3Proxy(site.s3.port, link=link))
            through = {"AWS_ENDPOINT_URL_S3": proxy.endpoint}
            with _measured([proxy]) as turn:
                self.contest.recipe("copy/serial", {SOURCE: None}, folder, through)
        site.empty_outputs(site.s3.client())
        return turn()

    def _finalize(self, owners: _Owners) -> None:
        session_id = uuid.uuid4().hex
        seen = self.store.now_ms() - _HOUR_MS
        source = {"record": True, "createdAt": seen, "lastSeen": seen}
        self.store.put(session_id, {**source, "sourceUrl": self.contest.recording_url})
        self.reconciler.request(session_id)
        wait_until_ready(self.store, session_id, owners.look)
        verdict = json.loads(self.store.report(session_id) or "{}").get("verdict")
        if verdict != Verdict.COMPLETE:
            raise BenchFailedError(f"our recording is {verdict}, not {Verdict.COMPLETE}")


@contextlib.contextmanager
def _measured(proxies: Sequence[S3Proxy]) -> Iterator[Callable[[], _Turn]]:
    """Measures the block; what it found is there after it."""
    began, busy = time.monotonic(), _busy_seconds()
    found: list[_Turn] = []
    yield lambda: found[0]
    wall = time.monotonic() - began
    traffic = [proxy.traffic() for proxy in proxies]
    requests = sum((each.requests for each in traffic), Counter())
    uploaded = sum(each.up for each in traffic)
    found.append(_Turn(wall, uploaded, (_busy_seconds() - busy) / wall, requests))


def _busy_seconds() -> float:
    """What all processors of this machine have worked since its start (proc_stat(5)), seconds."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    idle = sum(map(int, fields[3:5]))  # idle and iowait
    return (sum(map(int, fields[:8])) - idle) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class ScaleBench:
    """What more workers bring when the link is the limit."""

    name: str = "scale"
    minutes: float = 40
    rounds: int = 1

    def hold(self, options: BenchOptions, say: Callable[[str], None]) -> Findings:
        """Measure every number of workers, and the serial recipe; raises BenchFailedError."""
        clock = Clock(time.monotonic(), _LIMIT_S)
        with open_venue(NOISE, options, _COPIES, say) as (contest, scaled):
            settings, recording = contest.site.settings, contest.recording
            with closing(Reconciler(settings)) as reconciler:
                road = _Road(contest, SessionStore.open(settings), reconciler)
                turns, shortage = _measure(road, recording, clock, say)
                counted = road.ours(2, Link(), {}, probed=False)
        hours = recording.seconds / 3600
        rate = recording.size * 8 / recording.seconds / 1e6
        slice_seconds = _slice_seconds(recording)
        return Findings(
            bench=self.name,
            subject=f"{recording.seconds / 60:g} min at {rate:.1f} Mbit/s, "
            f"{recording.size / 1e6:.0f} MB, slices of {slice_seconds:g} s",
            headings=_HEADINGS,
            rows=[_row(name, workers, turns) for name, workers in _names(turns)],
            ratios={
                **_ratios(turns),
                "requestsPerHour": counted.requests.total() / hours,
                "requestsPerGigabyte": counted.requests.total() / (recording.size / 1e9),
            },
            notes=[*_NOTES, *scaled, *shortage, _in_words(counted.requests, hours)],
            curves=_curves(turns),
        )


def _slice_seconds(recording: Repeated) -> float:
    least = _LEAST_SLICE_BYTES * recording.seconds / recording.size
    return float(round(max(least, recording.seconds / _SLICES)))


def _measure(
    road: _Road, recording: Repeated, clock: Clock, say: Callable[[str], None]
) -> tuple[dict[int, _Turn], list[str]]:
    """A turn by the number of workers, the recipe's under 0; and what there was no time for."""
    chosen = {"FINALIZER_SLICE_SECONDS": f"{_slice_seconds(recording):g}"}
    turns: dict[int, _Turn] = {}
    shortage = []
    for workers in WORKERS:
        turns[workers] = road.ours(workers, LINK, chosen)
        say(f"{_name(workers)}: {turns[workers].wall:.2f} s")
    if clock.allows(2.5 * turns[WORKERS[0]].wall):
        turns[0] = road.recipe(LINK)
        say(f"{SERIAL}: {turns[0].wall:.2f} s")
    else:
        shortage.append("Time is short: the serial recipe was left out.")
    return turns, shortage


def _name(workers: int) -> str:
    return f"{workers} worker{'s' if workers > 1 else ''}" if workers else SERIAL


def _names(turns: Mapping[int, _Turn]) -> Sequence[tuple[str, int]]:
    return [(_name(workers), workers) for workers in turns]


def _row(name: str, workers: int, turns: Mapping[int, _Turn]) -> Mapping[str, Figure]:
    turn = turns[workers]
    capacity = (LINK.bytes_per_second_of_all or 0.0) * turn.wall * max(1, workers)
    row: dict[str, Figure] = {
        "name": name,
        "wallSeconds": turn.wall,
        "linkUsed": turn.uploaded / capacity,
        "processorsUsed": turn.processors,
    }
    if workers:
        row["workers"] = workers
        row["efficiency"] = _efficiency(turns, workers)
        row["slices"] = " ".join(map(str, turn.slices))
        row["controlP99"] = percentile(turn.control, 99) if turn.control else None
    return row


def _efficiency(turns: Mapping[int, _Turn], workers: int) -> float:
    return turns[1].wall / (workers * turns[workers].wall)


def _ratios(turns: Mapping[int, _Turn]) -> dict[str, float]:
    found = {
        f"efficiency{workers}": _efficiency(turns, workers) for workers in WORKERS if workers > 1
    }
    if 0 in turns:
        found["serialToOne"] = turns[0].wall / turns[1].wall
    return found


def _in_words(requests: Counter[str], hours: float) -> str:
    """How often the store was asked for what, for one hour of the recording."""
    each = ", ".join(f"{name} {count / hours:.0f}" for name, count in requests.most_common())
    return f"Requests to the store for an hour of it, by slices of the default length: {each}."


def _curves(turns: Mapping[int, _Turn]) -> Curves:
    ours = [(float(workers), turns[workers].wall) for workers in WORKERS]
    points = {
        "ours": ours,
        "no loss at all": [(workers, ours[0][1] / workers) for workers, _ in ours],
    }
    if 0 in turns:
        points["serial recipe"] = [(workers, turns[0].wall) for workers, _ in ours]
    return Curves("One recording, links of one speed", "workers", "seconds", points)


BENCH = ScaleBench()
