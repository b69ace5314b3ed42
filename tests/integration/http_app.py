"""The application over a real session store, and what stands in for the queue behind it."""

from typing import Any, NamedTuple

import redis
from starlette.testclient import TestClient

from worker.api import create_app
from worker.finding import Finding, ok
from worker.settings import Settings
from worker.store import SessionStore

TOKEN = {"Authorization": "Bearer token-one"}
SECRET = "hook-secret"
IDLE_MS = 60_000


class Requests:
    """A reconciler that notes what it is asked for: the queue is not these tests' subject."""

    def __init__(self) -> None:
        self.made: list[tuple[str, int]] = []

    def request(self, session_id: str, *, delay_ms: int = 0) -> None:
        self.made.append((session_id, delay_ms))


class Surroundings:
    """What the readiness check finds; a test may change it."""

    def __init__(self) -> None:
        self.findings: list[Finding] = [ok("redis", "answers")]

    def __call__(self) -> list[Finding]:
        return self.findings


class Api(NamedTuple):
    """A client of the application, and the parts below it."""

    http: TestClient
    store: SessionStore
    requests: Requests
    surroundings: Surroundings
    redis: redis.Redis


def settings(**fields: Any) -> Settings:
    return Settings(
        **{
            "source_url": "s3://recordings/{id}/index.m3u8",
            "output_url": "s3://vod/",
            "public_url": "https://vod.example/",
            "api_token": "token-one,token-two",
            "webhook_secret": f"older-secret,{SECRET}",
            "idle_timeout": IDLE_MS / 1000,
            **fields,
        }
    )


def open_api(client: redis.Redis, **fields: Any) -> Api:
    configured = settings(**fields)
    store = SessionStore(
        client, prefix="test:", idle_timeout=configured.idle_timeout, package_live=False
    )
    requests, surroundings = Requests(), Surroundings()
    app = create_app(configured, store, requests, surroundings)
    return Api(
        TestClient(app, raise_server_exceptions=False), store, requests, surroundings, client
    )
