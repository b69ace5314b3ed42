"""The store, or everything at once, goes away in the middle of a run: the result comes later, and is
the same."""

import hashlib
import os
import signal
import time

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.product import Product, new_id
from tests.stack import eventually, group_members, running_stack

pytestmark = [pytest.mark.acceptance, pytest.mark.redis, pytest.mark.s3, pytest.mark.ffmpeg]

CREATED = 1_763_794_800_000
OUTAGE_S = 30


@pytest.fixture(scope="module")
def product(tmp_path_factory):
    with running_stack(
        tmp_path_factory.mktemp("outages") / "st", "--workers", "2",
        FINALIZER_IDLE_TIMEOUT="1", FINALIZER_SWEEP_INTERVAL="0.2", FINALIZER_SLICE_SECONDS="4",
        FINALIZER_LEASE="10",
    ) as stack:  # fmt: skip
        yield Product(stack)


@pytest.fixture(scope="module")
def undisturbed(product, heavy):
    """What the MP4 is when nothing goes wrong."""
    session_id = new_id("calm")
    product.upload(session_id, heavy)
    product.begin(session_id, createdAt=CREATED)
    return digest(product, recovered(product, session_id))


def digest(product, session):
    return hashlib.sha256(product.fetch(session["mp4Url"]).body).hexdigest()


def recovered(product, session_id):
    """The session once it is ready, with nothing left over and nothing held against it."""
    session = product.reaches(session_id, "ready", "failed", timeout=120)
    assert (session["phase"], session["error"]) == ("ready", None)
    assert product.report(session_id)["verdict"] == "complete"
    assert product.events(session_id, "attempt_failed") == []
    product.happens(session_id, lambda: product.is_settled(session_id))
    return session


def started(product, playlist):
    session_id = new_id("outage")
    product.upload(session_id, playlist)
    product.begin(session_id, createdAt=CREATED)
    return session_id


def fetching(product, session_id):
    return product.events(session_id, "planned")


def all_packaged(product, session_id):
    return len(product.events(session_id, "slice_packaged")) == 3


def written(product, session_id):
    """Whether the MP4 is there: it is being proven then, or about to be."""
    try:
        product.s3.head_object(Bucket="vod", Key=f"{session_id}/r1/source.mp4")
    except (BotoCoreError, ClientError):
        return False
    return True


def kill_the_store(product):
    """Kill the S3 server, and wait until another one answers on its data."""
    before = product.stack.pids["s3"]
    os.kill(before, signal.SIGKILL)
    eventually(lambda: product.stack.pids.get("s3", before) != before)
    eventually(lambda: answers(product))


def answers(product):
    try:
        product.s3.head_bucket(Bucket="vod")
    except (BotoCoreError, ClientError):
        return False
    return True


def test_a_store_that_is_killed_at_every_step_only_delays_the_recording(
    product, heavy, undisturbed
):
    session_id = started(product, heavy)
    for moment in (fetching, all_packaged, written):
        product.happens(session_id, lambda moment=moment: moment(product, session_id))
        kill_the_store(product)
    assert digest(product, recovered(product, session_id)) == undisturbed


def test_all_workers_and_redis_die_at_once_and_no_more_is_packaged_again_than_was_in_flight(
    product, heavy, undisturbed
):
    session_id = started(product, heavy)
    product.happens(session_id, lambda: product.items(session_id, "package"))
    before = product.stack.pids
    for name in ("redis", "control", "worker-1", "worker-2"):
        os.killpg(before[name], signal.SIGKILL)
    eventually(lambda: product.stack.pids.get("redis", before["redis"]) != before["redis"])
    eventually(lambda: product.api("GET", "/readyz").status == 200)
    assert digest(product, recovered(product, session_id)) == undisturbed
    again = product.report(session_id)["run"]["madeAgain"]
    assert again["silent"] <= 3
    assert (again["failed"], again["lost"]) == (0, 0)


def test_half_a_minute_without_answers_only_delays_recordings(product, heavy, undisturbed):
    """Three sessions at once, each at another step when the store falls silent."""
    proven, packaged = started(product, heavy), started(product, heavy)
    product.happens(proven, lambda: written(product, proven))
    fetched = started(product, heavy)
    product.happens(fetched, lambda: fetching(product, fetched))
    members = group_members(product.stack.pids["s3"])
    for pid in members:
        os.kill(pid, signal.SIGSTOP)
    until = time.monotonic() + OUTAGE_S
    try:
        eventually(lambda: time.monotonic() > until)
    finally:
        for pid in members:
            os.kill(pid, signal.SIGCONT)
    for session_id in (proven, packaged, fetched):
        assert digest(product, recovered(product, session_id)) == undisturbed
