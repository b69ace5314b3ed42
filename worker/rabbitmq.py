"""RabbitMQ as the queue: one deployment's queues on it, and one connection to publish by."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import contextmanager, suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs, urlsplit

import pika
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.common import dq_name, q_name
from dramatiq.errors import ConnectionClosed
from pika.exceptions import AMQPError, UnroutableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dramatiq import Consumer, Message
    from dramatiq.middleware import Middleware

#: What a connection is given unless the URL's query says otherwise, in pika's names. Seconds: a
#: peer that is silent for two heartbeats is gone, and what it had taken is delivered again; a
#: publisher waits no longer for a server that does not answer, or has run out of memory or disk.
_CONNECTION = {
    "heartbeat": 10,
    "socket_timeout": 5.0,
    "stack_timeout": 5.0,
    "blocked_connection_timeout": 5.0,
}
#: Seconds that a thread waits for others to publish before it gives up.
_TURN_S = 5.0
#: Seconds between two heartbeats of ours on the connection by which we publish, while it is idle.
_TEND_S = 3.0
#: The server closes a connection that was idle: the second try has a fresh one.
_TRIES = 2
#: AMQP's delivery mode of messages that survive a restart of the server.
_PERSISTENT = 2
#: What pika raises when it cannot connect, or cannot go on; a name or a certificate that is wrong
#: is the operating system's error.
_LOST = (AMQPError, OSError)

# It tells every failure that we are told by an exception, several times over.
logging.getLogger("pika").setLevel(logging.CRITICAL)


class DeploymentQueues(RabbitmqBroker):
    """Dramatiq's broker for RabbitMQ, with what one deployment needs of it.

    On the server every queue's name starts with ``prefix``, so that deployments share a server;
    everywhere else queues have their plain names. All threads of a process publish by one
    connection: with one per thread, as Dramatiq has it, a web server whose threads come and go
    would keep the connections of those that went. A thread keeps it alive while nothing is
    published. Publishing waits for the server's confirm, so that a connection that was lost in
    silence is noticed.

    A message is acknowledged when it was worked off. ``acknowledge_ms`` says how long that may
    take; a server older than RabbitMQ 3.12 goes by its own ``consumer_timeout``, and delivers the
    message again, which harms nothing: whoever gets it finds the lease taken.
    """

    def __init__(
        self, url: str, *, prefix: str, acknowledge_ms: int, middleware: list[Middleware]
    ) -> None:
        super().__init__(url=url, confirm_delivery=True, middleware=middleware)
        self.parameters = connection_parameters(url)
        self._prefix = prefix
        self._acknowledge_ms = acknowledge_ms
        # Where Dramatiq keeps the connection: for each thread, were it not replaced.
        self.state: Any = SimpleNamespace()
        self._publishing = threading.Lock()
        self._tender: threading.Thread | None = None
        self._closed = threading.Event()

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Consumer:
        """A consumer of a queue by its plain name; raises ConnectionClosed."""
        with self._publishers_turn():
            self.declare_queue(queue_name, ensure=True)
        with _lost_connections():
            consumer = self.consumer_class(self, self._prefix + queue_name, prefetch, timeout)
        # By this name it is declared anew when the server says that there is no such queue.
        consumer.queue_name = queue_name
        return cast("Consumer", consumer)

    def enqueue(self, message: Message[Any], *, delay: int | None = None) -> Message[Any]:
        """Publish a message, to be delivered in ``delay`` milliseconds; raises ConnectionClosed."""
        self.declare_queue(message.queue_name)
        if delay is not None:
            due = time.time_ns() // 1_000_000 + delay
            name = dq_name(message.queue_name)
            message = message.copy(queue_name=name, options={"eta": due})
        self.emit_before("enqueue", message, delay)
        with self._publishers_turn():
            self._publish(message)
        self.emit_after("enqueue", message, delay)
        return message

    def waiting_messages(self, queue_name: str) -> int:
        """Messages that no consumer has taken yet; raises ConnectionClosed."""
        with self._publishers_turn():
            try:
                return int(self._declare_queue(queue_name).method.message_count)
            except _LOST:
                del self.connection
                raise

    def close(self) -> None:
        """Close all connections."""
        self._closed.set()
        super().close()

    def _publish(self, message: Message[Any]) -> None:
        for further in reversed(range(_TRIES)):
            try:
                self._ensure_queue(q_name(message.queue_name))  # type: ignore[no-untyped-call]
                self.channel.basic_publish(
                    exchange="",
                    routing_key=self._prefix + message.queue_name,
                    body=message.encode(),
                    properties=pika.BasicProperties(delivery_mode=_PERSISTENT),
                    mandatory=True,
                )
                return
            except _LOST as error:
                del self.connection
                if isinstance(error, UnroutableError):  # somebody has removed the queue
                    self.queues_pending.add(q_name(message.queue_name))
                if not further:
                    raise

    @contextmanager
    def _publishers_turn(self) -> Iterator[None]:
        """Have the connection by which we publish alone; raises ConnectionClosed."""
        if not self._publishing.acquire(timeout=_TURN_S):
            raise ConnectionClosed("RabbitMQ does not answer another thread that publishes")
        try:
            if self._tender is None:
                self._tender = threading.Thread(target=self._tend, name="rabbitmq", daemon=True)
                self._tender.start()
            with _lost_connections():
                yield
        finally:
            self._publishing.release()

    def _tend(self) -> None:
        """Answer the server's heartbeats; a connection that was lost is left behind."""
        while not self._closed.wait(_TEND_S):
            with suppress(ConnectionClosed), self._publishers_turn():
                if getattr(self.state, "connection", None) is None:
                    continue
                try:
                    self.connection.process_data_events(time_limit=0)
                except _LOST:
                    del self.connection

    def _declare_queue(self, queue_name: str) -> Any:
        return super()._declare_queue(self._prefix + queue_name)  # type: ignore[no-untyped-call]

    def _declare_dq_queue(self, queue_name: str) -> Any:
        return super()._declare_dq_queue(self._prefix + queue_name)  # type: ignore[no-untyped-call]

    def _declare_xq_queue(self, queue_name: str) -> Any:
        return super()._declare_xq_queue(self._prefix + queue_name)  # type: ignore[no-untyped-call]

    def _build_queue_arguments(self, queue_name: str) -> dict[str, Any]:
        arguments = super()._build_queue_arguments(queue_name)  # type: ignore[no-untyped-call]
        return {**arguments, "x-consumer-timeout": self._acknowledge_ms}


def connection_parameters(url: str) -> Any:
    """What pika needs to connect: what the URL says, and else our bounds for waiting."""
    parameters = pika.URLParameters(url)
    asked = parse_qs(urlsplit(url).query)
    for name, value in _CONNECTION.items():
        if name not in asked:
            setattr(parameters, name, value)
    return parameters


def check_connection(url: str) -> None:
    """Connect, and close the connection again; raises ConnectionClosed."""
    with _lost_connections():
        pika.BlockingConnection(connection_parameters(url)).close()


@contextmanager
def _lost_connections() -> Iterator[None]:
    """Tell every way in which pika loses a connection in Dramatiq's own word."""
    try:
        yield
    except _LOST as error:
        raise ConnectionClosed(error) from None
