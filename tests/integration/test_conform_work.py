"""How odd runs come to be conformed: who decides it, what is claimed, what of it is done again."""

import pytest

from pipelines.errors import ErrorCode, PermanentError
from pipelines.session import Phase
from tests.by_hand import ID, LONG_AGO, Worker
from tests.packaging import upload_folder
from tests.sample_tables import movie_of
from tests.stack import eventually
from worker.dispatch import TRANSCODING, queue_of
from worker.ending import fail
from worker.perform import LATE_PAUSE_MS, perform
from worker.run import Run
from worker.slice_result import SliceResult
from worker.work_item import State

pytestmark = [pytest.mark.redis, pytest.mark.s3, pytest.mark.ffmpeg]

TAG = "#EXT-X-DISCONTINUITY"
QUICK = {"preset": "ultrafast", "slice_seconds": 4}
SMALL = {"name": "small", "width": 160, "height": 128, "bitrate": 200_000, "fps": 0}
#: What an encoder sends after a reconnect, unlike before it.
OTHER = {"size": "256x144", "encoder_options": ("-ar", "44100", "-ac", "1")}
SILENT = {"audio": None}


@pytest.fixture
def reconnected(worker, media, recording_of):
    """Opens a worker with a session of three slices of 4 s, the last one sent with ``options``."""

    def opened(options, session=None, **settings) -> Worker:
        made = worker(**{**QUICK, **settings})
        path = recording_of(*sent(media, {"duration": 8.0}, {"duration": 4.0, **options}))
        upload_folder(made.s3, path.parent, "recordings", ID)
        made.put(**(session or {}))
        return made

    return opened


def sent(media, *specs):
    """The segments of several recordings, a tag where one follows another."""
    found = []
    for number, spec in enumerate(specs):
        data = [each.read_bytes() for each in sorted(media.recording(**spec).parent.glob("*.ts"))]
        found += [(data[0], TAG if number else ""), *((each, "") for each in data[1:])]
    return found


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


def becomes_ready(worker: Worker) -> None:
    """Look and work until the session is ready; what failed once is tried again after a while."""
    eventually(lambda: worker.finalize() or worker.record().phase is not Phase.FINALIZING)
    assert worker.record().phase is Phase.READY, worker.record().error


def claimed(worker: Worker) -> list[str]:
    """What is claimed for the encoders."""
    return [c.key.item for c in worker.sent.claims if queue_of(c.key.item) == TRANSCODING]


def events(worker: Worker, action: str) -> list[dict]:
    return [each for each in worker.runtime.sessions.events(ID) if each["action"] == action]


def view(worker: Worker, name: str = "source") -> dict:
    return next(each for each in worker.record().renditions if each["name"] == name)


def tracks(worker: Worker, name: str = "source", revision: int = 1) -> dict:
    """The tracks of a published MP4 by kind."""
    key = f"{ID}/r{revision}/{name}.mp4"
    body = worker.s3.get_object(Bucket="vod", Key=key)["Body"].read()
    return {str(track.header.kind): track for track in movie_of(body).tracks}


def lose(worker: Worker, item: str, rendition: str = "source") -> None:
    """Remove what is staged of a work item's result."""
    result = SliceResult.from_json(worker.items()[item].result or "")
    for suffix in ("tables", "payload"):
        key = f"{ID}/{result.receipts[rendition].name}.{suffix}"
        worker.s3.delete_object(Bucket="staging", Key=key)


def sign_of_life(worker: Worker) -> None:
    """A heartbeat that comes while the session is finalized; it is long silent all the same."""
    worker.put(lastSeen=worker.record().session.last_seen + 1)
    assert worker.record().phase is Phase.LIVE
    worker.sent.claims.clear()


def test_odd_slices_alone_are_claimed_again_once_all_are_packaged(reconnected):
    worker = reconnected(OTHER)
    work(worker, "package/", "assemble/")
    assembly = worker.items()["assemble/source"]
    assert (assembly.state, assembly.attempts, assembly.error) == (State.RELEASED, 0, None)
    assert claimed(worker) == ["conform/source/2"]
    assert view(worker)["state"] == "conforming"
    assert view(worker)["progress"] == pytest.approx(8 / 12, abs=0.01)
    [event] = events(worker, "layout_decided")
    assert (event["rendition"], event["slices"], event["runs"]) == ("source", 1, 1)
    assert "256x144 instead of h264 320x180" in event["reasons"][0]
    assert "44100 Hz 1 channel instead of" in event["reasons"][1]


def test_a_recording_that_changed_its_size_and_sound_becomes_one_mp4(reconnected):
    worker = reconnected(OTHER)
    becomes_ready(worker)
    assert events(worker, "attempt_failed") == []
    assert [each["slice"] for each in events(worker, "slice_conformed")] == [2]
    found = tracks(worker)
    assert len(found["video"].dts) == 360
    for track in found.values():
        seconds = (track.dts[-1] - track.dts[0]) / track.header.timescale
        assert seconds == pytest.approx(12.0, abs=0.1)


def test_sound_that_a_part_lacks_is_silent_there_in_copies_and_transcodes(reconnected):
    worker = reconnected(SILENT, {"profiles": [SMALL]})
    becomes_ready(worker)
    assert {each["rendition"] for each in events(worker, "slice_conformed")} == {"source", "small"}
    for name in ("source", "small"):
        sound = tracks(worker, name)["audio"]
        seconds = (sound.dts[-1] - sound.dts[0]) / sound.header.timescale
        assert seconds == pytest.approx(12.0, abs=0.1)


def test_a_run_that_follows_goes_on_with_what_was_conformed(reconnected):
    worker = reconnected(OTHER)
    work(worker, "package/", "assemble/", "conform/")
    sign_of_life(worker)
    work(worker, "assemble/")
    assert len(events(worker, "layout_decided")) == 1
    assert len(events(worker, "slice_conformed")) == 1
    becomes_ready(worker)
    assert worker.record().revision == 1


def test_a_recording_that_grows_conforms_what_was_last_and_what_is_new(reconnected):
    worker = reconnected(OTHER)
    work(worker, "package/", "assemble/")
    work(worker, "conform/")
    repeat_last_segment(worker)
    sign_of_life(worker)
    work(worker, "package/", "assemble/")
    # What was the last of all may have ended inside a unit that goes on behind it.
    assert claimed(worker) == ["conform/source/2", "conform/source/3"]
    becomes_ready(worker)
    assert sorted(each["slice"] for each in events(worker, "slice_conformed")) == [2, 2, 3]
    assert len(tracks(worker)["video"].dts) == 420


def repeat_last_segment(worker: Worker) -> None:
    """Let the recording list its last segment once more, behind a tag."""
    key = {"Bucket": "recordings", "Key": f"{ID}/index.m3u8"}
    lines = worker.s3.get_object(**key)["Body"].read().decode().splitlines()
    last = max(n for n, line in enumerate(lines) if line.startswith("#EXTINF"))
    text = "\n".join([*lines[: last + 2], TAG, *lines[last : last + 2], *lines[last + 2 :]])
    worker.s3.put_object(**key, Body=text.encode())


def test_a_layout_that_holds_no_more_is_forgotten(reconnected, media):
    worker = reconnected(OTHER)
    work(worker, "package/", "assemble/")
    assert claimed(worker) == ["conform/source/2"]
    for number, (data, _) in enumerate(sent(media, {"duration": 4.0}), 4):
        worker.s3.put_object(Bucket="recordings", Key=f"{ID}/{number:05}.ts", Body=data)
    assert Run(worker.runtime, worker.record()).drop("package/source/2")
    worker.sent.claims.clear()
    becomes_ready(worker)
    assert events(worker, "slice_conformed") == []
    assert len(events(worker, "layout_decided")) == 1


def test_a_conformed_slice_that_is_lost_is_made_again(reconnected):
    worker = reconnected(OTHER)
    work(worker, "package/", "assemble/")
    work(worker, "conform/source")
    lose(worker, "conform/source/2")
    becomes_ready(worker)
    assert [each["slice"] for each in events(worker, "slice_conformed")] == [2, 2]
    assert len(events(worker, "layout_decided")) == 1


def test_a_slice_that_cannot_be_conformed_fails_the_session_and_says_so(reconnected):
    worker = reconnected(OTHER)
    work(worker, "package/", "assemble/")
    error = PermanentError(ErrorCode.SEGMENT_DAMAGED, "segment 4 is damaged")
    fail(Run(worker.runtime, worker.record()), error.code, error.message, "conform/source/2")
    assert worker.record().error.message == "conforming slice 2 of source: segment 4 is damaged"


def test_work_for_a_layout_that_counts_no_more_is_handed_back(reconnected):
    worker = reconnected(OTHER)
    work(worker, "package/", "assemble/")
    [claim] = worker.claims_of("conform/source/2")
    run = Run(worker.runtime, worker.record())
    assert run.drop("package/source/0")
    perform(claim.key, claim.token, worker.runtime, worker.sent)
    state = worker.items()["conform/source/2"]
    assert (state.state, state.attempts, state.error) == (State.RELEASED, 0, None)


def test_a_segment_that_is_late_is_waited_for(recorded):
    worker = recorded(missing_grace=3600, idle_timeout=0.05)
    key = {"Bucket": "recordings", "Key": f"{ID}/{last_segment(worker)}"}
    body = worker.s3.get_object(**key)["Body"].read()
    worker.s3.delete_object(**key)
    worker.put(lastSeen=worker.runtime.sessions.now_ms())
    eventually(lambda: worker.look() is Phase.FINALIZING)
    worker.finalize()
    state = worker.items()["package/source/5"]
    assert (state.attempts, state.error.code) == (0, "segment_missing")
    assert state.not_before - worker.runtime.sessions.now_ms() <= LATE_PAUSE_MS
    worker.s3.put_object(**key, Body=body)
    becomes_ready(worker)
    # Of the slice itself, and of the one before it, which looks how its last unit goes on.
    told = [each["item"] for each in events(worker, "postponed")]
    assert sorted(told) == ["package/source/4", "package/source/5"]
    assert len(tracks(worker)["video"].dts) == 360


def last_segment(worker: Worker) -> str:
    """The name of the segment that is listed last."""
    key = {"Bucket": "recordings", "Key": f"{ID}/index.m3u8"}
    lines = worker.s3.get_object(**key)["Body"].read().decode().splitlines()
    return [line for line in lines if line and not line.startswith("#")][-1]


@pytest.mark.parametrize("last_seen", [LONG_AGO, 0])
def test_a_segment_that_is_still_missing_long_after_the_end_is_a_gap(recorded, last_seen):
    worker = recorded({"lastSeen": last_seen})
    worker.s3.delete_object(Bucket="recordings", Key=f"{ID}/{last_segment(worker)}")
    becomes_ready(worker)
    assert events(worker, "postponed") == []
    assert len(tracks(worker)["video"].dts) == 300


def test_a_recording_without_any_of_its_segments_fails_and_says_why(recorded):
    worker = recorded()
    listed = worker.s3.list_objects_v2(Bucket="recordings", Prefix=f"{ID}/")["Contents"]
    for item in listed:
        if item["Key"].endswith(".ts"):
            worker.s3.delete_object(Bucket="recordings", Key=item["Key"])
    eventually(lambda: worker.finalize() or worker.record().phase is not Phase.FINALIZING)
    record = worker.record()
    assert (record.phase, record.error.code) == (Phase.FAILED, "segment_missing")
