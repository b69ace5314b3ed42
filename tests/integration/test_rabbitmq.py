"""RabbitMQ as the queue: deployments share a server, and what a server may do loses nothing."""

import itertools
import threading
from dataclasses import dataclass, field

import dramatiq
import pytest
from dramatiq.errors import BrokerError

from tests.stack import eventually
from worker.rabbitmq import DeploymentQueues

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
        return self.broker.get_queue_message_counts(QUEUE)[0]


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


def test_what_was_published_survives_a_crash_of_the_server_and_work_goes_on(
    deploy, work, rabbitmq_server
):
    deployment = deploy()
    deployment.actor.send("before")
    consuming = deploy()
    work(consuming)
    consuming.actor.send("before")
    eventually(lambda: consuming.got == ["before"])
    rabbitmq_server.crash()
    with pytest.raises(BrokerError):
        deployment.actor.send("meanwhile")
    rabbitmq_server.start()
    assert deployment.waiting() == 1
    deployment.actor.send("after")
    consuming.actor.send("after")
    # Delivered again, perhaps, was what the server had not heard to be done.
    eventually(lambda: consuming.got[-1] == "after")
    work(deployment)
    eventually(lambda: deployment.got == ["before", "after"])


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
