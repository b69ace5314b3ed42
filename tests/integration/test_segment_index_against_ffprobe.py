"""The index of MPEG-TS segments equals what ffprobe finds in them, packet by packet.

ffprobe reads the segments as one stream; the indexes of the single segments, one after the other,
must name the same packets with the same times and key flags. No recording is excepted: also in
truncated and damaged ones the index counts what ffmpeg will make of them.
"""

import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from pipelines.mpegts.index import continues_previous, index_segment
from pipelines.mpegts.packets import PACKET
from pipelines.segment_index import NO_TIME, TS_WRAP, TrackIndex
from pipelines.tools import MediaTools
from tests.media import run

pytestmark = pytest.mark.ffmpeg

H264 = ("-c:v", "libx264", "-preset", "veryfast", "-g", "50")
HEVC = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params")
AAC = ("-c:a", "aac", "-ar", "44100")
BY_TIME = ("-hls_time", "1", "-hls_flags", "split_by_time")

GENERATED = {
    "b_frames": (*H264, *AAC),
    "open_gop": (*H264, "-x264-params", "open-gop=1:keyint=25:bframes=3", *AAC),
    "split_by_time": (*H264, *AAC, *BY_TIME),
    "four_slices": (*H264, "-x264-params", "slices=4", *AAC),
    "recovery_points": (*H264, "-x264-params", "intra-refresh=1:keyint=25", *AAC, *BY_TIME),
    "interlaced": (*H264, "-x264-params", "tff=1", *AAC),
    "declared_lengths": (
        *H264, *AAC, "-hls_segment_options", "omit_video_pes_length=0:pes_payload_size=0",
    ),
    "small_pes_packets": (*H264, *AAC, "-hls_segment_options", "pes_payload_size=700"),
    "ac3": (*H264, "-c:a", "ac3", "-ar", "48000"),
    "eac3": (*H264, "-c:a", "eac3", "-ar", "48000"),
    "mp3": (*H264, "-c:a", "libmp3lame", "-q:a", "4", "-ar", "22050"),
    "mpeg2": ("-c:v", "mpeg2video", "-bf", "2", "-c:a", "mp2"),
    "hevc": (*HEVC, "log-level=error:keyint=25:slices=3", *AAC),
    "hevc_open_gop": (*HEVC, "log-level=error:keyint=25:open-gop=1", *AAC, *BY_TIME),
    "hevc_fields": (*HEVC, "log-level=error:keyint=25:interlace=tff", *AAC, *BY_TIME),
}  # fmt: skip

#: Recordings whose files are not one stream: each file is compared on its own.
SEPARATE = {"composed-ts-encoder-reconnect", "ts-audio-only-head-then-av", "ts-alt-audio-alt-video"}


class Packets(NamedTuple):
    """The packets of one PID in the order of the stream; times are 33 bits or ``NO_TIME``."""

    pts: np.ndarray
    dts: np.ndarray
    key: np.ndarray


@pytest.fixture(scope="module")
def segments(
    media_tools: MediaTools, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], list[bytes]]:
    """Segments of a small recording that ffmpeg writes in one of the ways of GENERATED."""

    def make(name: str) -> list[bytes]:
        folder = tmp_path_factory.mktemp(name)
        run(
            media_tools.ffmpeg, "-v", "error", "-y",
            "-f", "lavfi", "-i", "testsrc2=s=320x180:r=25:d=5",
            "-f", "lavfi", "-i", "sine=d=5",
            *GENERATED[name], "-f", "hls", "-hls_list_size", "0",
            "-hls_segment_filename", "%03d.ts", "index.m3u8",
            cwd=folder,
        )  # fmt: skip
        return [path.read_bytes() for path in sorted(folder.glob("*.ts"))]

    return make


@pytest.fixture
def probe(media_tools: MediaTools, tmp_path: Path) -> Callable[[bytes], dict[int, Packets]]:
    """ffprobe's packets of a transport stream by PID."""

    def packets(data: bytes) -> dict[int, Packets]:
        path = tmp_path / "whole.ts"
        path.write_bytes(data)
        answer = run(
            media_tools.ffprobe, "-v", "error", "-probesize", "50M", "-analyzeduration", "1000M",
            "-f", "mpegts", "-show_entries", "packet=stream_index,pts,dts,flags:stream=index,id",
            "-of", "json", str(path),
        )  # fmt: skip
        found = json.loads(answer)
        pids = {stream["index"]: int(stream["id"], 16) for stream in found["streams"]}
        rows = defaultdict(list)
        for packet in found["packets"]:
            times = packet.get("pts", NO_TIME), packet.get("dts", NO_TIME)
            rows[pids[packet["stream_index"]]].append((*times, "K" in packet["flags"]))
        return {pid: Packets(*map(np.array, zip(*row, strict=True))) for pid, row in rows.items()}

    return packets


def indexed(parts: Iterable[bytes]) -> dict[int, list[TrackIndex]]:
    """The indexes of all segments by PID."""
    tracks = defaultdict(list)
    for part in parts:
        for track in index_segment(part).tracks:
            tracks[track.track].append(track)
    return tracks


def assert_same(tracks: dict[int, list[TrackIndex]], packets: dict[int, Packets]) -> None:
    """Compare all tracks: counts and key flags exactly, and every time that the index knows.

    Between two stamped audio frames ffmpeg rounds its own way: one tick is allowed there.
    """
    assert {pid: sum(map(len, parts)) for pid, parts in tracks.items()} == {
        pid: len(found.key) for pid, found in packets.items()
    }
    for pid, parts in tracks.items():
        found = packets[pid]
        assert np.concatenate([part.sync for part in parts]).tolist() == found.key.tolist()
        tolerance = 1 if parts[0].unit_duration else 0
        for ours, theirs in (
            (np.concatenate([part.dts for part in parts]), found.dts),
            (np.concatenate([part.pts for part in parts]), found.pts),
        ):
            known = ours != NO_TIME
            assert (theirs[known] != NO_TIME).all()
            half = TS_WRAP // 2
            apart = (ours[known] - theirs[known] + half) % TS_WRAP - half
            assert np.abs(apart).max(initial=0) <= tolerance


def corpus_groups(corpus: Path) -> Iterable[list[Path]]:
    for folder in sorted(path for path in corpus.iterdir() if path.is_dir()):
        files = sorted(folder.glob("*.ts"))
        if folder.name in SEPARATE:
            yield from ([file] for file in files)
        elif files:
            yield files


def test_every_recording_of_the_corpus(corpus: Path, probe: Callable[[bytes], dict[int, Packets]]):
    for files in corpus_groups(corpus):
        parts = [file.read_bytes() for file in files]
        assert_same(indexed(parts), probe(b"".join(parts)))


@pytest.mark.parametrize("name", GENERATED)
def test_every_way_of_writing_segments(
    name: str,
    segments: Callable[[str], list[bytes]],
    probe: Callable[[bytes], dict[int, Packets]],
):
    parts = segments(name)
    tracks = indexed(parts)
    assert_same(tracks, probe(b"".join(parts)))
    # These segments end with whole units and a PES header begins each: every unit has its time.
    for track in (track for parts in tracks.values() for track in parts):
        assert not any((track.continues_previous, track.ends_unfinished, track.headless))
        assert (track.dts != NO_TIME).all()


@pytest.mark.parametrize("name", ["b_frames", "small_pes_packets", "ac3", "mp3", "hevc"])
def test_segments_that_are_cut_anywhere(
    name: str,
    segments: Callable[[str], list[bytes]],
    probe: Callable[[bytes], dict[int, Packets]],
):
    whole = b"".join(segments(name))
    tables, count = whole[PACKET : 3 * PACKET], len(whole) // PACKET
    cuts = [3, *sorted(random.Random(name).sample(range(30, count - 30), 9)), count]
    parts = [tables + whole[a * PACKET : b * PACKET] for a, b in pairwise(cuts)]
    assert_same(indexed(parts), probe(b"".join(parts)))
    for before, after in pairwise(parts):
        continued = continues_previous(after[: 1 << 16])
        unfinished = {t.track for t in index_segment(before).tracks if t.ends_unfinished}
        assert unfinished <= continued


@pytest.mark.parametrize("name", ["b_frames", "four_slices", "mp3", "hevc"])
def test_recordings_that_lost_packets(
    name: str,
    segments: Callable[[str], list[bytes]],
    probe: Callable[[bytes], dict[int, Packets]],
):
    whole = b"".join(segments(name))
    count = len(whole) // PACKET
    lost = set(random.Random(name).sample(range(60, count), 12))
    left = [whole[n * PACKET : (n + 1) * PACKET] for n in range(count) if n not in lost]
    data = b"".join(left)
    assert_same(indexed([data]), probe(data))


def test_a_segment_of_an_open_gop_does_not_start_clean(segments: Callable[[str], list[bytes]]):
    video = [index_segment(part).tracks[0] for part in segments("open_gop")]
    assert [track.starts_clean for track in video] == [True] + [False] * (len(video) - 1)
    assert all(track.sync[0] for track in video)
