"""Assembles and proves a long recording in a process of its own, so that its memory can be told."""

from __future__ import annotations

import json
import resource
import sys
import time
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

from pipelines.assemble import MP4, NONCE, Assembly, OpenUpload, assemble
from pipelines.gap_policy import GapPolicy
from pipelines.location import Location
from pipelines.m3u8 import parse_media
from pipelines.staging import Staging
from pipelines.tools import locate
from pipelines.verify import Thoroughness, Verification
from scripts.long_recording import LongStore


def main(folder: Path) -> dict[str, float]:
    """Assemble what ``write_long`` left in a folder; seconds, bytes and counts by name."""
    began, baseline = time.monotonic(), _peak_bytes()
    ffmpeg = locate().ffmpeg
    store = LongStore(folder)
    location = Location.parse("s3://vod/long/r1/source.mp4")
    playlist = Location.parse("s3://recordings/long/index.m3u8")
    listed = parse_media(
        (folder / "index.m3u8").read_bytes(),
        playlist,
        allowed=(Location.parse("s3://recordings/long/"),),
    )
    upload = OpenUpload(store.create_upload(location, MP4, {NONCE: "long"}), "other")
    assembly = Assembly(
        store=store,
        staging=Staging(store, Location.parse("s3://staging/long/")),
        rendition="source",
        location=location,
        receipts=store.receipts,
        upload=upload,
        open_upload=lambda: upload,
        max_hole=Fraction(600),
        creation_time=datetime(2026, 1, 1, tzinfo=UTC),
        checkpoint=lambda: None,
        gap_policy=GapPolicy.HOLD,
        ffmpeg=ffmpeg,
        listed=listed.segments,
    )
    made = assemble(assembly)
    assembled, peak = time.monotonic(), _peak_bytes()
    proof = Verification(store, made, ffmpeg, Thoroughness.SAMPLED, assembly.checkpoint).prove()
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "mediaSeconds": proof.duration,
        "slices": len(store.receipts),
        "samples": sum(len(each.expected) for each in made.tables.tracks.values()),
        "parts": len(made.parts),
        "objectBytes": made.size,
        "headerBytes": len(made.header),
        "gaps": len(made.tables.gaps),
        "assemblingSeconds": assembled - began,
        "provingSeconds": time.monotonic() - assembled,
        "cpuSeconds": used.ru_utime + used.ru_stime,
        "readBackBytes": proof.bytes_read,
        "baselineBytes": baseline,
        "assemblingPeakBytes": peak,
        "peakBytes": _peak_bytes(),
    }


def _peak_bytes() -> int:
    """The most memory that this process has had resident (proc_pid_status(5)); what getrusage(2)
    tells may be its parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    told = next(line for line in lines if line.startswith("VmHWM:"))
    return int(told.split()[1]) << 10


if __name__ == "__main__":
    json.dump(main(Path(sys.argv[1])), sys.stdout)
