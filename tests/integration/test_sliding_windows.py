"""Live playlists whose window slides: what was listed once is in the recording, or is told."""

import itertools
import json

import jsonschema
import pytest

from pipelines.report import schema_text
from pipelines.session import Phase
from tests.by_hand import ID
from tests.demuxed import TAG, Sound, demuxed_recording
from tests.packaging import upload_folder
from tests.report_laws import broken_laws
from tests.stack import eventually
from worker.perform import perform
from worker.remembered_listing import remember_listed
from worker.run import Run
from worker.run_memory import LISTED

pytestmark = [pytest.mark.redis, pytest.mark.s3, pytest.mark.ffmpeg]

SECONDS = 2


class Origin:
    """Writes a recording to the store as a live origin does, window by window."""

    def __init__(self, s3, index, session_id=ID):
        self.s3, self.folder, self.session_id = s3, index.parent, session_id
        self.names = [line for line in index.read_text().splitlines() if line.endswith(".ts")]

    def write(self, name, data, bucket="recordings"):
        self.s3.put_object(Bucket=bucket, Key=f"{self.session_id}/{name}", Body=data)

    def lists(self, first, end, *, sequence=None, names=None, tags="", end_tag=""):
        """List the segments ``first`` up to ``end``, numbered from ``sequence`` on; ``names`` are
        others than those of the files."""
        listed = names or self.names[first:end]
        for name, file in zip(listed, self.names[first:end], strict=True):
            self.write(name, (self.folder / file).read_bytes())
        number = first if sequence is None else sequence
        head = ["#EXTM3U", "#EXT-X-VERSION:3", f"#EXT-X-TARGETDURATION:{SECONDS}"]
        lines = [*head, f"#EXT-X-MEDIA-SEQUENCE:{number}", *filter(None, [tags])]
        for name in listed:
            lines += [f"#EXTINF:{SECONDS},", name]
        self.write("index.m3u8", "\n".join([*lines, end_tag, ""]).encode())

    def forgets(self, first, end):
        for name in self.names[first:end]:
            self.s3.delete_object(Bucket="recordings", Key=f"{self.session_id}/{name}")


@pytest.fixture
def origin(worker, media):
    """Opens a worker with a silent session, and an origin of its recording of six segments."""

    def opened(**settings):
        one = worker(**settings)
        made = Origin(one.s3, media.recording(duration=12.0, size="160x90"))
        one.put()
        return one, made

    return opened


def remember(worker):
    run = Run(worker.runtime, worker.record())
    remember_listed(run, run.read_recording())


def report_of(worker):
    written = json.loads(worker.runtime.sessions.report(ID))
    jsonschema.validate(written, json.loads(schema_text()))
    assert broken_laws(written) == []
    return written


def ready(worker):
    worker.finalize()
    assert worker.record().phase is Phase.READY, worker.record().error
    return report_of(worker)


def read(worker, name, bucket="vod"):
    return worker.s3.get_object(Bucket=bucket, Key=f"{ID}/{name}")["Body"].read()


def staged(worker):
    listed = worker.s3.list_objects_v2(Bucket="staging", Prefix=f"{ID}/listing/")
    return [each["Key"] for each in listed.get("Contents", ())]


def events(worker, action):
    return [each for each in worker.runtime.sessions.events(ID) if each["action"] == action]


@pytest.fixture
def undisturbed(worker, media):
    """The MP4s of the same segments, of a playlist that never slides, by name."""

    def made(*names, **session):
        one = worker()
        index = media.recording(duration=12.0, size="160x90")
        upload_folder(one.s3, index.parent, "recordings", "whole")
        one.put("whole", **session)
        one.look("whole")
        while one.sent.claims:
            claim = one.sent.claims.pop(0)
            perform(claim.key, claim.token, one.runtime, one.sent)
            one.look("whole")
        keys = {name: f"whole/r1/{name}.mp4" for name in ("source", *names)}
        return {n: one.s3.get_object(Bucket="vod", Key=k)["Body"].read() for n, k in keys.items()}

    return made


def test_all_that_a_window_ever_listed_is_in_the_file(origin, undisturbed):
    worker, source = origin()
    for end in range(2, 7):
        source.lists(max(0, end - 3), end)
        remember(worker)
        remember(worker)
    assert len(staged(worker)) <= 3
    report = ready(worker)
    assert report["verdict"] == "complete"
    assert report["window"] == {
        "segments": 3,
        "seconds": 6.0,
        "notAtSource": 0,
        "neverListed": 0,
        "forgotten": 0,
        "restarts": [],
        "earlierRevisions": [],
    }
    assert report["source"]["segments"] == report["renditions"][0]["sourceSegments"] == 6
    assert read(worker, "r1/source.mp4") == undisturbed()["source"]
    assert [each["firstSegment"] for each in events(worker, "window_slid")] == [0]
    eventually(lambda: worker.look() and not staged(worker))


def window_of(whole, first, end):
    """The text of a window of a playlist whose origin does not count what slid away."""
    head, *listed = whole.replace(f"{TAG}\n#EXTINF", "#EXTINF!").split("#EXTINF")
    texts = [f"{TAG}\n#EXTINF{each[1:]}" if each[0] == "!" else f"#EXTINF{each}" for each in listed]
    return f"{head}#EXT-X-MEDIA-SEQUENCE:{first}\n" + "".join(texts[first:end])


def test_sound_in_a_playlist_of_its_own_slides_with_its_pictures(worker, media, tmp_path):
    """Each playlist by its own steps, with a discontinuity in both, which slides away."""
    spec = {"duration": 6.0, "size": "160x90"}
    audio = media.recording(video=None, **spec)
    demuxed_recording(
        tmp_path,
        [media.recording(audio=None, **spec)] * 2,
        [Sound("Deutsch", "de", [audio, audio], default=True)],
    )
    one = worker(gap_policy="fail")
    for session in (ID, "whole"):
        upload_folder(one.s3, tmp_path, "recordings", session)
        one.put(session)
    for end, name in itertools.product(range(2, 7), ("pictures", "de")):
        whole = (tmp_path / f"{name}.m3u8").read_text()
        text = window_of(whole, max(0, end - 3), end if end < 6 else len(whole))
        key = f"{ID}/{name}.m3u8"
        one.s3.put_object(Bucket="recordings", Key=key, Body=text.encode())
        remember(one)
    report = ready(one)
    assert (report["verdict"], report["window"]["segments"]) == ("complete", 3)
    assert len(report["renditions"][0]["periods"]) == 2
    one.look("whole")
    while one.sent.claims:
        claim = one.sent.claims.pop(0)
        perform(claim.key, claim.token, one.runtime, one.sent)
        one.look("whole")
    made = one.s3.get_object(Bucket="vod", Key="whole/r1/source.mp4")["Body"].read()
    assert read(one, "r1/source.mp4") == made


@pytest.mark.parametrize("kept", [0, pytest.param(1, marks=pytest.mark.long)])
def test_what_is_deleted_once_it_is_packaged_is_in_the_file(origin, undisturbed, kept):
    """Not even the segments before a slice are there any more."""
    worker, source = origin()
    for end in range(2, 7):
        source.lists(max(0, end - 3), end)
        remember(worker)
    worker.look()
    while worker.sent.claims:
        claim = worker.sent.claims.pop(0)
        perform(claim.key, claim.token, worker.runtime, worker.sent)
        kind, _, number = claim.key.item.partition("/source/")
        if kind == "package":
            source.forgets(0, int(number) + 1 - kept)
        worker.look()
    report = report_of(worker)
    assert (report["verdict"], report["window"]["notAtSource"]) == ("complete", 3)
    assert read(worker, "r1/source.mp4") == undisturbed()["source"]


def test_a_playlist_that_never_slides_costs_one_page_and_no_reading(origin, monkeypatch):
    worker, source = origin()
    source.lists(0, 3)
    remember(worker)
    source.lists(0, 6)
    monkeypatch.setattr("pipelines.staging.Staging.listing", lambda *_: pytest.fail("read"))
    assert ready(worker)["window"] is None


def test_two_looks_at_once_do_no_harm(origin, monkeypatch):
    worker, source = origin()
    source.lists(0, 3)
    remember(worker)
    source.lists(1, 4)
    run = Run(worker.runtime, worker.record())
    early = run.read_recording()
    source.lists(2, 5)
    late = run.read_recording()
    write = type(worker.runtime.staging(ID)).write_listing

    def overtaken(staging, name, listed):
        monkeypatch.undo()
        remember_listed(run, late)
        write(staging, name, listed)

    monkeypatch.setattr("pipelines.staging.Staging.write_listing", overtaken)
    remember_listed(run, early)
    source.lists(3, 6)
    assert [each.sequence for each in run.read_recording().source.segments] == [*range(6)]
    note = worker.record().run[LISTED]
    assert sorted(staged(worker)) == sorted(f"{ID}/listing/{name}" for name, _ in note["pages"])


def test_what_is_gone_before_it_was_packaged_is_lost_and_told(origin):
    worker, source = origin()
    source.lists(0, 3)
    remember(worker)
    source.lists(3, 6)
    source.forgets(1, 3)
    report = ready(worker)
    assert report["verdict"] == "partial"
    [loss] = report["losses"]
    assert (loss["segment"], loss["lastSegment"], loss["cause"]) == (1, 2, "segment_missing")
    [gap] = report["gaps"]
    assert gap["segments"] == [1, 2]
    assert gap["duration"] == pytest.approx(4.0, abs=0.1)
    assert report["window"]["segments"] == 3
    assert report["source"]["segmentsLost"] == 2


def test_a_window_that_slid_faster_than_looks_leaves_a_gap_as_long_as_its_clock_says(origin):
    worker, source = origin()
    source.lists(0, 2)
    remember(worker)
    source.lists(4, 6)
    report = ready(worker)
    assert (report["verdict"], report["losses"]) == ("partial", [])
    assert report["window"]["neverListed"] == 2
    [gap] = report["gaps"]
    assert gap["duration"] == pytest.approx(4.0, abs=0.1)
    assert gap["at"] == pytest.approx(4.0, abs=0.1)
    assert report["renditions"][0]["duration"] == pytest.approx(12.0, abs=0.1)


@pytest.mark.parametrize(
    "names", [["again0.ts", "again1.ts"], pytest.param(None, marks=pytest.mark.long)]
)
def test_an_origin_that_counts_anew_takes_nothing_away(origin, names):
    """The second part goes on with the first one's clock here: it is a period of its own."""
    worker, source = origin()
    source.lists(0, 2)
    remember(worker)
    source.lists(2, 4)
    remember(worker)
    source.lists(4, 6, sequence=0, names=names)
    remember(worker)
    source.lists(4, 6, sequence=0, names=names, end_tag="#EXT-X-ENDLIST")
    report = ready(worker)
    assert report["window"]["restarts"] == [4]
    assert (report["window"]["segments"], report["source"]["segments"]) == (4, 6)
    assert (report["verdict"], report["losses"]) == ("complete", [])
    assert report["renditions"][0]["duration"] == pytest.approx(12.0, abs=0.1)
    assert [each["segment"] for each in events(worker, "origin_restarted")] == [4]
    assert read(worker, "r1/source/index.m3u8").decode().count("#EXT-X-DISCONTINUITY\n") == 1


@pytest.mark.parametrize("vod", ["reference", "copy"])
def test_the_vod_has_gaps_where_the_source_forgot_what_was_packaged(origin, undisturbed, vod):
    public = {"source_public_url": "http://source.example/"} if vod == "reference" else {}
    worker, source = origin(vod=vod, **public)
    source.lists(0, 3)
    remember(worker)
    source.lists(3, 6)
    worker.look()
    while (claim := worker.sent.claims.pop(0)).key.item != "publish":
        perform(claim.key, claim.token, worker.runtime, worker.sent)
        worker.look()
    source.forgets(0, 2)
    perform(claim.key, claim.token, worker.runtime, worker.sent)
    report = ready(worker)
    assert (report["verdict"], report["window"]["notAtSource"]) == ("complete", 2)
    assert read(worker, "r1/source.mp4") == undisturbed()["source"]
    lines = read(worker, "r1/source/index.m3u8").decode().splitlines()
    assert lines.count("#EXT-X-GAP") == 2
    assert lines.index("#EXT-X-GAP") < lines.index(next(x for x in lines if x[:7] == "#EXTINF"))


def test_a_late_heartbeat_takes_no_longer_recording_away(origin):
    worker, source = origin()
    source.lists(0, 3)
    remember(worker)
    source.lists(3, 6)
    before = ready(worker)
    eventually(lambda: worker.look() and LISTED not in worker.record().run)
    url = worker.record().mp4_url
    worker.put(lastSeen=worker.record().session.last_seen + 1)
    assert worker.record().phase is Phase.LIVE
    assert ready(worker) == before
    assert (worker.record().revision, worker.record().mp4_url) == (1, url)
    assert [each["state"] for each in worker.record().renditions] == ["ready"]
    assert "nothing new" in events(worker, "ready")[-1]["reason"]


def test_what_an_earlier_revision_alone_holds_is_kept(origin):
    worker, source = origin(keep_old=0.01, lease=0.3)
    source.lists(0, 3)
    remember(worker)
    source.lists(1, 4)
    ready(worker)
    eventually(lambda: worker.look() and not worker.record().run)
    source.lists(3, 6)
    worker.put(lastSeen=worker.record().session.last_seen + 1)
    report = ready(worker)
    assert report["verdict"] == "partial"
    assert report["window"]["earlierRevisions"] == [1]
    assert (report["source"]["firstSegment"], report["source"]["lastSegment"]) == (3, 5)
    eventually(lambda: worker.look() and worker.due_in_ms() is None)
    assert read(worker, "r1/source.mp4")
    # Made again of the same, it still lacks what r1 holds.
    worker.runtime.sessions.begin_generation(ID, expect={Phase.READY}, reason="again")
    assert ready(worker)["window"]["earlierRevisions"] == [1]
    assert worker.record().revision == 3
    eventually(lambda: worker.look() and worker.due_in_ms() is None)
    assert read(worker, "r1/source.mp4")
    with pytest.raises(worker.s3.exceptions.NoSuchKey):
        read(worker, "r2/source.mp4")


def test_pages_that_are_gone_are_told_once(origin):
    worker, source = origin()
    source.lists(0, 3)
    remember(worker)
    [page] = staged(worker)
    worker.s3.delete_object(Bucket="staging", Key=page)
    source.lists(3, 6)
    report = ready(worker)
    assert report["source"]["firstSegment"] == 3
    assert len(events(worker, "listing_lost")) == 1


def test_what_a_run_knew_that_failed_is_told_by_the_next(origin, worker):
    one, source = origin(gap_policy="fail")
    source.lists(0, 3)
    remember(one)
    source.lists(2, 5)
    source.forgets(2, 3)
    one.finalize()
    assert one.record().phase is Phase.FAILED
    failed = json.loads(one.runtime.sessions.report(ID))
    assert (failed["source"]["firstSegment"], failed["window"]["segments"]) == (0, 2)
    eventually(lambda: one.look() and LISTED not in one.record().run)
    source.lists(3, 6)
    one = worker()
    one.runtime.sessions.begin_generation(ID, expect={Phase.FAILED}, reason="again")
    report = ready(one)
    assert (report["verdict"], report["window"]["forgotten"]) == ("partial", 3)


def live_look(worker):
    """A sign of life, a look that is due, and all the work that it claims."""
    worker.put(lastSeen=worker.runtime.sessions.now_ms())
    record = worker.record()
    worker.runtime.sessions.update(record.id, record.generation, {"look_at": 1})
    worker.finalize()
    assert worker.record().phase is Phase.LIVE


PROFILE = {"name": "small", "width": 128, "height": 128, "bitrate": 100_000, "fps": 0}


def test_what_is_transcoded_while_live_needs_its_segments_no_more(origin, worker, undisturbed):
    one, source = origin()
    one.put(profiles=[PROFILE])
    for end in range(2, 7):
        source.lists(max(0, end - 3), end)
        live_look(one)
        source.forgets(0, max(0, end - 3))
    report = ready(worker(idle_timeout=0.01))
    assert (report["verdict"], report["window"]["notAtSource"]) == ("complete", 3)
    whole = undisturbed("small", profiles=[PROFILE], createdAt=one.record().session.created_at)
    assert {name: read(one, f"r1/{name}.mp4") for name in whole} == whole
