"""The whole product on one machine, in the foreground: servers, API, workers, each supervised."""

from __future__ import annotations

import http.client
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scripts.child import Child
from scripts.embedded import RedisServer, S3Server, child_environment
from scripts.ports import LOOPBACK
from scripts.stack_directory import (
    DirectoryRefusedError,
    Identity,
    StackDirectory,
    open_directory,
)
from scripts.stack_environment import stack_environment
from scripts.supervisor import (
    Part,
    PartFailedError,
    PortTakenError,
    process_ids,
    stop_parts,
    tend,
)
from worker import settings
from worker.dispatch import CONTROL, PACKAGING, THREADS, TRANSCODING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ROOT = Path(__file__).parents[1]

_DRAIN_S = 8.0
_SERVERS_STOP_S = 10.0
_READY_S = 120.0
_LOOK_S = 0.1
_PROBE_S = 2.0
_PORT_TRIES = 5
WORKER_READY = "Worker process is ready for action."

#: Days after which the store itself ends an upload that nobody finishes.
_UPLOAD_DAYS = 7


class Stopped(Exception):
    """SIGINT or SIGTERM came while the stack was starting."""


class Stack:
    """One start of the stack in its directory, up to the signal that ends it."""

    def __init__(
        self, directory: StackDirectory, identity: Identity, workers: int, through: str | None
    ) -> None:
        self._directory = directory
        self.environment = stack_environment(identity, os.environ, through)
        logs = directory.logs
        redis = RedisServer(directory.path / "redis", identity.redis_port, log=logs / "redis.log")
        self._s3 = S3Server(
            directory.path / "s3",
            identity.s3_port,
            credentials=identity.credentials,
            log=logs / "s3.log",
        )
        self._servers = [
            Part(redis.child, redis.child.start, _ports(redis)),
            Part(self._s3.child, self._s3.launch, _ports(self._s3)),
        ]
        self._processes = [self._api(identity.api_port), self._worker("control", CONTROL)]
        for name, queue in (("worker", PACKAGING), ("transcode", TRANSCODING)):
            for number in range(1, workers + 1):
                self._processes.append(self._worker(f"{name}-{number}", queue))
        self._stopping = threading.Event()
        self._signals = 0

    def run(self) -> None:
        """Start everything, say ``ready``, keep it running until a signal comes, end everything.

        Raises PartFailedError when a part cannot be brought up.
        """
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        try:
            self._bring_up(self._servers)
            self._prepare_buckets()
            self._bring_up([*self._servers, *self._processes])
            self._directory.publish_environment(self.environment)
            pids = self._publish_process_ids({})
            print("ready", flush=True)
            while not self._stopping.wait(_LOOK_S):
                tend([*self._servers, *self._processes])
                pids = self._publish_process_ids(pids)
        except Stopped:
            return
        finally:
            self._end()

    def _bring_up(self, parts: Sequence[Part]) -> None:
        deadline = time.monotonic() + _READY_S
        while not all(part.answered for part in parts):
            tend(parts)
            late = [part.name for part in parts if not part.answered]
            if late and time.monotonic() > deadline:
                raise PartFailedError(
                    f"No answer in {_READY_S:g} s from {', '.join(late)}; "
                    f"see the logs in {self._directory.logs}."
                )
            if self._stopping.wait(_LOOK_S if late else 0):
                raise Stopped

    def _publish_process_ids(self, published: Mapping[str, int]) -> Mapping[str, int]:
        pids = process_ids([*self._servers, *self._processes])
        if pids != published:
            self._directory.publish_process_ids(pids)
        return pids

    def _prepare_buckets(self) -> None:
        self._s3.open_to_browsers()
        rule = {
            "ID": "unfinished-uploads",
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": _UPLOAD_DAYS},
        }
        for bucket in ("vod", "staging"):
            self._s3.client().put_bucket_lifecycle_configuration(
                Bucket=bucket, LifecycleConfiguration={"Rules": [rule]}
            )

    def _on_signal(self, _number: int, _frame: object) -> None:
        self._signals += 1
        self._stopping.set()

    def _end(self) -> None:
        # Whoever asks a second time does not want to wait for the slices under way.
        self._directory.unpublish()
        stop_parts(self._processes, 0.0 if self._signals > 1 else _DRAIN_S)
        stop_parts(self._servers, _SERVERS_STOP_S)

    def _api(self, port: int) -> Part:
        ports, argv = range(port, port + 1), api_argv(port)
        return self._part("api", argv, process_environment(), lambda _child: healthy(port), ports)

    def _worker(self, name: str, queue: str) -> Part:
        argv, environment = worker_argv(queue), worker_environment(queue)
        return self._part(name, argv, environment, lambda child: child.said(WORKER_READY))

    def _part(
        self,
        name: str,
        argv: Sequence[str],
        environment: Mapping[str, str],
        ready: Callable[[Child], bool],
        ports: range = range(0),
    ) -> Part:
        child = Child(
            name,
            [sys.executable, *argv],
            environment={**child_environment(), **self.environment, **environment},
            log=self._directory.logs / f"{name}.log",
            probe=lambda _pid: ready(child),
            cwd=ROOT,
        )
        return Part(child, child.start, ports)


def run_stack(directory: StackDirectory, workers: int, through: str | None = None) -> None:
    """Run a stack to its end: on the ports it had before, or the first time on free ones.

    ``through`` is the address of a proxy before its S3 server, for its own processes.

    Raises PartFailedError when it cannot be brought up.
    """
    kept = directory.identity()
    identity = kept or Identity.new()
    settings.load(stack_environment(identity, os.environ))
    tries = 1 if kept else _PORT_TRIES
    while True:
        directory.keep(identity)
        try:
            return Stack(directory, identity, workers, through).run()
        except PortTakenError:
            # Somebody was faster on a port that nobody knows yet: another one does as well.
            tries -= 1
            if not tries:
                raise
            identity = identity.with_new_ports()


def main(
    workers: Annotated[
        int,
        typer.Option(
            min=1, help="Worker processes for slices: so many that copy, so many that transcode."
        ),
    ] = 2,
    directory: Annotated[
        Path, typer.Option("--dir", help="Where data and logs live.", file_okay=False)
    ] = Path(".stack"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin without the data in DIR.")] = False,
    through: Annotated[
        str | None,
        typer.Option(
            "--through", metavar="URL", help="A proxy by which the processes reach the S3 server."
        ),
    ] = None,
) -> None:
    """Run the embedded stack until Ctrl-C; prints "ready" when every part answers."""
    try:
        with open_directory(directory, fresh=fresh) as opened:
            run_stack(opened, workers, through)
    except (DirectoryRefusedError, settings.InvalidSettings) as error:
        print(error, file=sys.stderr)
        raise typer.Exit(2) from None
    except PartFailedError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from None


def worker_argv(queue: str) -> list[str]:
    """What Python is given to run one worker process on one queue."""
    return [
        "-m", "dramatiq", "worker.actors", "--processes", "1",
        "--threads", str(THREADS[queue]), "--queues", queue,
        "--worker-shutdown-timeout", str(int(_DRAIN_S * 1000)),
    ]  # fmt: skip


def api_argv(port: int) -> list[str]:
    """What Python is given to run the API."""
    return [
        "-m", "uvicorn", "worker.api:app", "--host", LOOPBACK, "--port", str(port),
        "--timeout-graceful-shutdown", "3",
    ]  # fmt: skip


def process_environment() -> dict[str, str]:
    """What our own processes need besides the settings."""
    return {
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        # Else glibc keeps the buffers that each thread has freed: half as much memory again.
        "MALLOC_ARENA_MAX": "2",
        "MALLOC_MMAP_THRESHOLD_": str(8 << 20),
        "MALLOC_TRIM_THRESHOLD_": str(32 << 20),
        "NO_PROXY": LOOPBACK,
    }


def worker_environment(queue: str) -> dict[str, str]:
    """What a worker process on one queue needs besides the settings."""
    return process_environment() | {
        "dramatiq_queue_prefetch": str(THREADS[queue]),
        "dramatiq_worker_timeout": "200",  # ms between two looks at an empty queue
    }


def healthy(port: int) -> bool:
    """Whether the API on that port answers."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=_PROBE_S)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _ports(server: RedisServer | S3Server) -> range:
    return range(server.port, server.port + server.port_count)


if __name__ == "__main__":
    typer.run(main)
