"""What is on the queues of a running product, whichever broker it has, and how it is lost."""

from collections.abc import Mapping

import pika
import redis as redis_client

from worker.broker import is_rabbitmq
from worker.dispatch import CONTROL, PACKAGING, TRANSCODING

QUEUES = (CONTROL, PACKAGING, TRANSCODING)


class DeployedQueue:
    """The queues of the deployment with these variables."""

    def __init__(self, facts: Mapping[str, str]) -> None:
        self._url = facts["FINALIZER_BROKER_URL"]
        self._prefix = facts.get("FINALIZER_REDIS_PREFIX", "finalizer:") + "queue:"

    def waiting(self, queue: str) -> int:
        """Messages on a queue that were not worked off; RabbitMQ tells of those nobody has."""
        if is_rabbitmq(self._url):
            with pika.BlockingConnection(pika.URLParameters(self._url)) as connection:
                name = self._prefix + queue
                told = connection.channel().queue_declare(name, passive=True)
                return int(told.method.message_count)
        with redis_client.Redis.from_url(self._url) as client:
            return int(client.hlen(f"{self._prefix}{queue}.msgs"))

    def lose_everything(self) -> None:
        """Remove every message that no worker has taken."""
        if is_rabbitmq(self._url):
            with pika.BlockingConnection(pika.URLParameters(self._url)) as connection:
                for queue in QUEUES:
                    connection.channel().queue_purge(self._prefix + queue)
            return
        with redis_client.Redis.from_url(self._url) as client:
            client.delete(*client.scan_iter(f"{self._prefix}*", 1000))
