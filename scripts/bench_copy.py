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
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import dramatiq

from pipelines.session import Phase
from pipelines.tools import MediaTools, locate
from scripts.bench_recipes import Job
from scripts.bench_result import BenchFailedError, BenchResult, Row
from scripts.bench_site import BenchSite
from scripts.measure import Meter, Usage
from scripts.recipe_process import RecipeProcess
from scripts.recordings import LOOP_UNIT, Repeated, make_loop, repeat_recording
from worker.broker import make_broker
from worker.store import SessionStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

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
        session_id = self.recording.key.partition("/")[0]
        broker = make_broker(self.site.settings)
        message: dramatiq.Message[None] = dramatiq.Message(
            queue_name="control",
            actor_name="reconcile_session",
            args=(session_id,),
            kwargs={},
            options={},
        )
        seen = store.now_ms() - _HOUR_MS
        try:
            with self.site.workers(scratch) as pids:
                with Meter(pids, scratch) as meter:
                    store.put(session_id, {"record": True, "createdAt": seen, "lastSeen": seen})
                    broker.enqueue(message)
                    url = _wait_until_ready(store, session_id)
        finally:
            broker.close()
        return meter.usage, url

    def _recipe(self, name: str, scratch: Path) -> tuple[Usage, str]:
        job = Job(
            "recordings", self.recording.key, "vod", f"{name}.mp4", str(scratch), self.tools.ffmpeg
        )
        with RecipeProcess(name, self.site.process_environment(scratch)) as process:
            with Meter([process.pid], scratch) as meter:
                process.do(job)
        return meter.usage, f"{self.site.settings.public_url}{job.output}"
