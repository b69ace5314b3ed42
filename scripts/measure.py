"""What a group of processes costs while it works: wall time, CPU time, memory, disk."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import TracebackType
    from typing import Self

#: Seconds between two looks at memory and disk; a look costs a few milliseconds of CPU.
SAMPLE_SECONDS = 0.2

_PROC = Path("/proc")
_SHARED_MEMORY = Path("/dev/shm")
_TICKS = os.sysconf("SC_CLK_TCK")
#: Fields of /proc/PID/stat behind the program's name (proc_pid_stat(5)): parent, CPU times.
_PARENT, _CPU = 1, slice(11, 15)
#: Standard streams: a log is not the scratch space of what it tells about.
_STREAMS = ("0", "1", "2")


@dataclass(frozen=True)
class Usage:
    """What was used: seconds, CPU seconds, and the largest memory and disk at one moment, bytes.

    CPU is user and system time of the processes and of all children that they have reaped. Memory
    is the sum of their PSS (a page shared by n processes counts 1/n in each, so that nothing
    counts twice). Disk is the regular files in the scratch folder, and those that the processes
    hold open for writing elsewhere, deleted ones too.
    """

    wall_seconds: float
    cpu_seconds: float
    peak_rss_bytes: int
    peak_disk_bytes: int


class Meter:
    """Measures the processes ``roots``, and everything that they start, while the block runs.

    The processes must outlive the block: what a child used is known once its parent reaped it.
    """

    def __init__(self, roots: Sequence[int], scratch: Path) -> None:
        self._roots = tuple(roots)
        self._scratch = scratch
        self._ended = threading.Event()
        self._sampler = threading.Thread(target=self._sample, name="meter", daemon=True)
        self._memory = self._disk = 0
        self._cpu = self._began = 0.0
        self._usage: Usage | None = None

    def __enter__(self) -> Self:
        self._cpu = self._cpu_seconds()
        self._sampler.start()
        self._began = time.monotonic()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        wall = time.monotonic() - self._began
        cpu = self._cpu_seconds() - self._cpu
        self._ended.set()
        self._sampler.join()
        self._usage = Usage(wall, cpu, self._memory, self._disk)

    @property
    def usage(self) -> Usage:
        """What the block used; raises RuntimeError before its end."""
        if self._usage is None:
            raise RuntimeError("the measurement has not ended")
        return self._usage

    def _cpu_seconds(self) -> float:
        return sum(_cpu_seconds(pid) for pid in descendants(self._roots))

    def _sample(self) -> None:
        while True:
            tree = descendants(self._roots)
            self._memory = max(self._memory, sum(_memory_bytes(pid) for pid in tree))
            self._disk = max(self._disk, _disk_bytes(self._scratch, tree))
            if self._ended.wait(SAMPLE_SECONDS):
                return


def descendants(roots: Iterable[int]) -> list[int]:
    """``roots`` that run, and every process below them."""
    children: dict[int, list[int]] = {}
    alive = set()
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and (fields := _stat_fields(int(entry.name))):
            children.setdefault(int(fields[_PARENT]), []).append(int(entry.name))
            alive.add(int(entry.name))
    found, todo = [], [pid for pid in roots if pid in alive]
    while todo:
        found.append(todo.pop())
        todo += children.get(found[-1], [])
    return found


def _stat_fields(pid: int) -> list[str]:
    """The fields behind the program's name, which may hold spaces; none for one that is gone."""
    with contextlib.suppress(OSError):
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return []


def _cpu_seconds(pid: int) -> float:
    return sum(map(int, _stat_fields(pid)[_CPU])) / _TICKS


def _memory_bytes(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    return 0


def _disk_bytes(scratch: Path, pids: Iterable[int]) -> int:
    """Each file once, be it in the folder, open, or both."""
    files = {(s.st_dev, s.st_ino): s.st_size for s in _stats_below(scratch)}
    for pid in pids:
        files |= {(s.st_dev, s.st_ino): s.st_size for s in _written_by(pid)}
    return sum(files.values())


def _stats_below(folder: Path) -> Iterator[os.stat_result]:
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                yield os.lstat(f"{parent}/{name}")


def _written_by(pid: int) -> Iterator[os.stat_result]:
    """Regular files that a process holds open for writing: the link's own mode says how.

    Shared memory is a file too, but the memory counts already.
    """
    with contextlib.suppress(OSError):
        for link in (_PROC / str(pid) / "fd").iterdir():
            with contextlib.suppress(OSError):
                file = link.stat()
                writable = link.lstat().st_mode & stat.S_IWUSR
                if not stat.S_ISREG(file.st_mode) or not writable or link.name in _STREAMS:
                    continue
                if file.st_dev != _SHARED_MEMORY.stat().st_dev:
                    yield file
