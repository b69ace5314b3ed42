"""The queue: Dramatiq on Redis or RabbitMQ, with redelivery that is prompt, and no policy of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import Callbacks, Retries, ShutdownNotifications, TimeLimit

from worker.rabbitmq import DeploymentQueues

if TYPE_CHECKING:
    from dramatiq import Broker
    from dramatiq.middleware import Middleware

    from worker.settings import Settings

#: Milliseconds of silence after which a dead worker's messages are delivered again.
HEARTBEAT_TIMEOUT_MS = 15_000
#: Look for dead workers at every command: at the default of 1 in 1,000 it takes minutes.
MAINTENANCE_CHANCE = 1_000_000
#: A message that raises is tried again this often; only Redis being away makes one raise.
MESSAGE_RETRIES = 5
#: Milliseconds that one message may take; packaging has deadlines of its own, far below.
MESSAGE_LIMIT_MS = 6 * 3600 * 1000


def make_broker(settings: Settings, *ours: Middleware) -> Broker:
    """The broker of the settings' URL, and our middleware behind Dramatiq's usual one."""
    middleware: list[Middleware] = [
        TimeLimit(time_limit=MESSAGE_LIMIT_MS),
        ShutdownNotifications(),
        Callbacks(),
        Retries(max_retries=MESSAGE_RETRIES, min_backoff=1_000, max_backoff=60_000),
        *ours,
    ]
    if is_rabbitmq(settings.broker_url):
        return DeploymentQueues(
            settings.broker_url,
            prefix=f"{settings.redis_prefix}queue:",
            acknowledge_ms=MESSAGE_LIMIT_MS,
            middleware=middleware,
        )
    return RedisBroker(
        url=settings.broker_url,
        middleware=middleware,
        namespace=f"{settings.redis_prefix}queue",
        heartbeat_timeout=HEARTBEAT_TIMEOUT_MS,
        maintenance_chance=MAINTENANCE_CHANCE,
    )


def waiting_messages(broker: Broker, queue_name: str) -> int:
    """Messages of a queue that no consumer has taken yet; raises BrokerError or RedisError."""
    if isinstance(broker, DeploymentQueues):
        return broker.waiting_messages(queue_name)
    if isinstance(broker, RedisBroker):
        # The list of ids that Dramatiq's consumers take from; asked so, it costs one command.
        return int(broker.client.llen(f"{broker.namespace}:{queue_name}"))
    raise TypeError(f"a {type(broker).__name__} does not say how many messages wait")


def is_rabbitmq(url: str) -> bool:
    """Whether a broker's URL names a RabbitMQ."""
    return url.startswith(("amqp://", "amqps://"))
