"""Segments that come after they were given up, and what is published of those that never come."""

import json

import jsonschema
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from pipelines.report import schema_text
from pipelines.session import Phase
from tests.by_hand import ID
from tests.demuxed import Sound, demuxed_recording
from tests.packaging import upload_folder
from tests.report_laws import broken_laws
from tests.stack import eventually
from worker.perform import perform
from worker.run import Run

pytestmark = [pytest.mark.redis, pytest.mark.s3, pytest.mark.ffmpeg]

MISSING = "segment00003.ts"
KEY, IV = b"k" * 16, bytes(range(16))


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
    assert written["verdict"] == "failed" or broken_laws(written) == []
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


@pytest.mark.parametrize("settings", [{"gap_policy": "collapse"}, {"max_hole": 1.5}], ids=str)
@pytest.mark.alike(2)
def test_a_gap_that_is_not_held_moves_what_follows_up(lacking, worker, settings):
    one, _ = lacking
    one.s3.delete_object(Bucket="recordings", Key=f"{ID}/segment00004.ts")
    index = {"Bucket": "recordings", "Key": f"{ID}/index.m3u8"}
    text = one.s3.get_object(**index)["Body"].read().decode()
    clock = "#EXT-X-PROGRAM-DATE-TIME:2026-01-01T12:00:00Z\n#EXTINF"
    one.s3.put_object(**index, Body=text.replace("#EXTINF", clock, 1).encode())
    one = worker(**settings)
    one.finalize()
    assert one.record().phase is Phase.READY, one.record().error
    report = report_of(one)
    [rendition] = report["renditions"]
    [gap] = report["gaps"]
    assert (gap["cause"], gap["done"], gap["segments"]) == ("segment_lost", "collapsed", [3, 4])
    assert gap["duration"] == pytest.approx(4.0, abs=0.1)
    assert gap["wallClock"].startswith("2026-01-01T12:00:06.0")
    assert rendition["duration"] == pytest.approx(8.0, abs=0.1)
    assert (rendition["listedDuration"], rendition["durationDiffers"]) == (12.0, True)
    assert [track["inserted"] for track in rendition["tracks"]] == [0, 0]
    assert report["run"]["ffmpegVersion"] == one.runtime.tools.version()


@pytest.fixture
def german(worker, media, tmp_path):
    """Opens a worker with a recording whose sound lies in a playlist of its own; where that is."""
    spec = {"duration": 6.0, "size": "160x90"}
    deutsch = Sound("Deutsch", "de", [media.recording(video=None, **spec)], default=True)
    demuxed_recording(tmp_path, [media.recording(audio=None, **spec)], [deutsch])

    def opened(**settings):
        one = worker(**settings)
        upload_folder(one.s3, tmp_path, "recordings", ID)
        return one, {"Bucket": "recordings", "Key": f"{ID}/de.m3u8"}

    return opened


def test_a_playlist_of_sound_that_is_late_is_waited_for(german, tmp_path):
    one, listed = german(missing_grace=3600, idle_timeout=0.05)
    one.s3.delete_object(**listed)
    one.put(lastSeen=one.runtime.sessions.now_ms())
    eventually(lambda: one.look() is Phase.FINALIZING)
    one.look()
    assert (one.record().phase, one.sent.claims) == (Phase.FINALIZING, [])
    one.s3.put_object(**listed, Body=(tmp_path / "de.m3u8").read_bytes())
    one.look()
    assert one.sent.claims
    assert Run(one.runtime, one.record()).plan() is not None


def test_sound_that_comes_late_is_in_the_file(german, tmp_path):
    """A segment of it that was not there, and then one more that its playlist lists."""
    one, listed = german()
    whole = (tmp_path / "de.m3u8").read_text()
    names = [line for line in whole.splitlines() if line and line[0] != "#"]
    shorter = whole[: whole.index("#EXTINF", whole.index(names[1]))] + "#EXT-X-ENDLIST\n"
    one.s3.put_object(**listed, Body=shorter.encode())
    missing = {"Bucket": "recordings", "Key": f"{ID}/{names[1]}"}
    one.s3.delete_object(**missing)
    one.put()
    for body, key in (((tmp_path / names[1]).read_bytes(), missing), (whole.encode(), listed)):
        claim = work_until(one, "publish")
        one.s3.put_object(**key, Body=body)
        perform(claim.key, claim.token, one.runtime, one.sent)
        assert one.record().phase is not Phase.READY
    one.finalize()
    assert one.record().phase is Phase.READY, one.record().error
    report = report_of(one)
    assert (report["verdict"], report["losses"]) == ("complete", [])
    video, audio = report["renditions"][0]["tracks"]
    assert abs(audio["seconds"] - video["seconds"]) < 0.1


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


def encrypted(data):
    padder = PKCS7(128).padder()
    cipher = Cipher(algorithms.AES(KEY), modes.CBC(IV)).encryptor()
    return cipher.update(padder.update(data) + padder.finalize())


def test_a_header_and_a_key_that_come_before_the_commit_are_used(recorded):
    worker = recorded(recording={"container": "fmp4"})
    where = {"Bucket": "recordings", "Key": f"{ID}/init.mp4"}
    text = worker.s3.get_object(Bucket="recordings", Key=f"{ID}/index.m3u8")["Body"].read()
    data = worker.s3.get_object(**where)["Body"].read()
    # The last two segments have a header of their own, which is not there yet.
    lines = text.decode().splitlines()
    at = [number for number, line in enumerate(lines) if line.startswith("#EXTINF")][-2]
    lines.insert(at, '#EXT-X-MAP:URI="late.mp4"')
    # The one before them is encrypted, with a key that is not there yet.
    before = [number for number, line in enumerate(lines) if line.startswith("#EXTINF")][-3]
    sealed = {"Bucket": "recordings", "Key": f"{ID}/{lines[before + 1]}"}
    worker.s3.put_object(**sealed, Body=encrypted(worker.s3.get_object(**sealed)["Body"].read()))
    lines.insert(at, "#EXT-X-KEY:METHOD=NONE")
    lines.insert(before, f'#EXT-X-KEY:METHOD=AES-128,URI="late.key",IV=0x{IV.hex()}')
    playlist = "\n".join(lines).encode()
    worker.s3.put_object(Bucket="recordings", Key=f"{ID}/index.m3u8", Body=playlist)
    claim = work_until(worker, "publish")
    worker.s3.put_object(Bucket="recordings", Key=f"{ID}/late.mp4", Body=data)
    worker.s3.put_object(Bucket="recordings", Key=f"{ID}/late.key", Body=KEY)
    perform(claim.key, claim.token, worker.runtime, worker.sent)
    assert worker.record().revision == 0
    events = worker.runtime.sessions.events(ID)
    [told] = [event["segments"] for event in events if event["action"] == "segment_came_late"]
    assert told == [3, 4, 5]
    worker.finalize()
    assert (report_of(worker)["verdict"], report_of(worker)["losses"]) == ("complete", [])
