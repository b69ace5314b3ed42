"""A child process as a filter: bytes in on stdin, bytes out on pipes, and no way to hang.

Why not ``subprocess.run`` or ffmpeg-python's ``run``: a TimeLimit cannot interrupt a blocking
wait, undrained pipes block each other, and a cancelled run must not leave a child behind.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import signal
import subprocess
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.errors import ErrorCode, ToolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import TracebackType
    from typing import Self

#: The descriptor of the pipe that every child has to write on.
STDOUT = 1
#: Bytes asked for in one read of the child's output.
READ_BYTES = 1 << 20
#: Size wished for the pipes (Linux, F_SETPIPE_SZ); the default of 64 KiB costs a switch each.
PIPE_BYTES = 1 << 20
#: Bytes of stderr that are kept for the error message and the log, of its end.
STDERR_BYTES = 64 << 10
#: Bytes of stderr that are kept of its beginning, where the cause of what follows stands.
STDERR_HEAD_BYTES = 8 << 10
#: Characters of one line of stderr in an error message.
LINE_LENGTH = 300
#: The longest deadline that a child is given: the queue's limit for a message lies above it.
LONGEST_DEADLINE_SECONDS = 5 * 3600.0
#: Seconds between two looks at the deadline and the checkpoint while the child is silent.
POLL_SECONDS = 0.5

#: How ffmpeg marks what made it fail under ``-loglevel level+…``.
_ERROR = re.compile(r"\[(error|fatal|panic)\] ?")
#: Where the thing that speaks lies in ffmpeg's memory: another place in every run.
_ADDRESS = re.compile(r" @ 0x[0-9a-f]+")


@dataclass(frozen=True)
class Outcome:
    """How the child ended: a negative ``returncode`` is the signal that killed it."""

    returncode: int
    stderr: str
    stderr_lines: int


class DeadlinePassed(ToolError):
    """A child did not end in time, and was killed."""


class OutputPipe:
    """A pipe besides stdout for one child to write on; ``descriptor`` is its number in the child,
    so that argv can tell it."""

    def __init__(self) -> None:
        self.reader, self.descriptor = os.pipe()
        self._held = True

    def hand_over(self) -> None:
        """Leave the writing end to the child, whose end then shows at the reading one."""
        if self._held:
            self._held = False
            os.close(self.descriptor)

    def close(self) -> None:
        """Close both ends; once."""
        self.hand_over()
        os.close(self.reader)


def last_words(head: str, tail: str) -> str:
    """What a failed child said, in a sentence: the first line that tells of an error, and the last.

    The first is the cause; what ffmpeg says at its end is often only that nothing was written.
    ``head`` and ``tail`` are the beginning and the end of its stderr; either may hold all of it.
    """
    lines = [line.strip() for line in f"{head}\n{tail}".splitlines() if line.strip()]
    if not lines:
        return "it said nothing"
    first = next((line for line in lines if _ERROR.search(line)), lines[0])
    said = (_ADDRESS.sub("", _ERROR.sub("", line))[:LINE_LENGTH] for line in (first, lines[-1]))
    return " … ".join(dict.fromkeys(said))


@contextlib.contextmanager
def open_pipes(count: int) -> Iterator[tuple[OutputPipe, ...]]:
    """Pipes for one ``FilterProcess``, open before its argv is made."""
    with contextlib.ExitStack() as stack:
        pipes = [stack.enter_context(contextlib.closing(OutputPipe())) for _ in range(count)]
        yield tuple(pipes)


def _widen(pipe: int) -> None:
    try:
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    except (AttributeError, OSError):
        return  # not Linux, or over the user's limit: slower, not wrong


class FilterProcess:
    """Runs ``argv``, feeding ``source`` to its stdin while the caller reads what it writes on its
    stdout and on ``pipes``.

    The child has its own process group, which is killed when the context is left before the end.
    ``checkpoint`` is called at every poll and may raise to cancel (lease lost, worker stops).
    Raises ``ToolError`` when the child cannot be started, the deadline passes, or it fails (ending
    well before it has read all of ``source`` is a failure too); an exception in ``source`` (a fetch
    that failed, say) is raised to the reader, never swallowed.
    """

    def __init__(
        self,
        argv: list[str],
        source: Iterable[bytes],
        *,
        pipes: Sequence[OutputPipe] = (),
        deadline_seconds: float,
        checkpoint: Callable[[], None],
    ) -> None:
        self._argv = argv
        self._pipes = pipes
        self._source = source
        self._deadline_seconds = deadline_seconds
        self._deadline = time.monotonic() + deadline_seconds
        self._checkpoint = checkpoint
        self._stderr_head = bytearray()
        self._stderr: deque[bytes] = deque()
        self._stderr_bytes = 0
        self._stderr_lines = 0
        self._source_error: BaseException | None = None
        self._cut_off = False  # the child closed its stdin while there was more to write

    def __enter__(self) -> Self:
        try:
            self._child = subprocess.Popen(
                self._argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=[pipe.descriptor for pipe in self._pipes],
                start_new_session=True,
            )
        except OSError as error:
            message = f"{self._argv[0]} cannot be started: {error.strerror}"
            raise ToolError(ErrorCode.FFMPEG_FAILED, message) from error
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        for pipe in self._pipes:
            pipe.hand_over()
        self._readers = {self._child.stdout.fileno(): STDOUT}
        self._readers |= {pipe.reader: pipe.descriptor for pipe in self._pipes}
        for end in (self._child.stdin.fileno(), *self._readers):
            _widen(end)
        self._feeder = threading.Thread(target=self._feed, name="ffmpeg-stdin", daemon=True)
        self._drainer = threading.Thread(target=self._drain, name="ffmpeg-stderr", daemon=True)
        self._feeder.start()
        self._drainer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._child.poll() is None:
            self._kill()
        self._feeder.join()
        self._drainer.join()
        for pipe in (self._child.stdout, self._child.stderr):
            if pipe is not None:
                pipe.close()

    def output(self) -> Iterator[bytes]:
        """The child's stdout in pieces until it is closed; raises when the child failed."""
        for _, piece in self.outputs():
            yield piece

    def outputs(self) -> Iterator[tuple[int, bytes]]:
        """Pieces of all that the child writes, each with the child's descriptor, until all are
        closed; raises when the child failed.

        Whatever is ready is read, so that no pipe waits for another one.
        """
        open_readers = set(self._readers)
        while open_readers:
            self._look()
            ready, _, _ = select.select(list(open_readers), [], [], POLL_SECONDS)
            for reader in ready:
                piece = os.read(reader, READ_BYTES)
                if piece:
                    yield self._readers[reader], piece
                else:
                    open_readers.remove(reader)
        self._wait()
        self._look()

    def outcome(self) -> Outcome:
        """How the child ended; raises ``ToolError`` unless it exited with 0. After ``outputs``."""
        self._drainer.join()
        tail = b"".join(self._stderr)[-STDERR_BYTES:].decode("utf-8", "replace").strip()
        code = self._child.returncode
        if code != 0:
            head = self._stderr_head.decode("utf-8", "replace")
            how = f"was killed by signal {-code}" if code < 0 else f"exited with {code}"
            raise ToolError(ErrorCode.FFMPEG_FAILED, f"ffmpeg {how}: {last_words(head, tail)}")
        if self._cut_off:
            message = "ffmpeg ended before it had read all of its input"
            raise ToolError(ErrorCode.FFMPEG_FAILED, message)
        return Outcome(code, tail, self._stderr_lines)

    def _look(self) -> None:
        if self._source_error is not None:
            raise self._source_error
        self._checkpoint()
        if time.monotonic() > self._deadline:
            message = f"ffmpeg did not finish within its deadline of {self._deadline_seconds:.0f} s"
            raise DeadlinePassed(ErrorCode.FFMPEG_FAILED, message)

    def _wait(self) -> None:
        while True:
            try:
                self._child.wait(timeout=POLL_SECONDS)
            except subprocess.TimeoutExpired:
                self._look()
            else:
                self._feeder.join()
                return

    def _feed(self) -> None:
        assert self._child.stdin is not None
        try:
            for piece in self._source:
                if not self._write(piece):
                    break
        except BaseException as error:
            self._source_error = error
            self._kill()
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.close()

    def _write(self, piece: bytes) -> bool:
        """Write all of ``piece``, so that closing never waits; False when the child reads no more."""
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(piece)
            self._child.stdin.flush()
        except BrokenPipeError:
            self._cut_off = True
        return not self._cut_off

    def _drain(self) -> None:
        assert self._child.stderr is not None
        while piece := self._child.stderr.read1(4096):  # type: ignore[attr-defined]
            self._stderr_lines += piece.count(b"\n")
            self._stderr_head += piece[: STDERR_HEAD_BYTES - len(self._stderr_head)]
            self._stderr.append(piece)
            self._stderr_bytes += len(piece)
            while self._stderr_bytes - len(self._stderr[0]) >= STDERR_BYTES:
                self._stderr_bytes -= len(self._stderr.popleft())

    def _kill(self) -> None:
        try:
            os.killpg(self._child.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self._child.wait()
