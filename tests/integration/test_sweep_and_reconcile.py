"""One look at a session decides upon what is true now: against a real Redis and a real S3."""

import json

import dramatiq
import pytest

from pipelines.errors import ErrorCode
from pipelines.session import Phase
from tests.by_hand import ID, Recorder
from tests.stack import eventually
from worker.broker import make_broker, waiting_messages
from worker.claiming import LEAST_WINDOW, MAX_ATTEMPTS, WINDOW_PER_THREAD
from worker.cleanup import clean
from worker.perform import perform
from worker.presence import WorkerProcess
from worker.reconcile import reconcile
from worker.rerun import start
from worker.run import Run
from worker.sweep import MOST_WAITING, sweep_once
from worker.work_item import State

pytestmark = [pytest.mark.redis, pytest.mark.s3, pytest.mark.ffmpeg]

DAY_MS = 86_400_000


def test_a_session_that_is_not_idle_is_only_looked_at_later(recorded):
    worker = recorded(package_live=False)
    worker.put(lastSeen=worker.runtime.sessions.now_ms())
    assert worker.look() is Phase.LIVE
    assert 50_000 < worker.due_in_ms() <= 60_000
    assert worker.sent.claims == []


def test_a_heartbeat_that_comes_while_the_decision_is_made_wins(recorded, monkeypatch):
    worker = recorded(package_live=False)
    read, now = Run.read_recording, worker.runtime.sessions.now_ms()

    def read_and_wake(run: Run):
        worker.put(lastSeen=now)
        return read(run)

    monkeypatch.setattr(Run, "read_recording", read_and_wake)
    assert worker.look() is Phase.LIVE
    assert worker.record().generation == 0
    assert worker.due_in_ms() > 50_000


def test_a_session_claims_no_more_than_the_workers_can_soon_do(recorded):
    worker = recorded()
    assert worker.look() is Phase.FINALIZING
    assert [claim.key.item for claim in worker.sent.claims] == [
        f"package/source/{number}" for number in range(LEAST_WINDOW)
    ]
    worker.look()
    assert len(worker.sent.claims) == LEAST_WINDOW
    process = WorkerProcess("host", 1, ("package",), 5 // WINDOW_PER_THREAD + 1, "n")
    worker.runtime.roster.beat(process)
    worker.look()
    assert len(worker.sent.claims) == 6


def test_two_looks_at_once_send_every_slice_once(recorded):
    worker = recorded()
    worker.look()
    again = Recorder()
    reconcile(ID, worker.runtime, again)
    assert again.claims == []


def test_a_claim_whose_message_was_lost_is_sent_again(recorded):
    worker = recorded(lease=0.05)
    worker.look()
    lost = {claim.key for claim in worker.sent.claims}
    worker.sent.claims.clear()
    assert worker.due_in_ms() <= 50
    eventually(lambda: worker.look() and worker.sent.claims)
    assert {claim.key for claim in worker.sent.claims} <= lost
    assert {item.attempts for item in worker.items().values()} == {0}


def test_the_session_is_due_when_the_first_lease_runs_out(recorded):
    worker = recorded(lease=40)
    worker.look()
    claim = worker.sent.claims[0]
    worker.runtime.work.lease(claim.key, claim.token, "tests:1", 5_000)
    worker.look()
    assert 3_000 < worker.due_in_ms() <= 5_000


def test_an_outage_is_waited_out_as_long_as_the_worker_asked_for(recorded):
    worker = recorded()
    worker.look()
    lease = worker.lease_first()
    error = (ErrorCode.STORE_UNAVAILABLE, "the store did not answer")
    worker.runtime.work.release(lease, counts=False, error=error, delay_ms=9_000)
    worker.look()
    assert 7_000 < worker.due_in_ms() <= 9_000
    assert worker.record().phase is Phase.FINALIZING


def test_an_outage_that_lasts_too_long_is_given_up(recorded):
    worker = recorded(give_up_after=0.01)
    worker.look()
    lease = worker.lease_first()
    error = (ErrorCode.STORE_UNAVAILABLE, "the store did not answer")
    worker.runtime.work.release(lease, counts=False, error=error, delay_ms=60_000)
    eventually(lambda: worker.look() is Phase.FAILED)
    assert worker.record().error.code == "store_unavailable"
    message = "copying slice 0 of source: given up: the store did not answer"
    assert worker.record().error.message == message


def test_a_slice_that_failed_too_often_fails_the_session_with_its_last_error(recorded):
    worker = recorded()
    for _ in range(MAX_ATTEMPTS):
        worker.sent.claims.clear()
        worker.look()
        worker.runtime.work.release(
            worker.lease_first(), counts=True, error=(ErrorCode.FFMPEG_FAILED, "no luck")
        )
    assert worker.look() is Phase.FAILED
    message = "copying slice 0 of source: no luck"
    assert vars(worker.record().error) == {"code": "ffmpeg_failed", "message": message}
    report = json.loads(worker.runtime.sessions.report(ID))
    assert report["error"]["renditions"] == ["source"]
    (source,) = report["renditions"]
    assert (source["name"], source["state"], source["url"]) == ("source", "failed", None)


def test_a_slice_that_silenced_too_many_workers_is_poison(recorded):
    worker = recorded(lease=0.2)
    for _ in range(MAX_ATTEMPTS):
        worker.sent.claims.clear()
        eventually(lambda: worker.look() and worker.claims_of("package/source/0"))
        claim = worker.claims_of("package/source/0")[-1]
        assert worker.runtime.work.lease(claim.key, claim.token, "tests:1", 50)
    eventually(lambda: worker.look() is Phase.FAILED)
    assert worker.record().error.code == "slice_poison"


def test_the_sweep_hands_on_only_sessions_that_are_due(worker):
    made = worker()
    sessions = made.runtime.sessions
    now = sessions.now_ms()
    for number in range(300):
        made.put(f"later-{number}", lastSeen=now)
    for number in range(3):
        made.put(f"due-{number}")
    made.redis.config_resetstat()
    assert sweep_once(made.runtime, made.sent) == 3
    assert set(made.sent.looks) == {"due-0", "due-1", "due-2"}
    calls = {name: stat["calls"] for name, stat in made.redis.info("commandstats").items()}
    del calls["cmdstat_config|resetstat"]
    assert sum(calls.values()) < 15
    assert sweep_once(made.runtime, made.sent) == 0


def test_a_look_hands_on_no_more_than_soon_has_its_turn(worker):
    made = worker()
    for number in range(MOST_WAITING + 5):
        made.put(f"due-{number}")
    made.sent.others = MOST_WAITING - 3
    assert sweep_once(made.runtime, made.sent) == 3
    made.sent.others = 10 * MOST_WAITING
    assert sweep_once(made.runtime, made.sent) == 0
    assert sweep_once(made.runtime, made.sent, at_least=1) == 1
    made.sent.others = 0
    assert sweep_once(made.runtime, made.sent) == MOST_WAITING
    assert sweep_once(made.runtime, made.sent) == 1
    assert len(set(made.sent.looks)) == MOST_WAITING + 5


def test_messages_that_a_consumer_has_taken_wait_no_more(worker):
    broker = make_broker(worker().runtime.settings)
    broker.declare_queue("control")
    for number in range(3):
        broker.enqueue(dramatiq.Message("control", "note", (number,), {}, {}))
    assert waiting_messages(broker, "control") == 3
    taken = broker.consume("control", prefetch=2)
    assert next(taken) is not None
    assert waiting_messages(broker, "control") == 1
    broker.close()


def test_a_session_that_ended_is_cleaned_twice_and_then_left_alone(recorded):
    worker = recorded(lease=0.05)
    worker.look()
    failed(worker)
    eventually(lambda: sweep_once(worker.runtime, worker.sent))
    assert worker.look() is Phase.FAILED
    eventually(lambda: worker.look() and worker.due_in_ms() is None)
    assert worker.record().run == {}
    assert sweep_once(worker.runtime, worker.sent) == 0


def test_what_a_late_worker_writes_is_removed_by_the_last_pass(recorded):
    worker = recorded(lease=0.1)
    worker.look()
    failed(worker)
    worker.look()
    worker.s3.put_object(Bucket="staging", Key=f"{ID}/source/7-late.tables", Body=b"x")
    upload = worker.s3.create_multipart_upload(Bucket="vod", Key=f"{ID}/r1/source.mp4")
    assert upload["UploadId"]
    eventually(lambda: worker.look() and worker.due_in_ms() is None)
    assert "Contents" not in worker.s3.list_objects_v2(Bucket="staging", Prefix=f"{ID}/")
    uploads = worker.s3.list_multipart_uploads(Bucket="vod", Prefix=f"{ID}/r1/source.mp4")
    assert "Uploads" not in uploads


def failed(worker):
    worker.runtime.work.release(
        worker.lease_first(), counts=True, error=(ErrorCode.FFMPEG_FAILED, "no luck")
    )
    record = worker.record()
    worker.runtime.sessions.transition(
        ID, expect={Phase.FINALIZING}, to=Phase.FAILED, due_ms=0, generation=record.generation
    )


def test_cleaning_up_leaves_a_session_alone_that_has_moved_on(recorded):
    worker = recorded()
    worker.look()
    failed(worker)
    seen = worker.record()
    generation = start(worker.runtime.sessions, ID, force=False)
    worker.sent.claims.clear()
    worker.look()
    due, items = worker.runtime.sessions.due_ms(ID), worker.items()
    assert {item.state for item in items.values()} == {State.CLAIMED}
    clean(worker.runtime, seen)
    assert worker.record().generation == generation
    assert worker.runtime.sessions.due_ms(ID) == due
    assert worker.items() == items


def test_a_forced_re_run_leaves_nothing_of_the_run_that_it_replaces(recorded):
    worker = recorded()
    worker.look()
    first = worker.record().generation
    start(worker.runtime.sessions, ID, force=True)
    worker.look()
    (key,) = worker.redis.scan_iter(f"*run:{ID}:*", 1000)
    assert not key.endswith(str(first))


def test_a_pointer_to_a_run_that_failed_before_its_commit_is_turned_back(recorded):
    worker = recorded(lease=5)
    worker.finalize()
    assert worker.record().phase is Phase.READY
    pointer = read(worker, "index.m3u8")
    published = set(listed(worker))
    start(worker.runtime.sessions, ID, force=True)
    worker.look()
    for name in ("index.m3u8", "r2/source.mp4", "r2/source/index.m3u8"):
        worker.s3.put_object(Bucket="vod", Key=f"{ID}/{name}", Body=b"r2/source/index.m3u8")
    failed(worker)
    worker.look()
    assert read(worker, "index.m3u8") == pointer
    assert set(listed(worker)) == published


def read(worker, name):
    return worker.s3.get_object(Bucket="vod", Key=f"{ID}/{name}")["Body"].read()


def listed(worker):
    found = worker.s3.list_objects_v2(Bucket="vod", Prefix=f"{ID}/")
    return [item["Key"] for item in found["Contents"]]


def test_an_mp4_that_went_away_before_the_commit_is_made_again(recorded):
    worker = recorded()
    worker.look()
    while not any(claim.key.item == "publish" for claim in worker.sent.claims):
        claim = worker.sent.claims.pop(0)
        perform(claim.key, claim.token, worker.runtime, worker.sent)
        worker.look()
    worker.s3.delete_object(Bucket="vod", Key=f"{ID}/r1/source.mp4")
    worker.finalize()
    assert worker.record().phase is Phase.READY
    assert worker.s3.head_object(Bucket="vod", Key=f"{ID}/r1/source.mp4")["ContentLength"] > 0


def test_a_session_of_one_revision_never_comes_up_again_and_one_of_two_does_after_a_week(worker):
    made = worker()
    made.put()
    for revision, due in ((1, None), (2, 7 * DAY_MS)):
        sessions = made.runtime.sessions
        expected = {Phase.LIVE, Phase.READY}
        generation = sessions.begin_generation(ID, expect=expected, reason="test")
        sessions.update(ID, generation, {"run": {}})
        sessions.commit(ID, generation, recording_url="u", mp4_url="m", renditions=(), due_ms=0)
        made.look()
        assert made.record().revision == revision
        assert made.due_in_ms() == (due and pytest.approx(due, abs=60_000))
