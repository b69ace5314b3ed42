"""``bench sessions``: thousands of live sessions, many that end at once, and all that were before."""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from pipelines.session import Phase
from pipelines.tools import locate
from scripts.bench_archive import store_finished
from scripts.bench_findings import Findings
from scripts.bench_origin import Origin
from scripts.bench_probe import PROBE, ControlProbe, percentile
from scripts.bench_recording import BUCKET, write_recording
from scripts.bench_result import BenchFailedError
from scripts.bench_site import BenchSite, Reconciler
from scripts.recordings import NOISE, playlist, put_file
from worker.guarded import DUE, LOOKS
from worker.store import SessionStore, open_redis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from redis import Redis

    from scripts.bench_definition import BenchOptions
    from scripts.bench_findings import Figure

#: Seconds without a heartbeat that end a session: enough that so many can begin in that time.
_LEAST_IDLE_S, _MOST_IDLE_S = 10, 120
_SESSIONS_PER_IDLE_S = 100
#: Heartbeats in the time that ends a session.
_HEARTBEATS = 2.25
#: Of the live sessions, the share that ends at once; and stored ones for each live one.
_ENDING = 0.1
_STORED = 100
#: Bytes of memory that a stored session needs in Redis, and that all of them may take.
_STORED_BYTES = 3_500
_MEMORY_SHARE = 0.5
_SIZE = "256x144"
_SECONDS = 8
_DONE_S = 900.0
_LOOK_S = 0.5
_DUE_SEEN = 50
_REST_S = 5.0
_AT_REST = "Redis commands of a worker process at rest"
_OF_HEARTBEAT = "Redis commands of a heartbeat, looks while live included,"
_TIMES = 50
_SAMPLE = 50
_QUEUES = ("control", "control", "package", "package")
_HEADINGS = {"name": "", "value": "", "unit": ""}
_NOTES = (
    f"All sessions point at one recording of {_SECONDS} s at {_SIZE}: what is measured is the "
    "sessions, not the media. One API process, two for control, two of three threads for copies; the "
    "origin that sends the heartbeats, Redis and the S3 server run on the same cores.",
    "Those that end have one and the same last sign of life.",
    "sweep lag: how long the longest due session was not yet taken by a sweep; looks while live give "
    "way to ends. found: from the moment "
    "of idle until its first look began a run. queue: from the plan until a worker begins the slice; "
    "0 where it was packaged before, while the session was quiet.",
    "control messages: from a message to its effect. In the burst every ending session needs "
    "several itself, all sent at once: what a fleet has more control processes for. `bench scale` "
    "has them beside nothing but slices.",
)


@dataclass
class _Table:
    """The figures so far, in the order in which they were found."""

    say: Callable[[str], None]
    rows: list[Mapping[str, Figure]] = field(default_factory=list)

    def add(self, name: str, value: float | int, unit: str) -> None:
        """Put down one more, and say it."""
        self.rows.append({"name": name, "value": value, "unit": unit})
        self.say(
            f"{name}: {value:g} {unit}" if isinstance(value, int) else f"{name}: {value:.3f} {unit}"
        )

    def add_spread(self, name: str, seconds: Sequence[float], *percents: int) -> None:
        """Percentiles of what was measured many times, in milliseconds."""
        for percent in percents:
            self.add(f"{name} p{percent}", percentile(seconds, percent) * 1000, "ms")

    def value(self, name: str) -> float:
        """A figure that was put down."""
        found = next(row["value"] for row in self.rows if row["name"] == name)
        return float(found or 0.0)


@dataclass(frozen=True)
class _Fleet:
    """Everything that the parts of the bench work with."""

    site: BenchSite
    store: SessionStore
    client: Redis[str]
    origin: Origin
    reconciler: Reconciler
    source: str
    table: _Table
    idle_seconds: int

    @property
    def heartbeat_seconds(self) -> float:
        """How often each session gives a sign of life."""
        return self.idle_seconds / _HEARTBEATS

    def rest(self) -> None:
        """What the product's processes ask of Redis while nothing is to be done."""
        commands = self._commands()
        time.sleep(_REST_S)
        self.table.add(_AT_REST, (self._commands() - commands) / _REST_S / len(_QUEUES), "1/s")

    def archive(self, count: int) -> None:
        """What stored sessions cost: memory, and the time of sweeps and lists among them."""
        self._lists("of an empty store")
        before, began = self._memory(), time.monotonic()
        store_finished(self.site.settings, count)
        self.table.add("stored sessions", count, "")
        self.table.add("written in", time.monotonic() - began, "s")
        self.table.add("memory of a stored session", (self._memory() - before) / count, "bytes")
        self._lists(f"of {count}")

    def _lists(self, which: str) -> None:
        looks = [_seconds(lambda: self.store.take_due(200, 30_000)) for _ in range(_TIMES)]
        self.table.add(f"sweep {which}", median(looks) * 1000, "ms")
        for name, query in (("list", ""), ("ready", "&status=ready"), ("overdue", "&overdue=60")):
            taken = self.origin.get(f"/sessions?limit=100{query}", _TIMES)
            self.table.add(f"{name} {which}", median(taken) * 1000, "ms")

    def live(self, ids: Sequence[str]) -> None:
        """Begin the sessions, and keep them alive for a while."""
        memory, began = self._memory(), time.monotonic()
        first = {"record": True, "sourceUrl": self.source}
        taken = self.origin.put_all(ids, lambda: first)
        self.table.add("live sessions", len(ids), "")
        self.table.add("created", len(ids) / (time.monotonic() - began), "1/s")
        self.table.add_spread("PUT, as fast as it goes,", taken, 50, 99)
        self.table.add("memory of a live session", (self._memory() - memory) / len(ids), "bytes")
        commands = self._commands()
        began = time.monotonic()
        taken = self.beat(ids, self.heartbeat_seconds)
        passed = time.monotonic() - began
        self.table.add("heartbeats", len(taken) / passed, "1/s")
        self.table.add_spread("heartbeat", taken, 50, 99)
        self.table.add(_OF_HEARTBEAT, self._spent(commands, passed) / len(taken), "")

    def beat(
        self, ids: Sequence[str], over_seconds: float, ended: threading.Event | None = None
    ) -> Sequence[float]:
        """One heartbeat of each session, evenly; seconds that the answers took."""
        return self.origin.put_all(ids, _sign_of_life, over_seconds, ended)

    def end(self, ending: Sequence[str], living: Sequence[str]) -> int:
        """Let some sessions end at once while the others go on; how many were lost."""
        last = self.store.now_ms()
        self.origin.put_all(ending, lambda: {"lastSeen": last})
        idle_at = last + self.idle_seconds * 1000
        with (
            _beating(self, living) as answers,
            _watched(lambda: self._lag_ms(DUE)) as lags,
            _watched(lambda: self._lag_ms(LOOKS)) as late_looks,
            ControlProbe(self.store, self.reconciler) as probe,
        ):
            self._wait_until_ready(ending, idle_at)
        self.table.add("ended at once", len(ending), "")
        self.table.add("sweep lag, longest,", max(lags) / 1000, "s")
        self.table.add("lag of looks while live, longest,", max(late_looks) / 1000, "s")
        self._tell(ending, idle_at)
        self.table.add_spread("heartbeat in the burst", answers, 50, 99)
        self.table.add_spread("control message in the burst", probe.seconds, 50, 99)
        lost = len(self._not_in(Phase.READY, ending)) + len(self._not_in(Phase.LIVE, living))
        self.table.add("lost", lost, "")
        return lost

    def _tell(self, ended: Sequence[str], idle_at: int) -> None:
        """When each of the sessions was found, when its slice was begun, when it was ready."""
        found, queued, ready = [], [], []
        for session_id in ended:
            events = {event["action"]: event for event in self.store.events(session_id)}
            if not {"finalizing", "planned", "slice_packaged", "ready"} <= events.keys():
                continue
            packaged = events["slice_packaged"]
            begun = packaged["at"] / 1000 - packaged["seconds"]
            found.append((events["finalizing"]["at"] - idle_at) / 1000)
            queued.append(max(0.0, begun - events["planned"]["at"] / 1000))
            ready.append((events["ready"]["at"] - idle_at) / 1000)
        for name, seconds in (("found", found), ("queue", queued), ("ready", ready)):
            for percent in (50, 99):
                self.table.add(f"{name} p{percent}", percentile(seconds, percent), "s")
        self.table.add("sessions ready", len(ready) / max(ready), "1/s")
        for name in ("session", "events", "report"):
            keys = [f"{self.site.settings.redis_prefix}{name}:{each}" for each in ended[:_SAMPLE]]
            sizes = [self.client.memory_usage(key) or 0 for key in keys]
            self.table.add(f"memory of a finished session's {name}", median(sizes), "bytes")

    def _wait_until_ready(self, ids: Sequence[str], idle_at: int) -> None:
        deadline = time.monotonic() + self.idle_seconds + _DONE_S
        left = list(ids)
        while left and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
            if self.store.now_ms() >= idle_at:
                left = self._not_in(Phase.READY, left)

    def _not_in(self, phase: Phase, ids: Sequence[str]) -> list[str]:
        with self.client.pipeline(transaction=False) as pipe:
            for each in ids:
                pipe.hget(f"{self.site.settings.redis_prefix}session:{each}", "phase")
            phases = pipe.execute()
        return [each for each, found in zip(ids, phases, strict=True) if found != phase]

    def _lag_ms(self, times: str) -> int:
        """For how long the longest due session was not taken; probes are due from the start."""
        key = self.site.settings.redis_prefix + times
        due = self.client.zrange(key, 0, _DUE_SEEN, withscores=True)
        first = [at for session_id, at in due if not session_id.startswith(PROBE)]
        return max(0, self.store.now_ms() - round(first[0])) if first else 0

    def _memory(self) -> int:
        """Bytes of Redis' data."""
        return int(self.client.info("memory")["used_memory"])

    def _spent(self, before: int, seconds: float) -> float:
        """Commands since, without those of processes that have nothing to do."""
        at_rest = self.table.value(_AT_REST) * len(_QUEUES) * seconds
        return self._commands() - before - at_rest

    def _commands(self) -> int:
        """How many commands Redis has done, those of scripts included."""
        return int(self.client.info("stats")["total_commands_processed"])


def _sign_of_life() -> Mapping[str, int]:
    """What an origin says of a session; Redis has the same clock."""
    return {"lastSeen": round(time.time() * 1000)}


@contextlib.contextmanager
def _beating(fleet: _Fleet, ids: Sequence[str]) -> Iterator[list[float]]:
    """Heartbeats go on while the block runs; what their answers took is there after it."""
    ended, answers = threading.Event(), list[float]()

    def beat() -> None:
        while not ended.is_set():
            answers.extend(fleet.beat(ids, fleet.heartbeat_seconds, ended))

    thread = threading.Thread(target=beat, name="heartbeats", daemon=True)
    thread.start()
    try:
        yield answers
    finally:
        ended.set()
        thread.join()


@contextlib.contextmanager
def _watched(look: Callable[[], int]) -> Iterator[list[int]]:
    """What ``look`` says, again and again, while the block runs."""
    ended, seen = threading.Event(), [0]

    def watch() -> None:
        while not ended.wait(_LOOK_S):
            seen.append(look())

    thread = threading.Thread(target=watch, name="watch", daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()


def _seconds(call: Callable[[], Any]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


def _fitting_sessions(wanted: int) -> int:
    """As many stored sessions as the memory holds that is free now (proc_meminfo(5))."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    free = {line.split(":")[0]: int(line.split()[1]) << 10 for line in lines}["MemAvailable"]
    return min(wanted, round(free * _MEMORY_SHARE / _STORED_BYTES))


@dataclass(frozen=True)
class SessionsBench:
    """What many sessions cost that are live, that end, and that were."""

    name: str = "sessions"
    minutes: float = _SECONDS / 60
    rounds: int = 1

    def hold(self, options: BenchOptions, say: Callable[[str], None]) -> Findings:
        """Measure once; raises BenchFailedError when a session is lost."""
        notes = list(_NOTES)
        stored = _fitting_sessions(options.sessions * _STORED)
        if stored < options.sessions * _STORED:
            notes.append(
                f"Memory is short: {stored} stored sessions, not {options.sessions * _STORED}."
            )
            say(notes[-1])
        table = _Table(say)
        wanted = options.sessions // _SESSIONS_PER_IDLE_S
        idle_seconds = min(_MOST_IDLE_S, max(_LEAST_IDLE_S, wanted))
        chosen = {"FINALIZER_IDLE_TIMEOUT": str(idle_seconds), "FINALIZER_MISSING_GRACE": "1"}
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
            site = stack.enter_context(BenchSite(folder, chosen))
            tools = locate(site.settings.ffmpeg, site.settings.ffprobe)
            recording = write_recording(site, tools.ffmpeg, NOISE, _SIZE, _SECONDS / 60)
            # Its end is not listed, so that nothing of it is settled while a session shows life.
            text = playlist(recording.durations, ended=False)
            put_file(site.s3.client(), BUCKET, recording.key, text.encode())
            fleet = _Fleet(
                site,
                SessionStore.open(site.settings),
                open_redis(site.settings),
                Origin(site.api_port, site.api_token),
                stack.enter_context(closing(Reconciler(site.settings))),
                f"s3://{BUCKET}/{recording.key}",
                table,
                idle_seconds,
            )
            stack.enter_context(site.api(folder))
            fleet.archive(stored)
            stack.enter_context(site.workers(_QUEUES, folder))
            fleet.rest()
            ids = [f"live-{number:06d}" for number in range(options.sessions)]
            fleet.live(ids)
            ending = ids[: round(len(ids) * _ENDING)]
            lost = fleet.end(ending, ids[len(ending) :])
        if lost:
            raise BenchFailedError(f"{lost} sessions are not in the phase they should be in")
        return Findings(
            bench=self.name,
            subject=f"{options.sessions} live, {stored} stored, {len(ending)} end at once; "
            f"a heartbeat every {fleet.heartbeat_seconds:g} s, idle after {idle_seconds} s",
            headings=_HEADINGS,
            rows=table.rows,
            ratios={
                "apiP99Seconds": table.value("heartbeat p99") / 1000,
                "sweepLagSeconds": table.value("sweep lag, longest,"),
                "lost": lost,
            },
            notes=notes,
        )


BENCH = SessionsBench()
