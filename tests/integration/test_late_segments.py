"""Segments that come after they were given up, and what is published of those that never come."""

import json

import jsonschema
import pytest

from pipelines.report import schema_text
from pipelines.session import Phase
from tests.by_hand import ID
from worker.perform import perform

pytestmark = [pytest.mark.redis, pytest.mark.s3, pytest.mark.ffmpeg]

MISSING = "segment00003.ts"


@pytest.fixture
def lacking(recorded):
    """A worker with a session whose fourth segment of six is not there, and its bytes."""
    worker = recorded()
    where = {"Bucket": "recordings", "Key": f"{ID}/{MISSING}"}
    data = worker.s3.get_object(**where)["Body"].read()
    worker.s3.delete_object(**where)
    return worker, lambda: worker.s3.put_object(**where, Body=data)


def work_until(worker, item):
    """Look and work until an item is claimed; its claim, not yet performed."""
    worker.look()
    while True:
        claim = worker.sent.claims.pop(0)
        if claim.key.item == item:
            return claim
        perform(claim.key, claim.token, worker.runtime, worker.sent)
        worker.look()


def report_of(worker):
    written = json.loads(worker.runtime.sessions.report(ID))
    jsonschema.validate(written, json.loads(schema_text()))
    return written


def text_of(worker, name):
    return worker.s3.get_object(Bucket="vod", Key=f"{ID}/{name}")["Body"].read().decode()


def actions(worker):
    return [event["action"] for event in worker.runtime.sessions.events(ID)]


def test_a_segment_that_comes_before_the_commit_is_in_the_file(lacking):
    worker, upload = lacking
    claim = work_until(worker, "publish")
    upload()
    perform(claim.key, claim.token, worker.runtime, worker.sent)
    assert worker.record().revision == 0
    worker.finalize()
    assert worker.record().phase is Phase.READY
    report = report_of(worker)
    assert (report["verdict"], report["gaps"], report["losses"]) == ("complete", [], [])
    assert report["source"]["segmentsLost"] == 0
    # What was shown under the first number lacks the segment; its bytes never change.
    assert (worker.record().revision, report["run"]["revision"]) == (2, 2)
    (told,) = [
        event
        for event in worker.runtime.sessions.events(ID)
        if event["action"] == "segment_came_late"
    ]
    assert told["segments"] == [3]
    assert "#EXT-X-GAP" not in text_of(worker, "r2/source/index.m3u8")


def test_a_segment_that_never_comes_is_a_gap_in_file_report_and_playlist(lacking):
    worker, _ = lacking
    worker.finalize()
    assert worker.record().phase is Phase.READY
    report = report_of(worker)
    assert report["verdict"] == "partial"
    assert [(each["segment"], each["cause"]) for each in report["losses"]] == [
        (3, "segment_missing")
    ]
    (gap,) = report["gaps"]
    assert (gap["track"], gap["done"], gap["segments"]) == ("all", "held", [3])
    assert gap["at"] == pytest.approx(6.0, abs=0.1)
    assert gap["duration"] == pytest.approx(2.0, abs=0.1)
    lines = text_of(worker, "r1/source/index.m3u8").splitlines()
    at = lines.index("#EXT-X-GAP")
    assert (lines.count("#EXT-X-GAP"), lines[1]) == (1, "#EXT-X-VERSION:8")
    assert lines[at + 1].startswith("#EXTINF:2.0")
    assert "segment_came_late" not in actions(worker)


def test_segments_that_come_and_go_are_waited_for_twice_at_most(lacking):
    worker, upload = lacking
    for _ in range(2):
        claim = work_until(worker, "publish")
        upload()
        perform(claim.key, claim.token, worker.runtime, worker.sent)
        worker.s3.delete_object(Bucket="recordings", Key=f"{ID}/{MISSING}")
        assert worker.record().phase is Phase.FINALIZING
        # What is counted does not depend on the log of events, which forgets.
        for number in range(300):
            worker.runtime.sessions.add_event(ID, "noise", number=number)
    claim = work_until(worker, "publish")
    upload()
    perform(claim.key, claim.token, worker.runtime, worker.sent)
    assert worker.look() is Phase.READY
    assert report_of(worker)["verdict"] == "partial"
    assert actions(worker).count("segment_came_late") <= 2


def test_a_failed_run_tells_what_it_found(recorded):
    worker = recorded(gap_policy="fail", session={"sourceSegments": 9})
    worker.s3.delete_object(Bucket="recordings", Key=f"{ID}/{MISSING}")
    worker.finalize()
    assert worker.record().phase is Phase.FAILED
    report = report_of(worker)
    assert (report["verdict"], report["error"]["code"]) == ("failed", "gap_refused")
    assert [each["segment"] for each in report["losses"]] == [3]
    assert (report["source"]["segments"], report["source"]["segmentsLost"]) == (6, 1)
    assert report["counters"]["sourceSegments"] == {"said": 9, "found": 5, "differs": True}
    assert report["run"]["timings"]["package"] > 0


def test_a_header_that_comes_before_the_commit_is_used(recorded):
    worker = recorded(recording={"container": "fmp4"})
    where = {"Bucket": "recordings", "Key": f"{ID}/init.mp4"}
    text = worker.s3.get_object(Bucket="recordings", Key=f"{ID}/index.m3u8")["Body"].read()
    data = worker.s3.get_object(**where)["Body"].read()
    # The last two segments have a header of their own, which is not there yet.
    lines = text.decode().splitlines()
    at = [number for number, line in enumerate(lines) if line.startswith("#EXTINF")][-2]
    lines.insert(at, '#EXT-X-MAP:URI="late.mp4"')
    playlist = "\n".join(lines).encode()
    worker.s3.put_object(Bucket="recordings", Key=f"{ID}/index.m3u8", Body=playlist)
    claim = work_until(worker, "publish")
    worker.s3.put_object(Bucket="recordings", Key=f"{ID}/late.mp4", Body=data)
    perform(claim.key, claim.token, worker.runtime, worker.sent)
    assert worker.record().revision == 0
    worker.finalize()
    assert (report_of(worker)["verdict"], report_of(worker)["losses"]) == ("complete", [])
