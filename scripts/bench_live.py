"""Sessions of a bench on a recording that is stored already: live ones, whose playlists grow."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.slices import COPY_LENGTHS
from scripts.bench_recording import BUCKET
from scripts.bench_result import BenchFailedError
from scripts.bench_turn import wait_until_ready
from scripts.recordings import playlist, put_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scripts.bench_site import BenchSite, Reconciler
    from scripts.recordings import Repeated
    from worker.store import SessionStore

#: Slices that are listed before the workers have packaged those before them: all threads of two
#: workers have work, and none waits for the broadcast.
_AHEAD = 12
_HEARTBEAT_S = 1.0
_LOOK_S = 0.1
#: After how long without a packaged slice, and without the end, a session counts as stuck.
_PATIENCE_S = 120.0
#: The first slices are of one length; so many, that no bench has others.
_SLICE_SECONDS = COPY_LENGTHS.steps[0][1]


@dataclass(frozen=True)
class LiveSession:
    """One session whose recording is the first ``seconds`` of a stored one."""

    site: BenchSite
    store: SessionStore
    reconciler: Reconciler
    recording: Repeated
    session_id: str
    seconds: float

    @classmethod
    def new(
        cls,
        site: BenchSite,
        store: SessionStore,
        reconciler: Reconciler,
        recording: Repeated,
        seconds: float,
    ) -> LiveSession:
        """A session that nobody has heard of yet."""
        return cls(site, store, reconciler, recording, uuid.uuid4().hex, seconds)

    def at_once(self) -> float:
        """List everything and end; seconds from the moment of idle to ``ready``."""
        self._list(self.recording.first(self.seconds))
        return self._end()

    def broadcast(self) -> float:
        """List as much as is packaged in time, and end when all but the last slice is, as it would
        be at the pace of life; seconds from idle to ``ready``."""
        wanted = self.recording.first(self.seconds)
        settled = _settled(self.recording.durations[:wanted])
        listed, packaged = 0, -1
        stuck = beat = 0.0
        while listed < wanted or packaged < settled:
            now = time.monotonic()
            if (done := self._packaged()) > packaged:
                packaged, stuck = done, now + _PATIENCE_S
                if listed < wanted:
                    listed = min(wanted, self.recording.first((done + _AHEAD) * _SLICE_SECONDS))
                    self._list(listed)
                beat = 0.0
            if now > stuck:
                raise BenchFailedError(
                    f"nothing was packaged in {_PATIENCE_S:g} s of a live session; "
                    f"{settled - packaged} slices lack, the last event: {self._events()[-1:]}"
                )
            if now > beat:
                self._heartbeat()
                self.reconciler.request(self.session_id)
                beat = now + _HEARTBEAT_S
            time.sleep(_LOOK_S)
        return self._end()

    def _end(self) -> float:
        """Show the last sign of life, and wait until the recording is ready."""
        idle_at = self._heartbeat() + round(self.site.settings.idle_timeout * 1000)
        record = wait_until_ready(self.store, self.session_id)
        return (record.phase_since - idle_at) / 1000

    def _heartbeat(self) -> int:
        """What the session says: it lives. When it did, Unix ms by the server's clock."""
        seen = self.store.now_ms()
        source = f"s3://{BUCKET}/{self._key}"
        self.store.put(self.session_id, {"record": True, "lastSeen": seen, "sourceUrl": source})
        return seen

    def _list(self, segments: int) -> None:
        text = playlist(self.recording.durations[:segments], ended=False)
        put_file(self.site.s3.client(), BUCKET, self._key, text.encode())

    @property
    def _key(self) -> str:
        return f"{self.recording.key.rpartition('/')[0]}/{self.session_id}.m3u8"

    def _packaged(self) -> int:
        return sum(event["action"] == "slice_packaged" for event in self._events())

    def _events(self) -> Sequence[Mapping[str, Any]]:
        return self.store.events(self.session_id)


def _settled(durations: Sequence[float]) -> int:
    """How many slices are closed by a segment behind them, of a live playlist of such segments."""
    closed, seconds = 0, 0.0
    for duration in durations:
        if seconds >= _SLICE_SECONDS:
            closed, seconds = closed + 1, 0.0
        seconds += duration
    return closed
