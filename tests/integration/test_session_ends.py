"""How sessions end before they are ready: deleted, not recorded any more, abandoned. Nothing stays."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from pipelines.object_store import ObjectStore
from pipelines.part_scheme import PartScheme
from pipelines.publish import Publisher
from pipelines.session import Phase
from pipelines.staging import Staging
from tests.by_hand import ID, LONG_AGO
from worker import assembling, packaging
from worker.cleanup import LAST_PASS
from worker.rerun import start
from worker.run import Run
from worker.store import SessionStore

pytestmark = [pytest.mark.redis, pytest.mark.s3, pytest.mark.ffmpeg]

FOREIGN = f"{ID}/thumbnail.jpg"


def keys_of(worker: Any, bucket: str, prefix: str = f"{ID}/") -> list[str]:
    found = worker.s3.list_objects_v2(Bucket=bucket, Prefix=prefix)
    return [item["Key"] for item in found.get("Contents", ())]


def uploads_of(worker: Any) -> list[str]:
    found = worker.s3.list_multipart_uploads(Bucket="vod", Prefix=f"{ID}/")
    return [item["Key"] for item in found.get("Uploads", ()) if item["Key"].startswith(f"{ID}/")]


def leftovers(worker: Any) -> list[str]:
    """Whatever there is of the session in the output, in staging and in Redis, but its record."""
    return [
        *keys_of(worker, "vod"),
        *keys_of(worker, "staging"),
        *uploads_of(worker),
        *worker.redis.scan_iter(f"*run:{ID}:*", 1000),
        *worker.redis.scan_iter(f"*report:{ID}", 1000),
    ]


def settle(worker: Any) -> None:
    """Look until nothing is due any more, as if the leases of the run had run out meanwhile."""
    worker.look()
    record = worker.record()
    assert record.run[LAST_PASS] > worker.runtime.sessions.now_ms()
    changes = {"run": {**record.run, LAST_PASS: 0}}
    assert worker.runtime.sessions.update(ID, record.generation, changes)
    worker.look()
    worker.look()
    assert worker.due_in_ms() is None
    assert worker.record().run == {}


def before(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, act: Callable[[], Any]) -> None:
    """Have something happen once, right before the first call of a function."""
    original = getattr(owner, name)

    def called(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr(owner, name, original)
        act()
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, called)


#: Moments of a run, each as what is called next.
MOMENTS: dict[str, tuple[Any, str]] = {
    "a slice is packaged": (packaging, "package_slice"),
    "a slice is staged": (Staging, "write"),
    "an MP4 is assembled": (assembling, "assemble"),
    "the upload is completed": (ObjectStore, "complete_upload"),
    "playlists are written": (Publisher, "publish"),
    "it is committed": (SessionStore, "commit"),
    "the run is cleaned up": (Staging, "remove"),
}


@pytest.fixture
def source(s3: Any) -> Callable[[], dict[str, str]]:
    """What lies in the source: names and ETags."""

    def listed() -> dict[str, str]:
        found = s3.list_objects_v2(Bucket="recordings", Prefix=f"{ID}/")
        return {item["Key"]: item["ETag"] for item in found["Contents"]}

    return listed


@pytest.mark.parametrize("moment", MOMENTS)
def test_deleting_at_any_moment_leaves_nothing_but_the_source(
    recorded, source, monkeypatch, moment
):
    made = recorded()
    made.look()
    kept = source()
    Run(made.runtime, made.record()).open_upload("source", PartScheme())
    made.s3.put_object(Bucket="vod", Key=FOREIGN, Body=b"not ours")
    before(monkeypatch, *MOMENTS[moment], lambda: made.runtime.sessions.delete(ID))
    made.finalize()
    assert made.record().phase is Phase.DELETED, "the moment never came"
    settle(made)
    assert leftovers(made) == [FOREIGN]
    assert source() == kept
    assert made.runtime.sessions.delete(ID).phase is Phase.DELETED
    made.look()
    assert (made.record().phase, made.record().status) == (Phase.DELETED, "deleted")
    made.s3.delete_object(Bucket="vod", Key=FOREIGN)


def test_every_revision_of_a_deleted_session_is_removed(recorded, source):
    made = recorded()
    made.finalize()
    start(made.runtime.sessions, ID, force=True)
    made.finalize()
    assert {key.split("/")[1] for key in keys_of(made, "vod")} == {"r1", "r2", "index.m3u8"}
    kept = source()
    made.runtime.sessions.delete(ID)
    made.look()
    assert leftovers(made) == []
    assert source() == kept
    actions = [event["action"] for event in made.runtime.sessions.events(ID)]
    assert actions[-2:] == ["deleted", "removed"]


def test_what_a_late_worker_writes_of_a_deleted_session_is_removed_too(recorded):
    made = recorded()
    made.look()
    record = made.record()
    made.runtime.sessions.delete(ID)
    made.look()
    made.s3.put_object(Bucket="vod", Key=f"{ID}/r1/source.mp4", Body=b"late")
    made.s3.put_object(Bucket="staging", Key=f"{ID}/{record.generation}/source/0-late", Body=b"x")
    made.s3.create_multipart_upload(Bucket="vod", Key=f"{ID}/r1/source.mp4")
    settle(made)
    assert leftovers(made) == []


@pytest.mark.parametrize("end", ["deleted", "switched off"])
def test_a_worker_that_stood_still_for_all_of_the_cleaning_leaves_nothing(
    recorded, monkeypatch, end
):
    made = recorded()
    made.look()

    def ended():
        if end == "deleted":
            made.runtime.sessions.delete(ID)
        else:
            made.runtime.sessions.put(ID, {"record": False})
        settle(made)

    written: list[str] = []
    before(monkeypatch, Staging, "write", ended)
    before(monkeypatch, SessionStore, "clean_again", lambda: written.extend(leftovers(made)))
    made.finalize()
    assert [key.split("/")[2] for key in written] == ["source", "source"], "nothing came late"
    settle(made)
    assert leftovers(made) == []


def test_a_session_that_is_not_recorded_any_more_leaves_nothing(recorded, source, monkeypatch):
    made = recorded()
    made.look()
    kept = source()
    first = made.record().generation
    Run(made.runtime, made.record()).open_upload("source", PartScheme())
    off = {"record": False}
    before(monkeypatch, SessionStore, "commit", lambda: made.runtime.sessions.put(ID, off))
    made.finalize()
    assert (made.record().phase, made.record().status) == (Phase.LIVE, None)
    assert made.record().generation > first
    settle(made)
    assert leftovers(made) == []
    assert source() == kept
    made.runtime.sessions.put(ID, {"record": True})
    made.finalize()
    assert made.record().phase is Phase.READY


@pytest.mark.parametrize("cleaned", [False, True])
def test_nothing_of_a_stopped_run_is_gone_on_with(recorded, monkeypatch, cleaned):
    made = recorded(keep_old=0.001)
    off = {"record": False}
    before(monkeypatch, Publisher, "publish", lambda: made.runtime.sessions.put(ID, off))
    made.finalize()
    assert made.record().phase is Phase.LIVE
    if cleaned:
        made.look()
    made.runtime.sessions.put(ID, {"record": True})
    made.finalize()
    assert made.record().phase is Phase.READY
    packaged = [
        event["slice"]
        for event in made.runtime.sessions.events(ID)
        if event["action"] == "slice_packaged"
    ]
    assert sorted(packaged) == sorted([*range(6), *range(6)])
    assert made.record().revision == 2  # the URL of the first may have been seen
    settle(made)
    assert keys_of(made, "staging") == uploads_of(made) == []
    assert [key for key in keys_of(made, "vod") if "/r1/" in key] == []


def test_what_was_published_before_it_was_switched_off_stays(recorded, monkeypatch):
    made = recorded()
    made.finalize()
    settle(made)
    published = {key: etag_of(made, key) for key in keys_of(made, "vod")}
    start(made.runtime.sessions, ID, force=True)
    off = {"record": False}
    before(monkeypatch, SessionStore, "commit", lambda: made.runtime.sessions.put(ID, off))
    made.finalize()
    settle(made)
    assert {key: etag_of(made, key) for key in keys_of(made, "vod")} == published
    made.runtime.sessions.put(ID, {"record": True})
    assert made.record().mp4_url.endswith("/r1/source.mp4")
    assert made.record().revision == 1


def etag_of(made: Any, key: str) -> str:
    return made.s3.head_object(Bucket="vod", Key=key)["ETag"]


def test_a_run_that_follows_another_and_fails_leaves_neither_of_them(recorded):
    made = recorded()
    made.look()
    first = made.record().generation
    made.put(lastSeen=LONG_AGO + 1)
    for key in source_keys(made):
        made.s3.delete_object(Bucket="recordings", Key=key)
    made.look()
    assert made.record().phase is Phase.FAILED
    assert made.record().generation > first
    settle(made)
    assert [*made.redis.scan_iter(f"*run:{ID}:*", 1000)] == []


def source_keys(made: Any) -> list[str]:
    return keys_of(made, "recordings")


def test_a_session_without_a_playlist_is_abandoned_however_long_it_would_be_waited_for(worker):
    made = worker(missing_grace=1e9, idle_timeout=1e9, abandon_after=60)
    made.put()
    assert made.due_in_ms() <= 0
    assert made.look() is Phase.FAILED
    assert made.record().error.code == "playlist_missing"
    reasons = [event.get("reason") for event in made.runtime.sessions.events(ID)]
    assert "abandoned" in reasons


def test_an_abandoned_session_in_which_nothing_was_seen_is_empty(worker):
    made = worker(missing_grace=1e9, idle_timeout=1e9, abandon_after=60)
    made.put(lastSeen=0)
    assert made.look() is Phase.EMPTY


def test_a_session_that_has_a_playlist_is_not_abandoned(recorded):
    made = recorded(idle_timeout=1e9, abandon_after=60)
    assert made.look() is Phase.LIVE
    assert made.due_in_ms() > 0
    assert made.record().generation == 0


def test_an_abandoned_sessions_store_is_not_waited_for_either(worker):
    made = worker(give_up_after=1e9, abandon_after=60)
    nowhere = "https://127.0.0.1:1/index.m3u8"
    made.put(sourceUrl=nowhere)
    assert made.look() is Phase.FAILED


def packaged_while_live(made: Any, **fields: Any) -> int:
    """Make the session live and package what is settled of it; the generation of that run."""
    place = {"Bucket": "recordings", "Key": f"{ID}/index.m3u8"}
    playlist = made.s3.get_object(**place)["Body"].read()
    playlist = playlist.replace(b":VOD", b":EVENT").replace(b"#EXT-X-ENDLIST", b"")
    made.s3.put_object(**place, Body=playlist)
    made.put(**{"lastSeen": made.runtime.sessions.now_ms(), **fields})
    made.runtime.sessions.update(ID, made.record().generation, {"look_at": 0})
    made.finalize()
    record = made.record()
    assert record.phase is Phase.LIVE
    assert [key for key in keys_of(made, "staging") if f"/{record.generation}/" in key]
    Run(made.runtime, record).open_upload("source", PartScheme())
    return record.generation


def test_a_session_that_is_deleted_while_it_is_packaged_live_leaves_nothing(recorded):
    made = recorded()
    packaged_while_live(made)
    made.runtime.sessions.delete(ID)
    settle(made)
    assert leftovers(made) == []


def test_a_session_that_is_switched_off_while_it_is_packaged_live_begins_anew(recorded):
    made = recorded()
    first = packaged_while_live(made)
    made.runtime.sessions.put(ID, {"record": False})
    settle(made)
    assert leftovers(made) == []
    made.runtime.sessions.put(ID, {"record": True})
    assert packaged_while_live(made) > first
    assert not [key for key in keys_of(made, "staging") if f"/{first}/" in key]


@pytest.mark.parametrize(("seen", "phase"), [(True, Phase.FAILED), (False, Phase.EMPTY)])
def test_what_was_packaged_live_goes_when_the_recording_vanishes(recorded, worker, seen, phase):
    now = round(time.time() * 1000)
    began = {"createdAt": now, "lastSeen": now if seen else 0}
    made = recorded(session=began)
    packaged_while_live(made, **began)
    for key in keys_of(made, "recordings"):
        made.s3.delete_object(Bucket="recordings", Key=key)
    later = worker(idle_timeout=0.001, abandon_after=0.002)
    assert later.look() is phase
    assert (later.record().error is not None) == seen
    settle(later)
    left = leftovers(later)
    assert [each for each in left if not each.endswith(f"report:{ID}")] == []
    assert bool(left) == seen  # the report of the failure
