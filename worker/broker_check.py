"""The preflight of the queue, where it is not the session store's Redis."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import redis
from dramatiq.errors import ConnectionClosed

from worker.broker import is_rabbitmq
from worker.finding import Finding, fail, ok
from worker.rabbitmq import check_connection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.settings import Settings


def broker_findings(settings: Settings) -> Iterator[Finding]:
    """Whether the queue answers; what it loses is found by the sweep, so nothing else matters."""
    url = settings.broker_url
    if url == settings.redis_url:
        return
    try:
        if is_rabbitmq(url):
            check_connection(url)
        else:
            with contextlib.closing(redis.Redis.from_url(url)) as client:
                client.ping()
    except (ConnectionClosed, redis.RedisError):
        yield fail("broker", "does not answer, or refuses us: check FINALIZER_BROKER_URL.")
    else:
        yield ok("broker", "answers")
