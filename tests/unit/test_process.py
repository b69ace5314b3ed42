"""The runner of ffmpeg: whatever the child does, it ends, everything is read, and nothing stays."""

import os
import sys
import threading
from pathlib import Path

import pytest

from pipelines.errors import ErrorCode, InterruptedWork, ToolError, TransientError
from pipelines.process import (
    LINE_LENGTH,
    STDERR_BYTES,
    STDOUT,
    FilterProcess,
    last_words,
    open_pipes,
)

COPY = "import shutil; shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)"
HANG = "signal.pause()"
MEBIBYTE = bytes(1 << 20)


def child(code):
    return [sys.executable, "-S", "-c", f"import os, signal, sys\n{code}"]


def nothing():
    """A checkpoint that lets everything go on."""


def outcome_of(code, source=(), *, deadline=60.0, checkpoint=nothing):
    """All output of a child, how it ended, and the process; it is gone afterwards, threads too."""
    threads = set(threading.enumerate())
    process = FilterProcess(child(code), source, deadline_seconds=deadline, checkpoint=checkpoint)
    try:
        with process:
            output = b"".join(process.output())
            return output, process.outcome()
    finally:
        assert_gone(process)
        assert set(threading.enumerate()) <= threads


def assert_gone(process):
    pid = process._child.pid
    with pytest.raises(ChildProcessError):  # neither running nor a zombie
        os.waitpid(pid, os.WNOHANG)
    with pytest.raises(ProcessLookupError):
        os.killpg(pid, 0)


def failure(code, source=(), **options):
    with pytest.raises(ToolError) as caught:
        outcome_of(code, source, **options)
    assert caught.value.code == ErrorCode.FFMPEG_FAILED
    return caught.value.message


def test_bytes_flow_through_in_order_while_the_source_still_makes_them():
    source = [bytes([number]) * 700_001 for number in range(20)]
    output, outcome = outcome_of(COPY, iter(source))
    assert output == b"".join(source)
    assert (outcome.returncode, outcome.stderr) == (0, "")


def test_an_empty_source_closes_the_childs_stdin():
    assert outcome_of(COPY)[0] == b""


def test_a_flood_on_stderr_blocks_nothing_and_its_end_is_kept():
    code = f"for n in range(200_000): print('line', n, file=sys.stderr)\n{COPY}"
    output, outcome = outcome_of(code, [MEBIBYTE] * 3)
    assert len(output) == 3 << 20
    assert outcome.stderr_lines == 200_000
    assert outcome.stderr.endswith("line 199999")
    assert len(outcome.stderr) <= STDERR_BYTES


def test_a_failing_child_is_reported_with_its_last_words():
    assert failure(f"{COPY}\nsys.exit('no such codec')") == "ffmpeg exited with 1: no such codec"


FFMPEG_SAYS = """\
[h264 @ 0x55d0a1] [warning] co located POCs unavailable
[h264_nvenc @ 0x55d0a2c3] [error] Cannot load libcuda.so.1
[vost#0:0/h264_nvenc @ 0x55d0a4] [error] Error while opening encoder
[out#0/mp4 @ 0x55d0a5] [error] Nothing was written into output file
"""


def test_what_ffmpeg_says_is_told_by_its_first_error_and_its_last_line():
    words = (
        "[h264_nvenc] Cannot load libcuda.so.1 … [out#0/mp4] Nothing was written into output file"
    )
    assert last_words(FFMPEG_SAYS, FFMPEG_SAYS) == words
    assert last_words("", FFMPEG_SAYS) == words
    assert failure(f"sys.exit({FFMPEG_SAYS!r})") == f"ffmpeg exited with 1: {words}"


def test_the_first_error_is_told_however_much_follows_it():
    code = (
        "print('[error] no space', file=sys.stderr)\n"
        "for n in range(100_000): print('[warning] line', n, file=sys.stderr)\n"
        "sys.exit('[error] gave up')"
    )
    assert failure(code) == "ffmpeg exited with 1: no space … gave up"


def test_words_without_end_are_cut():
    assert last_words("x" * 9000, "y" * 9000) == f"{'x' * LINE_LENGTH} … {'y' * LINE_LENGTH}"


def test_a_silent_failure_is_reported_too():
    assert failure("os._exit(3)") == "ffmpeg exited with 3: it said nothing"


def test_a_killed_child_is_reported_with_its_signal():
    assert "killed by signal 9" in failure("os.kill(os.getpid(), signal.SIGKILL)", [MEBIBYTE] * 9)


def test_exit_0_before_all_input_was_read_is_a_failure():
    message = failure("sys.stdout.write('done')", [MEBIBYTE] * 9)
    assert message == "ffmpeg ended before it had read all of its input"


def test_a_program_that_is_not_there_is_a_failure():
    process = FilterProcess(["/nowhere/ffmpeg"], [], deadline_seconds=1, checkpoint=nothing)
    with pytest.raises(ToolError, match="/nowhere/ffmpeg cannot be started"):
        process.__enter__()


@pytest.mark.parametrize("code", [HANG, f"signal.signal(15, signal.SIG_IGN)\n{HANG}"])
@pytest.mark.parametrize("source", [[], [MEBIBYTE] * 9], ids=["idle", "full-pipe"])
def test_a_hanging_child_is_killed_at_its_deadline(code, source):
    assert "deadline" in failure(code, source, deadline=0.2)


def test_a_child_that_closed_its_output_and_hangs_is_killed_at_its_deadline():
    assert "deadline" in failure(f"os.close(1)\n{HANG}", deadline=0.2)


def test_an_endless_output_is_stopped_at_the_deadline():
    code = "while True: os.write(1, bytes(65536))"
    assert "deadline" in failure(code, deadline=0.2)


def test_a_checkpoint_that_raises_ends_the_child():
    looks = []

    def lost():
        looks.append(1)
        if len(looks) > 1:
            raise InterruptedWork("the lease was lost")

    with pytest.raises(InterruptedWork):
        outcome_of(HANG, [MEBIBYTE] * 9, checkpoint=lost)


@pytest.mark.parametrize(
    ("code", "before"),
    [(COPY, []), (COPY, [b"few"]), (COPY, [MEBIBYTE] * 2), (HANG, []), (HANG, [b"few"])],
    ids=["at-once", "after-few", "after-many", "hanging-at-once", "hanging-after-few"],
)
@pytest.mark.parametrize("error", [TransientError("no store"), BrokenPipeError("a socket's")])
def test_an_error_of_the_source_reaches_the_reader(code, before, error):
    def source():
        yield from before
        raise error

    with pytest.raises(type(error)) as caught:
        outcome_of(code, source())
    assert caught.value is error


def test_an_error_of_the_source_is_not_lost_when_the_child_has_ended():
    def source():
        yield b"x"
        process._child.wait()
        raise TransientError("no store")

    process = FilterProcess(child("pass"), source(), deadline_seconds=60, checkpoint=nothing)
    with process, pytest.raises(TransientError):
        list(process.output())
    assert_gone(process)


@pytest.mark.parametrize("code", [COPY, f"signal.signal(15, signal.SIG_IGN)\n{COPY}\n{HANG}"])
def test_a_reader_that_stops_early_leaves_nothing_behind(code):
    threads = set(threading.enumerate())
    with FilterProcess(
        child(code), [MEBIBYTE] * 64, deadline_seconds=60, checkpoint=nothing
    ) as process:
        next(process.output())
    assert_gone(process)
    assert set(threading.enumerate()) <= threads


def test_a_reader_that_fails_leaves_nothing_behind():
    process = FilterProcess(child(COPY), [MEBIBYTE] * 64, deadline_seconds=60, checkpoint=nothing)
    with pytest.raises(ZeroDivisionError), process:
        sum(len(piece) // 0 for piece in process.output())
    assert_gone(process)


def test_the_child_runs_in_a_process_group_of_its_own():
    output, _ = outcome_of("print(os.getpid() == os.getpgrp() == os.getsid(0))")
    assert output == b"True\n"


def test_many_children_leave_no_open_file():
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        outcome_of(COPY, [b"x"])
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def outputs_of(code, source=(), *, pipes=2, deadline=60.0):
    """What a child writes on its stdout (0) and on each pipe (1 …); ``{0}`` … are their numbers."""
    written = [b""] * (pipes + 1)
    with open_pipes(pipes) as opened:
        numbers = [pipe.descriptor for pipe in opened]
        argv = child(code.format(*numbers))
        process = FilterProcess(
            argv, source, pipes=opened, deadline_seconds=deadline, checkpoint=nothing
        )
        try:
            with process:
                for descriptor, piece in process.outputs():
                    written[[STDOUT, *numbers].index(descriptor)] += piece
                process.outcome()
        finally:
            assert_gone(process)
    return written


def test_every_pipe_of_a_child_is_read_under_its_own_number():
    code = "os.write(1, b'out')\nos.write({0}, b'first')\nos.write({1}, b'second')"
    assert outputs_of(code) == [b"out", b"first", b"second"]


def test_pipes_that_fill_in_turns_do_not_wait_for_each_other():
    code = (
        "big = sys.stdin.buffer.read()\n"
        "for _ in range(3):\n"
        "    for pipe in ({1}, {0}, 1):\n"
        "        view = memoryview(big)\n"
        "        while view: view = view[os.write(pipe, view):]"
    )
    big = MEBIBYTE * 4
    assert outputs_of(code, [big]) == [big * 3] * 3


def test_a_pipe_that_is_closed_early_ends_only_itself():
    code = f"os.write({{0}}, b'x')\nos.close({{0}})\nos.write({{1}}, b'y')\n{COPY}"
    assert outputs_of(code, [MEBIBYTE]) == [MEBIBYTE, b"x", b"y"]


def test_a_child_that_closes_all_but_one_pipe_is_waited_for():
    code = "os.close(1)\nos.close({0})\nimport time; time.sleep(0.1)\nos.write({1}, b'late')"
    assert outputs_of(code) == [b"", b"", b"late"]


def test_pipes_leave_no_open_file_whatever_the_end_is():
    before = len(list(Path("/proc/self/fd").iterdir()))
    outputs_of("pass")
    with pytest.raises(ToolError):
        outputs_of("sys.exit(1)")
    with pytest.raises(ToolError, match="deadline"):
        outputs_of(HANG, deadline=0.2)
    with open_pipes(2) as opened, pytest.raises(ToolError, match="cannot be started"):
        FilterProcess(
            ["/nowhere/ffmpeg"], [], pipes=opened, deadline_seconds=1, checkpoint=nothing
        ).__enter__()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
