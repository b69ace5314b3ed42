"""What becomes of sessions that are late, empty, woken up or not to be recorded."""

import pytest

from tests.product import Product, new_id, now_ms
from tests.stack import running_stack

pytestmark = [pytest.mark.acceptance, pytest.mark.redis, pytest.mark.s3, pytest.mark.ffmpeg]

NO_SEGMENT = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n"


@pytest.fixture(scope="module")
def product(tmp_path_factory):
    with running_stack(
        tmp_path_factory.mktemp("life") / "st", "--workers", "1",
        FINALIZER_IDLE_TIMEOUT="1", FINALIZER_SWEEP_INTERVAL="0.2", FINALIZER_SLICE_SECONDS="4",
        FINALIZER_MISSING_GRACE="2", FINALIZER_LEASE="6",
    ) as stack:  # fmt: skip
        yield Product(stack)


def ready(product, session_id, generation_after=-1):
    session = product.reaches(session_id, "ready", "failed", generation_after=generation_after)
    assert session["phase"] == "ready", session["error"]
    return session


@pytest.mark.parametrize("playlist", [None, NO_SEGMENT, NO_SEGMENT + "#EXT-X-ENDLIST\n"])
def test_a_session_in_which_nothing_was_ever_seen_has_no_recording(product, playlist):
    session_id = new_id("none")
    if playlist:
        product.write(session_id, "index.m3u8", playlist)
    product.put(session_id, record=True)
    session = product.reaches(session_id, "empty", "failed", "ready")
    assert (session["phase"], session["recordingStatus"]) == ("empty", "none")
    assert session["error"] is None
    assert product.objects("vod", session_id) == []
    assert product.is_settled(session_id)


def test_an_empty_session_wakes_up_when_it_is_seen(product, small):
    session_id = new_id("woken")
    product.put(session_id, record=True)
    product.reaches(session_id, "empty")
    product.upload(session_id, small)
    assert product.begin(session_id)["recordingStatus"] == "waiting"
    ready(product, session_id)


def test_segments_without_a_heartbeat_are_a_recording_all_the_same(product, small):
    session_id = new_id("mute")
    product.upload(session_id, small)
    product.put(session_id, record=True)
    ready(product, session_id)


@pytest.mark.parametrize("playlist", [None, NO_SEGMENT])
def test_a_seen_session_without_a_playlist_fails_after_the_grace_and_heals_when_it_comes_late(
    product, small, playlist
):
    session_id = new_id("late")
    if playlist:
        product.write(session_id, "index.m3u8", playlist)
    product.begin(session_id)
    failed = product.reaches(session_id, "failed", "ready", "empty")
    assert failed["recordingStatus"] == "failed"
    assert failed["error"]["code"] == "playlist_missing"
    assert failed["generation"] - failed["lastSeen"] >= 3000  # idle time-out and grace
    product.upload(session_id, small)
    assert product.begin(session_id)["recordingStatus"] == "waiting"
    assert ready(product, session_id, failed["generation"])["error"] is None


def test_a_session_that_is_not_to_be_recorded_is_left_alone(product, small):
    asked, never = new_id("quiet"), new_id("quiet")
    witness = new_id("witness")
    for session_id, fields in ((asked, {"record": False}), (never, {})):
        product.upload(session_id, small)
        product.put(session_id, lastSeen=now_ms(), **fields)
    product.upload(witness, small)
    product.begin(witness)
    ready(product, witness)
    for session_id in (asked, never):
        session = product.get(session_id)
        assert (session["phase"], session.get("recordingStatus")) == ("live", None)
        assert product.objects("vod", session_id) == []
        assert [event["action"] for event in product.events(session_id)] == ["created"]


def test_a_deleted_session_leaves_nothing_but_its_source(product, heavy, small):
    working, published = new_id("gone"), new_id("gone")
    for session_id, recording in ((working, heavy), (published, small)):
        product.upload(session_id, recording)
        product.begin(session_id)
    url = ready(product, published)["mp4Url"]
    product.happens(working, lambda: product.events(working, "slice_packaged"))
    sources = {each: product.objects("recordings", each) for each in (working, published)}
    for session_id in (working, published):
        gone = product.api("DELETE", f"/sessions/{session_id}")
        assert (gone.status, gone.json()["recordingStatus"]) == (200, "deleted")
        assert product.begin(session_id)["phase"] == "deleted"
    for session_id in (working, published):
        product.happens(
            session_id,
            lambda each=session_id: product.is_settled(each) and not product.objects("vod", each),
        )
        assert product.objects("recordings", session_id) == sources[session_id]
        assert product.get(session_id)["phase"] == "deleted"
    assert product.fetch(url).status == 404
    assert product.rerun(working, force=True) == 409


def test_a_sign_of_life_while_finalizing_puts_the_end_off_and_what_came_late_is_in_the_file(
    product, heavy, plays
):
    session_id = new_id("back")
    product.upload(session_id, heavy)
    whole = heavy.read_text()
    cut = whole.partition("segment00004.ts")[0].rpartition("#EXTINF")[0]
    product.write(session_id, "index.m3u8", cut)
    product.begin(session_id)
    first = product.reaches(session_id, "finalizing")
    assert product.begin(session_id)["phase"] == "live"
    product.write(session_id, "index.m3u8", whole)
    session = ready(product, session_id, first["generation"])
    assert session["mp4Url"].endswith("/r1/source.mp4")
    plays(session["mp4Url"], 12.0)
    product.happens(session_id, lambda: product.is_settled(session_id))


def test_a_segment_that_is_listed_after_the_plan_is_in_the_file(product, heavy, plays):
    session_id = new_id("grown")
    product.upload(session_id, heavy)
    whole = heavy.read_text()
    cut = whole.partition("segment00004.ts")[0].rpartition("#EXTINF")[0]
    product.write(session_id, "index.m3u8", cut)
    product.begin(session_id)
    product.happens(session_id, lambda: product.events(session_id, "planned"))
    product.write(session_id, "index.m3u8", whole)
    plays(ready(product, session_id)["mp4Url"], 12.0)


def test_a_late_sign_of_life_makes_a_new_revision_and_leaves_the_old_one_readable(product, small):
    session_id = new_id("again")
    product.upload(session_id, small)
    product.begin(session_id)
    first = ready(product, session_id)
    product.begin(session_id)
    second = ready(product, session_id, first["generation"])
    assert second["mp4Url"] == first["mp4Url"].replace("/r1/", "/r2/")
    assert product.fetch(first["mp4Url"]).body == product.fetch(second["mp4Url"]).body


@pytest.mark.long
def test_a_segment_that_was_given_up_and_comes_before_the_end_is_in_the_file(product, small, plays):
    session_id = new_id("came")
    product.upload(session_id, small)
    where = {"Bucket": "recordings", "Key": f"{session_id}/segment00001.ts"}
    late = product.s3.get_object(**where)["Body"].read()
    product.s3.delete_object(**where)
    # The transcode keeps the run from its end for a while.
    profile = {"name": "a", "width": 256, "height": 144, "bitrate": 300_000, "fps": 0}
    product.begin(session_id, profiles=[profile])

    def was_given_up():
        return any(each["slice"] == 0 for each in product.events(session_id, "slice_packaged"))

    product.happens(session_id, was_given_up)
    product.s3.put_object(**where, Body=late)
    session = ready(product, session_id)
    assert [event["segments"] for event in product.events(session_id, "segment_came_late")] == [[1]]
    assert product.report(session_id)["verdict"] == "complete"
    plays(session["mp4Url"], 12.0)
    plays(session["recordingUrl"], 12.0)


def test_what_comes_after_ready_makes_a_new_revision_that_is_shown_all_at_once(
    product, small, plays
):
    session_id = new_id("grown")
    product.upload(session_id, small)
    whole = small.read_text()
    cut = whole.partition("segment00004.ts")[0].rpartition("#EXTINF")[0]
    product.write(session_id, "index.m3u8", cut)
    product.begin(session_id)
    first = ready(product, session_id)
    before = product.fetch(first["mp4Url"]).body
    product.write(session_id, "index.m3u8", whole)
    product.begin(session_id)
    seen = set()

    def again():
        session = product.get(session_id)
        seen.add((session["recordingUrl"], session["mp4Url"]))
        if session["mp4Url"] != first["mp4Url"]:
            assert b"r2/" in product.fetch(session["recordingUrl"]).body
        return session["phase"] == "ready" and session["generation"] > first["generation"]

    product.happens(session_id, again)
    second = product.get(session_id)
    assert second["mp4Url"] == first["mp4Url"].replace("/r1/", "/r2/")
    assert seen == {(first["recordingUrl"], url) for url in (first["mp4Url"], second["mp4Url"])}
    assert product.fetch(first["mp4Url"]).body == before
    plays(second["mp4Url"], 12.0)
    plays(second["recordingUrl"], 12.0)
    assert product.report(session_id)["source"]["segments"] == 6


def test_what_is_settled_is_packaged_before_the_end_and_the_same_run_makes_it_ready(
    product, heavy, plays
):
    session_id = new_id("live")
    product.upload(session_id, heavy)
    whole = heavy.read_text()
    cut = whole.partition("segment00005.ts")[0].rpartition("#EXTINF")[0]
    product.write(session_id, "index.m3u8", cut.replace("TYPE:VOD", "TYPE:EVENT"))

    def packaged():
        live = product.begin(session_id)
        assert live["phase"] == "live"
        shown = [view["state"] for view in live["renditions"]]
        made = len(product.events(session_id, "slice_packaged"))
        return (made, shown) == (2, ["packaging"])

    product.happens(session_id, packaged)
    live = product.get(session_id)
    product.write(session_id, "index.m3u8", whole)
    session = ready(product, session_id)
    assert session["generation"] == live["generation"]
    made = [each["slice"] for each in product.events(session_id, "slice_packaged")]
    assert sorted(made) == [0, 1, 2]
    plays(session["mp4Url"], 12.0)
    product.happens(session_id, lambda: product.is_settled(session_id))
