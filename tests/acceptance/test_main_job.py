"""From heartbeats to a ready recording, with the real processes: what users see at each step."""

import hashlib
import os
import signal
from contextlib import contextmanager

import pytest

from tests.product import Product, new_id, now_ms
from tests.stack import eventually, group_members, running_stack
from worker.dispatch import PACKAGING

pytestmark = [pytest.mark.acceptance, pytest.mark.redis, pytest.mark.s3, pytest.mark.ffmpeg]

PROFILE = {"width": 320, "height": 180, "bitrate": 400_000, "fps": 0}


@pytest.fixture(scope="module")
def product(tmp_path_factory):
    with running_stack(
        tmp_path_factory.mktemp("main") / "st", "--workers", "2",
        FINALIZER_IDLE_TIMEOUT="1", FINALIZER_SWEEP_INTERVAL="0.2", FINALIZER_SLICE_SECONDS="4",
        FINALIZER_LEASE="6", FINALIZER_MISSING_GRACE="1", FINALIZER_GAP_POLICY="fail",
    ) as stack:  # fmt: skip
        yield Product(stack)


def finalized(product, playlist, **fields):
    """A session that was live, went idle and became ready."""
    session_id = new_id("main")
    product.upload(session_id, playlist)
    product.begin(session_id, **fields)
    return product.ready(session_id)


def digest(product, url):
    answer = product.fetch(url)
    assert answer.status == 200, url
    return hashlib.sha256(answer.body).hexdigest()


def test_a_session_that_falls_silent_becomes_a_recording_that_plays(product, heavy, plays):
    session_id = new_id("live")
    product.upload(session_id, heavy)
    for _ in range(3):
        beat = product.begin(session_id)
        assert (beat["phase"], beat["recordingStatus"]) == ("live", "waiting")
    session = product.ready(session_id)
    assert session["recordingStatus"] == "ready"
    assert session["error"] is None
    assert session["mp4Url"].endswith(f"/vod/{session_id}/r1/source.mp4")
    assert session["recordingUrl"].endswith(f"/vod/{session_id}/index.m3u8")
    plays(session["mp4Url"], 12.0)
    plays(session["recordingUrl"], 12.0)


def test_everything_that_the_recording_url_leads_to_can_be_fetched(product, small):
    session = finalized(product, small)
    answers = product.published_uris(session["recordingUrl"])
    assert len(answers) == 2 + 6
    assert {answer.status for answer in answers.values()} == {200}
    media = [answer.body for url, answer in answers.items() if url.endswith("source/index.m3u8")]
    assert [body.rstrip().endswith(b"#EXT-X-ENDLIST") for body in media] == [True]


def test_published_objects_carry_their_types_and_only_the_pointer_may_change(product, small):
    session = finalized(product, small)
    base = session["recordingUrl"].removesuffix("index.m3u8")
    shown = {
        name: (answer.headers["content-type"], answer.headers["cache-control"])
        for name in ("index.m3u8", "r1/source.mp4", "r1/source/index.m3u8", "r1/recording.json")
        for answer in [product.fetch(base + name)]
    }
    playlist, for_ever = "application/vnd.apple.mpegurl", "public, max-age=31536000, immutable"
    assert shown == {
        "index.m3u8": (playlist, "public, max-age=60"),
        "r1/source.mp4": ("video/mp4", for_ever),
        "r1/source/index.m3u8": (playlist, for_ever),
        "r1/recording.json": ("application/json", for_ever),
    }
    assert sorted(product.objects("vod", session["id"])) == sorted(
        f"{session['id']}/{name}" for name in shown
    )


def test_the_report_proves_the_recording_complete(product, small):
    session = finalized(product, small)
    report = product.report(session["id"])
    assert (report["verdict"], report["error"]) == ("complete", None)
    assert (report["gaps"], report["repairs"]) == ([], [])
    (rendition,) = report["renditions"]
    assert rendition["slices"] == 3
    copied = {track["codec"]: track["copied"] for track in rendition["tracks"]}
    assert copied["h264"] == 360
    published = product.fetch(session["recordingUrl"].replace("index.m3u8", "r1/recording.json"))
    assert published.json()["renditions"] == report["renditions"]


def test_a_profile_gets_the_variant_of_its_name_or_is_transcoded_from_the_best(
    product, small, media, plays
):
    session_id = new_id("abr")
    larger = media.recording(duration=12.0, size="640x360")
    product.upload(session_id, small, "/180p")
    product.upload(session_id, larger, "/360p")
    product.write(
        session_id,
        "index.m3u8",
        "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=500000,RESOLUTION=320x180\n180p/index.m3u8\n"
        "#EXT-X-STREAM-INF:BANDWIDTH=900000,RESOLUTION=640x360\n360p/index.m3u8\n",
    )
    product.begin(
        session_id,
        profiles=[{"name": "180p", **PROFILE}, {"name": "144p", **PROFILE, "width": 256}],
    )
    session = product.ready(session_id)
    renditions = {each["name"]: each for each in session["renditions"]}
    assert {name: (each["kind"], each["state"]) for name, each in renditions.items()} == {
        "source": ("copy", "ready"), "180p": ("copy", "ready"), "144p": ("transcode", "ready"),
    }  # fmt: skip
    assert "360p (640x360) to 256x144" in renditions["144p"]["reason"]
    plays(renditions["144p"]["url"], 12.0)
    assert renditions["source"]["url"] == session["mp4Url"]
    plays(renditions["180p"]["url"], 12.0)
    assert digest(product, renditions["180p"]["url"]) != digest(product, session["mp4Url"])
    assert {
        answer.status for answer in product.published_uris(session["recordingUrl"]).values()
    } == {200}


def test_a_second_run_makes_the_same_bytes_under_new_names(product, heavy):
    first = finalized(product, heavy)
    session_id = first["id"]
    stamps = stored(product, session_id)
    head = product.s3.head_object(Bucket="vod", Key=f"{session_id}/r1/source.mp4")
    assert "-" in head["ETag"]  # went up in parts, while its slices were packaged
    assert product.rerun(session_id) == 409
    assert product.rerun(session_id, force=True) == 202
    seen = set()

    def again():
        session = product.get(session_id)
        seen.add((session["recordingStatus"], session["recordingUrl"], session["mp4Url"]))
        return session["phase"] == "ready" and session["generation"] > first["generation"]

    product.happens(session_id, again)
    second = product.ready(session_id)
    assert second["mp4Url"] == first["mp4Url"].replace("/r1/", "/r2/")
    assert seen == {
        ("ready", first["recordingUrl"], url) for url in (first["mp4Url"], second["mp4Url"])
    }
    assert digest(product, first["mp4Url"]) == digest(product, second["mp4Url"])
    leads_to = product.published_uris(second["recordingUrl"])
    assert any("/r2/" in url for url in leads_to)
    assert not any("/r1/" in url for url in leads_to)
    after = stored(product, session_id)
    assert {key for key in stamps if after[key] != stamps[key]} == {f"{session_id}/index.m3u8"}


def stored(product, session_id):
    """Name and time of every published object: what is overwritten gets another time."""
    listed = product.s3.list_objects_v2(Bucket="vod", Prefix=f"{session_id}/")
    return {item["Key"]: item["LastModified"] for item in listed["Contents"]}


def test_a_failed_re_run_takes_nothing_away(product, small):
    first = finalized(product, small)
    session_id = first["id"]
    before = product.objects("vod", session_id)
    pointer, bytes_before = product.fetch(first["recordingUrl"]), digest(product, first["mp4Url"])
    product.s3.delete_object(Bucket="recordings", Key=f"{session_id}/segment00003.ts")
    assert product.rerun(session_id, force=True) == 202
    second = product.reaches(session_id, "failed", generation_after=first["generation"])
    product.happens(session_id, lambda: product.is_settled(session_id))
    assert second["error"]["code"] == "gap_refused"
    assert "missing at 6." in second["error"]["message"]
    kept = ("recordingStatus", "recordingUrl", "mp4Url", "renditions")
    assert {name: second[name] for name in kept} == {name: first[name] for name in kept}
    assert product.objects("vod", session_id) == before
    assert product.fetch(first["recordingUrl"]).body == pointer.body
    assert digest(product, first["mp4Url"]) == bytes_before
    assert product.report(session_id)["verdict"] == "complete"


def test_a_first_run_that_fails_says_why_and_a_re_run_heals_it(product, small):
    session_id = new_id("lack")
    product.upload(session_id, small)
    product.s3.delete_object(Bucket="recordings", Key=f"{session_id}/segment00003.ts")
    product.begin(session_id)
    failed = product.reaches(session_id, "failed")
    assert failed["recordingStatus"] == "failed"
    assert failed["error"]["code"] == "gap_refused"
    assert {each["state"] for each in failed["renditions"]} == {"failed"}
    assert "mp4Url" not in failed
    report = product.report(session_id)
    assert (report["verdict"], report["error"]["code"]) == ("failed", "gap_refused")
    assert [loss["location"].rpartition("/")[2] for loss in report["losses"]] == ["segment00003.ts"]
    product.happens(session_id, lambda: product.is_settled(session_id))
    assert product.objects("vod", session_id) == []
    product.upload(session_id, small)
    assert product.rerun(session_id) == 202
    healed = product.ready(session_id)
    assert healed["error"] is None
    assert product.report(session_id)["verdict"] == "complete"


def test_livepeers_webhooks_alone_make_a_recording(product, small):
    session_id, stream = new_id("hook"), new_id("stream")
    product.upload(session_id, small)
    snapshot = {"id": session_id, "parentId": stream, "record": True, "createdAt": now_ms()}
    started = {"session": snapshot}
    refused = product.webhook("recording.started", secret="not-the-secret", payload=started)
    assert refused.status == 401
    assert product.api("GET", f"/sessions/{session_id}").status == 404
    assert product.webhook("recording.started", payload=started).status == 200
    waiting = {"session": {**snapshot, "lastSeen": now_ms(), "recordingStatus": "ready"}}
    assert product.webhook("recording.waiting", payload=waiting).status == 200
    assert product.get(session_id)["recordingStatus"] == "waiting"
    product.webhook("stream.idle", stream={"id": stream})
    session = product.ready(session_id)
    assert product.fetch(session["mp4Url"]).status == 200


def test_a_lost_queue_is_healed_by_the_sweep(product, small):
    """Nine slices for two workers, each of which RabbitMQ gives three before they stand still."""
    ids = [new_id("lost") for _ in range(3)]
    with stopped_workers(product, "worker-1", "worker-2"):
        for session_id in ids:
            product.upload(session_id, small)
            product.begin(session_id)
        eventually(lambda: product.queue.waiting(PACKAGING))
        product.queue.lose_everything()
    for session_id in ids:
        assert product.ready(session_id)["error"] is None


@contextmanager
def stopped_workers(product, *names):
    """Worker processes stand still meanwhile, with whatever they have taken."""
    members = [pid for name in names for pid in group_members(product.stack.pids[name])]
    for pid in members:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in members:
            os.kill(pid, signal.SIGCONT)
