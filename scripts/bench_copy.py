"""``bench copy``: a recording's way to an MP4, by the product, by two usual recipes, by no work.

The servers run on the same machine, and nobody's figures hold their CPU time: it is alike in all.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
import uuid
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.report import Verdict
from pipelines.session import Phase
from pipelines.tools import MediaTools, locate
from scripts.bench_recipes import Job
from scripts.bench_result import BenchFailedError, BenchResult, Row
from scripts.bench_site import BenchSite, Reconciler
from scripts.embedded import child_environment
from scripts.measure import Meter, Usage
from scripts.recipe_process import RecipeProcess
from scripts.recordings import LOOP_UNIT, Repeated, make_loop, repeat_recording
from scripts.stack import process_environment
from worker.store import SessionStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

OURS, SERIAL, PRESIGNED, FLOOR = "ours", "serial", "presigned", "floor"
NAMES = (OURS, SERIAL, PRESIGNED, FLOOR)

BIT_RATE = 6_000_000
_LOOP_SECONDS = 32
#: Copies of the recording on disk at the worst moment: input, output, the serial recipe's segments
#: and its file. With a fifth to spare for the server's own ways.
_COPIES = 4 * 1.2
_SPARE_BYTES = 1 << 30
#: The whole bench ends within this: a round that would not is left out, and that is said.
_LIMIT_S = 460.0
_READY_S = 900.0
_PROBE_S = 300.0
_POLL_S = 0.02
_HOUR_MS = 3_600_000

_NOTES = (
    "The S3 server runs on the same cores; its CPU time is in no row. All use one boto3 "
    "configuration: ours.",
    "ours: a control process and one worker process of two threads, new and idle, from the "
    "session's PUT to `ready`, proof included. The recipes prove nothing.",
    "Peak RSS is the largest sum of the PSS of all processes of a row at one moment, ffmpeg's too.",
)


@dataclass(frozen=True)
class CopyBench:
    """What the four have in common."""

    site: BenchSite
    tools: MediaTools
    recording: Repeated

    def measure(self, name: str, *, count_packets: bool) -> tuple[Usage, Mapping[str, int]]:
        """One turn of one of them: its usage, and the packets per track of its MP4, if counted."""
        with tempfile.TemporaryDirectory(dir=self.site.directory) as folder:
            scratch = Path(folder)
            usage, url = self._ours(scratch) if name == OURS else self._recipe(name, scratch)
        packets = self._packets(url) if count_packets and name != FLOOR else {}
        self.site.empty_outputs(self.site.s3.client())
        return usage, packets

    def _ours(self, scratch: Path) -> tuple[Usage, str]:
        """The product's turn, checked: ready, and with the verdict that nothing is missing."""
        store = SessionStore.open(self.site.settings)
        session_id = uuid.uuid4().hex
        seen = store.now_ms() - _HOUR_MS
        patch = {
            "record": True,
            "createdAt": seen,
            "lastSeen": seen,
            "sourceUrl": f"s3://recordings/{self.recording.key}",
        }
        with (
            closing(Reconciler(self.site.settings)) as reconciler,
            self.site.workers(scratch) as pids,
            Meter(pids, scratch) as meter,
        ):
            store.put(session_id, patch)
            reconciler.request(session_id)
            url = _wait_until_ready(store, session_id)
        verdict = json.loads(store.report(session_id) or "{}").get("verdict")
        if verdict != Verdict.COMPLETE:
            raise BenchFailedError(f"our recording is {verdict}, not {Verdict.COMPLETE}")
        return meter.usage, url

    def _recipe(self, name: str, scratch: Path) -> tuple[Usage, str]:
        job = Job(
            "recordings", self.recording.key, "vod", f"{name}.mp4", str(scratch), self.tools.ffmpeg
        )
        with (
            RecipeProcess(name, self.site.process_environment(scratch)) as process,
            Meter([process.pid], scratch) as meter,
        ):
            process.do(job)
        return meter.usage, f"{self.site.settings.public_url}{job.output}"

    def _packets(self, url: str) -> Mapping[str, int]:
        """Packets per track, each of them read."""
        argv = [
            self.tools.ffprobe, "-v", "error", "-count_packets",
            "-show_entries", "stream=codec_type,nb_read_packets", "-of", "json", url,
        ]  # fmt: skip
        done = subprocess.run(
            argv,
            env=child_environment() | process_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PROBE_S,
            check=True,
        )
        streams = json.loads(done.stdout)["streams"]
        return {each["codec_type"]: int(each["nb_read_packets"]) for each in streams}


def run(minutes: float, rounds: int, say: Callable[[str], None]) -> BenchResult:
    """Measure all four ``rounds`` times, in turns, on a recording of ``minutes``.

    Raises BenchFailedError when one of them does not do its work, or there is no room for it.
    """
    began = time.monotonic()
    tools = locate()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        fitting = _fitting(minutes, Path(folder))
        notes = list(_NOTES)
        if fitting < minutes:
            notes.append(f"Disk is short: {fitting:g} minutes were measured, not {minutes:g}.")
            say(notes[-1])
        with BenchSite(Path(folder)) as site:
            say(f"making a recording of {fitting:g} minutes")
            bench = CopyBench(site, tools, _recording(site, tools, fitting))
            usages, shortage = _rounds(bench, rounds, began, say)
    recording = bench.recording
    return BenchResult(
        bench="copy",
        subject=f"{recording.seconds / 60:g} min, {recording.size / 1e6:.0f} MB, "
        f"{recording.segments} segments; {len(usages[OURS])} rounds, medians",
        rows=[Row(name, usages[name]) for name in NAMES],
        ratios=_ratios(usages),
        notes=[*notes, *shortage],
    )


def _rounds(
    bench: CopyBench, rounds: int, began: float, say: Callable[[str], None]
) -> tuple[Mapping[str, list[Usage]], list[str]]:
    """The usages of each by name, a round's after another's, and what was left out."""
    usages: dict[str, list[Usage]] = {name: [] for name in NAMES}
    for number in range(rounds):
        started = time.monotonic()
        packets: dict[str, Mapping[str, int]] = {}
        # Whoever comes first finds the disk at rest, so each comes first in its turn.
        for name in (*NAMES[number % len(NAMES) :], *NAMES[: number % len(NAMES)]):
            usage, packets[name] = bench.measure(name, count_packets=number == 0)
            usages[name].append(usage)
            say(f"round {number + 1}: {name} took {usage.wall_seconds:.2f} s")
        _refuse_unequal(packets)
        ended = time.monotonic()
        if number + 1 < rounds and ended - began + (ended - started) > _LIMIT_S:
            return usages, [f"Time is short: {number + 1} rounds were made, not {rounds}."]
    return usages, []


def _refuse_unequal(packets: Mapping[str, Mapping[str, int]]) -> None:
    """Only who makes the same MP4 may be compared."""
    for name in (SERIAL, PRESIGNED):
        if packets[name] != packets[OURS]:
            message = f"{name} made {packets[name]} packets, ours has {packets[OURS]}"
            raise BenchFailedError(message)


def _ratios(usages: Mapping[str, list[Usage]]) -> Mapping[str, float]:
    wall = {name: Row(name, measured).wall_seconds for name, measured in usages.items()}
    return {"toFloor": wall[OURS] / wall[FLOOR], "serialToOurs": wall[SERIAL] / wall[OURS]}


def _fitting(minutes: float, folder: Path) -> float:
    """As many of the ``minutes`` as the free disk holds; raises BenchFailedError for too few."""
    per_minute = BIT_RATE / 8 * 60 * _COPIES
    free = shutil.disk_usage(folder).free - _SPARE_BYTES
    fitting = min(minutes, round(free / per_minute, 1))
    if fitting < min(minutes, 1):
        raise BenchFailedError(f"{folder} has no room for a minute of recording; set TMPDIR.")
    return fitting


def _recording(site: BenchSite, tools: MediaTools, minutes: float) -> Repeated:
    """The recording in the store: a short encode, repeated with its clocks moved on."""
    whole = -(-round(minutes * 60) // LOOP_UNIT) * LOOP_UNIT
    loop = make_loop(
        tools.ffmpeg,
        site.directory / "loop",
        seconds=min(_LOOP_SECONDS, whole),
        bit_rate=BIT_RATE,
    )
    return repeat_recording(
        loop, minutes * 60, client=site.s3.client(), bucket="recordings", prefix="bench"
    )


def _wait_until_ready(store: SessionStore, session_id: str) -> str:
    """The URL of the session's MP4, as soon as it is ready."""
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline:
        record = store.get(session_id)
        if record is not None and record.phase is Phase.READY and record.mp4_url is not None:
            return record.mp4_url
        if record is not None and record.phase is Phase.FAILED:
            reason = record.error.message if record.error else "without a reason"
            raise BenchFailedError(f"our session failed: {reason}")
        time.sleep(_POLL_S)
    raise BenchFailedError(f"our session was not ready within {_READY_S:g} s")
