"""What is packaged while a session is live: against a real Redis, a real S3 and a real ffmpeg."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.errors import ErrorCode, TransientError
from pipelines.session import Phase
from pipelines.transcoding.transcode import HardwareFailed
from tests.by_hand import ID, Worker
from tests.packaging import upload_folder
from tests.stack import eventually
from worker.claiming import LIVE_WINDOW, MAX_ATTEMPTS
from worker.live import TOO_OLD
from worker.live_pace import FIRST_LOOK_MS
from worker.perform import perform
from worker.quiet import note_quiet
from worker.rendition_view import UPLOAD_OPENED_AT
from worker.run import Run
from worker.run_memory import QUIET
from worker.transcoding import go_on_in_software

pytestmark = [pytest.mark.redis, pytest.mark.s3, pytest.mark.ffmpeg]

OBJECT = f"{ID}/r1/source.mp4"
#: Slices so large that they go up as parts.
NOISY = {
    "size": "640x360",
    "encoder_options": ("-vf", "noise=alls=40:allf=t", "-qp", "20"),
}
SMALL = {"name": "small", "width": 256, "height": 144, "bitrate": 300_000, "fps": 0}


class Live:
    """A session whose playlist lists the first segments of a recording, and more when told so."""

    def __init__(self, worker: Worker, playlist: Path) -> None:
        self.worker = worker
        self._lines = playlist.read_text().splitlines()
        upload_folder(worker.s3, playlist.parent, "recordings", ID)

    def lists(self, segments: int) -> None:
        """The playlist has so many segments, and no end."""
        self.writes(self.playlist(segments))

    def playlist(self, segments: int) -> str:
        ends = [n for n, line in enumerate(self._lines) if line and not line.startswith("#")]
        kept = "\n".join([*self._lines[: ends[segments - 1] + 1], ""])
        return kept.replace("#EXT-X-PLAYLIST-TYPE:VOD", "#EXT-X-PLAYLIST-TYPE:EVENT")

    def writes(self, playlist: str) -> None:
        body = playlist.encode()
        self.worker.s3.put_object(Bucket="recordings", Key=f"{ID}/index.m3u8", Body=body)

    def beats(self, **fields: object) -> None:
        self.worker.put(lastSeen=self.worker.runtime.sessions.now_ms(), **fields)

    def looks(self) -> Phase:
        """The next look is due, and what it claims is done."""
        sessions = self.worker.runtime.sessions
        sessions.update(ID, self.worker.record().generation, {"look_at": 0})
        self.worker.look()
        self.works()
        return self.worker.record().phase

    def works_once(self) -> None:
        claim = self.worker.sent.claims.pop(0)
        perform(claim.key, claim.token, self.worker.runtime, self.worker.sent)

    def works(self) -> None:
        while self.worker.sent.claims:
            self.works_once()
            self.worker.look()

    def is_silent(self, seconds: int = 3600) -> None:
        """The last sign of life was long ago: as if time had passed."""
        redis, key = self.worker.redis, f"finalizer:session:{ID}"
        record = self.worker.record()
        past = record.session.active_at - seconds * 1000
        session = record.session.model_copy(update={"last_seen": past, "created_at": past})
        redis.hset(key, "doc", session.model_dump_json(exclude_unset=True))
        redis.hset(key, "last_seen", str(past))

    def is_still(self) -> None:
        """The playlist has not changed for a while: as if time had passed."""
        record = self.worker.record()
        fingerprint, since, read = record.run[QUIET]
        quiet = [fingerprint, since - 60_000, read]
        changes = {"run": {**record.run, QUIET: quiet}}
        self.worker.runtime.sessions.update(ID, record.generation, changes)

    @property
    def done(self) -> list[str]:
        items = self.worker.items()
        return sorted(name for name, state in items.items() if state.state == "done")

    def packaged(self) -> list[int]:
        """Numbers of the slices in the order in which they were packaged, over all runs."""
        events = self.worker.runtime.sessions.events(ID)
        return [each["slice"] for each in events if each["action"] == "slice_packaged"]

    def read(self, key: str = OBJECT) -> bytes:
        return self.worker.s3.get_object(Bucket="vod", Key=key)["Body"].read()


@pytest.fixture
def live(worker, media) -> Callable[..., Live]:
    """Opens a live session of a recording of twelve seconds in six segments, two of them a slice."""

    def opened(**options: object) -> Live:
        recording = options.pop("recording", {})
        made = Live(
            worker(**{"slice_seconds": 4, **options}),
            media.recording(**{"duration": 12.0, **recording}),
        )
        made.lists(1)
        made.beats(createdAt=1_763_794_800_000)
        return made

    return opened


def finalized(live: Live) -> bytes:
    """The MP4 of the session once its playlist lists everything and nobody is heard of any more."""
    live.lists(6)
    live.is_silent()
    live.worker.finalize()
    record = live.worker.record()
    assert record.phase is Phase.READY, record.error
    return live.read()


def test_settled_slices_are_done_before_the_end_and_the_same_run_goes_on(live):
    session = live()
    assert session.looks() is Phase.LIVE
    assert session.worker.record().generation == 0
    session.lists(5)
    assert session.looks() is Phase.LIVE
    generation = session.worker.record().generation
    assert session.done == ["package/source/0", "package/source/1"]
    whole = finalized(session)
    assert session.worker.record().generation == generation
    assert session.packaged() == [0, 1, 2]
    session.worker.redis.flushall()
    apart = live(package_live=False)
    apart.lists(5)
    assert apart.looks() is Phase.LIVE
    assert apart.packaged() == []
    assert finalized(apart) == whole


@pytest.mark.parametrize(
    ("recording", "profiles", "done"),
    [
        pytest.param(NOISY, [], ["package/source/0", "package/source/1"], id="in-parts"),
        pytest.param(
            {"container": "fmp4"}, [], ["package/source/0", "package/source/1"], id="fmp4"
        ),
        pytest.param(
            {"b_frames": 2},
            [SMALL],
            [f"{kind}/source/{n}" for kind in ("package", "transcode") for n in (0, 1)],
            id="transcoded",
        ),
        pytest.param(
            {"encoder_options": ("-c:a", "mp2")},
            [SMALL],
            ["package/source/0", "package/source/1"],
            id="sound-encoded",
        ),
    ],
)
def test_what_was_packaged_while_live_is_bit_for_bit_what_it_is_after(
    live, recording, profiles, done
):
    made = {}
    for package_live in (True, False):
        session = live(recording=recording, package_live=package_live)
        session.beats(profiles=profiles)
        session.lists(5)
        session.looks()
        assert session.done == (done if package_live else [])
        source = finalized(session)
        small = [session.read(f"{ID}/r1/{each['name']}.mp4") for each in profiles]
        made[package_live] = [source, *small]
        session.worker.redis.flushall()
    assert made[True] == made[False]


@pytest.mark.parametrize("listed", [2, 5])
def test_the_end_is_packaged_before_the_session_is_idle(live, listed):
    """Most of its minute of silence has passed, and its playlist stays as it is."""
    session = live()
    session.lists(listed)
    session.looks()
    session.is_silent(35)
    session.worker.look()
    assert QUIET not in session.worker.record().run
    session.is_silent(2)
    session.worker.look()
    assert session.packaged() == [0, 1][: listed // 2 - (listed == 2)]
    assert 0 < session.worker.record().look_at - session.worker.runtime.sessions.now_ms() <= 4000
    session.is_still()
    assert session.looks() is Phase.LIVE
    assert session.packaged() == [0, 1, 2][: -(-listed // 2)]
    before = session.packaged()
    session.is_silent()
    session.worker.finalize()
    assert session.worker.record().phase is Phase.READY
    assert session.packaged() == before


def test_a_quiet_session_that_goes_on_has_its_end_packaged_again_and_nothing_else(live):
    session = live()
    session.lists(5)
    session.is_silent(37)
    session.looks()
    session.is_still()
    session.looks()
    assert session.packaged() == [0, 1, 2]
    session.beats()
    session.lists(6)
    assert session.looks() is Phase.LIVE
    assert session.packaged() == [0, 1, 2]
    resumed = finalized(session)
    assert session.packaged() == [0, 1, 2, 2]
    session.worker.redis.flushall()
    assert finalized(live(package_live=False)) == resumed


def test_a_run_that_begins_at_the_quiet_end_stays_planned_to_it(live):
    session = live(slice_seconds=60)
    session.lists(5)
    session.is_silent(37)
    session.looks()
    session.is_still()
    sessions = session.worker.runtime.sessions
    sessions.update(ID, session.worker.record().generation, {"look_at": 0})
    session.worker.look()
    for _ in range(2):
        run = Run(session.worker.runtime, session.worker.record())
        assert [len(each.slices) for each in run.plan().renditions] == [1]
        session.worker.look()


def test_a_quiet_session_asks_a_source_that_is_away_no_more_often(live, monkeypatch):
    session = live()
    session.lists(5)
    session.looks()
    session.is_silent(37)
    asked = []

    def away(run: Run):
        asked.append(run.generation)
        raise TransientError("the source is away")

    monkeypatch.setattr(Run, "read_recording", away)
    for _ in range(6):
        session.worker.look()
    assert len(asked) == 1


def test_a_session_that_goes_on_with_rare_heartbeats_is_not_taken_for_quiet(live):
    session = live(slice_seconds=60)
    session.lists(2)
    session.is_silent(37)
    session.looks()
    run = Run(session.worker.runtime, session.worker.record())
    now = session.worker.runtime.sessions.now_ms()
    assert note_quiet(run, run.read_recording(), now)[1] is not None
    session.lists(3)
    run, quiet = note_quiet(run, run.read_recording(), now + 1)
    assert quiet is None


def test_a_quiet_session_whose_playlist_grows_has_not_ended(live):
    session = live()
    for listed in (3, 4, 5):
        session.lists(listed)
        session.is_silent(37)
        session.looks()
        session.beats()
    assert session.packaged() == [0, 1]


def test_between_two_readings_of_the_playlist_the_source_is_asked_for_nothing(live, monkeypatch):
    session = live()
    read, times = Run.read_recording, []

    def counted(run: Run):
        times.append(run.generation)
        return read(run)

    monkeypatch.setattr(Run, "read_recording", counted)
    session.looks()
    assert len(times) == 1
    for _ in range(5):
        session.beats()
        assert session.worker.look() is Phase.LIVE
    assert len(times) == 1
    assert 0 < session.worker.due_in_ms() <= 60_000


def test_a_session_that_wakes_up_again_and_again_holds_everything_once(live):
    session = live()
    session.lists(3)
    session.looks()
    assert session.packaged() == [0]
    session.is_silent()
    session.worker.look()
    assert session.worker.record().phase is Phase.FINALIZING
    session.works_once()
    session.beats()
    assert session.worker.record().phase is Phase.LIVE
    session.lists(5)
    assert session.looks() is Phase.LIVE
    assert session.done[:2] == ["package/source/0", "package/source/1"]
    finalized(session)
    assert session.packaged()[0] == 0
    assert session.packaged().count(0) == 1


def test_other_profiles_that_are_asked_for_while_live_are_made_as_well(live):
    session = live()
    session.lists(5)
    session.looks()
    first = session.worker.record().generation
    session.beats(profiles=[SMALL])
    assert session.looks() is Phase.LIVE
    assert session.worker.record().generation > first
    assert session.done == [
        "package/source/0", "package/source/1", "transcode/source/0", "transcode/source/1",
    ]  # fmt: skip
    finalized(session)
    assert session.packaged() == [0, 1, 2]
    views = {view["name"]: view["state"] for view in session.worker.record().renditions}
    assert views == {"source": "ready", "small": "ready"}


def test_a_playlist_that_is_rewritten_while_live_is_packaged_as_it_is_in_the_end(live):
    session = live()
    session.lists(5)
    session.looks()
    session.lists(3)
    assert session.looks() is Phase.LIVE
    (body,) = [session.playlist(6).replace("segment00001.ts", "segment00001.ts?x=1")]
    assert session.packaged() == [0, 1]
    swapped = body.replace("segment00000.ts", "copy00000.ts")
    where = {"Bucket": "recordings", "Key": f"{ID}/copy00000.ts"}
    first = {"Bucket": "recordings", "Key": f"{ID}/segment00000.ts"}
    session.worker.s3.copy_object(**where, CopySource=first)
    session.writes(swapped)
    assert session.looks() is Phase.LIVE
    assert session.packaged() == [0, 1, 0]
    session.is_silent()
    session.worker.finalize()
    assert session.worker.record().phase is Phase.READY
    assert session.packaged() == [0, 1, 0, 2]


def test_a_playlist_that_is_another_one_at_every_reading_is_read_at_a_bounded_rate(live):
    session = live()
    session.lists(5)
    worker, sessions = session.worker, session.worker.runtime.sessions
    worker.look()
    sessions.update(ID, worker.record().generation, {"look_at": 0})
    worker.look()
    assert worker.sent.claims
    session.writes(session.playlist(5).replace("#EXTINF", "#EXT-X-DISCONTINUITY\n#EXTINF"))
    for _ in range(len(worker.sent.claims)):
        session.works_once()
        worker.look()
    assert worker.sent.claims == []
    assert session.packaged() == []
    assert worker.record().look_at > sessions.now_ms()
    assert session.worker.record().phase is Phase.LIVE


def test_a_recording_that_was_made_whole_is_read_rarely_until_something_new_is_listed(live):
    session = live(slice_seconds=10)
    worker, sessions = session.worker, session.worker.runtime.sessions
    event = "#EXTM3U\n#EXT-X-PLAYLIST-TYPE:EVENT"
    session.writes(session.playlist(6).replace("#EXTM3U", event))
    session.is_silent()
    assert worker.look() is Phase.FINALIZING
    session.beats()
    assert session.looks() is Phase.LIVE
    plan = Run(worker.runtime, worker.record()).plan()
    assert plan is not None
    assert plan.final
    assert worker.record().look_at - sessions.now_ms() > 9_000


def test_hardware_that_fails_while_live_leaves_no_run_behind(live):
    session = live()
    session.lists(5)
    session.looks()
    worker = session.worker
    run = Run(worker.runtime, worker.record())
    run.note_software_only()
    assert run.begin_anew("hardware failed")
    assert session.looks() is Phase.LIVE
    after = Run(worker.runtime, worker.record())
    assert after.software_only
    assert session.packaged() == [0, 1]
    kept = list(worker.redis.scan_iter("finalizer:run:*"))
    assert len(kept) == 1, kept


def test_sound_that_is_encoded_waits_for_the_end_and_so_do_the_slices_that_need_it(live):
    session = live(recording={"encoder_options": ("-c:a", "mp2")})
    session.lists(5)
    session.looks()
    session.looks()
    planned = Run(session.worker.runtime, session.worker.record()).plan()
    assert any(group.encodes_audio for group in planned.groups)
    assert session.done == ["package/source/0", "package/source/1"]
    finalized(session)
    assert session.packaged() == [0, 1, 2]


def test_an_old_upload_ends_packaging_while_live_and_the_rest_is_done_at_the_end(live):
    session = live(eager_max_age=0.001, recording=NOISY)
    session.lists(3)
    session.looks()
    assert session.packaged() == [0]
    session.lists(5)
    assert session.looks() is Phase.LIVE
    assert session.packaged() == [0]
    events = session.worker.runtime.sessions.events(ID)
    assert [e["code"] for e in events if e["action"] == "live_packaging_waits"] == [TOO_OLD]
    (view,) = session.worker.record().renditions
    assert view[UPLOAD_OPENED_AT] > 0
    finalized(session)
    assert session.packaged() == [0, 1, 2]


def test_a_segment_that_is_late_while_live_is_waited_for_and_then_in_the_file(live):
    session = live()
    where = {"Bucket": "recordings", "Key": f"{ID}/segment00001.ts"}
    late = session.worker.s3.get_object(**where)["Body"].read()
    session.worker.s3.delete_object(**where)
    session.lists(5)
    assert session.looks() is Phase.LIVE
    assert session.packaged() == [1]
    assert session.worker.items()["package/source/0"].attempts == 0
    session.worker.s3.put_object(**where, Body=late)
    eventually(lambda: session.looks() and 0 in session.packaged())
    finalized(session)
    report = json.loads(session.worker.runtime.sessions.report(ID))
    assert report["verdict"] == "complete"
    assert session.packaged() == [1, 0, 2]


def test_a_slice_that_waits_for_its_segment_is_not_waited_for_once_the_session_is_over(live):
    session = live()
    session.worker.s3.delete_object(Bucket="recordings", Key=f"{ID}/segment00001.ts")
    session.lists(5)
    for _ in range(3):
        session.looks()
    finalized(session)
    report = json.loads(session.worker.runtime.sessions.report(ID))
    assert report["verdict"] == "partial"
    assert sorted(session.packaged()) == [0, 1, 2]


def test_a_playlist_that_is_away_for_a_moment_is_waited_for_and_counts_as_no_failure(live):
    session = live()
    session.lists(5)
    worker, sessions = session.worker, session.worker.runtime.sessions
    sessions.update(ID, worker.record().generation, {"look_at": 0})
    worker.look()
    worker.s3.delete_object(Bucket="recordings", Key=f"{ID}/index.m3u8")
    while worker.sent.claims:
        session.works_once()
    assert {(state.attempts, state.error.code) for state in worker.items().values()} == {
        (0, ErrorCode.PLAYLIST_MISSING)
    }
    long_ago = sessions.now_ms() - 36_000_000  # ms since it went live do not make it wait longer
    worker.redis.hset(f"finalizer:session:{ID}", "phase_since", str(long_ago))
    assert session.looks() is Phase.LIVE
    assert worker.record().look_at - sessions.now_ms() <= FIRST_LOOK_MS
    finalized(session)
    assert sorted(session.packaged()) == [0, 1, 2]


def test_a_slice_that_fails_too_often_stops_packaging_while_live_and_fails_the_session_at_its_end(
    live,
):
    session = live()
    session.lists(5)
    worker = session.worker
    for _ in range(MAX_ATTEMPTS):
        sessions = worker.runtime.sessions
        sessions.update(ID, worker.record().generation, {"look_at": 0})
        assert worker.look() is Phase.LIVE
        claim = worker.claims_of("package/source/0")[-1]
        lease = worker.runtime.work.lease(claim.key, claim.token, "tests:1", 60_000)
        error = (ErrorCode.FFMPEG_FAILED, "no luck")
        worker.runtime.work.release(lease, counts=True, error=error)
    worker.sent.claims.clear()
    for look_at in (0, None, 0):
        if look_at is not None:
            sessions.update(ID, worker.record().generation, {"look_at": look_at})
        assert worker.look() is Phase.LIVE
    assert worker.sent.claims == []
    events = [each for each in sessions.events(ID) if each["action"] == "live_packaging_waits"]
    assert [each["code"] for each in events] == ["ffmpeg_failed"]
    session.is_silent()
    worker.finalize()
    assert worker.record().phase is Phase.FAILED
    assert worker.record().error.code == "ffmpeg_failed"


def test_what_can_never_be_packaged_is_told_once_while_live_and_fails_at_the_end(live):
    session = live()
    locked = session.playlist(5).replace("#EXTINF", '#EXT-X-KEY:METHOD=SAMPLE-AES,URI="k"\n#EXTINF')
    session.writes(locked)
    assert session.looks() is Phase.LIVE
    assert session.looks() is Phase.LIVE
    events = session.worker.runtime.sessions.events(ID)
    told = [each["code"] for each in events if each["action"] == "live_packaging_waits"]
    assert told == ["encryption_unsupported"]
    assert session.worker.record().generation == 0
    session.is_silent()
    session.worker.finalize()
    assert session.worker.record().phase is Phase.FAILED
    assert session.worker.record().error.code == "encryption_unsupported"


def test_a_live_session_claims_few_slices_at_a_time(live):
    session = live(slice_seconds=2)
    session.lists(6)
    sessions = session.worker.runtime.sessions
    sessions.update(ID, session.worker.record().generation, {"look_at": 0})
    session.worker.look()
    assert [claim.key.item for claim in session.worker.sent.claims] == [
        f"package/source/{number}" for number in range(LIVE_WINDOW)
    ]
    session.works()
    assert session.packaged() == [0, 1, 2, 3, 4]


def test_a_bug_of_ours_ends_no_session_that_still_shows_life(live, monkeypatch):
    session = live()
    session.lists(5)

    def broken(run: Run):
        raise RuntimeError("a bug")

    with monkeypatch.context() as patched:
        patched.setattr(Run, "read_recording", broken)
        for _ in range(MAX_ATTEMPTS + 1):
            assert session.looks() is Phase.LIVE
    assert session.worker.due_in_ms() > 10_000
    finalized(session)


def test_hardware_that_fails_while_live_gives_way_to_software_and_is_told_once(live):
    session = live(hardware="nvenc")
    session.beats(profiles=[SMALL])
    session.lists(5)
    assert session.looks() is Phase.LIVE
    assert "transcode/source/1" in session.done
    finalized(session)
    record = session.worker.record()
    assert [view["state"] for view in record.renditions] == ["ready", "ready"]
    assert record.renditions[1]["encoding"]["implementation"] == "libx264"
    events = session.worker.runtime.sessions.events(ID)
    told = [each["implementation"] for each in events if each["action"] == "encoder_fallback"]
    assert told == ["h264_nvenc"]


def test_hardware_that_fails_when_the_session_has_just_gone_idle_is_told(live):
    session = live(hardware="nvenc")
    session.beats(profiles=[SMALL])
    session.lists(5)
    session.worker.runtime.sessions.update(ID, 0, {"look_at": 0})
    session.worker.look()
    claim = session.worker.claims_of("transcode/source/0")[0]
    run = Run(session.worker.runtime, session.worker.record())
    session.is_silent()
    session.worker.look()
    assert session.worker.record().phase is Phase.FINALIZING
    planned = run.plan().rendition("small")
    go_on_in_software(run, [planned], HardwareFailed(ErrorCode.FFMPEG_FAILED, "not opened"))
    assert session.worker.record().generation > claim.key.generation
    events = session.worker.runtime.sessions.events(ID)
    assert [each["reason"] for each in events if each["action"] == "encoder_fallback"]
