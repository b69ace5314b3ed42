"""Where a bench takes place: an S3 server, a Redis server, and the product's processes on them."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import dramatiq

from scripts.child import Child
from scripts.embedded import child_environment, start_redis, start_s3
from scripts.stack import (
    WORKER_READY,
    process_environment,
    worker_argv,
    worker_environment,
)
from scripts.stack_directory import Identity
from scripts.stack_environment import stack_environment
from worker.broker import make_broker
from worker.settings import load

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from worker.settings import Settings

_READY_S = 60.0

#: Enough that the S3 server does not spend its time on collecting garbage: that is not measured.
_S3_MEMORY = "1GiB"
CONTROL = "control"


class BenchSite:
    """Both servers, empty, in ``directory``; leaving the context ends them and forgets all."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
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
            self.environment = stack_environment(identity, os.environ)
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

    def process_environment(self, scratch: Path) -> dict[str, str]:
        """Settings and credentials for a process whose temporary files go to ``scratch``."""
        ours = self.environment | process_environment() | {"TMPDIR": str(scratch)}
        return child_environment() | ours

    @contextlib.contextmanager
    def workers(self, queues: Sequence[str], scratch: Path) -> Iterator[list[int]]:
        """The product's worker processes, new and idle, one on each of ``queues``; their ids."""
        with contextlib.ExitStack() as stack:
            children = [
                self._worker(f"{queue}-{number}", queue, scratch)
                for number, queue in enumerate(queues, start=1)
            ]
            for child in children:
                stack.callback(child.stop)
                child.start()
            for child in children:
                child.wait_until_ready(_READY_S)
            yield [child.pid for child in children]

    def _worker(self, name: str, queue: str, scratch: Path) -> Child:
        child = Child(
            name,
            [sys.executable, *worker_argv(queue)],
            environment=self.process_environment(scratch) | worker_environment(queue),
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
