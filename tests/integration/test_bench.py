"""A bench does what it measures: the same MP4s in all ways, and figures in the promised shape."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.measure import Meter, descendants

ROOT = Path(__file__).parents[2]


def bench(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "scripts.bench", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.long
@pytest.mark.ffmpeg
@pytest.mark.s3
@pytest.mark.redis
def test_bench_copy_compares_four_ways_and_ours_needs_no_disk(tmp_path):
    figures, scratch = tmp_path / "figures.json", tmp_path / "scratch"
    scratch.mkdir()
    done = bench(
        "copy", "--minutes", "0.2", "--rounds", "1", "--json", str(figures), TMPDIR=str(scratch)
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(figures.read_text())
    assert result.keys() == {"bench", "ratios", "rows"}
    assert result["bench"] == "copy"
    assert result["ratios"].keys() == {"toFloor", "serialToOurs"}
    assert all(ratio > 0 for ratio in result["ratios"].values())
    rows = {row.pop("name"): row for row in result["rows"]}
    assert list(rows) == ["ours", "serial", "presigned", "floor"]
    for row in rows.values():
        assert row.keys() == {"wallSeconds", "cpuSeconds", "peakRssBytes", "peakDiskBytes"}
        assert row["wallSeconds"] > 0
        assert row["cpuSeconds"] > 0
        assert row["peakRssBytes"] > 10_000_000
    recording = 0.2 * 60 * 6_000_000 / 8
    assert rows["ours"]["peakDiskBytes"] == rows["floor"]["peakDiskBytes"] == 0
    assert rows["presigned"]["peakDiskBytes"] > recording * 0.8
    assert rows["serial"]["peakDiskBytes"] > recording * 1.6
    assert all(name in done.stdout for name in rows)
    assert not list(scratch.iterdir())


@pytest.mark.long
@pytest.mark.ffmpeg
@pytest.mark.s3
@pytest.mark.redis
def test_bench_transcode_compares_us_with_ffmpeg_alone(tmp_path):
    figures, scratch = tmp_path / "figures.json", tmp_path / "scratch"
    scratch.mkdir()
    done = bench(
        "transcode", "--minutes", "0.1", "--size", "256x144", "--json", str(figures),
        TMPDIR=str(scratch), FINALIZER_PRESET="ultrafast", FINALIZER_SLICE_SECONDS="4",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(figures.read_text())
    assert result.keys() == {"bench", "ratios", "rows"}
    assert result["bench"] == "transcode"
    assert result["ratios"].keys() == {
        "cpuToFloor1", "cpuToFloor2", "eachToFloor", "wall2to1", "wallToFloor",
    }  # fmt: skip
    assert all(ratio > 0 for ratio in result["ratios"].values())
    rows = {row["name"]: row for row in result["rows"]}
    assert list(rows) == ["ours1", "ours2", "each", "floor"]
    assert all(row["cpuSeconds"] > 0 for row in rows.values())
    assert rows["ours1"]["peakDiskBytes"] == rows["ours2"]["peakDiskBytes"] == 0
    assert rows["each"]["peakDiskBytes"] > 0
    assert rows["ours2"]["peakRssBytes"] > rows["ours1"]["peakRssBytes"]
    assert all(name in done.stdout for name in rows)
    assert "source.mp4" in done.stdout
    assert not list(scratch.iterdir())


@pytest.mark.long
@pytest.mark.ffmpeg
@pytest.mark.s3
@pytest.mark.redis
def test_bench_ready_measures_both_ways_and_the_recipe_and_draws_them(tmp_path):
    figures, curves, scratch = (tmp_path / name for name in ("figures.json", "a.png", "scratch"))
    scratch.mkdir()
    done = bench(
        "ready", "--minutes", "0.2", "--size", "256x144", "--rounds", "1",
        "--json", str(figures), "--png", str(curves), TMPDIR=str(scratch),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(figures.read_text())
    assert result["ratios"].keys() == {"liveLongestToShortest", "afterToLive", "serialToLive"}
    (row,) = result["rows"]
    assert row.keys() == {"name", "after", "live", "serial"}
    assert all(row[way] > 0 for way in ("after", "live", "serial"))
    assert curves.read_bytes().startswith(b"\x89PNG")
    assert not list(scratch.iterdir())


@pytest.mark.long
@pytest.mark.ffmpeg
@pytest.mark.s3
@pytest.mark.redis
def test_bench_scale_counts_the_slices_of_each_worker_and_the_requests(tmp_path):
    figures = tmp_path / "figures.json"
    done = bench("scale", "--minutes", "1", "--size", "256x144", "--json", str(figures))
    assert done.returncode == 0, done.stderr
    result = json.loads(figures.read_text())
    assert result["ratios"].keys() == {
        "efficiency2", "efficiency4", "efficiency8", "serialToOne", "requestsPerHour",
        "requestsPerGigabyte",
    }  # fmt: skip
    rows = {row.get("workers", 0): row for row in result["rows"]}
    assert rows.keys() == {0, 1, 2, 4, 8}
    slices = {sum(map(int, rows[workers]["slices"].split())) for workers in (1, 2, 4, 8)}
    assert len(slices) == 1
    assert slices.pop() > 0
    assert all(len(rows[workers]["slices"].split()) == workers for workers in (1, 2, 4, 8))
    assert result["ratios"]["requestsPerHour"] > 0


@pytest.mark.long
@pytest.mark.ffmpeg
@pytest.mark.s3
@pytest.mark.redis
def test_bench_sessions_loses_none(tmp_path):
    figures = tmp_path / "figures.json"
    done = bench("sessions", "--sessions", "30", "--json", str(figures))
    assert done.returncode == 0, done.stderr
    result = json.loads(figures.read_text())
    assert result["ratios"]["lost"] == 0
    values = {row["name"]: row["value"] for row in result["rows"]}
    assert values["stored sessions"] == 3000
    assert values["ended at once"] == 3
    assert values["memory of a stored session"] > 500
    assert values["heartbeat p99"] >= values["heartbeat p50"] > 0


def test_a_size_that_is_none_is_refused():
    done = bench("transcode", "--size", "1280x721")
    assert done.returncode == 2
    assert "1280x721" in done.stderr


def test_a_bench_that_does_not_exist_is_named_with_those_that_do():
    done = bench("nothing")
    assert done.returncode == 2
    assert "nothing" in done.stderr
    assert "copy" in done.stderr


def measured(program: str, folder: Path) -> Meter:
    """The meter around a child that says ``made``, and waits to be measured before it ends."""
    script = f"import sys, tempfile, os\n{program}\nprint('made', flush=True)\nsys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"made\n"
        with Meter([child.pid], folder) as meter:
            pass
        assert descendants([child.pid])[0] == child.pid
        child.communicate()
    return meter


def test_a_deleted_file_outside_of_the_scratch_folder_counts_as_disk(tmp_path):
    elsewhere, scratch = tmp_path / "elsewhere", tmp_path / "scratch"
    elsewhere.mkdir()
    scratch.mkdir()
    program = f"f = tempfile.TemporaryFile(dir={str(elsewhere)!r}); f.write(b'x' * 4096); f.flush()"
    assert measured(program, scratch).usage.peak_disk_bytes == 4096


def test_a_file_in_the_scratch_folder_counts_once_though_it_is_open(tmp_path):
    program = "f = open('file', 'wb'); f.write(b'x' * 5000); f.flush()"
    assert measured(program, tmp_path).usage.peak_disk_bytes == 5000


def test_memory_of_children_counts(tmp_path):
    program = (
        "import subprocess\nchild = subprocess.Popen([sys.executable, '-c', "
        "'import sys; held = bytearray(50_000_000); print(1, flush=True); sys.stdin.read()'], "
        "stdin=sys.stdin, stdout=subprocess.PIPE); child.stdout.readline()"
    )
    assert measured(program, tmp_path).usage.peak_rss_bytes > 50_000_000


def test_the_processor_time_of_children_that_ended_meanwhile_counts(tmp_path):
    busy = "import time\nwhile time.process_time() < 0.3: pass"
    program = (
        "import subprocess\nprint('go', flush=True)\nsys.stdin.readline()\n"
        f"subprocess.run([sys.executable, '-c', {busy!r}], check=True)"
    )
    script = f"import sys\n{program}\nprint('made', flush=True)\nsys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == b"go\n"
        with Meter([child.pid], tmp_path) as meter:
            child.stdin.write(b"\n")
            child.stdin.flush()
            assert child.stdout.readline() == b"made\n"
        child.communicate()
    assert meter.usage.cpu_seconds > 0.2  # the kernel counts in ticks
