"""What a viewer sees: the finished MP4 and the playlist in Chromium, with hls.js for the latter."""

import pytest

from tests.browser import page_server, watching
from tests.media import flash_times
from tests.product import Product, new_id
from tests.stack import running_stack

pytestmark = [pytest.mark.acceptance, pytest.mark.redis, pytest.mark.s3, pytest.mark.ffmpeg]

SECONDS = 6.0
#: Of so many seconds each, in slices of two seconds or less.
RECORDINGS: dict[str, dict[str, object]] = {
    "b-frames": {"b_frames": 2},
    "long-gop": {"gop": 150, "b_frames": 2, "segment": 1.0, "split_by_time": True},
    "fmp4": {"container": "fmp4", "b_frames": 2},
    "mp3": {"audio": "mp3"},
    "video-only": {"audio": None, "b_frames": 2},
    "wrap": {"start": 95_440.0, "b_frames": 2},
    "audio-only": {"video": None},
    "several-parts": {
        "encoder_options": (
            "-b:v", "50M", "-minrate", "50M", "-maxrate", "50M", "-bufsize", "50M",
            "-x264-params", "nal-hrd=cbr:scenecut=0",
        ),
    },
}  # fmt: skip
DISCONTINUITY, SUBTITLES = "discontinuity", "subtitles"
NAMES = [*RECORDINGS, DISCONTINUITY]
WITH_PICTURES = [name for name in NAMES if name != "audio-only"]
PLAYLISTS = ["b-frames", "fmp4", "mp3", "audio-only", "wrap", DISCONTINUITY]

PICTURE_S = 1 / 30
WHITE, COLORED = 230, 180


@pytest.fixture(scope="module")
def server():
    with page_server() as server:
        yield server


@pytest.fixture(scope="module")
def viewer(chromium, server):
    with watching(server.url) as viewer:
        yield viewer


@pytest.fixture(scope="module")
def product(chromium, tmp_path_factory):
    with running_stack(
        tmp_path_factory.mktemp("browser") / "st", "--workers", "1",
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
def subtitled(discontinuous, tmp_path_factory):
    """The same, with subtitles whose second segment begins earlier than the second clock."""
    folder = tmp_path_factory.mktemp("subtitled")
    for path in discontinuous.parent.iterdir():
        (folder / path.name.replace("index", "media")).write_bytes(path.read_bytes())
    head = "WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:0\n\n"
    (folder / "0.vtt").write_text(f"{head}00:51.000 --> 00:52.000\nof the first clock\n")
    (folder / "1.vtt").write_text(f"{head}00:08.000 --> 00:09.000\nof the second\n")
    (folder / "text.m3u8").write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:2.5,\n0.vtt\n#EXT-X-DISCONTINUITY\n"
        "#EXTINF:3.5,\n1.vtt\n#EXT-X-ENDLIST\n"
    )
    (folder / "index.m3u8").write_text(
        '#EXTM3U\n#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="s",NAME="English",LANGUAGE="en",'
        'DEFAULT=YES,AUTOSELECT=YES,URI="text.m3u8"\n'
        '#EXT-X-STREAM-INF:BANDWIDTH=500000,SUBTITLES="s"\nmedia.m3u8\n'
    )
    return folder / "index.m3u8"


@pytest.fixture(scope="module")
def sessions(product, media, discontinuous, subtitled):
    """The ids of sessions that have all begun, by the name of their recordings."""
    recordings = {name: media.recording(**options) for name, options in RECORDINGS.items()}
    ids = {}
    made = {DISCONTINUITY: discontinuous, SUBTITLES: subtitled}
    for name, playlist in {**recordings, **made}.items():
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


def kind_of(name):
    return "video" if name in WITH_PICTURES else "audio"


def has_sound(name):
    return RECORDINGS.get(name, {}).get("audio", "aac") is not None


def start_seams_and_end(flashes):
    """The last flash, those at the seams of two-second slices, and the first; backwards."""
    return [flashes[-1], *reversed(flashes[::2])]


@pytest.mark.parametrize("name", NAMES)
def test_the_mp4_plays_from_its_start_to_its_end(name, finalized, viewer):
    session, rendition = finalized(name)
    opened = viewer.open_file(session["mp4Url"], kind_of(name))
    assert rendition["slices"] > 2
    assert ("-" in rendition["etag"]) == (name == "several-parts")
    assert opened["duration"] == pytest.approx(rendition["duration"], abs=0.05)
    assert opened["duration"] == pytest.approx(SECONDS, abs=0.15)
    if kind_of(name) == "video":
        assert (opened["width"], opened["height"]) == (320, 180)
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
    assert len(flashes) == SECONDS
    viewer.open_file(session["mp4Url"])
    for flash in start_seams_and_end(flashes):
        assert viewer.seek(flash + PICTURE_S / 2, PICTURE_S) > WHITE
        viewer.play(0.1)
    assert viewer.seek(flashes[1] - PICTURE_S / 2, PICTURE_S) < COLORED


def test_seeking_in_sound_alone_goes_on_from_there(finalized, viewer):
    session, rendition = finalized("audio-only")
    viewer.open_file(session["mp4Url"], "audio")
    for second in (5, 0, 4, 2, 3):
        viewer.seek(float(second), 0)
        assert second < viewer.play(0.2)["time"] < rendition["duration"]


def test_the_mp4_plays_while_its_end_is_still_on_its_way(product, finalized, viewer, server):
    session, rendition = finalized("b-frames")
    body = product.fetch(session["mp4Url"]).body
    url, file = server.hold("b-frames.mp4", body, len(body) // 2)
    opened = viewer.open_file(url)
    assert opened["duration"] == pytest.approx(rendition["duration"], abs=0.05)
    viewer.play(1.0)
    file.rest.set()
    assert viewer.play_to_the_end()["time"] == pytest.approx(opened["duration"], abs=0.05)


@pytest.mark.parametrize("name", PLAYLISTS)
def test_the_recording_url_plays_with_hls_js(name, finalized, viewer, hls_js):
    session, rendition = finalized(name)
    opened = viewer.open_playlist(session["recordingUrl"], hls_js, kind_of(name))
    assert len(opened["codecs"]) == 1
    assert opened["live"] is False
    assert opened["segments"] == rendition["sourceSegments"]
    assert opened["listed"] == pytest.approx(rendition["listedDuration"], abs=0.001)
    assert opened["duration"] == pytest.approx(rendition["listedDuration"], abs=0.15)
    # hls.js only guesses the times of a period that it enters by a seek, and may not find the end.
    for time in () if name == DISCONTINUITY else (4.8, 0.2, 2.4):
        viewer.seek(time, 0.1)
        viewer.play(0.3)
    ended = viewer.play_to_the_end()
    assert ended["time"] == pytest.approx(opened["duration"], abs=0.15)
    assert ended["complaints"] == []


def test_hls_js_shows_subtitles_with_their_pictures(product, finalized, viewer, hls_js):
    session, _ = finalized(SUBTITLES)
    viewer.open_playlist(session["recordingUrl"], hls_js)
    viewer.play_to_the_end()
    shown = viewer.subtitles(2)
    assert [(cue["start"], cue["text"]) for cue in shown] == [
        (pytest.approx(1.0, abs=0.15), "of the first clock"),
        (pytest.approx(4.0, abs=0.15), "of the second"),
    ]
    beside = product.fetch(session["mp4Url"].replace(".mp4", ".en.vtt"))
    assert beside.headers["content-type"] == "text/vtt"
    assert "00:00:03.9" in beside.body.decode() or "00:00:04.0" in beside.body.decode()
