"""``bench length``: what assembly and proof of a recording of days take, in a process of their own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.location import Location
from pipelines.object_store import ObjectStore
from pipelines.package import Packager, package_slice
from pipelines.read_recording import read_recording
from pipelines.slices import SliceLengths, cut
from pipelines.source import SourceReader
from pipelines.tools import locate
from scripts.bench_findings import Findings
from scripts.bench_recording import BUCKET
from scripts.bench_result import BenchFailedError
from scripts.embedded import start_s3
from scripts.long_recording import KeptPayload, write_long
from scripts.recordings import make_loop, playlist, repeat_recording

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pipelines.packaged_slice import PackagedSlice
    from scripts.bench_definition import BenchOptions
    from scripts.bench_findings import Figure

#: Seconds of the slice that is repeated, a multiple of the loop's: near to what slices have.
SLICE_SECONDS = 192
#: Slices are so short up to this number, and from there on five of them in one: as the product's.
SHORT_SLICES, LONG_COPIES = 600, 5
#: Days, and pictures a second, with B-frames.
CASES = ((1, 30), (1, 60), (7, 30))

_LOOP_SECONDS = 32
_BIT_RATE = 6_000_000
#: Packaging the slice in the middle of three needs the source, the payload, and the server's own.
_NEEDED_BYTES = 3 << 30
_DEADLINE_S = 600
_HEADINGS = {
    "name": "recording",
    "slices": "slices",
    "parts": "parts",
    "headerMB": "header MB",
    "assemblingSeconds": "assembly s",
    "provingSeconds": "proof s",
    "cpuSeconds": "CPU s",
    "assemblingPeakMB": "assembly peak MB",
    "peakMB": "peak MB",
}
_NOTES = (
    "One slice of 192 s (1080p would give the same tables: its pictures are 640x360 at the bit rate) "
    "is packaged for real; every other one has its tables, moved on in time, and its payload.",
    "assembly: tables read and merged, header written, upload completed. Parts of slices are not "
    "stored: the store is one of this bench's, in the process, which answers for them, keeps the "
    "header, and reads all else from the one payload. So no network and no server is measured.",
    "proof: sampled, as by default: header read back and parsed, all tables compared, payload at "
    "seams and elsewhere hashed, pictures around some seams decoded.",
    "peak: resident memory of the process (VmHWM), with the 70 MB that it has before it begins, "
    "without the ffmpeg that it starts.",
)


@dataclass(frozen=True)
class LengthBench:
    """Long recordings assembled; a bench of fewer minutes leaves the longer ones out."""

    name: str = "length"
    minutes: float = 7 * 24 * 60
    rounds: int = 1

    def hold(self, options: BenchOptions, say: Callable[[str], None]) -> Findings:
        """Measure once; raises BenchFailedError when that cannot be done."""
        cases = [case for case in CASES if case[0] * 1440 <= options.minutes]
        with tempfile.TemporaryDirectory(prefix="bench-length-") as name:
            folder = Path(name)
            if shutil.disk_usage(folder).free < _NEEDED_BYTES:
                raise BenchFailedError(f"{folder} has no room for 3 GiB; set TMPDIR.")
            rows = [
                row
                for rate in dict.fromkeys(rate for _, rate in cases)
                for row in _rows(folder / str(rate), rate, cases, say)
            ]
        ratios = {
            f"{row['name']}: of 10,000 parts": float(str(row["parts"])) / 10_000 for row in rows
        }
        return Findings(
            self.name, "6 Mbit/s, H.264 with B-frames, AAC", _HEADINGS, rows, ratios, _NOTES
        )


def copies_of(days: int) -> list[int]:
    """How many copies of the one slice each slice of so many days has."""
    total = days * 86_400 // SLICE_SECONDS
    long = max(0, total - SHORT_SLICES) // LONG_COPIES
    return [1] * (total - LONG_COPIES * long) + [LONG_COPIES] * long


def _rows(
    folder: Path, rate: int, cases: Sequence[tuple[int, int]], say: Callable[[str], None]
) -> Iterator[Mapping[str, Figure]]:
    """The figures of all recordings of one picture rate."""
    say(f"A slice at {rate} pictures a second is packaged …")
    one, durations = _packaged(folder, rate)
    for days in (days for days, each in cases if each == rate):
        say(f"{days} days at {rate} pictures a second are assembled …")
        made = folder / f"{days}"
        made.mkdir()
        (made / "payload").hardlink_to(folder / "payload")
        copies = copies_of(days)
        write_long(made, one, SLICE_SECONDS, copies)
        (made / "index.m3u8").write_text(playlist(durations * sum(copies), ended=True))
        yield _row(f"{days} d, {rate} fps", _assembled(made))
        shutil.rmtree(made)


def _packaged(folder: Path, rate: int) -> tuple[PackagedSlice, list[float]]:
    """The slice in the middle of three, its payload in ``folder``, and its segments' EXTINF."""
    ffmpeg = locate().ffmpeg
    loop = make_loop(
        ffmpeg,
        folder / "loop",
        seconds=_LOOP_SECONDS,
        size="640x360",
        bit_rate=_BIT_RATE,
        rate=rate,
    )
    server = start_s3(folder / "s3")
    try:
        client = server.client()
        written = repeat_recording(
            loop, 3 * SLICE_SECONDS, client=client, bucket=BUCKET, prefix="bench"
        )
        reader = SourceReader(ObjectStore(client))
        location = Location.parse(f"s3://{BUCKET}/{written.key}")
        listed = read_recording(reader, location, ()).source.playlists[0]
        work = cut(listed, idle=True, lengths=SliceLengths.all(SLICE_SECONDS - 1))[1]
        packager = Packager(reader, ffmpeg, Fraction(600))
        one = package_slice(work, packager, KeptPayload(folder), lambda: None).tables
    finally:
        server.kill()
        shutil.rmtree(folder / "s3")
    return one, [segment.duration for segment in work.segments]


def _assembled(folder: Path) -> Mapping[str, float]:
    """What a new process found when it assembled what is in ``folder``."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "scripts.long_assembly", str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        timeout=_DEADLINE_S,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    if done.returncode:
        raise BenchFailedError(f"assembly ended with code {done.returncode}")
    found: Mapping[str, float] = json.loads(done.stdout)
    return found


def _row(name: str, found: Mapping[str, float]) -> Mapping[str, Figure]:
    return {
        "name": name,
        **found,
        "headerMB": found["headerBytes"] / 1e6,
        "assemblingPeakMB": found["assemblingPeakBytes"] / 1e6,
        "peakMB": found["peakBytes"] / 1e6,
    }


BENCH = LengthBench()
