"""The roster knows the live worker threads of a queue, and forgets who went silent."""

import threading
import time

import pytest
import redis as redis_client

from tests.stack import eventually
from worker.presence import Presence, Roster, WorkerProcess

pytestmark = pytest.mark.redis


@pytest.fixture
def client(redis_url):
    with redis_client.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
def roster(client):
    return Roster(client, "test:")


def test_threads_are_summed_over_the_processes_of_a_queue(roster):
    roster.beat(WorkerProcess.this(["control"], threads=1))
    roster.beat(WorkerProcess.this(["package", "transcode"], threads=2))
    roster.beat(WorkerProcess.this(["package"], threads=3))
    assert [roster.threads(q) for q in ("control", "package", "transcode", "other")] == [1, 5, 2, 0]


def test_a_process_that_fell_silent_is_forgotten(client, roster):
    roster.beat(WorkerProcess.this(["package"], threads=2), expires_ms=30)
    eventually(lambda: roster.threads("package") == 0)
    roster.beat(WorkerProcess.this(["package"], threads=1))
    assert client.zcard("test:workers") == 1, "the dead one is removed by the next beat"


def test_a_process_stays_while_it_is_present_and_goes_when_it_ends(client, roster):
    process = WorkerProcess.this(["package"], threads=2)
    with Presence(roster, process, expires_ms=300):
        first = client.zscore("test:workers", client.zrange("test:workers", 0, 0)[0])
        eventually(
            lambda: client.zscore("test:workers", client.zrange("test:workers", 0, 0)[0]) > first
        )
        assert roster.processes() == (process,)
    assert roster.threads("package") == 0


def test_a_member_in_an_unknown_format_is_passed_over(client, roster):
    far = int(time.time() * 1000) + 60_000
    client.zadd("test:workers", {'{"v":2}': far, "not json": far, "[1]": far})
    roster.beat(WorkerProcess.this(["package"], threads=2))
    assert roster.threads("package") == 2


def test_a_worker_runs_on_while_redis_is_away_and_shows_up_when_it_is_back(redis_server_factory):
    server = redis_server_factory()
    with redis_client.Redis.from_url(server.url, decode_responses=True) as client:
        roster = Roster(client, "test:")
        server.kill()
        with Presence(roster, WorkerProcess.this(["package"], threads=2), expires_ms=3000):
            server.start()
            eventually(lambda: roster.threads("package") == 2)
    assert not [t for t in threading.enumerate() if t.name == "presence"]
