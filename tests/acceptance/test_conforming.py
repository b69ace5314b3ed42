"""An encoder that reconnects with other settings: one MP4 all the same, only its odd part encoded."""

import json
import os
import signal

import pytest

from tests.media import beep_times, flash_times, run
from tests.product import Product, new_id
from tests.stack import running_stack

pytestmark = [pytest.mark.acceptance, pytest.mark.redis, pytest.mark.s3, pytest.mark.ffmpeg]

TAG = "#EXT-X-DISCONTINUITY"
QUICK = {
    "FINALIZER_IDLE_TIMEOUT": "1", "FINALIZER_SWEEP_INTERVAL": "0.2", "FINALIZER_LEASE": "4",
    "FINALIZER_SLICE_SECONDS": "4", "FINALIZER_PRESET": "ultrafast",
}  # fmt: skip
SMALL = {"name": "small", "width": 160, "height": 128, "bitrate": 200_000, "fps": 0}
#: Seconds of media, in slices of four.
BEFORE, OTHER, AFTER = 8, 4, 8
PICTURE = 1 / 30


@pytest.fixture(scope="module")
def product(tmp_path_factory):
    folder = tmp_path_factory.mktemp("conforming") / "st"
    with running_stack(folder, "--workers", "2", **QUICK) as stack:
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


def begun(product, playlist, **fields):
    session_id = new_id("conform")
    product.upload(session_id, playlist)
    product.begin(session_id, **fields)
    return session_id


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
    assert flashes == pytest.approx([*range(seconds)], abs=0.1)
    assert beeps == pytest.approx(flashes, abs=PICTURE)
    conformed = product.events(session_id, "slice_conformed")
    assert sorted((each["rendition"], each["slice"]) for each in conformed) == [
        ("small", 2), ("source", 2),
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
