"""What a viewer sees: the finished MP4 and the playlist in Chromium, with hls.js for the latter."""

import os

import pytest

from tests.browser import (
    CHROMIUM,
    Missing,
    Viewer,
    chromium_pages,
    fetch_hls_js,
    install_chromium,
    page_server,
)
from tests.media import flash_times
from tests.product import Product, new_id
from tests.stack import running_stack

pytestmark = [pytest.mark.acceptance, pytest.mark.redis, pytest.mark.s3, pytest.mark.ffmpeg]

#: Six seconds each but for the last, in slices of two seconds or less.
RECORDINGS: dict[str, dict[str, object]] = {
    "b-frames": {"b_frames": 2},
    "long-gop": {"gop": 150, "b_frames": 2, "segment": 1.0, "split_by_time": True},
    "fmp4": {"container": "fmp4", "b_frames": 2},
    "mp3": {"audio": "mp3"},
    "video-only": {"audio": None, "b_frames": 2},
    "wrap": {"start": 95_440.0, "b_frames": 2},
    "audio-only": {"video": None},
    "large": {
        "duration": 12.0, "size": "640x360",
        "encoder_options": ("-vf", "noise=alls=40:allf=t", "-qp", "22"),
    },
}  # fmt: skip
DISCONTINUITY = "discontinuity"
NAMES = [*RECORDINGS, DISCONTINUITY]
WITH_PICTURES = [name for name in NAMES if name != "audio-only"]

PICTURE_S = 1 / 30
WHITE, COLORED = 230, 180


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A folder that all processes of this run share."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "browser"
    folder.mkdir(exist_ok=True)
    return folder


def lacking(complete, why):
    """Skip, unless nothing may be skipped."""
    if complete:
        pytest.fail(why)
    pytest.skip(why)


@pytest.fixture(scope="module")
def chromium(complete, run_folder):
    """Makes sure of Chromium; installs it only where nothing may be skipped."""
    if not CHROMIUM.exists() and not complete:
        pytest.skip(f"there is no {CHROMIUM}")
    try:
        install_chromium(run_folder)
    except Missing as missing:
        pytest.fail(str(missing))


@pytest.fixture(scope="module")
def hls_js(complete, run_folder):
    try:
        return fetch_hls_js(run_folder)
    except Missing as missing:
        lacking(complete, str(missing))


@pytest.fixture(scope="module")
def pages(chromium):
    with chromium_pages() as opened:
        yield opened


@pytest.fixture(scope="module")
def server(chromium):
    with page_server() as server:
        yield server


@pytest.fixture
def viewer(pages, server):
    page = pages(server.url)
    yield Viewer(page)
    page.close()


@pytest.fixture(scope="module")
def product(chromium, tmp_path_factory):
    with running_stack(
        tmp_path_factory.mktemp("browser") / "st", "--workers", "2",
        FINALIZER_IDLE_TIMEOUT="1", FINALIZER_SWEEP_INTERVAL="0.2", FINALIZER_SLICE_SECONDS="2",
    ) as stack:  # fmt: skip
        yield Product(stack)


@pytest.fixture(scope="module")
def discontinuous(media, tmp_path_factory):
    """Three seconds of one clock and three of another."""
    folder = tmp_path_factory.mktemp("discontinuous")
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:2"]
    for start in (50.0, 7.0):
        part = media.recording(duration=3.0, segment=1.0, gop=30, b_frames=2, start=start)
        lines += ["#EXT-X-DISCONTINUITY"] if start == 7.0 else []
        for segment in sorted(part.parent.glob("*.ts")):
            name = f"{start:g}-{segment.name}"
            (folder / name).write_bytes(segment.read_bytes())
            lines += ["#EXTINF:1.0,", name]
    (folder / "index.m3u8").write_text("\n".join([*lines, "#EXT-X-ENDLIST", ""]))
    return folder / "index.m3u8"


@pytest.fixture(scope="module")
def sessions(product, media, discontinuous):
    """The ids of sessions that have all begun, by the name of their recordings."""
    recordings = {name: media.recording(**options) for name, options in RECORDINGS.items()}
    ids = {}
    for name, playlist in {**recordings, DISCONTINUITY: discontinuous}.items():
        ids[name] = new_id(name)
        product.upload(ids[name], playlist)
        product.begin(ids[name])
    return ids


@pytest.fixture
def finalized(product, sessions):
    """The ready session of a recording, and what the report says about its MP4."""

    def look(name):
        session = product.reaches(sessions[name], "ready", "failed")
        assert session["phase"] == "ready", session["error"]
        (rendition,) = product.report(session["id"])["renditions"]
        return session, rendition

    return look


def seconds_of(name):
    return RECORDINGS.get(name, {}).get("duration", 6.0)


def size_of(name):
    width, height = str(RECORDINGS.get(name, {}).get("size", "320x180")).split("x")
    return int(width), int(height)


def kind_of(name):
    return "video" if name in WITH_PICTURES else "audio"


def has_sound(name):
    return RECORDINGS.get(name, {}).get("audio", "aac") is not None


def every_second_in_odd_order(times):
    """From the last to the first and then the others again: backwards, far ahead, and on."""
    return [times[-1], times[0], *times[-2:0:-1], *times[1::2]]


@pytest.mark.parametrize("name", NAMES)
def test_the_mp4_plays_from_its_start_to_its_end(name, finalized, viewer):
    session, rendition = finalized(name)
    opened = viewer.open_file(session["mp4Url"], kind_of(name))
    assert rendition["slices"] > 2
    assert opened["duration"] == pytest.approx(rendition["duration"], abs=0.05)
    assert opened["duration"] == pytest.approx(seconds_of(name), abs=0.15)
    if kind_of(name) == "video":
        assert (opened["width"], opened["height"]) == size_of(name)
    played = viewer.play(0.3)
    assert (played["pictures"] > 0) == (kind_of(name) == "video")
    assert (played["soundBytes"] > 0) == has_sound(name)
    viewer.seek(opened["duration"] - 0.5, 0.1)
    ended = viewer.play_to_the_end()
    assert ended["time"] == pytest.approx(opened["duration"], abs=0.05)


@pytest.mark.parametrize("name", WITH_PICTURES)
def test_seeking_in_the_mp4_paints_the_picture_of_that_time(name, finalized, viewer, media_tools):
    session, _ = finalized(name)
    flashes = flash_times(media_tools, session["mp4Url"])
    assert len(flashes) == seconds_of(name)
    viewer.open_file(session["mp4Url"])
    for flash in every_second_in_odd_order(flashes):
        middle = flash + PICTURE_S / 2
        assert viewer.seek(middle - PICTURE_S, PICTURE_S) < COLORED if flash > 0.1 else True
        assert viewer.seek(middle, PICTURE_S) > WHITE
        assert viewer.seek(middle + PICTURE_S, PICTURE_S) < COLORED
        viewer.play(0.1)


def test_seeking_in_sound_alone_goes_on_from_there(finalized, viewer):
    session, rendition = finalized("audio-only")
    viewer.open_file(session["mp4Url"], "audio")
    for second in (5, 0, 4, 2, 3):
        viewer.seek(float(second), 0)
        assert second < viewer.play(0.2)["time"] < rendition["duration"]


def test_the_mp4_plays_while_its_end_is_still_on_its_way(product, finalized, viewer, server):
    session, rendition = finalized("large")
    body = product.fetch(session["mp4Url"]).body
    url, file = server.hold("large.mp4", body, len(body) // 2)
    opened = viewer.open_file(url)
    assert opened["duration"] == pytest.approx(rendition["duration"], abs=0.05)
    viewer.play(1.0)
    file.rest.set()
    viewer.seek(opened["duration"] - 0.5, 0.1)
    assert viewer.play_to_the_end()["ended"]


@pytest.mark.parametrize("name", NAMES)
def test_the_recording_url_plays_with_hls_js(name, product, finalized, viewer, hls_js):
    session, rendition = finalized(name)
    opened = viewer.open_playlist(session["recordingUrl"], hls_js, kind_of(name))
    assert len(opened["codecs"]) == 1
    assert opened["live"] is False
    assert opened["segments"] == rendition["sourceSegments"]
    assert opened["listed"] == pytest.approx(rendition["listedDuration"], abs=0.001)
    assert opened["duration"] == pytest.approx(rendition["listedDuration"], abs=0.15)
    viewer.play(0.3)
    for time in (seconds_of(name) - 1.2, 0.2, seconds_of(name) / 2 - 0.1):
        viewer.seek(time, 0.1)
        viewer.play(0.3)
    viewer.seek(seconds_of(name) - 0.5, 0.1)
    ended = viewer.play_to_the_end()
    assert ended["complaints"] == []
