"""How transcodes come to run: what is claimed when, what is done again, what becomes of failures."""

import json

import pytest

from pipelines.errors import ErrorCode, PermanentError
from pipelines.part_scheme import VARYING_PARTS
from pipelines.session import Phase
from tests.by_hand import ID, LONG_AGO, Worker
from tests.media import run
from tests.stack import eventually
from worker.claiming import LEAST_WINDOW, MAX_ATTEMPTS
from worker.dispatch import CONTROL, PACKAGING, TRANSCODING, queue_of
from worker.ending import fail
from worker.perform import perform
from worker.presence import WorkerProcess
from worker.rerun import start
from worker.run import Run
from worker.slice_result import SliceResult

pytestmark = [pytest.mark.redis, pytest.mark.s3, pytest.mark.ffmpeg]

SMALL = {"name": "small", "width": 160, "height": 128, "bitrate": 200_000, "fps": 0}
LARGE = {"name": "large", "width": 256, "height": 144, "bitrate": 400_000, "fps": 0}
QUICK = {"preset": "ultrafast", "slice_seconds": 4}
MP2 = {"encoder_options": ("-c:a", "mp2")}


def claimed(worker: Worker, queue: str) -> list[str]:
    return [claim.key.item for claim in worker.sent.claims if queue_of(claim.key.item) == queue]


def work(worker: Worker, *kinds: str) -> None:
    """Do what is claimed of some kinds, and look, until there is no more of them."""
    while True:
        worker.look()
        mine = [claim for claim in worker.sent.claims if claim.key.item.startswith(kinds)]
        if not mine:
            return
        for claim in mine:
            worker.sent.claims.remove(claim)
            perform(claim.key, claim.token, worker.runtime, worker.sent)


def views(worker: Worker) -> dict:
    return {view["name"]: view for view in worker.record().renditions}


def objects(worker: Worker, bucket: str) -> dict:
    listed = worker.s3.list_objects_v2(Bucket=bucket, Prefix=f"{ID}/")
    return {item["Key"].removeprefix(f"{ID}/"): item["ETag"] for item in listed.get("Contents", ())}


@pytest.fixture
def probed(media_tools, tmp_path):
    """What ffprobe says of the streams of an object: dictionaries by kind."""

    def probe(worker: Worker, name: str) -> dict:
        path = tmp_path / "object.mp4"
        worker.s3.download_file("vod", f"{ID}/{name}", str(path))
        said = run(media_tools.ffprobe, "-v", "error", "-show_streams", "-of", "json", str(path))
        return {stream["codec_type"]: stream for stream in json.loads(said)["streams"]}

    return probe


def test_transcodes_have_a_window_of_their_own_and_go_to_their_own_queue(recorded):
    worker = recorded({"profiles": [SMALL, LARGE]})
    worker.look()
    assert claimed(worker, PACKAGING) == [f"package/source/{n}" for n in range(LEAST_WINDOW)]
    assert claimed(worker, TRANSCODING) == [f"transcode/source/{n}" for n in range(LEAST_WINDOW)]
    worker.runtime.roster.beat(WorkerProcess("host", 1, ("transcode",), 3, "n"))
    worker.look()
    assert len(claimed(worker, PACKAGING)) == LEAST_WINDOW
    assert len(claimed(worker, TRANSCODING)) == 6


def test_the_source_is_ready_with_its_url_while_transcodes_wait(recorded):
    worker = recorded({"profiles": [SMALL]})
    work(worker, "package/", "assemble/")
    source, small = views(worker)["source"], views(worker)["small"]
    assert worker.record().phase is Phase.FINALIZING
    assert (source["state"], source["progress"]) == ("ready", 1.0)
    assert source["url"] == f"http://vod.example/{ID}/r1/source.mp4"
    assert (small["state"], small["url"], small["progress"]) == ("waiting", None, 0.0)
    assert "r1/source.mp4" in objects(worker, "vod")


def test_when_the_transcodes_fail_the_source_is_taken_back(recorded):
    worker = recorded({"profiles": [SMALL]})
    work(worker, "package/", "assemble/")
    for _ in range(MAX_ATTEMPTS):
        worker.look()
        claim = worker.claims_of("transcode/source/0")[-1]
        lease = worker.runtime.work.lease(claim.key, claim.token, "tests:1", 60_000)
        error = (ErrorCode.FFMPEG_FAILED, "no luck")
        worker.runtime.work.release(lease, counts=True, error=error)
    assert worker.look() is Phase.FAILED
    assert {(view["state"], view["url"]) for view in worker.record().renditions} == {
        ("failed", None)
    }
    worker.look()
    assert objects(worker, "vod") == {}


def test_every_profile_becomes_an_mp4_and_the_playlist_lists_what_the_source_holds(
    recorded, probed
):
    worker = recorded({"profiles": [SMALL, LARGE]}, **QUICK)
    worker.finalize()
    assert worker.record().phase is Phase.READY, worker.record().error
    assert {view["state"] for view in worker.record().renditions} == {"ready"}
    assert worker.record().mp4_url == f"http://vod.example/{ID}/r1/source.mp4"
    for name, size in (("small", (160, 90)), ("large", (256, 144))):
        view = views(worker)[name]
        assert (view["mediaSecondsDone"], view["progress"]) == (12.0, 1.0)
        assert (view["encoding"]["width"], view["encoding"]["height"]) == size
        assert view["speed"] > 0
        streams = probed(worker, f"r1/{name}.mp4")
        assert (streams["video"]["width"], streams["video"]["height"]) == size
        assert streams["video"]["nb_frames"] == "360"
        assert streams["audio"]["codec_name"] == "aac"
    published = objects(worker, "vod")
    assert "r1/source/index.m3u8" in published
    assert "r1/small/index.m3u8" not in published
    report = json.loads(worker.runtime.sessions.report(ID))
    encodings = {each["name"]: each["encoding"] for each in report["renditions"]}
    assert encodings["source"] is None
    assert encodings["large"]["implementation"] == "libx264"
    assert {each["name"]: each["kind"] for each in report["renditions"]} == {
        "source": "copy", "small": "transcode", "large": "transcode",
    }  # fmt: skip
    assert (report["mp4"], report["verdict"]) == ("source", "complete")


def test_a_lost_slice_is_made_again_for_those_alone_that_lack_it(recorded):
    worker = recorded({"profiles": [SMALL, LARGE]}, **QUICK)
    work(worker, "package/", "transcode/", "assemble/source", "assemble/small")
    before = objects(worker, "vod")
    assert {"r1/source.mp4", "r1/small.mp4"} <= before.keys()
    lose(worker, "large", 1)
    work(worker, "assemble/large")  # finds it out
    assert worker.items()["assemble/large"].attempts == 1
    assert set(again(worker, 1).receipts) == {"large"}
    becomes_ready(worker)
    after = objects(worker, "vod")
    assert {name: after[name] for name in before} == before


def test_an_mp4_that_went_away_is_made_again_although_its_slice_was_not(recorded):
    worker = recorded({"profiles": [SMALL, LARGE]}, **QUICK)
    work(worker, "package/", "transcode/", "assemble/source", "assemble/small")
    lose(worker, "large", 1)
    work(worker, "assemble/large")
    assert set(again(worker, 1).receipts) == {"large"}
    eventually(lambda: work(worker, "assemble/large") or claimed(worker, CONTROL) == ["publish"])
    worker.s3.delete_object(Bucket="vod", Key=f"{ID}/r1/small.mp4")
    work(worker, "publish")
    assert set(again(worker, 1).receipts) == {"small"}
    becomes_ready(worker)
    assert "r1/small.mp4" in objects(worker, "vod")


def becomes_ready(worker: Worker) -> None:
    """Look and work until the session is ready; what failed once is tried again after a while."""
    eventually(lambda: worker.finalize() or worker.record().phase is not Phase.FINALIZING)
    assert worker.record().phase is Phase.READY, worker.record().error


def lose(worker: Worker, rendition: str, number: int) -> None:
    """Remove what is staged of one slice of one rendition."""
    folder = f"{worker.record().generation}/{rendition}/{number}-"
    lost = [name for name in objects(worker, "staging") if name.startswith(folder)]
    assert lost
    for name in lost:
        worker.s3.delete_object(Bucket="staging", Key=f"{ID}/{name}")


def again(worker: Worker, number: int) -> SliceResult:
    """Have a slice transcoded that is claimed once more, and nothing else; its result."""
    worker.look()
    assert claimed(worker, TRANSCODING) == [f"transcode/source/{number}"]
    work(worker, f"transcode/source/{number}")
    result = SliceResult.from_json(worker.items()[f"transcode/source/{number}"].result or "")
    assert result is not None
    return result


def test_work_for_slices_that_are_listed_no_more_is_planned_again(recorded):
    worker = recorded({"profiles": [SMALL]}, **QUICK)
    worker.look()
    key = {"Bucket": "recordings", "Key": f"{ID}/index.m3u8"}
    lines = worker.s3.get_object(**key)["Body"].read().decode().splitlines()
    last = max(n for n, line in enumerate(lines) if line.startswith("#EXTINF"))
    worker.s3.put_object(**key, Body="\n".join(lines[:last] + lines[last + 2 :]).encode())
    (claim,) = worker.claims_of("transcode/source/2")
    worker.sent.claims.clear()
    perform(claim.key, claim.token, worker.runtime, worker.sent)
    assert events(worker, "attempt_failed") == []
    worker.look()
    assert views(worker)["small"]["mediaSeconds"] == views(worker)["source"]["mediaSeconds"] == 10.0


def test_a_store_that_forgot_everything_learns_which_mp4_was_published(recorded):
    worker = recorded(recording=MP2, **QUICK)
    worker.finalize()
    url = worker.record().mp4_url
    assert url.endswith("/r1/web.mp4")
    worker.redis.flushall()
    worker.put()
    worker.look()
    assert (worker.record().revision, worker.record().mp4_url) == (1, url)
    assert {name: view["kind"] for name, view in views(worker).items()} == {
        "source": "copy", "web": "transcode",
    }  # fmt: skip


def test_sound_that_browsers_cannot_play_is_encoded_once_before_the_slices(recorded, probed):
    worker = recorded(recording=MP2, **QUICK)
    work(worker, "package/")
    assert claimed(worker, TRANSCODING) == ["sound/source"]
    work(worker, "sound/")
    assert claimed(worker, TRANSCODING) == [f"transcode/source/{n}" for n in range(3)]
    worker.finalize()
    assert worker.record().phase is Phase.READY, worker.record().error
    assert worker.record().mp4_url == f"http://vod.example/{ID}/r1/web.mp4"
    assert probed(worker, "r1/source.mp4")["audio"]["codec_name"] in ("mp2", "mp3")
    web = probed(worker, "r1/web.mp4")
    assert (web["video"]["nb_frames"], web["audio"]["codec_name"]) == ("360", "aac")
    assert float(web["audio"]["duration"]) == pytest.approx(12.0, abs=0.05)


def test_sound_that_is_lost_is_encoded_again(recorded):
    worker = recorded(recording=MP2, **QUICK)
    work(worker, "package/", "sound/")
    for name in objects(worker, "staging"):
        if "/.sound/" in name:
            worker.s3.delete_object(Bucket="staging", Key=f"{ID}/{name}")
    claim = worker.claims_of("transcode/source/0")[0]
    perform(claim.key, claim.token, worker.runtime, worker.sent)
    worker.sent.claims.clear()
    worker.look()
    assert claimed(worker, TRANSCODING) == ["sound/source"]


def test_hardware_that_cannot_be_opened_gives_way_to_software_for_the_whole_run(recorded):
    worker = recorded({"profiles": [SMALL, LARGE]}, hardware="nvenc", **QUICK)
    worker.look()
    assert views(worker)["small"]["encoding"]["implementation"] == "h264_nvenc"
    worker.finalize()
    assert worker.record().phase is Phase.READY, worker.record().error
    assert views(worker)["small"]["encoding"]["implementation"] == "libx264"
    told = [e for e in worker.runtime.sessions.events(ID) if e["action"] == "encoder_fallback"]
    assert [event["implementation"] for event in told] == ["h264_nvenc"]
    assert told[0]["reason"]


def test_hardware_that_ffmpeg_was_built_without_gives_way_in_the_plan_and_is_told(
    recorded, media_tools, tmp_path
):
    stand_in = tmp_path / "ffmpeg"
    stand_in.write_text(f'#!/bin/sh\n{media_tools.ffmpeg} "$@" | sed /nvenc/d\n')
    stand_in.chmod(0o755)
    worker = recorded({"profiles": [SMALL, LARGE]}, hardware="nvenc", ffmpeg=str(stand_in))
    worker.look()
    worker.look()
    assert views(worker)["small"]["encoding"]["implementation"] == "libx264"
    told = [e for e in worker.runtime.sessions.events(ID) if e["action"] == "encoder_fallback"]
    assert [event["implementation"] for event in told] == ["h264_nvenc"]


def test_sessions_without_profiles_get_the_default_ladder_when_settings_say_so(recorded):
    worker = recorded(default_profiles=True)
    worker.look()
    assert list(views(worker)) == ["source", "240p0", "360p0", "480p0", "720p0"]
    worker.put("none", profiles=[], sourceUrl=f"s3://recordings/{ID}/index.m3u8")
    worker.look("none")
    assert [view["name"] for view in worker.record("none").renditions] == ["source"]


def later_segments(worker: Worker) -> None:
    """Let the recording grow by a segment that repeats its last one, and the session show life."""
    key = {"Bucket": "recordings", "Key": f"{ID}/index.m3u8"}
    lines = worker.s3.get_object(**key)["Body"].read().decode().splitlines()
    last = max(n for n, line in enumerate(lines) if line.startswith("#EXTINF"))
    again = ["#EXT-X-DISCONTINUITY", *lines[last : last + 2]]
    text = "\n".join([*lines[: last + 2], *again, *lines[last + 2 :]])
    worker.s3.put_object(**key, Body=text.encode())


def sign_of_life(worker: Worker, **fields) -> None:
    """A heartbeat that comes while the session is finalized; it is long silent all the same."""
    worker.put(lastSeen=LONG_AGO + 1, **fields)
    assert worker.record().phase is Phase.LIVE
    worker.sent.claims.clear()


def left_open(worker: Worker) -> list[str]:
    """Names of the session's multipart uploads that nobody completed or aborted."""
    names = ("source", "small", "large")
    keys = [f"{ID}/r{revision}/{name}.mp4" for revision in (1, 2) for name in names]
    uploads = [worker.s3.list_multipart_uploads(Bucket="vod", Prefix=key) for key in keys]
    return [each["Key"] for listed in uploads for each in listed.get("Uploads", ())]


def events(worker: Worker, action: str) -> list[dict]:
    return [each for each in worker.runtime.sessions.events(ID) if each["action"] == action]


def test_an_mp4_that_was_shown_never_gets_other_bytes(recorded):
    worker = recorded({"profiles": [SMALL]}, **QUICK)
    work(worker, "package/", "assemble/")
    assert views(worker)["source"]["url"].endswith("/r1/source.mp4")
    shown = objects(worker, "vod")["r1/source.mp4"]
    later_segments(worker)
    sign_of_life(worker)
    work(worker, "package/", "assemble/")
    assert views(worker)["source"]["url"].endswith("/r2/source.mp4")
    assert objects(worker, "vod")["r1/source.mp4"] == shown
    becomes_ready(worker)
    worker.look()
    record = worker.record()
    assert (record.revision, record.mp4_url) == (2, f"http://vod.example/{ID}/r2/source.mp4")
    assert {name.partition("/")[0] for name in objects(worker, "vod")} == {"r2", "index.m3u8"}
    assert left_open(worker) == []
    assert events(worker, "attempt_failed") == []


def test_a_late_heartbeat_changes_nothing_of_what_is_finished(recorded):
    worker = recorded({"profiles": [SMALL]}, **QUICK)
    work(worker, "package/", "transcode/source/0", "assemble/")
    before = objects(worker, "vod")
    sign_of_life(worker)
    worker.look()
    assert views(worker)["source"]["url"].endswith("/r1/source.mp4")
    assert claimed(worker, PACKAGING) == []
    assert claimed(worker, TRANSCODING) == ["transcode/source/1", "transcode/source/2"]
    becomes_ready(worker)
    assert worker.record().revision == 1
    assert objects(worker, "vod")["r1/source.mp4"] == before["r1/source.mp4"]


def test_a_number_that_was_shown_is_not_used_again_after_a_failure(recorded):
    worker = recorded({"profiles": [SMALL]}, lease=0.05, **QUICK)
    work(worker, "package/", "assemble/")
    record = worker.record()
    worker.runtime.sessions.transition(
        ID, expect={Phase.FINALIZING}, to=Phase.FAILED, due_ms=0, generation=record.generation
    )
    eventually(lambda: worker.look() and worker.due_in_ms() is None)
    assert objects(worker, "vod") == {}
    start(worker.runtime.sessions, ID, force=False)
    worker.look()
    assert Run(worker.runtime, worker.record()).revision == 2


def test_nothing_stays_of_a_profile_that_is_asked_for_no_more(recorded):
    worker = recorded({"profiles": [SMALL, LARGE]}, **QUICK)
    work(worker, "package/", "transcode/", "assemble/source", "assemble/small")
    Run(worker.runtime, worker.record()).open_upload("large", VARYING_PARTS)
    assert left_open(worker) == [f"{ID}/r1/large.mp4"]
    assert "r1/small.mp4" in objects(worker, "vod")
    sign_of_life(worker, profiles=[])
    becomes_ready(worker)
    worker.look()
    assert worker.record().revision == 1
    assert left_open(worker) == []
    names = {name for name in objects(worker, "vod") if name.endswith(".mp4")}
    assert names == {"r1/source.mp4"}


@pytest.mark.parametrize("before_publishing", [True, False])
def test_profiles_that_are_put_while_it_is_finalized_are_made(recorded, before_publishing):
    worker = recorded({"profiles": []}, **QUICK)
    work(worker, "package/", "assemble/")
    source = objects(worker, "vod")["r1/source.mp4"]
    assert claimed(worker, CONTROL) == ["publish"]
    worker.put(profiles=[SMALL])
    assert worker.record().phase is Phase.FINALIZING
    if before_publishing:
        claim = worker.sent.claims.pop()
        perform(claim.key, claim.token, worker.runtime, worker.sent)
    becomes_ready(worker)
    assert {name: view["state"] for name, view in views(worker).items()} == {
        "source": "ready", "small": "ready",
    }  # fmt: skip
    assert worker.record().revision == 1
    assert objects(worker, "vod")["r1/source.mp4"] == source


def test_a_run_that_follows_one_in_software_is_in_software(recorded):
    worker = recorded({"profiles": [SMALL]}, hardware="nvenc", **QUICK)
    worker.look()
    Run(worker.runtime, worker.record()).note_software_only()
    sign_of_life(worker)
    worker.look()
    assert views(worker)["small"]["encoding"]["implementation"] == "libx264"


def test_claims_of_transcodes_outlast_the_wait_in_their_queue(recorded):
    worker = recorded({"profiles": [SMALL]})
    worker.look()
    now, lease = worker.runtime.sessions.now_ms(), worker.runtime.lease_ms
    left = {item: state.expires - now for item, state in worker.items().items()}
    assert lease - 10_000 < left["package/source/0"] <= lease
    assert left["transcode/source/0"] > 9 * lease


def test_a_failure_tells_which_renditions_it_was_of_and_how_far_all_came(recorded):
    worker = recorded({"profiles": [SMALL]}, **QUICK)
    work(worker, "package/", "assemble/")
    worker.look()
    claim = worker.claims_of("transcode/source/1")[0]
    error = PermanentError(ErrorCode.SEGMENT_DAMAGED, "segment 7 is damaged")
    fail(Run(worker.runtime, worker.record()), error.code, error.message, claim.key.item)
    report = json.loads(worker.runtime.sessions.report(ID))
    assert report["error"] == {
        "code": "segment_damaged",
        "message": "transcoding slice 1 to small: segment 7 is damaged",
        "renditions": ["small"],
    }
    told = {each["name"]: (each["state"], each["progress"]) for each in report["renditions"]}
    assert told == {"source": ("failed", 1.0), "small": ("failed", 0.0)}


def test_what_is_not_made_is_shown_with_the_same_fields(recorded):
    worker = recorded({"profiles": [SMALL]}, recording={"video": False}, **QUICK)
    worker.look()
    small, source = views(worker)["small"], views(worker)["source"]
    assert small["state"] == "not_made"
    assert small.keys() == source.keys()
    assert isinstance(source["mediaSecondsDone"], float)
    assert (small["progress"], small["mediaSecondsDone"]) == (None, 0.0)
