"""How long control messages wait: sessions of which nothing was ever recorded, one after another.

A session that is idle, was never seen and has no playlist becomes ``empty`` at its first look. The
time from its message to that transition, both by Redis' clock, is what a control message takes: its
wait in the queue, two round trips to Redis and one request to the store.
"""

from __future__ import annotations

import threading
import uuid
from typing import TYPE_CHECKING

from pipelines.session import Phase
from scripts.bench_result import BenchFailedError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

    from scripts.bench_site import Reconciler
    from worker.store import SessionStore

#: What the ids of probes start with.
PROBE = "probe-"
_EVERY_S = 0.2
_HOUR_MS = 3_600_000
_LATE_S = 300.0
_LOOK_S = 0.05


class ControlProbe:
    """Sends probes while the block runs; ``seconds`` is what each of them took, after it."""

    def __init__(self, store: SessionStore, reconciler: Reconciler) -> None:
        self._store = store
        self._reconciler = reconciler
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._send, name="probe", daemon=True)
        self._sent: dict[str, int] = {}
        self.seconds: Sequence[float] = ()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        if kind is None:
            self.seconds = [self._taken(each, at) / 1000 for each, at in self._sent.items()]

    def _send(self) -> None:
        while not self._ended.wait(_EVERY_S):
            session_id = f"{PROBE}{uuid.uuid4().hex}"
            long_ago = self._store.now_ms() - _HOUR_MS
            self._store.put(session_id, {"record": True, "createdAt": long_ago})
            self._sent[session_id] = self._store.now_ms()
            self._reconciler.request(session_id)

    def _taken(self, session_id: str, sent: int) -> int:
        """Milliseconds from the message to the end of the session."""
        for _ in range(round(_LATE_S / _LOOK_S)):
            record = self._store.get(session_id)
            if record is not None and record.phase is Phase.EMPTY:
                return record.phase_since - sent
            threading.Event().wait(_LOOK_S)
        raise BenchFailedError(f"a control message was not handled within {_LATE_S:g} s")


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest of the values that ``percent`` of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100).__floor__() - 1)]
