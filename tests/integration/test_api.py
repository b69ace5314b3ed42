"""The HTTP API over a real session store."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from openapi_spec_validator import validate

from pipelines.session import Phase
from tests.integration.http_app import IDLE_MS, TOKEN, Api, open_api
from worker.finding import fail
from worker.http_body import MAX_BODY
from worker.records import RecordedError
from worker.settings import InvalidSettings

pytestmark = pytest.mark.redis

URLS = {
    "recording_url": "https://vod.example/s1/index.m3u8",
    "mp4_url": "https://vod.example/s1/r1/source.mp4",
}


@pytest.fixture
def api(redis_url: str) -> Iterator[Api]:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        opened = open_api(client)
        opened.http.headers.update(TOKEN)
        with opened.http:
            yield opened


def put(api: Api, session_id: str = "s1", **fields: object):
    return api.http.put(f"/sessions/{session_id}", json=fields)


def begin(api: Api, session_id: str = "s1") -> int:
    generation = api.store.begin_generation(
        session_id, expect={Phase.LIVE, Phase.READY, Phase.FAILED}, reason="idle"
    )
    assert generation is not None
    return generation


def publish(api: Api, session_id: str = "s1") -> None:
    renditions = ({"name": "source", "kind": "copy", "state": "ready", "url": URLS["mp4_url"]},)
    assert api.store.commit(session_id, begin(api, session_id), renditions=renditions, **URLS)


def error(response) -> dict:
    assert set(response.json()) == {"error"}
    assert response.json()["error"]["message"]
    return response.json()["error"]


def test_put_creates_with_201_and_updates_with_200(api):
    now = api.store.now_ms()
    created = put(api, record=True, lastSeen=now, profiles=[], sourceBytes=1.5)
    assert created.status_code == 201
    body = created.json()
    assert (body["id"], body["name"]) == ("s1", "s1")
    assert (body["recordingStatus"], body["phase"], body["generation"]) == ("waiting", "live", 0)
    assert body["sourceUrl"] == "s3://recordings/s1/index.m3u8"
    assert (body["error"], body["renditions"]) == (None, [])
    assert body["createdAt"] >= now
    assert not {"recordingUrl", "mp4Url"} & set(body)
    updated = put(api, lastSeen=now + 1)
    assert updated.status_code == 200
    assert updated.json() == body | {"lastSeen": now + 1}
    assert api.http.get("/sessions/s1").json() == updated.json()


def test_what_get_returned_can_be_put_back(api):
    put(api, record=True, lastSeen=api.store.now_ms(), custom={"a": [1]})
    publish(api)
    before = api.http.get("/sessions/s1").json()
    assert before["mp4Url"] == URLS["mp4_url"]
    assert before["renditions"][0]["url"] == URLS["mp4_url"]
    back = api.http.put("/sessions/s1", json=before)
    assert back.status_code == 200
    assert back.json() == before


def test_a_session_that_is_not_recorded_has_no_status_and_no_urls(api):
    put(api, name="a")
    assert not {"recordingStatus", "recordingUrl", "mp4Url"} & set(
        api.http.get("/sessions/s1").json()
    )


def test_a_heartbeat_costs_two_round_trips(api):
    now = api.store.now_ms()
    put(api, record=True, lastSeen=now - 1000)
    sent = 0
    connection = api.redis.connection_pool.get_connection()
    original = type(connection).send_packed_command

    def counted(self, *args, **kwargs):
        nonlocal sent
        sent += 1
        return original(self, *args, **kwargs)

    api.redis.connection_pool.release(connection)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(connection), "send_packed_command", counted)
        assert put(api, lastSeen=now).status_code == 200
    assert sent == 2
    assert api.requests.made == []


@pytest.mark.parametrize(
    ("session_id", "body", "field"),
    [
        ("s1", {"lastSeen": 1_700_000_000}, "lastSeen"),
        ("s1", {"lastSeen": "yesterday"}, "lastSeen"),
        ("s1", {"sourceSegments": -1}, "sourceSegments"),
        ("s1", {"record": "yes"}, "record"),
        ("s1", {"id": "other"}, "id"),
        ("s1", {"sourceUrl": "file:///etc/passwd"}, "sourceUrl"),
        ("s1", {"profiles": [{"name": "../x"}]}, "profiles.0.name"),
        ("a.b", {"record": True}, "id"),
        ("a" * 65, {"record": True}, "id"),
    ],
)
def test_a_bad_value_is_422_and_names_the_field(api, session_id, body, field):
    response = api.http.put(f"/sessions/{session_id}", json=body)
    assert response.status_code == 422
    assert error(response)["code"] == "invalid"
    assert error(response)["field"] == field
    assert api.http.get(f"/sessions/{session_id}").status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b'"x"',
        b"{",
        b"\xff\xfe",
        b'{"lastSeen": NaN}',
        b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"lastSeen": ' + b"9" * 5000 + b"}",
        b'{"name": "\\ud800"}',
    ],
)
def test_a_body_that_is_no_json_object_is_422(api, body):
    response = api.http.put("/sessions/s1", content=body)
    assert response.status_code == 422
    assert error(response)["code"] == "invalid"
    assert api.store.get("s1") is None


def test_a_body_over_the_limit_is_413_announced_or_not(api):
    big = b'{"name":"' + b"x" * MAX_BODY + b'"}'
    announced = api.http.put("/sessions/s1", content=big)
    streamed = api.http.put(
        "/sessions/s1", content=(big[i : i + 65536] for i in range(0, len(big), 65536))
    )
    for response in (announced, streamed):
        assert response.status_code == 413
        assert error(response)["code"] == "too_large"
    assert api.store.get("s1") is None


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/sessions/s1"),
        ("GET", "/sessions/s1"),
        ("GET", "/sessions"),
        ("GET", "/sessions/s1/events"),
        ("GET", "/sessions/s1/report"),
        ("POST", "/sessions/s1/rerun"),
        ("GET", "/profiles"),
    ],
)
@pytest.mark.parametrize(
    "given", [None, "Bearer wrong", "Bearer ", "Basic token-one", "Bearer token-on", "token-one"]
)
def test_without_a_good_token_everything_is_401_before_the_body_is_looked_at(
    api, method, path, given
):
    del api.http.headers["Authorization"]
    headers = {"Authorization": given} if given else {}
    response = api.http.request(method, path, headers=headers, content=b"{no json")
    assert response.status_code == 401
    assert error(response)["code"] == "unauthorized"
    assert response.headers["www-authenticate"] == "Bearer"


def test_any_of_several_tokens_opens_the_api(api):
    headers = {"Authorization": "Bearer token-two"}
    assert api.http.get("/sessions", headers=headers).status_code == 200


def test_without_a_configured_token_there_is_no_api(redis_url):
    with (
        redis.Redis.from_url(redis_url) as client,
        pytest.raises(InvalidSettings, match="FINALIZER_API_TOKEN is missing"),
    ):
        open_api(client, api_token="")


def test_importing_the_api_reads_no_environment():
    root = Path(__file__).parents[2]
    imported = subprocess.run(
        [sys.executable, "-c", "import worker.api"],
        cwd=root,
        env={"PATH": os.environ["PATH"], "FINALIZER_NONSENSE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert imported.returncode == 0, imported.stderr


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/openapi.json", "/docs"])
def test_probes_and_documentation_need_no_token(api, path):
    del api.http.headers["Authorization"]
    assert api.http.get(path).status_code == 200


def test_readyz_is_503_and_says_why_when_something_stands_in_the_way(api):
    api.surroundings.findings.append(fail("output", "no such bucket: create it"))
    response = api.http.get("/readyz")
    assert response.status_code == 503
    assert response.json()["findings"][-1]["message"] == "no such bucket: create it"
    assert api.http.get("/healthz").status_code == 200


def test_the_openapi_document_is_valid_and_has_examples(api):
    document = api.http.get("/openapi.json").json()
    validate(document)
    put_body = document["paths"]["/sessions/{session_id}"]["put"]["requestBody"]
    assert "heartbeat" in put_body["content"]["application/json"]["examples"]
    assert "mp4Url" in document["components"]["schemas"]["SessionView"]["properties"]


def test_an_unknown_session_is_404_everywhere(api):
    for method, path in [
        ("GET", ""), ("GET", "/events"), ("GET", "/report"), ("POST", "/rerun"), ("DELETE", ""),
    ]:  # fmt: skip
        response = api.http.request(method, f"/sessions/unknown{path}")
        assert response.status_code == 404
        assert error(response)["code"] == "session_not_found"


def test_unknown_routes_and_methods_have_the_same_shape(api):
    assert error(api.http.get("/nowhere"))["code"] == "not_found"
    response = api.http.delete("/sessions")
    assert response.status_code == 405
    assert error(response)["code"] == "method_not_allowed"


def test_the_list_filters_by_status_and_pages_through_every_session(api):
    for number in range(5):
        put(api, f"s{number}", record=True)
    publish(api, "s3")
    seen, cursor = [], ""
    while True:
        page = api.http.get(f"/sessions?status=waiting&limit=3&cursor={cursor}").json()
        seen += [session["id"] for session in page["sessions"]]
        cursor = page["nextCursor"]
        if cursor is None:
            break
    assert sorted(seen) == ["s0", "s1", "s2", "s4"]
    ready = api.http.get("/sessions", params={"status": "ready"}).json()
    assert [session["id"] for session in ready["sessions"]] == ["s3"]
    assert len(api.http.get("/sessions?status=&overdue=&limit=10").json()["sessions"]) == 5


def test_the_list_of_overdue_sessions_leaves_out_the_ready_and_the_fresh(api):
    past = api.store.now_ms() - 600_000
    for session_id in ("old", "done"):
        put(api, session_id, record=True, createdAt=past, lastSeen=past)
    put(api, "fresh", record=True)
    publish(api, "done")
    overdue = api.http.get("/sessions", params={"overdue": 300}).json()
    assert [session["id"] for session in overdue["sessions"]] == ["old"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=done", "status"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=x", "limit"),
        ("overdue=-1", "overdue"),
        ("overdue=nan", "overdue"),
        ("overdue=1e300", "overdue"),
        ("cursor=%2B", "cursor"),
    ],
)
def test_a_bad_query_is_422_and_names_the_parameter(api, query, field):
    response = api.http.get(f"/sessions?{query}")
    assert response.status_code == 422
    assert error(response)["field"] == field


def test_events_tell_what_happened_in_order(api):
    put(api, record=True)
    publish(api)
    events = api.http.get("/sessions/s1/events").json()["events"]
    assert [event["action"] for event in events] == ["created", "finalizing", "ready"]
    assert all(isinstance(event["at"], int) for event in events)


def test_a_report_is_404_until_there_is_one_and_then_as_it_was_written(api):
    put(api, record=True)
    response = api.http.get("/sessions/s1/report")
    assert response.status_code == 404
    assert error(response)["code"] == "report_not_ready"
    report = {"verdict": "complete", "error": None, "renditions": [], "gaps": [], "repairs": []}
    api.store.set_report("s1", json.dumps(report))
    response = api.http.get("/sessions/s1/report")
    assert response.json() == report
    assert response.headers["content-type"] == "application/json"


def test_a_failed_session_shows_its_error_and_can_be_run_again(api):
    put(api, record=True)
    generation = begin(api)
    api.store.transition(
        "s1", expect={Phase.FINALIZING}, to=Phase.FAILED, generation=generation, due_ms=None,
        changes={"error": RecordedError("playlist_missing", "There is no playlist.")},
    )  # fmt: skip
    body = api.http.get("/sessions/s1").json()
    assert body["recordingStatus"] == "failed"
    assert body["error"] == {"code": "playlist_missing", "message": "There is no playlist."}
    response = api.http.post("/sessions/s1/rerun")
    assert response.status_code == 202
    assert response.json()["generation"] > generation
    assert api.requests.made == [("s1", 0)]
    assert api.http.get("/sessions/s1").json()["phase"] == "finalizing"


def test_a_deleted_session_shows_no_urls_no_report_and_is_not_run_again(api):
    put(api, record=True, lastSeen=api.store.now_ms())
    publish(api)
    api.store.set_report("s1", "{}")
    response = api.http.delete("/sessions/s1")
    assert response.status_code == 200
    gone = response.json()
    assert (gone["phase"], gone["recordingStatus"]) == ("deleted", "deleted")
    assert (gone["renditions"], gone["error"]) == ([], None)
    assert not {"recordingUrl", "mp4Url"} & set(gone)
    assert api.requests.made == [("s1", 0)]
    assert error(api.http.get("/sessions/s1/report"))["code"] == "report_not_ready"
    for force in (False, True):
        refused = api.http.post("/sessions/s1/rerun", json={"force": force})
        assert (refused.status_code, error(refused)["code"]) == (409, "state_refused")
    again = api.http.delete("/sessions/s1")
    assert (again.status_code, again.json()) == (200, gone)
    assert api.http.get("/sessions/s1").json() == gone
    for status, ids in (("deleted", ["s1"]), ("ready", []), ("", ["s1"])):
        listed = api.http.get("/sessions", params={"status": status}).json()["sessions"]
        assert [each["id"] for each in listed] == ids


def test_an_origin_may_go_on_with_a_deleted_session_that_stays_deleted(api):
    put(api, record=True)
    gone = api.http.delete("/sessions/s1").json()
    now = api.store.now_ms()
    heartbeat = put(api, lastSeen=now, sourceSegments=3)
    assert heartbeat.status_code == 200
    assert heartbeat.json() == gone | {"lastSeen": now, "sourceSegments": 3}
    assert put(api, record=False).json()["phase"] == "deleted"
    assert put(api, record=True).json()["phase"] == "deleted"


def test_a_rerun_is_409_while_live_and_when_ready_without_force(api):
    put(api, record=True)
    for body in ({}, {"force": True}):
        response = api.http.post("/sessions/s1/rerun", json=body)
        assert response.status_code == 409
        assert error(response)["code"] == "state_refused"
    publish(api)
    assert api.http.post("/sessions/s1/rerun", json={"force": False}).status_code == 409
    assert api.requests.made == []
    response = api.http.post("/sessions/s1/rerun", json={"force": True})
    assert response.status_code == 202
    body = api.http.get("/sessions/s1").json()
    assert (body["recordingStatus"], body["mp4Url"]) == ("ready", URLS["mp4_url"])


def test_a_rerun_joins_a_run_and_with_force_begins_another(api):
    put(api, record=True)
    generation = begin(api)
    assert api.http.post("/sessions/s1/rerun").json() == {"generation": generation}
    forced = api.http.post("/sessions/s1/rerun", json={"force": True}).json()
    assert forced["generation"] > generation


def test_the_default_ladder_can_be_put_into_a_session(api):
    ladder = api.http.get("/profiles")
    assert ladder.status_code == 200
    profiles = ladder.json()["profiles"]
    assert [
        (each["name"], each["width"], each["height"], each["bitrate"]) for each in profiles
    ] == [
        ("240p0", 426, 240, 250_000),
        ("360p0", 640, 360, 800_000),
        ("480p0", 854, 480, 1_600_000),
        ("720p0", 1280, 720, 3_000_000),
    ]
    assert {each["fps"] for each in profiles} == {0}
    created = put(api, profiles=profiles)
    assert created.status_code == 201
    assert created.json()["profiles"] == profiles


def test_a_rerun_of_an_empty_session_looks_at_it_again(api):
    put(api, record=True)
    api.store.transition("s1", expect={Phase.LIVE}, to=Phase.EMPTY, due_ms=None)
    assert api.http.post("/sessions/s1/rerun").status_code == 202
    assert api.store.get("s1").phase is Phase.LIVE
    assert api.store.take_due(1, IDLE_MS) == ["s1"]


def test_a_session_that_is_not_recorded_cannot_be_run(api):
    put(api)
    assert api.http.post("/sessions/s1/rerun", json={"force": True}).status_code == 409


@pytest.mark.parametrize("body", [{"force": "yes"}, {"forse": True}, {"force": 1}])
def test_a_bad_rerun_is_422(api, body):
    put(api, record=True)
    assert api.http.post("/sessions/s1/rerun", json=body).status_code == 422


def test_a_record_of_a_newer_version_is_an_error_that_says_so(api):
    put(api, record=True)
    api.redis.hset("test:session:s1", "v", "999")
    response = api.http.get("/sessions/s1")
    assert response.status_code == 503
    assert error(response)["code"] == "unknown_format"


def test_a_dead_store_is_503_and_an_accident_500_and_neither_tells_details(redis_server_factory):
    server = redis_server_factory()
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        api = open_api(client)
        api.http.headers.update(TOKEN)
        put(api, record=True)
        api.redis.set("test:report:s1", "x")
        api.redis.hset("test:session:s1", "doc", "{broken token-one")
        response = api.http.get("/sessions/s1")
        assert response.status_code == 500
        assert error(response)["code"] == "internal_error"
        assert "broken" not in response.text
        server.kill()
        response = api.http.get("/sessions/s1")
        assert response.status_code == 503
        assert error(response)["code"] == "store_unavailable"
        assert str(server.url).rpartition(":")[2].partition("/")[0] not in response.text
