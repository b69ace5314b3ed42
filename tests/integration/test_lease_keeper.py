"""A keeper holds the lease while its holder works, and says in time when it does not any more."""

import threading
import time

import pytest
import redis as redis_client

from pipelines.errors import InterruptedWork
from tests.stack import eventually
from worker import lease_keeper
from worker.keys import session_key
from worker.lease_keeper import LeaseKeeper
from worker.work import Claim, Work
from worker.work_item import State, WorkKey

pytestmark = pytest.mark.redis

KEY = WorkKey("s1", 7, "package/source/0")
SECOND = 1000


def connect(url):
    client = redis_client.Redis.from_url(
        url, decode_responses=True, socket_timeout=2, socket_connect_timeout=2
    )
    client.hset(session_key("test:", "s1"), mapping={"generation": "7", "phase": "finalizing"})
    return client


@pytest.fixture
def client(redis_url):
    with connect(redis_url) as client:
        yield client


def leased(work, ttl_ms):
    claim = work.claim(KEY, "a", 60_000, 3, ("finalizing",))
    assert isinstance(claim, Claim)
    lease = work.lease(KEY, claim.token, "worker-1", ttl_ms)
    assert lease is not None
    return lease


def interruption(keeper):
    """What check() raises, as soon as it does."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            keeper.check()
        except InterruptedWork as interrupted:
            return interrupted.message
        time.sleep(0.005)
    raise AssertionError("check() never raised")


def expiry(work):
    return work.items("s1", 7)[KEY.item].expires


def test_a_kept_lease_outlives_its_time(client):
    work = Work(client, "test:")
    lease = leased(work, 2 * SECOND)
    with LeaseKeeper(work, lease, 2 * SECOND, threading.Event()) as keeper:
        eventually(lambda: expiry(work) >= lease.state.expires + 2 * SECOND)
        keeper.check()
    assert work.complete(lease, "x")


def test_progress_is_written_long_before_the_lease_has_to_be_renewed(client):
    work = Work(client, "test:")
    lease = leased(work, 60_000)
    with LeaseKeeper(work, lease, 60_000, threading.Event()) as keeper:
        for seconds in (1.5, 30.25):
            keeper.progress(seconds)
            eventually(lambda seconds=seconds: work.items("s1", 7)[KEY.item].progress == seconds)
        assert expiry(work) > lease.state.expires


def test_nothing_is_renewed_after_the_context_ends(client):
    work = Work(client, "test:")
    with LeaseKeeper(work, leased(work, 60), 60, threading.Event()):
        pass
    eventually(lambda: work.active("s1", 7) == 0)


def test_a_lease_that_another_worker_has_stops_the_work(client):
    work = Work(client, "test:")
    with LeaseKeeper(work, leased(work, SECOND), SECOND, threading.Event()) as keeper:
        client.hdel("test:run:s1:7", f"item:{KEY.item}")
        taken = leased(work, 60_000)
        assert "another worker" in interruption(keeper)
    assert work.complete(taken, "x")


def test_a_newer_generation_stops_the_work(client):
    work = Work(client, "test:")
    with LeaseKeeper(work, leased(work, SECOND), SECOND, threading.Event()) as keeper:
        client.hset(session_key("test:", "s1"), "generation", "8")
        assert "lost" in interruption(keeper)


def test_a_worker_asked_to_stop_stops_the_work(client):
    work = Work(client, "test:")
    stop = threading.Event()
    lease = leased(work, 60_000)
    with LeaseKeeper(work, lease, 60_000, stop) as keeper:
        keeper.check()
        stop.set()
        with pytest.raises(InterruptedWork, match="stops"):
            keeper.check()
    assert work.release(lease, counts=False, error=None)


def test_the_work_of_a_worker_that_stops_is_handed_back_although_its_holder_hangs(
    client, monkeypatch
):
    monkeypatch.setattr(lease_keeper, "TELLS_EVERY", 0.01)
    monkeypatch.setattr(lease_keeper, "HANDS_BACK_AFTER", 0.05)
    work, stop, told = Work(client, "test:"), threading.Event(), threading.Event()
    lease = leased(work, 600_000)
    with LeaseKeeper(work, lease, 600_000, stop, told.set) as keeper:
        stop.set()
        assert told.wait(20)
        item = work.items("s1", 7)[KEY.item]
        assert (item.state, item.attempts) == (State.RELEASED, 0)
        with pytest.raises(InterruptedWork):
            keeper.check()
    assert not work.complete(lease, "late")
    assert isinstance(work.claim(KEY, "a", 60_000, 3, ("finalizing",)), Claim)


def test_a_redis_that_is_away_for_a_moment_goes_unnoticed(redis_server_factory):
    server = redis_server_factory()
    with connect(server.url) as client:
        work = Work(client, "test:")
        lease = leased(work, 12 * SECOND)
        with LeaseKeeper(work, lease, 12 * SECOND, threading.Event()) as keeper:
            server.kill()
            keeper.check()
            server.start()
            eventually(lambda: expiry(work) > lease.state.expires)
            keeper.check()
        assert work.complete(lease, "x")


def test_a_redis_that_is_away_for_longer_than_the_lease_stops_the_work(redis_server_factory):
    server = redis_server_factory()
    with connect(server.url) as client:
        work = Work(client, "test:")
        with LeaseKeeper(work, leased(work, SECOND), SECOND, threading.Event()) as keeper:
            server.kill()
            assert "could not be renewed for 1 s" in interruption(keeper)
