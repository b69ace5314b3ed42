"""One turn of a bench: the recording goes through our processes, or through a recipe, measured."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
import uuid
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pipelines.report import Verdict
from pipelines.session import Phase
from scripts.bench_recording import BUCKET
from scripts.bench_result import BenchFailedError
from scripts.bench_site import Reconciler
from scripts.embedded import child_environment
from scripts.measure import Meter
from scripts.recipe_process import RecipeProcess
from scripts.recipe_task import RecipeTask
from scripts.stack import process_environment
from worker.store import SessionStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pipelines.tools import MediaTools
    from scripts.bench_site import BenchSite
    from scripts.measure import Usage
    from scripts.recordings import Repeated
    from worker.records import SessionRecord

    #: Does the work once, with a folder for its files.
    Way = Callable[[Path], "Turn"]
    #: By rendition and kind of track: how many packets its MP4 holds.
    Packets = Mapping[str, Mapping[str, int]]

_READY_S = 1800.0
_PROBE_S = 300.0
_POLL_S = 0.02
_HOUR_MS = 3_600_000
_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Turn:
    """What a turn used, and the URLs of the MP4s to compare, by rendition."""

    usage: Usage
    urls: Mapping[str, str]


@dataclass(frozen=True)
class Contest:
    """What all ways have in common: the servers, the tools, the recording."""

    site: BenchSite
    tools: MediaTools
    recording: Repeated

    @property
    def recording_url(self) -> str:
        """Where the recording's playlist is, as a session says it."""
        return f"s3://{BUCKET}/{self.recording.key}"

    def take(self, way: Way, *, count: bool) -> tuple[Usage, Packets]:
        """Have the work done once; the packets only when ``count``. Nothing is left behind."""
        with tempfile.TemporaryDirectory(dir=self.site.directory) as folder:
            turn = way(Path(folder))
        packets = {name: self._packets(url) for name, url in turn.urls.items()} if count else {}
        self.site.empty_outputs(self.site.s3.client())
        return turn.usage, packets

    def ours(self, queues: Sequence[str], fields: Mapping[str, Any], scratch: Path) -> Turn:
        """Our turn: new processes, one per entry of ``queues``, a new session with ``fields``.

        Raises BenchFailedError unless it becomes ready, with the verdict that nothing is missing.
        """
        store = SessionStore.open(self.site.settings)
        session_id = uuid.uuid4().hex
        seen = store.now_ms() - _HOUR_MS
        patch = {
            "record": True,
            "createdAt": seen,
            "lastSeen": seen,
            "sourceUrl": self.recording_url,
            **fields,
        }
        with (
            closing(Reconciler(self.site.settings)) as reconciler,
            self.site.workers(queues, scratch) as pids,
            Meter(pids, scratch) as meter,
        ):
            store.put(session_id, patch)
            reconciler.request(session_id)
            record = wait_until_ready(store, session_id)
        verdict = json.loads(store.report(session_id) or "{}").get("verdict")
        if verdict != Verdict.COMPLETE:
            raise BenchFailedError(f"our recording is {verdict}, not {Verdict.COMPLETE}")
        return Turn(meter.usage, {each["name"]: each["url"] for each in record.renditions})

    def recipe(
        self,
        recipe: str,
        outputs: Mapping[str, Mapping[str, Any] | None],
        scratch: Path,
        own: Mapping[str, str] = _NOTHING,
    ) -> Turn:
        """A recipe's turn; ``outputs`` are encodings (None: a copy) by rendition.

        ``own`` is what its environment has besides ours.
        """
        keys = {name: f"{recipe}/{name}.mp4" for name in outputs}
        task = RecipeTask(
            source_bucket=BUCKET,
            playlist=self.recording.key,
            output_bucket="vod",
            outputs={keys[name]: encoding for name, encoding in outputs.items()},
            scratch=str(scratch),
            ffmpeg=self.tools.ffmpeg,
        )
        with (
            RecipeProcess(recipe, {**self.site.process_environment(scratch), **own}) as process,
            Meter([process.pid], scratch) as meter,
        ):
            process.do(task)
        public = self.site.settings.public_url
        return Turn(meter.usage, {name: f"{public}{key}" for name, key in keys.items()})

    def _packets(self, url: str) -> Mapping[str, int]:
        """Packets per kind of track, each of them read."""
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


def wait_until_ready(
    store: SessionStore,
    session_id: str,
    watch: Callable[[SessionRecord], None] = lambda _record: None,
) -> SessionRecord:
    """The session's record, as soon as it is ready; ``watch`` sees it at every look before.

    Raises BenchFailedError when it fails, or takes too long.
    """
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline:
        record = store.get(session_id)
        if record is not None and record.phase is Phase.READY:
            return record
        if record is not None and record.phase is Phase.FAILED:
            reason = record.error.message if record.error else "without a reason"
            raise BenchFailedError(f"our session failed: {reason}")
        if record is not None:
            watch(record)
        time.sleep(_POLL_S)
    raise BenchFailedError(f"our session was not ready within {_READY_S:g} s")
