"""Inbound webhooks over a real session store: what they may change, and what they may not."""

import hashlib
import hmac
import json
from collections.abc import Iterator

import pytest
import redis

from pipelines.session import Phase
from tests.integration.http_app import IDLE_MS, SECRET, Api, open_api
from worker.http_body import MAX_BODY

pytestmark = pytest.mark.redis


@pytest.fixture
def api(redis_url: str) -> Iterator[Api]:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        opened = open_api(client)
        with opened.http:
            yield opened


def signature(body: bytes, at: int, secret: str = SECRET) -> str:
    return f"t={at},v1={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"


def event(api: Api, name: str = "recording.started", **fields: object) -> dict:
    now = api.store.now_ms()
    return {"id": "e1", "event": name, "timestamp": now, "createdAt": now, **fields}


def started(api: Api, session_id: str = "s1", name: str = "recording.started", **fields) -> dict:
    session = {"id": session_id, "name": "video+x", "record": True, "parentId": "stream", **fields}
    return event(api, name, stream={"id": "stream"}, payload={"session": session})


def post(api: Api, message: dict, *, secret: str = SECRET, header: str | None = None):
    body = json.dumps(message).encode()
    header = header or signature(body, message.get("timestamp", 0), secret)
    return api.http.post("/webhooks/livepeer", content=body, headers={"Livepeer-Signature": header})


def stored(api: Api) -> dict[str, object]:
    """Everything in the database, to see that nothing changed."""
    return {key: api.redis.dump(key) for key in sorted(api.redis.keys())}


def test_recording_started_creates_an_unknown_session_and_has_it_looked_at_when_idle(api):
    response = post(api, started(api, lastSeen=0))
    assert response.status_code == 200
    record = api.store.get("s1")
    assert (record.phase, record.session.parent_id) == (Phase.LIVE, "stream")
    assert api.store.due_ms("s1") == record.session.created_at + IDLE_MS
    ((session_id, delay_ms),) = api.requests.made
    assert session_id == "s1"
    assert 0 < delay_ms <= IDLE_MS


@pytest.mark.parametrize("secret", ["older-secret", SECRET])
def test_any_configured_secret_is_good(api, secret):
    assert post(api, started(api), secret=secret).status_code == 200


def test_status_and_urls_of_a_snapshot_are_not_taken(api):
    snapshot = {"recordingStatus": "ready", "mp4Url": "https://evil.example/x.mp4"}
    assert post(api, started(api, name="recording.waiting", **snapshot)).status_code == 200
    record = api.store.get("s1")
    assert (record.status, record.mp4_url) == ("waiting", None)


def test_recording_waiting_does_not_end_a_session_that_still_shows_life(api):
    now = api.store.now_ms()
    api.store.put("s1", {"record": True, "lastSeen": now})
    post(api, started(api, name="recording.waiting", lastSeen=now - 100_000))
    record = api.store.get("s1")
    assert (record.phase, record.session.last_seen) == (Phase.LIVE, now)
    assert api.store.due_ms("s1") == record.session.active_at + IDLE_MS


def test_an_idle_session_is_looked_at_at_once(api):
    past = api.store.now_ms() - 10 * IDLE_MS
    api.store.put("s1", {"record": True, "createdAt": past, "lastSeen": past})
    api.store.schedule("s1", api.store.now_ms() + 3_600_000)
    post(api, started(api, name="recording.waiting"))
    assert api.requests.made == [("s1", 0)]
    assert api.store.take_due(1, 1000) == ["s1"]


@pytest.mark.parametrize("name", ["stream.started", "stream.idle"])
def test_a_stream_event_has_the_streams_live_sessions_looked_at_and_changes_none(api, name):
    now = api.store.now_ms()
    for session_id, parent in (("a", "stream"), ("b", "stream"), ("c", "other")):
        api.store.put(session_id, {"record": True, "parentId": parent, "lastSeen": now})
    before = {session_id: api.store.get(session_id) for session_id in "abc"}
    assert post(api, event(api, name, stream={"id": "stream"})).status_code == 200
    assert {session_id: api.store.get(session_id) for session_id in "abc"} == before
    assert sorted(session_id for session_id, _ in api.requests.made) == ["a", "b"]
    assert all(0 < delay_ms <= IDLE_MS for _, delay_ms in api.requests.made)


def test_a_duplicate_is_acknowledged_and_does_nothing(api):
    message = started(api)
    assert post(api, message).json() == {"outcome": "accepted"}
    before = stored(api)
    api.requests.made.clear()
    response = post(api, message)
    assert (response.status_code, response.json()) == (200, {"outcome": "duplicate"})
    assert stored(api) == before
    assert api.requests.made == []


def test_an_event_of_a_deleted_session_is_ignored(api):
    post(api, started(api))
    gone = api.store.delete("s1")
    api.requests.made.clear()
    response = post(api, started(api, name="recording.waiting") | {"id": "another"})
    assert (response.status_code, response.json()) == (200, {"outcome": "ignored"})
    after = api.store.get("s1")
    assert (after.phase, after.generation) == (gone.phase, gone.generation)
    assert api.requests.made == []


def test_an_event_whose_effects_broke_off_is_done_when_it_comes_again(api):
    message = started(api)

    def away(session_id: str, *, delay_ms: int = 0) -> None:
        raise redis.ConnectionError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api.requests, "request", away)
        assert post(api, message).status_code == 503
    assert post(api, message).json() == {"outcome": "accepted"}
    assert api.requests.made
    assert api.store.get("s1").session.name == "video+x"


@pytest.mark.parametrize("name", ["asset.ready", "recording.ready", "playback.user.new"])
def test_other_events_are_acknowledged_and_ignored(api, name):
    response = post(api, event(api, name, payload=None))
    assert (response.status_code, response.json()) == (200, {"outcome": "ignored"})
    assert stored(api) == {}


def test_a_bad_signature_is_401_and_nothing_changes(api):
    message = started(api)
    now = message["timestamp"]
    good = signature(json.dumps(message).encode(), now)
    for header in ("", "t=1", f"t={now},v1=00", good.replace(f"t={now}", f"t={now + 1}")):
        assert post(api, message, header=header or "x").status_code == 401
    assert post(api, message, secret="unknown").status_code == 401
    old = message | {"timestamp": now - 3_600_000}
    assert post(api, old).status_code == 401
    replayed = signature(json.dumps(old).encode(), now)
    response = post(api, old, header=replayed)
    assert response.status_code == 401
    assert response.json()["error"]["code"] == "bad_signature"
    missing = api.http.post("/webhooks/livepeer", content=json.dumps(message))
    assert missing.status_code == 401
    assert stored(api) == {}


@pytest.mark.parametrize(
    "change",
    [
        {"payload": None},
        {"payload": {}},
        {"payload": {"session": []}},
        {"payload": {"session": {"name": "no id"}}},
        {"payload": {"session": {"id": "../s1", "name": "x"}}},
        {"payload": {"session": {"id": "s1", "name": "x", "lastSeen": 1_700_000_000}}},
        {"event": "stream.idle", "stream": None},
        {"event": "stream.idle", "stream": {"id": 5}},
        {"event": 7},
        {"id": None},
        {"id": "x" * 201},
        {"timestamp": "now"},
        {"timestamp": True},
    ],
)
def test_a_malformed_event_is_400_and_nothing_changes(api, change):
    message = started(api) | change
    body = json.dumps(message).encode()
    header = signature(body, api.store.now_ms() if "timestamp" in change else message["timestamp"])
    response = post(api, message, header=header)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "malformed"
    assert stored(api) == {}
    assert api.requests.made == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_a_signed_body_that_is_no_json_object_is_400(api, body):
    headers = {"Livepeer-Signature": signature(body, api.store.now_ms())}
    response = api.http.post("/webhooks/livepeer", content=body, headers=headers)
    assert response.status_code == 400


def test_a_body_over_the_limit_is_413(api):
    response = api.http.post("/webhooks/livepeer", content=b"x" * (MAX_BODY + 1))
    assert response.status_code == 413


def test_without_a_configured_secret_webhooks_are_503(redis_url):
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        api = open_api(client, webhook_secret="")
        assert post(api, started(api)).status_code == 503
        assert stored(api) == {}
