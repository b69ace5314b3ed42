"""Where a bench takes place: an S3 server, a Redis server, and the product's processes on them."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import dramatiq

from scripts.child import Child
from scripts.embedded import child_environment, start_redis, start_s3
from scripts.stack import (
    WORKER_READY,
    api_argv,
    healthy,
    process_environment,
    worker_argv,
    worker_environment,
)
from scripts.stack_directory import Identity
from scripts.stack_environment import stack_environment
from worker.broker import make_broker
from worker.settings import load

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from worker.settings import Settings

_READY_S = 60.0

#: Enough that the S3 server does not spend its time on collecting garbage: that is not measured.
_S3_MEMORY = "1GiB"
CONTROL = "control"
_NOTHING: Mapping[str, str] = MappingProxyType({})


class BenchSite:
    """Both servers, empty, in ``directory``; leaving the context ends them and forgets all.

    ``chosen`` are settings of the product, by variable; they win over the caller's environment.
    """

    def __init__(self, directory: Path, chosen: Mapping[str, str] = _NOTHING) -> None:
        self.directory = directory
        self._chosen = chosen
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> BenchSite:
        with contextlib.ExitStack() as stack:
            identity = Identity.new()
            self.s3 = start_s3(
                self.directory / "s3",
                credentials=identity.credentials,
                memory_limit=_S3_MEMORY,
            )
            stack.callback(self.s3.kill)
            redis = start_redis(self.directory / "redis")
            stack.callback(redis.kill)
            identity = replace(identity, s3_port=self.s3.port, redis_port=redis.port)
            self.api_port, self.api_token = identity.api_port, identity.api_token
            self.environment = stack_environment(identity, {**os.environ, **self._chosen})
            self.settings = load(self.environment)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def empty_outputs(self, client: Any) -> None:
        """Remove what was made: a bucket's files go at once with it, its objects one day later.

        The new ones are written to, so that nobody waits for the server to lay out their volumes.
        """
        for bucket in ("vod", "staging"):
            client.delete_bucket(Bucket=bucket)
            client.create_bucket(Bucket=bucket)
            client.put_object(Bucket=bucket, Key="warm", Body=b"up")
            client.delete_object(Bucket=bucket, Key="warm")

    @property
    def endpoint(self) -> str:
        """Where the S3 server is, on no slower way than there is."""
        return self.environment["AWS_ENDPOINT_URL_S3"]

    def process_environment(self, scratch: Path) -> dict[str, str]:
        """Settings and credentials for a process whose temporary files go to ``scratch``."""
        ours = self.environment | process_environment() | {"TMPDIR": str(scratch)}
        return child_environment() | ours

    @contextlib.contextmanager
    def workers(
        self, queues: Sequence[str], scratch: Path, variables: Sequence[Mapping[str, str]] = ()
    ) -> Iterator[list[int]]:
        """The product's worker processes, new and idle, one on each of ``queues``; their ids.

        ``variables`` are the environment that each of them has of its own.
        """
        own = variables or [_NOTHING] * len(queues)
        with contextlib.ExitStack() as stack:
            children = [
                self._worker(f"{queue}-{number}", queue, scratch, mine)
                for number, (queue, mine) in enumerate(zip(queues, own, strict=True), start=1)
            ]
            for child in children:
                stack.callback(child.stop)
                child.start()
            for child in children:
                child.wait_until_ready(_READY_S)
            yield [child.pid for child in children]

    @contextlib.contextmanager
    def api(self, scratch: Path) -> Iterator[int]:
        """The product's API, new and ready; its process id."""
        port = self.api_port
        child = Child(
            "api",
            [sys.executable, *api_argv(port)],
            environment=self.process_environment(scratch),
            log=self.directory / "logs" / "api.log",
            probe=lambda _pid: healthy(port),
            cwd=scratch,
        )
        with contextlib.ExitStack() as stack:
            stack.callback(child.stop)
            child.start()
            child.wait_until_ready(_READY_S)
            yield child.pid

    def _worker(self, name: str, queue: str, scratch: Path, own: Mapping[str, str]) -> Child:
        child = Child(
            name,
            [sys.executable, *worker_argv(queue)],
            environment={
                **self.process_environment(scratch),
                **worker_environment(queue),
                **own,
            },
            log=self.directory / "logs" / f"{name}.log",
            probe=lambda _pid: child.said(WORKER_READY),
            cwd=scratch,
        )
        return child


class Reconciler:
    """Asks the workers to look at a session, as the API would: a message, no waiting sweep."""

    def __init__(self, settings: Settings) -> None:
        self._broker = make_broker(settings)
        self._broker.declare_queue(CONTROL)

    def request(self, session_id: str) -> None:
        """Enqueue the message."""
        message: dramatiq.Message[None] = dramatiq.Message(
            queue_name=CONTROL,
            actor_name="reconcile_session",
            args=(session_id,),
            kwargs={},
            options={},
        )
        self._broker.enqueue(message)

    def close(self) -> None:
        """Close the connections."""
        self._broker.close()
