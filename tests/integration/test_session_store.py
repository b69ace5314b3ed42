"""The session store against a real server, one operation after the other."""

import threading
from collections.abc import Iterator

import pytest
import redis

from pipelines.session import FieldError, Phase, RecordingStatus
from worker.guarded import KEPT_EVENTS
from worker.listing import InvalidCursor
from worker.live_pace import FIRST_LOOK_MS, QUIET_SHARE
from worker.records import RecordedError, UnknownFormat
from worker.store import SessionStore

pytestmark = pytest.mark.redis

IDLE_S = 60
IDLE_MS = IDLE_S * 1000
FINALIZING = {Phase.FINALIZING}
URLS = {
    "recording_url": "https://vod.example/s1/index.m3u8",
    "mp4_url": "https://vod.example/s1/r1/source.mp4",
}


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
def store(client: redis.Redis) -> SessionStore:
    return SessionStore(client, prefix="test:", idle_timeout=IDLE_S, package_live=False)


@pytest.fixture
def live_store(client: redis.Redis) -> SessionStore:
    return SessionStore(client, prefix="test:", idle_timeout=IDLE_S)


@pytest.fixture
def now(store: SessionStore) -> int:
    return store.now_ms()


def put_recorded(store: SessionStore, session_id: str = "s1", **fields: object) -> None:
    store.put(session_id, {"record": True, **fields})


def finalize(store: SessionStore, session_id: str = "s1") -> int:
    generation = store.begin_generation(
        session_id, expect={Phase.LIVE, Phase.READY, Phase.FAILED}, reason="idle"
    )
    assert generation is not None
    return generation


def publish(store: SessionStore, session_id: str = "s1") -> int:
    generation = finalize(store, session_id)
    assert store.commit(session_id, generation, renditions=({"name": "source"},), **URLS)
    return generation


def fail(store: SessionStore, generation: int) -> bool:
    return store.transition(
        "s1",
        expect=FINALIZING,
        to=Phase.FAILED,
        generation=generation,
        due_ms=None,
        changes={"error": RecordedError("playlist_missing", "There is no playlist.")},
    )


def actions(store: SessionStore, session_id: str = "s1") -> list[str]:
    return [event["action"] for event in store.events(session_id)]


def test_an_unknown_session_is_none_and_can_be_neither_moved_nor_scheduled(store, now):
    assert store.get("s1") is None
    assert not store.transition("s1", expect=set(Phase), to=Phase.LIVE, due_ms=now)
    assert store.begin_generation("s1", expect=set(Phase), reason="rerun") is None
    assert not store.update("s1", 0, {"mp4_url": "https://x.example/"})
    assert store.commit("s1", 0, renditions=(), **URLS) is None
    assert not store.schedule("s1", now)
    assert not store.add_event("s1", "looked_at")
    assert store.events("s1") == []
    assert store.report("s1") is None
    assert store.take_due(10, 1000) == []


def test_put_creates_a_live_session_that_is_due_when_it_would_be_idle(store, now):
    put = store.put("s1", {"record": True, "lastSeen": now, "name": "camera", "x-origin": {"a": 1}})
    assert put.created
    record = store.get("s1")
    assert record == put.record
    assert (record.phase, record.status) == (Phase.LIVE, RecordingStatus.WAITING)
    assert (record.generation, record.revision) == (0, 0)
    assert record.session.name == "camera"
    assert record.session.model_extra == {"x-origin": {"a": 1}}
    assert store.due_ms("s1") == record.session.active_at + IDLE_MS
    assert actions(store) == ["created"]


def test_a_heartbeat_keeps_what_it_does_not_name_and_moves_the_due_time(store, now):
    put_recorded(store, lastSeen=now - 30_000, name="camera", sourceSegments=3, ingestRate=1.5)
    put = store.put("s1", {"lastSeen": now})
    assert not put.created
    session = store.get("s1").session
    assert (session.name, session.last_seen) == ("camera", now)
    assert (session.source_segments, session.ingest_rate) == (3, 1.5)
    assert store.due_ms("s1") == store.get("s1").session.active_at + IDLE_MS
    assert actions(store) == ["created"]


def test_last_seen_never_moves_backwards(store, now):
    put_recorded(store, lastSeen=now)
    store.put("s1", {"lastSeen": now - 50_000})
    assert store.get("s1").session.last_seen == now


def test_a_last_seen_in_the_future_is_set_to_now_with_an_event(store, now):
    put_recorded(store, lastSeen=now + 3_600_000)
    assert now <= store.get("s1").session.last_seen <= store.now_ms()
    assert actions(store) == ["created", "corrected"]


def test_a_refused_value_changes_nothing(store, now):
    put_recorded(store, lastSeen=now)
    before = store.get("s1")
    with pytest.raises(FieldError, match="lastSeen"):
        store.put("s1", {"lastSeen": 1_700_000_000, "name": "other"})
    assert store.get("s1") == before


def test_a_session_that_is_not_recorded_has_no_status_and_is_never_due(store, now):
    store.put("s1", {"lastSeen": now - 10 * IDLE_MS})
    assert store.get("s1").status is None
    assert store.due_ms("s1") is None
    assert store.begin_generation("s1", expect={Phase.LIVE}, reason="rerun") is None
    assert not store.schedule("s1", now)
    put_recorded(store)
    assert store.get("s1").status is RecordingStatus.WAITING
    assert store.due_ms("s1") is not None
    store.put("s1", {"record": False})
    assert store.due_ms("s1") is None


def test_status_and_urls_of_a_patch_are_never_taken(store):
    put_recorded(store, recordingStatus="ready", mp4Url="https://evil.example/", phase="ready")
    record = store.get("s1")
    assert (record.phase, record.status, record.mp4_url) == (
        Phase.LIVE,
        RecordingStatus.WAITING,
        None,
    )
    assert "mp4Url" not in record.session.model_dump(exclude_unset=True)


def test_a_transition_happens_only_from_an_expected_phase(store, now):
    put_recorded(store)
    assert not store.transition("s1", expect=FINALIZING, to=Phase.FAILED, due_ms=None)
    assert store.get("s1").phase is Phase.LIVE
    assert store.transition("s1", expect={Phase.LIVE}, to=Phase.EMPTY, due_ms=None)
    record = store.get("s1")
    assert (record.phase, record.status) == (Phase.EMPTY, RecordingStatus.NONE)
    assert record.phase_since >= now
    assert store.due_ms("s1") is None
    assert actions(store) == ["created", "empty"]


def test_a_transition_of_an_older_generation_does_nothing(store):
    put_recorded(store)
    old = finalize(store)
    assert store.transition(
        "s1", expect=FINALIZING, to=Phase.LIVE, generation=old, due_ms=store.now_ms()
    )
    new = finalize(store)
    assert new > old
    before = store.get("s1")
    assert not fail(store, old)
    assert store.get("s1") == before
    assert fail(store, new)


def test_a_decision_upon_an_older_last_seen_does_nothing(store, now):
    put_recorded(store, lastSeen=now - IDLE_MS)
    store.put("s1", {"lastSeen": now})
    stale = {"expect": {Phase.LIVE}, "last_seen": now - IDLE_MS}
    assert not store.transition("s1", to=Phase.EMPTY, due_ms=None, **stale)
    assert store.begin_generation("s1", reason="idle", **stale) is None
    assert store.begin_generation("s1", reason="idle", expect={Phase.LIVE}, last_seen=now)


def test_a_move_that_no_session_makes_is_an_error(store):
    put_recorded(store)
    with pytest.raises(ValueError, match="live to ready"):
        store.transition("s1", expect={Phase.LIVE}, to=Phase.READY, due_ms=None)


def test_a_generation_is_the_servers_time_and_always_grows(store, client, now):
    put_recorded(store)
    first = finalize(store)
    assert now <= first <= store.now_ms()
    client.hset("test:session:s1", "generation", str(first + 10**9))
    fail(store, first + 10**9)
    assert finalize(store) == first + 10**9 + 1


def test_a_new_generation_knows_the_one_before_and_is_due(store, now):
    put_recorded(store)
    generation = finalize(store)
    store.update("s1", generation, {"run": {"fingerprint": "abc"}})
    fail(store, generation)
    assert store.get("s1").error == RecordedError("playlist_missing", "There is no playlist.")
    finalize(store)
    record = store.get("s1")
    assert (record.error, record.phase) == (None, Phase.FINALIZING)
    assert record.run == {"adopts": generation}
    assert store.take_due(1, 1000) == ["s1"]


def test_progress_is_written_by_the_current_generation_alone(store):
    put_recorded(store)
    generation = finalize(store)
    progress = ({"name": "source", "state": "packaging", "progress": 0.5},)
    assert not store.update("s1", generation - 1, {"renditions": ()})
    assert store.update("s1", generation, {"renditions": progress}, {"action": "slice_done"})
    assert store.get("s1").renditions == progress
    assert store.events("s1")[-1]["action"] == "slice_done"


def test_the_commit_makes_the_session_ready_with_its_urls_in_one_write(store):
    put_recorded(store)
    generation = finalize(store)
    assert store.commit("s1", generation, renditions=({"name": "source"},), **URLS) == 1
    record = store.get("s1")
    assert (record.phase, record.status, record.revision) == (
        Phase.READY,
        RecordingStatus.READY,
        1,
    )
    assert record.mp4_url == URLS["mp4_url"]
    assert record.recording_url == URLS["recording_url"]
    assert store.due_ms("s1") is None
    assert store.commit("s1", generation, renditions=(), **URLS) is None


def test_a_commit_after_a_newer_sign_of_life_does_nothing(store, now):
    put_recorded(store, lastSeen=now - IDLE_MS)
    generation = finalize(store)
    store.put("s1", {"lastSeen": now})
    assert store.get("s1").phase is Phase.LIVE
    assert store.commit("s1", generation, renditions=(), **URLS) is None
    assert store.get("s1").mp4_url is None


@pytest.mark.parametrize("phase", [Phase.FINALIZING, Phase.READY, Phase.FAILED, Phase.EMPTY])
def test_a_newer_sign_of_life_makes_a_settled_session_live_and_due(store, now, phase):
    put_recorded(store, lastSeen=now - IDLE_MS)
    if phase is Phase.EMPTY:
        store.transition("s1", expect={Phase.LIVE}, to=Phase.EMPTY, due_ms=None)
    elif phase is Phase.READY:
        publish(store)
    else:
        generation = finalize(store)
        if phase is Phase.FAILED:
            fail(store, generation)
    before = store.get("s1")
    assert before.phase is phase
    store.put("s1", {"lastSeen": now - IDLE_MS, "ingestRate": 0})
    assert store.get("s1").phase is phase
    store.put("s1", {"lastSeen": now})
    after = store.get("s1")
    assert (after.phase, after.generation) == (Phase.LIVE, before.generation)
    assert after.mp4_url == before.mp4_url
    assert store.due_ms("s1") == after.session.active_at + IDLE_MS
    assert store.events("s1")[-1]["action"] == "live"


def test_a_segment_seen_wakes_an_empty_session(store):
    put_recorded(store)
    store.transition("s1", expect={Phase.LIVE}, to=Phase.EMPTY, due_ms=None)
    store.put("s1", {"sourceSegments": 1})
    assert store.get("s1").phase is Phase.LIVE


def test_a_failed_rerun_keeps_status_and_urls_beside_the_error(store):
    put_recorded(store)
    publish(store)
    generation = finalize(store)
    assert store.get("s1").status is RecordingStatus.READY
    fail(store, generation)
    record = store.get("s1")
    assert (record.phase, record.status) == (Phase.FAILED, RecordingStatus.READY)
    assert record.mp4_url == URLS["mp4_url"]
    assert record.error is not None


def test_due_sessions_come_longest_due_first_and_are_held(store, now):
    for number, session_id in enumerate(("a", "b", "c", "later")):
        put_recorded(store, session_id)
        store.schedule(session_id, now - 1000 + number)
    store.schedule("later", now + 3_600_000)
    assert store.take_due(2, 60_000) == ["a", "b"]
    assert store.take_due(10, 60_000) == ["c"]
    assert store.take_due(10, 60_000) == []
    assert store.due_ms("a") >= now + 60_000


def test_what_was_taken_is_due_again_after_the_hold(store, now):
    put_recorded(store)
    store.schedule("s1", now - 1)
    assert store.take_due(10, 0) == ["s1"]
    assert store.take_due(10, 60_000) == ["s1"]


def test_scheduling_earlier_only_never_delays(store, now):
    put_recorded(store)
    store.schedule("s1", now + 5000)
    store.schedule("s1", now + 9000, earlier_only=True)
    assert store.due_ms("s1") == now + 5000
    store.schedule("s1", now + 1000, earlier_only=True)
    assert store.due_ms("s1") == now + 1000
    store.schedule("s1", now + 9000)
    assert store.due_ms("s1") == now + 9000


def test_events_are_stamped_by_the_server_and_capped(store, now):
    put_recorded(store)
    for number in range(KEPT_EVENTS + 5):
        store.add_event("s1", "looked_at", number=number, why='100 % "quoted"')
    events = store.events("s1")
    assert len(events) == KEPT_EVENTS
    assert events[-1].pop("at") >= now
    assert events[-1] == {
        "action": "looked_at",
        "number": KEPT_EVENTS + 4,
        "why": '100 % "quoted"',
    }


def test_a_change_of_what_is_asked_for_is_an_event_that_names_it(store):
    put_recorded(store)
    store.put("s1", {"playbackId": "abc", "ingestRate": 3})
    store.put("s1", {"playbackId": "abc"})
    assert [e["fields"] for e in store.events("s1") if e["action"] == "changed"] == [["playbackId"]]


def test_pages_hold_every_session_once_newest_first_also_when_created_together(store, now):
    ids = [f"s{number:02d}" for number in range(7)]
    for number, session_id in enumerate(ids):
        put_recorded(store, session_id, createdAt=now - 1000 + number // 3)
    seen, cursor = [], None
    while True:
        page = store.page(limit=3, cursor=cursor)
        assert len(page.records) <= 3
        seen += [record.id for record in page.records]
        if cursor is None:
            put_recorded(store, "newcomer")
        if page.next_cursor is None:
            break
        cursor = page.next_cursor
    assert seen == list(reversed(ids))


def test_a_cursor_stays_good_when_its_session_left_the_list(store, now):
    for number in range(4):
        put_recorded(store, f"s{number}", createdAt=now - number)
    page = store.page(status=RecordingStatus.WAITING, limit=2)
    assert [record.id for record in page.records] == ["s0", "s1"]
    store.transition("s1", expect={Phase.LIVE}, to=Phase.EMPTY, due_ms=None)
    rest = store.page(status=RecordingStatus.WAITING, limit=2, cursor=page.next_cursor)
    assert [record.id for record in rest.records] == ["s2", "s3"]
    assert rest.next_cursor is None


def test_a_cursor_of_another_form_is_refused(store):
    with pytest.raises(InvalidCursor):
        store.page(cursor="+")


def test_a_list_by_status_follows_the_session_through_its_phases(store):
    put_recorded(store)

    def statuses() -> list[RecordingStatus]:
        return [status for status in RecordingStatus if store.page(status=status).records]

    assert statuses() == [RecordingStatus.WAITING]
    generation = finalize(store)
    fail(store, generation)
    assert statuses() == [RecordingStatus.FAILED]
    publish(store)
    assert statuses() == [RecordingStatus.READY]
    store.put("s1", {"record": False})
    assert statuses() == []
    assert [record.id for record in store.page().records] == ["s1"]


def test_overdue_are_idle_sessions_without_a_ready_recording_the_most_overdue_first(store, now):
    for session_id, idle_s in (("a", 500), ("b", 900), ("c", 100), ("done", 900), ("off", 900)):
        last = now - idle_s * 1000
        put_recorded(store, session_id, lastSeen=last, createdAt=last)
    publish(store, "done")
    store.put("off", {"record": False})
    page = store.page(overdue_ms=300_000, limit=1)
    assert [record.id for record in page.records] == ["b"]
    rest = store.page(overdue_ms=300_000, limit=1, cursor=page.next_cursor)
    assert [record.id for record in rest.records] == ["a"]
    assert rest.next_cursor is None
    assert store.page(overdue_ms=300_000, status=RecordingStatus.READY).records == []
    store.put("b", {"lastSeen": now})
    assert [record.id for record in store.page(overdue_ms=300_000).records] == ["a"]


def test_the_live_sessions_of_a_stream_are_those_still_live(store):
    put_recorded(store, "a", parentId="stream")
    put_recorded(store, "b", parentId="stream")
    put_recorded(store, "c", parentId="other")
    store.put("d", {"parentId": "stream"})
    assert sorted(store.live_sessions_of("stream")) == ["a", "b"]
    finalize(store, "a")
    assert store.live_sessions_of("stream") == ["b"]
    store.put("b", {"parentId": "other"})
    assert store.live_sessions_of("stream") == []
    assert sorted(store.live_sessions_of("other")) == ["b", "c"]


@pytest.mark.parametrize("phase", [each for each in Phase if each is not Phase.DELETED])
def test_deleting_ends_a_session_whatever_it_was_doing(store, client, phase):
    put_recorded(store)
    generation = finalize(store) if phase not in (Phase.LIVE, Phase.EMPTY) else 0
    store.update("s1", generation, {"run": {"wrote": ["r1/source.mp4"], "makes": 1, "after": 0}})
    if phase is Phase.READY:
        assert store.commit("s1", generation, renditions=(), **URLS)
    elif phase is Phase.FAILED:
        assert fail(store, generation)
    elif phase is Phase.EMPTY:
        assert store.transition("s1", expect={Phase.LIVE}, to=Phase.EMPTY, due_ms=None)
    assert store.get("s1").phase is phase
    client.hset(f"test:run:s1:{generation}", "item:a", "{}")
    gone = store.delete("s1")
    assert (gone.phase, gone.status) == (Phase.DELETED, RecordingStatus.DELETED)
    assert (gone.recording_url, gone.mp4_url, gone.error, gone.renditions) == (None, None, None, ())
    assert gone.generation > generation
    assert gone.run["wrote"] == ["r1/source.mp4"]
    assert client.exists(f"test:run:s1:{generation}") == (generation == 0)
    assert store.due_ms("s1") <= store.now_ms()
    assert store.events("s1")[-1]["action"] == "deleted"
    assert store.delete("s1") == gone
    assert store.get("s1") == gone


def test_a_deleted_session_is_moved_committed_begun_and_woken_by_nobody(store, client, now):
    put_recorded(store)
    generation = finalize(store)
    gone = store.delete("s1")
    assert store.commit("s1", generation, renditions=(), **URLS) is None
    assert not fail(store, generation)
    assert not store.update("s1", generation, {"used_revision": 1})
    store.set_report("s1", "{}")
    assert store.report("s1") is None
    due = store.due_ms("s1")
    store.put("s1", {"lastSeen": now, "sourceSegments": 5, "record": True})
    assert store.due_ms("s1") == due
    woken = store.get("s1")
    assert (woken.phase, woken.generation, woken.run) == (Phase.DELETED, gone.generation, gone.run)
    with pytest.raises(ValueError, match="no session goes from deleted"):
        store.begin_generation("s1", expect={Phase.DELETED}, reason="test")


def test_an_unknown_session_cannot_be_deleted(store, client):
    assert store.delete("s1") is None
    assert client.dbsize() == 0


def test_a_run_of_a_session_that_is_not_recorded_any_more_is_stopped(store, client, now):
    put_recorded(store, lastSeen=now)
    generation = finalize(store)
    store.update("s1", generation, {"run": {"wrote": ["r1/source.mp4"], "makes": 1, "after": 0}})
    client.hset(f"test:run:s1:{generation}", "item:a", "{}")
    store.put("s1", {"record": False})
    off = store.get("s1")
    assert (off.phase, off.status) == (Phase.LIVE, None)
    assert off.generation > generation
    assert off.run["wrote"] == ["r1/source.mp4"]
    assert not client.exists(f"test:run:s1:{generation}")
    assert store.due_ms("s1") <= store.now_ms()
    assert store.commit("s1", generation, renditions=(), **URLS) is None
    store.put("s1", {"lastSeen": now + 1})
    assert store.due_ms("s1") <= store.now_ms(), "the cleaning is not put off"
    assert store.get("s1").generation == off.generation
    store.put("s1", {"record": True})
    on = store.get("s1")
    assert (on.phase, on.status) == (Phase.LIVE, RecordingStatus.WAITING)
    assert store.due_ms("s1") > store.now_ms()
    begun = finalize(store)
    assert "adopts" not in store.get("s1").run
    assert begun > off.generation


def test_a_report_is_kept_as_it_was_written(store):
    store.set_report("s1", '{"verdict":"complete"}')
    assert store.report("s1") == '{"verdict":"complete"}'
    assert store.report("s2") is None


def test_a_webhook_event_is_remembered_for_a_while(store, client):
    assert not store.is_remembered("event-1")
    store.remember("event-1", 60)
    assert store.is_remembered("event-1")
    assert 0 < client.ttl("test:webhook:event-1") <= 60


def test_a_record_of_another_version_is_an_error_of_its_own_and_stops_no_sweep(store, client, now):
    put_recorded(store, "old")
    put_recorded(store, "new")
    client.hset("test:session:new", "v", "999")
    store.schedule("new", now - 1)
    with pytest.raises(UnknownFormat, match="new"):
        store.get("new")
    with pytest.raises(UnknownFormat, match="newer worker"):
        store.put("new", {"lastSeen": now})
    assert store.take_due(10, 1000) == ["new"]
    assert [record.id for record in store.page().records] == ["old"]


def test_writers_at_once_lose_no_write(store, client, now):
    put_recorded(store)

    def write(field: str) -> None:
        for number in range(1, 26):
            store.put("s1", {field: number})

    writers = [
        threading.Thread(target=write, args=(field,))
        for field in ("sourceSegments", "sourceBytes", "ingestRate", "x-own")
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    record = store.get("s1")
    assert record.version == 1 + 4 * 25
    assert record.session.source_segments == record.session.source_bytes == 25
    assert record.session.model_extra == {"x-own": 25}


def test_one_of_two_runs_that_start_at_once_wins(store):
    put_recorded(store)
    won: list[int | None] = []

    def begin() -> None:
        won.append(store.begin_generation("s1", expect={Phase.LIVE}, reason="idle"))

    runs = [threading.Thread(target=begin) for _ in range(4)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert [generation for generation in won if generation] == [store.get("s1").generation]


def commands_of(client: redis.Redis, act: object) -> dict[str, int]:
    """How often the server ran each command, those inside scripts too, while ``act`` ran."""
    client.config_resetstat()
    act()
    stats = client.info("commandstats")
    return {name.removeprefix("cmdstat_"): entry["calls"] for name, entry in stats.items()}


def test_no_question_costs_more_when_more_sessions_are_stored(store, client, now):
    """Neither in commands nor, by construction, in their size: each is one bounded range."""

    def cost() -> list[dict[str, int]]:
        store.schedule("s000", now - 1)
        return [
            commands_of(client, lambda: store.take_due(1, 60_000)),
            commands_of(client, lambda: store.page(limit=5)),
            commands_of(client, lambda: store.page(status=RecordingStatus.WAITING, limit=5)),
            commands_of(client, lambda: store.page(overdue_ms=1, limit=5)),
            commands_of(client, lambda: store.put("s000", {"ingestRate": 2})),
        ]

    past = now - 3_600_000
    for number in range(10):
        put_recorded(store, f"s{number:03d}", lastSeen=past, createdAt=past)
    for number in range(10):
        store.schedule(f"s{number:03d}", now + 3_600_000)
    few = cost()
    for number in range(10, 200):
        put_recorded(store, f"s{number:03d}", lastSeen=past, createdAt=past)
        store.schedule(f"s{number:03d}", now + 3_600_000)
    assert cost() == few
    assert not {"keys", "scan", "smembers"} & {name for counts in few for name in counts}


def test_a_live_session_is_due_for_its_first_look_soon_and_no_heartbeat_puts_it_off(live_store):
    now = live_store.now_ms()
    live_store.put("s1", {"record": True, "lastSeen": now})
    first = live_store.due_ms("s1")
    assert now <= first - FIRST_LOOK_MS <= live_store.now_ms()
    live_store.put("s1", {"lastSeen": live_store.now_ms() + 1})
    assert live_store.due_ms("s1") == first


def test_a_session_is_due_for_its_look_or_when_it_is_quiet_whichever_is_first(live_store):
    now = live_store.now_ms()
    live_store.put("s1", {"record": True, "lastSeen": now})
    live_store.update("s1", 0, {"look_at": now + 10 * IDLE_MS})
    live_store.put("s1", {"lastSeen": now + 1})
    assert live_store.due_ms("s1") == now + 1 + round(QUIET_SHARE * IDLE_MS)
    live_store.update("s1", 0, {"look_at": now + 7_000})
    live_store.put("s1", {"lastSeen": now + 2})
    assert live_store.due_ms("s1") == live_store.next_due_ms() == now + 7_000


def test_a_look_that_is_under_way_is_not_asked_for_again_by_heartbeats(live_store):
    now = live_store.now_ms()
    live_store.put("s1", {"record": True, "lastSeen": now})
    live_store.update("s1", 0, {"look_at": now - 1})
    assert live_store.take_due(10, 30_000) == ["s1"]
    live_store.put("s1", {"lastSeen": now + 1})
    assert live_store.take_due(10, 30_000) == []
    assert live_store.due_ms("s1") >= now + 30_000


def test_ends_are_taken_before_looks_which_always_get_a_share(live_store):
    now = live_store.now_ms()
    for number in range(8):
        live_store.put(f"live-{number}", {"record": True, "lastSeen": now})
        live_store.update(f"live-{number}", 0, {"look_at": now - 1000 + number})
        live_store.put(f"over-{number}", {"record": True, "lastSeen": now})
        live_store.schedule(f"over-{number}", now - number)
    assert live_store.take_due(4, 60_000) == ["over-7", "over-6", "over-5", "over-4", "live-0"]
    taken = live_store.take_due(7, 60_000)
    assert taken == ["over-3", "over-2", "over-1", "over-0", "live-1", "live-2", "live-3"]
    assert live_store.take_due(1, 60_000) == ["live-4"]


def test_a_session_that_is_due_for_both_is_handed_on_once(live_store):
    now = live_store.now_ms()
    live_store.put("s1", {"record": True, "lastSeen": now})
    live_store.update("s1", 0, {"look_at": now - 1})
    live_store.schedule("s1", now - 1)
    assert live_store.take_due(10, 60_000) == ["s1"]
    live_store.update("s1", 0, {"look_at": now + 5_000})
    live_store.schedule("s1", now - 1)
    assert live_store.take_due(10, 60_000) == ["s1"]
    assert live_store.due_ms("s1") == now + 5_000


@pytest.mark.parametrize(
    "act",
    [
        lambda store: store.put("s1", {"record": False}),
        lambda store: store.delete("s1"),
        lambda store: store.begin_generation("s1", expect={Phase.LIVE}, reason="idle"),
    ],
)
def test_a_session_that_is_not_live_any_more_is_not_looked_at(live_store, client, act):
    live_store.put("s1", {"record": True, "lastSeen": live_store.now_ms()})
    assert client.zcard("test:looks") == 1
    act(live_store)
    assert client.zcard("test:looks") == 0


def test_a_session_that_is_not_recorded_is_never_due_until_it_is(live_store):
    live_store.put("s1", {"lastSeen": live_store.now_ms()})
    assert live_store.due_ms("s1") is None
    live_store.put("s1", {"record": True})
    assert live_store.due_ms("s1") <= live_store.now_ms() + FIRST_LOOK_MS


def test_a_session_that_wakes_up_is_looked_at_soon(live_store):
    live_store.put("s1", {"record": True, "lastSeen": live_store.now_ms() - 1})
    live_store.update("s1", 0, {"look_at": 0})
    generation = live_store.begin_generation("s1", expect={Phase.LIVE}, reason="idle")
    live_store.put("s1", {"lastSeen": live_store.now_ms() + 1})
    assert live_store.get("s1").generation == generation
    assert live_store.due_ms("s1") == live_store.get("s1").look_at
    assert 0 < live_store.due_ms("s1") - live_store.now_ms() <= FIRST_LOOK_MS
