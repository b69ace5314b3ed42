"""A child process that is ended together with everything it started, whatever happens to us."""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from scripts import reaper

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

#: How often a condition is looked at while waiting for it.
_POLL_S = 0.02

#: A program says within so many bytes that it is ready.
_OUTPUT_LIMIT = 1 << 20


class ChildFailedError(Exception):
    """A child process ended, or did not answer, before it was ready; says where its log is."""


class Child:
    """One program in a process group of its own, its output appended to a log file.

    ``probe`` says whether the program answers; it must come back quickly, true or false. It is
    told the process id, so that it can tell this program from another one on the same port.
    ``litter`` are the patterns of files elsewhere that the program does not remove itself.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str],
        log: Path,
        probe: Callable[[int], bool],
        cwd: Path | None = None,
        litter: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.log = log
        self._argv = list(argv)
        self._environment = dict(environment)
        self._probe = probe
        self._cwd = cwd
        self._litter = list(litter)
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def started(self) -> bool:
        """Whether the program was started, be it that it has ended since."""
        return self._process is not None

    @property
    def pid(self) -> int:
        """The process id of the program as started last; raises RuntimeError before that."""
        if self._process is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._process.pid

    def start(self) -> None:
        """Start the program; it may take a while until it answers."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                self._argv,
                env=self._environment,
                cwd=self._cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        _watch().announce(self.pid, self._litter)

    def exit_code(self) -> int | None:
        """None while the program runs; negative when a signal ended it."""
        return self._process.poll() if self._process else None

    def last_words(self, size: int = 2000) -> str:
        """The end of what the program has written since it was started."""
        return self._output()[-size:].decode(errors="replace").strip()

    def said(self, words: str) -> bool:
        """Whether the program has written ``words`` since it was started."""
        return words.encode() in self._output()

    def running(self) -> bool:
        """Whether the program was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def answers(self) -> bool:
        """Whether the program runs and its probe is content."""
        return self.running() and self._probe(self.pid)

    def wait_until_ready(self, timeout: float) -> None:
        """Return when the probe is content; raise ChildFailedError if it ends first, or is late."""
        deadline = time.monotonic() + timeout
        while not self.answers():
            if not self.running():
                raise ChildFailedError(f"{self.name} ended with {self.exit_code()}; see {self.log}")
            if time.monotonic() > deadline:
                raise ChildFailedError(
                    f"{self.name} gave no answer in {timeout:g} s; see {self.log}"
                )
            time.sleep(_POLL_S)

    def terminate(self) -> None:
        """Ask the program to end (SIGTERM) without waiting for it."""
        if self._process and self.running():
            self._process.terminate()

    def stop(self, grace: float = 10.0) -> None:
        """Ask the program to end, wait ``grace`` seconds, then kill it and all that it started."""
        self.terminate()
        if self._process:
            try:
                self._process.wait(max(0.0, grace))
            except subprocess.TimeoutExpired:
                self._process.send_signal(signal.SIGKILL)
        self.kill()

    def kill(self) -> None:
        """Kill the program and all that it started (SIGKILL), as a crash of the machine would."""
        if self._process is None:
            return
        reaper.kill_group(self._process.pid)
        self._process.wait()
        reaper.remove_litter(self._litter)
        _watch().take_back(self._process.pid)
        self._process = None

    def _output(self) -> bytes:
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read(_OUTPUT_LIMIT)


class _Watch:
    """Our end of the reaper's standard input: closed by the kernel when this process ends."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(reaper.__file__))],
            env={},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        atexit.register(self._close)

    def announce(self, group: int, litter: Sequence[str]) -> None:
        self._tell([group, list(litter)])

    def take_back(self, group: int) -> None:
        self._tell([group])

    def _tell(self, facts: list[object]) -> None:
        if self._process.stdin is None:
            raise RuntimeError("the reaper was started without a pipe")
        with self._lock:
            self._process.stdin.write(json.dumps(facts).encode() + b"\n")
            self._process.stdin.flush()

    def _close(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()


@cache
def _watch_of(owner: int) -> _Watch:
    return _Watch()


def _watch() -> _Watch:
    """One reaper per process: a forked copy of us must not speak to its parent's."""
    return _watch_of(os.getpid())
