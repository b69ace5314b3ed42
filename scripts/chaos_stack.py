"""The stack that chaos disturbs: started behind a proxy, and its processes struck one by one."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import redis

from scripts.api_client import ApiClient
from scripts.child import Child, ChildFailedError
from scripts.embedded import child_environment
from scripts.ports import LOOPBACK
from scripts.s3_access import s3_client
from scripts.s3_proxy import Link, S3Proxy
from scripts.stack import ROOT
from scripts.stack_directory import Identity, open_directory
from scripts.stack_settings import stack_variables
from worker.settings import load

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

#: A slice takes a second or two, most of which it waits: so there is something to be struck.
_LINK = Link(bytes_per_second=8e6, latency=0.002)
_READY_S = 120.0
_STOP_S = 60.0
_READ_S = 20.0


class ChaosStack:
    """A context in which a stack runs on ``directory``, its processes behind ``proxy``.

    It knows nothing of the caller's settings: ``settings`` are its own. Origin and judge reach the
    servers directly, whatever the proxy does.
    """

    def __init__(self, directory: Path, *, workers: int, settings: Mapping[str, str]) -> None:
        with open_directory(directory, fresh=False) as opened:
            identity = opened.identity() or Identity.new()
            opened.keep(identity)
        self.directory = directory
        self.workers = workers
        self.proxy = S3Proxy(identity.s3_port, link=_LINK)
        self.s3: Any = s3_client(
            f"http://{LOOPBACK}:{identity.s3_port}", identity.credentials, _READ_S
        )
        arguments = ["--dir", str(directory), "--workers", str(workers)]
        self._child = Child(
            "stack",
            [
                sys.executable, "-P", "-m", "scripts.stack", *arguments,
                "--through", self.proxy.endpoint,
            ],
            environment=child_environment() | {"PYTHONPATH": str(ROOT)} | dict(settings),
            log=directory / "stack.log",
            probe=lambda _pid: self._child.said("ready\n"),
            cwd=directory,
        )  # fmt: skip

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as opened:
            opened.enter_context(self.proxy)
            opened.callback(self._child.stop, _STOP_S)
            self._child.start()
            self._child.wait_until_ready(_READY_S)
            variables = stack_variables(self.directory)
            self.settings = load(variables)
            self.api = ApiClient(variables["FINALIZER_API_URL"], variables["FINALIZER_API_TOKEN"])
            self.redis: redis.Redis[str] = redis.Redis.from_url(
                self.settings.redis_url,
                decode_responses=True,
                socket_timeout=2,
                socket_connect_timeout=2,
            )
            opened.callback(self.redis.close)
            self._opened = opened.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._opened.close()

    def check(self) -> None:
        """Raise ChildFailedError when the stack itself has ended."""
        if not self._child.running():
            raise ChildFailedError(f"The stack has ended: {self._child.last_words(500)}")

    def parts(self) -> dict[str, int]:
        """The process groups of the stack's parts by name, as far as they run just now."""
        lines = (self.directory / "pids").read_text().splitlines()
        found = {name: int(pid) for name, pid in (line.split() for line in lines)}
        return {name: pid for name, pid in found.items() if _parent(pid) == self._child.pid}

    def worker_names(self) -> list[str]:
        """The names of all worker processes, sorted."""
        return ["control", *self._named("transcode"), *self._named("worker")]

    def signal(self, names: list[str], number: signal.Signals) -> set[int]:
        """Send a signal to all processes of these parts; which processes those were."""
        parts = self.parts()
        struck: set[int] = set()
        for group in (parts[name] for name in names if name in parts):
            struck |= members(group)
            with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
                os.killpg(group, number)
        return struck

    def ask_to_end(self, name: str) -> set[int]:
        """Ask one part to end, as an operator would; which processes it had."""
        leader = self.parts().get(name)
        if leader is None:
            return set()
        struck = members(leader)
        with contextlib.suppress(ProcessLookupError):
            os.kill(leader, signal.SIGTERM)
        return struck

    def _named(self, kind: str) -> list[str]:
        return [f"{kind}-{number}" for number in range(1, self.workers + 1)]


def members(group: int) -> set[int]:
    """The processes of a process group."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    return {pid for pid in pids if _group(pid) == group}


def _group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def _parent(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None
