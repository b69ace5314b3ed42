"""The finished MP4 against ffmpeg's own copy of the same recording, packet by packet."""

from fractions import Fraction

import pytest

from tests.framehash import differences, from_zero, packets
from tests.media import beep_times, flash_times, run

pytestmark = [pytest.mark.s3, pytest.mark.ffmpeg]

#: Recordings that ffmpeg copies rightly.
RIGHT = {
    "b-frames": {"b_frames": 2},
    "hevc": {"video": "hevc", "b_frames": 2},
    "mp3": {"audio": "mp3"},
    "ac3": {"audio": "ac3"},
    "44100-hz": {"encoder_options": ("-ar", "44100")},
    "fmp4": {"container": "fmp4", "b_frames": 2},
    "audio-only": {"video": None},
    "video-only": {"audio": None, "b_frames": 2},
    "25-fps": {"fps": "25", "gop": 50},
    "ntsc": {"fps": "30000/1001", "gop": 60, "b_frames": 2},
    "late-clock": {"start": 3723.5},
}
#: ffmpeg rounds the times of sound to the sample rate, and the source to 90 kHz.
ROUNDING = Fraction(1, 5000)
MILLISECOND = Fraction(1, 1000)
STREAMS = {"video": "v:0", "audio": "a:0"}


@pytest.fixture(scope="module", params=RIGHT.values(), ids=RIGHT.keys())
def case(request, media, finalizer, tmp_path_factory):
    """A recording, what was made of it, and the tracks that it has."""
    path = media.recording(**request.param)
    one = finalizer()
    one.finalize(path)
    tracks = [name for name in STREAMS if request.param.get(name, True)]
    return path, one.download(tmp_path_factory.mktemp("made") / "ours.mp4"), tracks


def all_packets(tools, path, tracks, *options):
    """The packets of each track, in time from the first one of all."""
    found = {name: packets(tools, path, STREAMS[name], *options) for name in tracks}
    zero = min(packet.pts for each in found.values() for packet in each)
    return {name: from_zero(each, zero) for name, each in found.items()}


def copy_with_ffmpeg(tools, source, target):
    """The plain recipe; ``hvc1`` takes the parameter sets of HEVC out of the samples, as ours."""
    codecs = run(tools.ffprobe, "-v", "error", "-show_entries", "stream=codec_name", str(source))
    tag = ["-tag:v", "hvc1"] if b"hevc" in codecs else []
    run(tools.ffmpeg, "-v", "error", "-i", str(source), "-c", "copy", *tag, str(target))


def assert_same(ours, theirs):
    for name, mine in ours.items():
        assert differences(mine, theirs[name], ROUNDING) == [], name


def test_every_packet_is_that_of_ffmpegs_copy(case, media_tools, tmp_path):
    path, ours, tracks = case
    copy = tmp_path / "copy.mp4"
    copy_with_ffmpeg(media_tools, path, copy)
    assert_same(all_packets(media_tools, ours, tracks), all_packets(media_tools, copy, tracks))


def test_sound_and_picture_keep_their_distance(case, media_tools):
    path, ours, tracks = case
    if len(tracks) < 2:
        return
    source = all_packets(media_tools, path, tracks)
    made = all_packets(media_tools, ours, tracks)
    for name in tracks:
        first, original = (min(p.pts for p in each[name]) for each in (made, source))
        assert abs(first - original) <= MILLISECOND


def test_every_flash_and_beep_is_there_at_its_time(case, media_tools):
    _, ours, tracks = case
    flashes = flash_times(media_tools, ours) if "video" in tracks else []
    beeps = beep_times(media_tools, ours) if "audio" in tracks else []
    for times in filter(None, (flashes, beeps)):
        assert len(times) == 6
        assert [time - times[0] for time in times] == pytest.approx(range(6), abs=1 / 25)
    if flashes and beeps:
        assert beeps == pytest.approx(flashes, abs=1 / 25)


def test_segments_put_one_after_the_other_hold_the_same_packets(
    media, finalizer, media_tools, tmp_path
):
    path = media.recording(b_frames=2)
    whole = tmp_path / "whole.ts"
    whole.write_bytes(b"".join(each.read_bytes() for each in sorted(path.parent.glob("*.ts"))))
    copy = tmp_path / "copy.mp4"
    copy_with_ffmpeg(media_tools, whole, copy)
    one = finalizer(slice_seconds=1.0)
    one.finalize(path)
    ours = one.download(tmp_path / "ours.mp4")
    assert_same(all_packets(media_tools, ours, STREAMS), all_packets(media_tools, copy, STREAMS))


def test_the_object_is_a_faststart_mp4_that_says_what_it_is(media, finalizer, media_tools, s3):
    one = finalizer()
    made, proof = one.finalize(media.recording())
    head = s3.head_object(Bucket=one.output.bucket, Key=one.output.key)
    assert head["ContentType"] == "video/mp4"
    assert "immutable" in head["CacheControl"]
    assert head["ContentLength"] == made.size
    assert proof.duration == pytest.approx(6.0, abs=0.05)
    assert abs(proof.start_skew) <= 1 / 30
