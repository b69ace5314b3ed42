"""RabbitMQ as the broker, by its URL alone: the queue itself, and the product's main job on it."""

import hashlib
import itertools
import os
import signal
import threading
from dataclasses import dataclass, field

import dramatiq
import pytest
from dramatiq.errors import BrokerError

from tests.acceptance.test_main_job import (  # noqa: F401  the same tests, on this broker
    test_a_lost_queue_is_healed_by_the_sweep,
    test_a_profile_gets_the_variant_of_its_name_or_is_transcoded_from_the_best,
    test_a_session_that_falls_silent_becomes_a_recording_that_plays,
)
from tests.product import Product, new_id
from tests.stack import eventually, running_stack
from worker.broker import waiting_messages
from worker.rabbitmq import DeploymentQueues

pytestmark = [pytest.mark.acceptance, pytest.mark.redis, pytest.mark.s3, pytest.mark.ffmpeg]

QUEUE = "control"
LIMIT_MS = 3_600_000

_prefixes = (f"test-{number}:queue:" for number in itertools.count())


@dataclass
class Deployment:
    """A broker, an actor that notes what it gets, and its workers while they run."""

    broker: DeploymentQueues
    got: list = field(default_factory=list)

    def __post_init__(self):
        self.actor = dramatiq.actor(
            self.got.append, actor_name="note", queue_name=QUEUE, broker=self.broker
        )

    def waiting(self):
        """Messages on the queue that nobody has."""
        return waiting_messages(self.broker, QUEUE)


def broker_of(url, prefix):
    return DeploymentQueues(url, prefix=prefix, acknowledge_ms=LIMIT_MS, middleware=[])


@pytest.fixture
def deploy(rabbitmq_server):
    """Makes deployments on the server, each with a prefix of its own unless told."""
    made = []

    def deploy(prefix=None):
        made.append(Deployment(broker_of(rabbitmq_server.url, prefix or next(_prefixes))))
        return made[-1]

    yield deploy
    for deployment in made:
        deployment.broker.close()


@pytest.fixture
def work():
    """Runs a worker of a deployment until the end of the test."""
    workers = []

    def work(deployment):
        workers.append(dramatiq.Worker(deployment.broker, worker_threads=1, worker_timeout=100))
        workers[-1].start()

    yield work
    for worker in workers:
        worker.stop()


def test_deployments_share_a_server_and_get_only_their_own_messages(deploy, work):
    mine, other = deploy(), deploy()
    mine.actor.send("mine")
    other.actor.send("other")
    work(mine)
    eventually(lambda: mine.got == ["mine"])
    assert other.waiting() == 1


def test_a_message_waits_for_its_time(deploy, work):
    deployment = deploy()
    deployment.actor.send_with_options(args=("later",), delay=300)
    assert deployment.waiting() == 0
    work(deployment)
    eventually(lambda: deployment.got == ["later"])


def test_threads_that_come_and_go_share_one_connection(deploy):
    deployment = deploy()
    for _ in range(3):
        threads = [threading.Thread(target=deployment.actor.send, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert deployment.waiting() == 24
    assert len(deployment.broker.connections) == 1


def test_a_queue_that_somebody_removed_is_declared_anew_by_whoever_publishes(deploy):
    deployment = deploy("removed:queue:")
    deployment.actor.send("first")
    deployment.broker.channel.queue_delete(f"removed:queue:{QUEUE}")
    deployment.actor.send("second")
    assert deployment.waiting() == 1


@pytest.mark.parametrize(
    "url",
    ["amqp://127.0.0.1:9/", "amqp://nowhere.invalid/", "amqp://guest:wrong@{server}/"],
)
def test_a_server_that_cannot_be_had_is_the_brokers_error(url, rabbitmq_server):
    address = rabbitmq_server.url.rpartition("@")[2].strip("/")
    deployment = Deployment(broker_of(url.format(server=address), "none:"))
    with pytest.raises(BrokerError):
        deployment.actor.send("x")
    deployment.broker.close()


@pytest.fixture(scope="module")
def product(tmp_path_factory, rabbitmq_server):
    with running_stack(
        tmp_path_factory.mktemp("rabbit") / "st", "--workers", "2",
        FINALIZER_BROKER_URL=rabbitmq_server.url,
        FINALIZER_IDLE_TIMEOUT="1", FINALIZER_SWEEP_INTERVAL="0.2", FINALIZER_SLICE_SECONDS="4",
        FINALIZER_LEASE="6", FINALIZER_MISSING_GRACE="1",
    ) as stack:  # fmt: skip
        yield Product(stack)


@pytest.fixture(scope="module")
def undisturbed(product, heavy):
    """What the MP4 is when nothing goes wrong."""
    return made(product, started(product, heavy))


def started(product, playlist):
    session_id = new_id("rabbit")
    product.upload(session_id, playlist)
    product.begin(session_id, createdAt=1_763_794_800_000)
    return session_id


def made(product, session_id):
    """The digest of the session's MP4, once nothing is left over of its run."""
    url = product.ready(session_id)["mp4Url"]
    return hashlib.sha256(product.fetch(url).body).hexdigest()


def test_nothing_is_on_the_queues_of_its_redis(product):
    with product.stack.redis() as client:
        assert list(client.scan_iter("*queue*", 1000)) == []


def test_slices_of_workers_that_are_killed_are_made_by_those_that_follow(
    product, heavy, undisturbed
):
    session_id = started(product, heavy)
    product.happens(session_id, lambda: product.items(session_id, "package"))
    for name in ("worker-1", "worker-2"):
        os.kill(product.stack.pids[name], signal.SIGKILL)
    assert made(product, session_id) == undisturbed


def test_a_crash_of_the_broker_only_delays_recordings(
    product, heavy, undisturbed, rabbitmq_server, deploy, work
):
    """What it was given before is there after it; sessions that come meanwhile wait for it."""
    kept = deploy()
    kept.actor.send("before")
    before = started(product, heavy)
    product.happens(before, lambda: product.items(before, "package"))
    rabbitmq_server.crash()
    with pytest.raises(BrokerError):
        kept.actor.send("meanwhile")
    meanwhile = started(product, heavy)
    rabbitmq_server.start()
    for session_id in (before, meanwhile):
        assert made(product, session_id) == undisturbed
    kept.actor.send("after")
    work(kept)
    eventually(lambda: kept.got == ["before", "after"])
