"""Profiles that the recording does not hold: transcoded beside the copies, whatever goes wrong.

ffmpeg is a stand-in, which does as files in a folder say before it becomes the real one.
"""

import json
import os
import signal

import pytest

from pipelines.tools import locate
from tests.media import run
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
