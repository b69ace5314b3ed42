"""Runs ``./scripts/stack`` for a test and ends it with everything that it started."""

import contextlib
import os
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import redis as redis_client
from botocore.config import Config

ROOT = Path(__file__).parents[1]

_READY_S = 120
_STOP_S = 60
_POLL_S = 0.05


class RunningStack:
    """A stack that said ``ready``, and what it told the world about itself."""

    def __init__(self, process: subprocess.Popen[str], directory: Path) -> None:
        self.process = process
        self.directory = directory

    @property
    def environment(self) -> dict[str, str]:
        """The variables of ``env``, as a shell would set them."""
        words = shlex.split((self.directory / "env").read_text())
        return dict(word.split("=", 1) for word in words if word != "export")

    @property
    def pids(self) -> dict[str, int]:
        """The lines of ``pids``."""
        lines = (self.directory / "pids").read_text().splitlines()
        return {name: int(pid) for name, pid in (line.split() for line in lines)}

    def redis(self) -> redis_client.Redis:
        """A client of the stack's Redis; the caller closes it."""
        return redis_client.Redis.from_url(self.environment["FINALIZER_REDIS_URL"])

    def s3(self) -> Any:
        """A boto3 client of the stack's S3, as its administrator."""
        facts = self.environment
        return boto3.client(
            "s3",
            endpoint_url=facts["AWS_ENDPOINT_URL_S3"],
            region_name=facts["AWS_REGION"],
            aws_access_key_id=facts["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=facts["AWS_SECRET_ACCESS_KEY"],
            config=Config(connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 1}),
        )

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, wait for the end, and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(_STOP_S)


@contextlib.contextmanager
def running_stack(directory: Path, *arguments: str, **environment: str) -> Iterator[RunningStack]:
    """A stack in ``directory`` with further arguments and variables, ended on leaving."""
    process = start_stack(directory, *arguments, **environment)
    alarm = threading.Timer(_READY_S, process.kill)
    alarm.start()
    try:
        line = process.stdout.readline()
        alarm.cancel()
        if line != "ready\n":
            process.kill()
            raise AssertionError(f"the stack said {line!r}, then: {process.stderr.read()}")
        yield RunningStack(process, directory)
    finally:
        alarm.cancel()
        end(process)


def start_stack(directory: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start ``./scripts/stack`` without waiting for it."""
    return subprocess.Popen(
        [str(ROOT / "scripts" / "stack"), "--dir", str(directory), *arguments],
        env={**os.environ, **environment},
        cwd=directory.parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process: subprocess.Popen[str]) -> None:
    """Make sure that a stack has ended; its watcher ends what it leaves behind when killed."""
    with process:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()


def eventually(what: Callable[[], object], timeout: float = 60.0) -> None:
    """Return as soon as ``what`` is true; fail when it does not become true in time."""
    deadline = time.monotonic() + timeout
    while not what():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what}")
        time.sleep(_POLL_S)


def alive(pid: int) -> bool:
    """Whether a process runs: one that ended but was not collected by its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def group_members(group: int) -> set[int]:
    """The processes of a process group that run."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    return {pid for pid in pids if alive(pid) and _group_of(pid) == group}


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None
