"""A recording repeated with shifted clocks is one recording: no seam shows in any clock."""

import json
import subprocess

import numpy as np
import pytest

from scripts.recordings import (
    LOOP_UNIT,
    SEGMENT_SECONDS,
    make_loop,
    repeat_recording,
)
from scripts.ts_clocks import CLOCK, PACKET, shift_clocks
from tests.media import run

PICTURE = CLOCK // 30
AUDIO_FRAME = CLOCK * 1024 // 48_000


@pytest.fixture(scope="module")
def loop(media_tools, tmp_path_factory):
    folder = tmp_path_factory.mktemp("loop")
    return make_loop(media_tools.ffmpeg, folder, seconds=8, size="320x180", bit_rate=800_000)


def times(media_tools, path, stream):
    """(pts, dts) of each packet of a stream, in ticks of 1/90000 s, as ffprobe reads them."""
    text = run(
        media_tools.ffprobe, "-v", "error", "-f", "mpegts", "-select_streams", f"{stream}:0",
        "-show_entries", "packet=pts,dts", "-of", "json", str(path),
    )  # fmt: skip
    return [(packet["pts"], packet["dts"]) for packet in json.loads(text)["packets"]]


def continuity_errors(stream):
    packets = np.frombuffer(stream, dtype=np.uint8).reshape(-1, PACKET).astype(int)
    packets = packets[packets[:, 3] & 0x10 != 0]
    pids = (packets[:, 1] & 0x1F) << 8 | packets[:, 2]
    steps = [np.diff(packets[pids == pid, 3] & 0x0F) % 16 for pid in np.unique(pids)]
    return sum(int(np.count_nonzero(step != 1)) for step in steps)


@pytest.mark.ffmpeg
@pytest.mark.parametrize("stream", ["v", "a"])
def test_ffprobe_sees_every_packet_moved_by_the_shift(media_tools, loop, tmp_path, stream):
    source = loop.folder / loop.segments[1][0]
    moved = tmp_path / "moved.ts"
    moved.write_bytes(shift_clocks(source.read_bytes(), 1_234_567, {}))
    expected = [(p + 1_234_567, d + 1_234_567) for p, d in times(media_tools, source, stream)]
    assert len(expected) > 50
    assert times(media_tools, moved, stream) == expected


@pytest.mark.ffmpeg
def test_moving_on_over_the_wrap_and_back_restores_every_byte(loop):
    source = (loop.folder / loop.segments[0][0]).read_bytes()
    there = shift_clocks(source, (1 << 33) - 1000, {256: 5})
    assert there != source
    assert shift_clocks(there, 1000, {256: 11}) == source


@pytest.mark.ffmpeg
@pytest.mark.s3
def test_a_repeated_recording_has_no_seam(media_tools, loop, s3, bucket, tmp_path):
    repeated = repeat_recording(loop, 28, client=s3, bucket=bucket, prefix="long/stream")
    playlist = _read(s3, bucket, repeated.key).decode()
    names = [line for line in playlist.splitlines() if line and not line.startswith("#")]
    bodies = [_read(s3, bucket, f"long/stream/{name}") for name in names]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(bodies))

    assert (repeated.segments, repeated.seconds) == (7, pytest.approx(28))
    assert repeated.size == sum(map(len, bodies))
    assert playlist.splitlines().count(f"#EXTINF:{SEGMENT_SECONDS:.6f},") == 7
    assert playlist.endswith("#EXT-X-ENDLIST\n")
    assert continuity_errors(joined.read_bytes()) == 0
    video = [dts for _, dts in times(media_tools, joined, "v")]
    audio = [pts for pts, _ in times(media_tools, joined, "a")]
    assert set(np.diff(video)) == {PICTURE}
    assert set(np.diff(audio)) == {AUDIO_FRAME}
    assert len(video) == 28 * 30
    assert len(set(times(media_tools, joined, "v"))) == 28 * 30
    _decodes_without_a_word(media_tools, joined)


@pytest.mark.ffmpeg
def test_every_segment_has_the_bit_rate_that_was_asked_for(loop):
    sizes = [(loop.folder / name).stat().st_size for name, _ in loop.segments]
    assert [size * 8 / SEGMENT_SECONDS for size in sizes] == pytest.approx([800_000] * 2, rel=0.2)


@pytest.mark.parametrize("seconds", [0, 4, LOOP_UNIT + 1, -8])
def test_a_length_that_would_leave_a_seam_is_refused(seconds, tmp_path):
    with pytest.raises(ValueError, match="seam"):
        make_loop("ffmpeg", tmp_path, seconds=seconds)


@pytest.mark.ffmpeg
def test_the_seam_lies_on_whole_pictures_and_whole_audio_frames(media_tools, loop):
    for stream, step in (("v", PICTURE), ("a", AUDIO_FRAME)):
        counts = [len(times(media_tools, loop.folder / name, stream)) for name, _ in loop.segments]
        assert sum(counts) * step == loop.seconds * CLOCK


def _read(s3, bucket, key):
    return s3.get_object(Bucket=bucket, Key=key)["Body"].read()


def _decodes_without_a_word(media_tools, path):
    """ffmpeg exits 0 on almost any damage, so what counts is that it has nothing to say."""
    done = subprocess.run(
        [media_tools.ffmpeg, "-v", "warning", "-f", "mpegts", "-i", str(path), "-f", "null", "-"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
