"""Stores that throttle, are full or refuse to be written: nothing is lost, and it is told what is
waited for."""

import threading

import pytest

from pipelines.session import Phase
from scripts.s3_proxy import Refusal, S3Proxy
from tests.by_hand import ID
from tests.stack import eventually
from worker.perform import perform

pytestmark = [pytest.mark.redis, pytest.mark.s3, pytest.mark.ffmpeg]


@pytest.fixture
def proxy(s3_server, worker, monkeypatch):
    """What stands between the workers that are opened from here on and the store."""
    with S3Proxy(s3_server.port) as opened:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", opened.endpoint)
        yield opened


@pytest.fixture
def paced(monkeypatch):
    """Without the long pauses of retries."""
    monkeypatch.setattr("pipelines.retry.FIRST_PAUSE", 0.01)
    monkeypatch.setattr("pipelines.retry.THROTTLED_FIRST_PAUSE", 0.01)
    monkeypatch.setattr("pipelines.retry.THROTTLED_LONGEST_PAUSE", 0.2)


class BusyStore:
    """Refuses what it is asked beyond so many requests at once."""

    def __init__(self, most):
        self.most, self.under_way, self.refused = most, 0, 0
        self._lock = threading.Lock()

    def __call__(self, request):
        with self._lock:
            self.refused += 1
            if self.refused % 3 != 0:
                return Refusal(503, "SlowDown")
        return None


def test_a_store_that_throttles_gets_fewer_calls_and_fails_nothing(recorded, proxy, paced):
    proxy.rule = BusyStore(2)
    worker = recorded(slice_seconds=6)
    worker.finalize()
    assert worker.record().phase is Phase.READY
    assert {item.outages for item in worker.items().values()} <= {0}
    assert worker.runtime.output._pace.pace.slowed
