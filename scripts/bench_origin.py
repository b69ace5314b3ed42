"""An origin of thousands of sessions: their signs of life through the API, evenly or in a hurry."""

from __future__ import annotations

import http.client
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scripts.bench_result import BenchFailedError
from scripts.ports import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

#: Connections to the API, each kept open and used by one thread.
CONNECTIONS = 8
_TIMEOUT_S = 60.0
_OK = (http.HTTPStatus.OK, http.HTTPStatus.CREATED)


@dataclass(frozen=True)
class Origin:
    """Speaks to the API on ``port``."""

    port: int
    token: str = field(repr=False)

    def put_all(
        self,
        ids: Sequence[str],
        patch: Callable[[], Mapping[str, Any]],
        over_seconds: float = 0.0,
        ended: threading.Event | None = None,
    ) -> Sequence[float]:
        """PUT to all sessions what ``patch`` is at that moment; seconds that each answer took.

        Evenly within ``over_seconds`` (0: as fast as it goes), until it ``ended``. Raises
        BenchFailedError for an answer that is none of success.
        """
        every = over_seconds / max(1, len(ids))
        began = time.monotonic()
        stop = ended or threading.Event()

        def put_share(first: int) -> list[float]:
            connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=_TIMEOUT_S)
            taken = []
            for number in range(first, len(ids), CONNECTIONS):
                if stop.wait(max(0.0, began + number * every - time.monotonic())):
                    break
                taken.append(self._ask(connection, "PUT", f"/sessions/{ids[number]}", patch()))
            connection.close()
            return taken

        with ThreadPoolExecutor(CONNECTIONS) as pool:
            return _joined(pool.map(put_share, range(CONNECTIONS)))

    def get(self, path: str, times: int) -> Sequence[float]:
        """GET the same path again and again; seconds that each answer took."""
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=_TIMEOUT_S)
        taken = [self._ask(connection, "GET", path) for _ in range(times)]
        connection.close()
        return taken

    def _ask(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
    ) -> float:
        began = time.monotonic()
        fields = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), fields)
        answer = connection.getresponse()
        said = answer.read()
        if answer.status not in _OK:
            raise BenchFailedError(f"{method} {path} was answered {answer.status}: {said[:500]!r}")
        return time.monotonic() - began


def _joined(lists: Iterable[Sequence[float]]) -> list[float]:
    return [each for some in lists for each in some]
