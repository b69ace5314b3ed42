"""What has to be encoded, whatever goes wrong: profiles that the recording does not hold, and its odd
parts.

ffmpeg is a stand-in, which does as files in a folder say before it becomes the real one.
"""

import json
import os
import signal

import pytest

from pipelines.tools import locate
from tests.media import beep_times, flash_times, run
from tests.product import Product, new_id
from tests.stack import running_stack

pytestmark = [pytest.mark.acceptance, pytest.mark.redis, pytest.mark.s3, pytest.mark.ffmpeg]

#: Knows no libx265, and encodes H.264 only while nobody holds it.
HELD = """#!/bin/sh
case "$*" in
  *-encoders*) "{ffmpeg}" "$@" | grep -v libx265; exit;;
  *libx264*) while [ -e "{folder}/hold" ]; do sleep 0.05; done;;
esac
exec "{ffmpeg}" "$@"
"""
#: Says that it has NVENC, and cannot open it.
WITHOUT_A_GPU = """#!/bin/sh
case "$*" in
  *-encoders*) "{ffmpeg}" "$@"; echo " V....D h264_nvenc           NVIDIA NVENC H.264 encoder"; exit;;
  *h264_nvenc*) echo "Cannot load libcuda.so.1" >&2; exit 1;;
esac
exec "{ffmpeg}" "$@"
"""

SMALL = {"name": "small", "width": 160, "height": 128, "bitrate": 200_000, "fps": 0}
LARGE = {"name": "large", "width": 256, "height": 144, "bitrate": 400_000, "fps": 0}
QUICK = {
    "FINALIZER_IDLE_TIMEOUT": "1", "FINALIZER_SWEEP_INTERVAL": "0.2", "FINALIZER_LEASE": "4",
    "FINALIZER_SLICE_SECONDS": "4", "FINALIZER_PRESET": "ultrafast",
}  # fmt: skip
TAG = "#EXT-X-DISCONTINUITY"
#: Seconds of media before, in and behind an odd part, a slice each.
BEFORE, OTHER, AFTER = 4, 4, 4
PICTURE = 1 / 30


def stand_in(folder, script):
    """The path of an ffmpeg that does as ``script`` says."""
    path = folder / "ffmpeg"
    path.write_text(script.format(ffmpeg=locate().ffmpeg, folder=folder))
    path.chmod(0o755)
    return str(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("held")


@pytest.fixture(scope="module")
def product(folder, tmp_path_factory):
    with running_stack(
        tmp_path_factory.mktemp("transcodes") / "st", "--workers", "2",
        FINALIZER_FFMPEG=stand_in(folder, HELD), **QUICK,
    ) as stack:  # fmt: skip
        yield Product(stack)


@pytest.fixture(scope="module")
def reconnected(media, tmp_path_factory):
    """Noise of 640x360 at 48 kHz, then 320x180 at 44.1 kHz in mono, then as before; in parts, not
    in a single write."""
    noise = ("-vf", "noise=alls=40:allf=t", "-qp", "33")
    large = {"size": "640x360", "encoder_options": noise}
    other = {"size": "320x180", "encoder_options": ("-ar", "44100", "-ac", "1")}
    folder = tmp_path_factory.mktemp("reconnected")
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:2"]
    for number, (seconds, spec) in enumerate(((BEFORE, large), (OTHER, other), (AFTER, large))):
        path = media.recording(duration=float(seconds), **spec)
        lines += [TAG] if number else []
        for segment in sorted(path.parent.glob("*.ts")):
            name = f"{number}-{segment.name}"
            (folder / name).write_bytes(segment.read_bytes())
            lines += ["#EXTINF:2.0,", name]
    playlist = folder / "index.m3u8"
    playlist.write_text("\n".join([*lines, "#EXT-X-ENDLIST", ""]))
    return playlist


@pytest.fixture
def hold(folder):
    """While the file is there, H.264 is not encoded."""
    held = folder / "hold"
    held.touch()
    yield held
    held.unlink(missing_ok=True)


@pytest.fixture
def probed(media_tools):
    """The first stream of pictures at an address, as ffprobe describes it."""

    def probe(url):
        said = run(
            media_tools.ffprobe, "-v", "error", "-select_streams", "v:0", "-show_streams",
            "-of", "json", url,
        )  # fmt: skip
        return json.loads(said)["streams"][0]

    return probe


def renditions(product, session_id):
    return {each["name"]: each for each in product.get(session_id)["renditions"]}


def begun(product, playlist, **fields):
    """A session with a recording, which goes idle at once."""
    session_id = new_id("transcode")
    product.upload(session_id, playlist)
    product.begin(session_id, **fields)
    return session_id


def transcoding(product, session_id):
    """The process ids of the workers that are on a transcode of the session."""
    items = product.items(session_id, "transcode").values()
    return [int(item["owner"].rpartition(":")[2]) for item in items if item["state"] == "leased"]


def test_the_source_can_be_watched_before_the_transcodes_are_made(product, small, hold, plays):
    session_id = begun(product, small, profiles=[SMALL, LARGE])
    product.happens(
        session_id, lambda: renditions(product, session_id).get("source", {}).get("url")
    )
    product.happens(session_id, lambda: len(transcoding(product, session_id)) == 2)
    session = product.get(session_id)
    assert (session["phase"], session["recordingStatus"]) == ("finalizing", "waiting")
    assert "mp4Url" not in session
    seen = renditions(product, session_id)
    assert (seen["source"]["state"], seen["source"]["progress"]) == ("ready", 1.0)
    plays(seen["source"]["url"], 12.0)
    for name in ("small", "large"):
        assert seen[name]["state"] in ("waiting", "transcoding")
        assert (seen[name]["url"], seen[name]["mediaSecondsDone"]) == (None, 0.0)
    hold.unlink()
    session = product.ready(session_id)
    made = renditions(product, session_id)
    assert session["mp4Url"] == made["source"]["url"] == seen["source"]["url"]
    for name in ("small", "large"):
        assert (made[name]["state"], made[name]["kind"]) == ("ready", "transcode")
        assert (made[name]["mediaSecondsDone"], made[name]["progress"]) == (12.0, 1.0)
        assert made[name]["speed"] > 0
        plays(made[name]["url"], 12.0)


def test_profiles_come_out_as_they_were_asked_for(product, small, probed):
    still = {**SMALL, "name": "slow", "fps": 15, "profile": "H264Baseline", "gop": "1.0"}
    session_id = begun(product, small, profiles=[still, LARGE])
    product.ready(session_id)
    made = renditions(product, session_id)
    slow, large = probed(made["slow"]["url"]), probed(made["large"]["url"])
    assert (slow["width"], slow["height"], slow["nb_frames"]) == (160, 90, "180")
    assert (slow["avg_frame_rate"], slow["profile"]) == ("15/1", "Constrained Baseline")
    assert (large["width"], large["height"], large["nb_frames"]) == (256, 144, "360")
    assert (large["codec_name"], large["profile"], large["pix_fmt"]) == ("h264", "High", "yuv420p")
    assert made["slow"]["encoding"]["fps"] == "15/1"


def test_a_worker_that_is_killed_in_a_transcode_costs_nothing_but_time(product, small, hold, plays):
    session_id = begun(product, small, profiles=[SMALL])
    product.happens(session_id, lambda: len(transcoding(product, session_id)) == 2)
    os.kill(min(transcoding(product, session_id)), signal.SIGKILL)
    hold.unlink()
    product.ready(session_id)
    assert product.events(session_id, "attempt_failed") == []
    plays(renditions(product, session_id)["small"]["url"], 12.0)


def test_an_encoder_that_ffmpeg_lacks_is_named_before_any_work_is_done(product, small):
    profile = {**SMALL, "name": "modern", "encoder": "HEVC"}
    session_id = begun(product, small, profiles=[SMALL, profile])
    session = product.reaches(session_id, "failed", "ready")
    assert session["error"]["code"] == "encoder_missing"
    assert "modern" in session["error"]["message"]
    assert "libx265" in session["error"]["message"]
    assert product.events(session_id, "slice_packaged", "slice_transcoded") == []
    product.put(session_id, profiles=[SMALL])
    assert product.rerun(session_id) == 202
    product.ready(session_id)


@pytest.mark.long
def test_hardware_that_fails_gives_way_to_software_and_the_ladder_is_made(
    small, tmp_path, tmp_path_factory, plays
):
    with running_stack(
        tmp_path / "st", "--workers", "1",
        FINALIZER_FFMPEG=stand_in(tmp_path_factory.mktemp("gpu"), WITHOUT_A_GPU),
        FINALIZER_HARDWARE="nvenc", FINALIZER_DEFAULT_PROFILES="1", **QUICK,
    ) as stack:  # fmt: skip
        product = Product(stack)
        session_id = begun(product, small)
        product.ready(session_id)
        made = renditions(product, session_id)
        ladder = ["240p0", "360p0", "480p0", "720p0"]
        assert list(made) == ["source", *ladder]
        assert {made[name]["encoding"]["implementation"] for name in ladder} == {"libx264"}
        (told,) = product.events(session_id, "encoder_fallback")
        assert told["implementation"] == "h264_nvenc"
        assert "Cannot load libcuda" in told["reason"]
        log = (stack.directory / "logs" / "transcode-1.log").read_text()
        warned = [json.loads(line) for line in log.splitlines() if "encoder_fallback" in line]
        assert [(line["level"], line["implementation"]) for line in warned] == [
            ("warning", "h264_nvenc")
        ]
        assert "nothing is scaled up" in made["480p0"]["reason"]
        plays(made["240p0"]["url"], 12.0)


def streams(media_tools, url):
    said = run(media_tools.ffprobe, "-v", "error", "-show_streams", "-of", "json", url)
    return {each["codec_type"]: each for each in json.loads(said)["streams"]}


def test_a_reconnect_with_another_size_and_sound_becomes_one_mp4(
    product, reconnected, media_tools, plays
):
    session_id = begun(product, reconnected, profiles=[SMALL])
    url = product.ready(session_id)["mp4Url"]
    seconds = BEFORE + OTHER + AFTER
    plays(url, seconds)
    found = streams(media_tools, url)
    assert (found["video"]["width"], found["video"]["height"]) == (640, 360)
    assert (found["audio"]["sample_rate"], found["audio"]["channels"]) == ("48000", 2)
    flashes, beeps = flash_times(media_tools, url), beep_times(media_tools, url)
    # Each stretch begins where the sound of the one before ends: in whole frames, up to 43 ms later.
    assert flashes == pytest.approx([*range(seconds)], abs=0.13)
    assert beeps == pytest.approx(flashes, abs=PICTURE)
    conformed = product.events(session_id, "slice_conformed")
    assert sorted((each["rendition"], each["slice"]) for each in conformed) == [
        ("small", 1), ("source", 1),
    ]  # fmt: skip
    assert product.events(session_id, "attempt_failed") == []
    report = product.report(session_id)
    assert report["verdict"] == "repaired"


def test_a_worker_that_is_killed_while_it_conforms_costs_nothing_but_time(
    product, reconnected, plays
):
    session_id = begun(product, reconnected)
    product.happens(session_id, lambda: conforming(product, session_id))
    os.kill(conforming(product, session_id)[0], signal.SIGKILL)
    url = product.ready(session_id)["mp4Url"]
    assert product.events(session_id, "attempt_failed") == []
    plays(url, BEFORE + OTHER + AFTER)


def conforming(product, session_id):
    """The process ids of the workers that conform a slice of the session."""
    items = product.items(session_id, "conform").values()
    return [int(item["owner"].rpartition(":")[2]) for item in items if item["state"] == "leased"]
