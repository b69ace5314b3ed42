"""Stores that throttle, are full or refuse to be written: nothing is lost, it is told what is waited
for, and work goes on by itself."""

import pytest
import redis
from fastapi.testclient import TestClient
from pydantic import SecretStr
from redis.exceptions import RedisError
from structlog.testing import capture_logs

from pipelines.session import Phase
from scripts.s3_proxy import Refusal, S3Proxy, no_faults
from tests.by_hand import ID, Recorder
from tests.stack import eventually
from worker.api import create_app
from worker.check import run_checks
from worker.finding import Level
from worker.perform import perform
from worker.reconcile import reconcile
from worker.redis_check import redis_findings
from worker.sweep import sweep_once
from worker.work_item import State

pytestmark = [pytest.mark.redis, pytest.mark.s3, pytest.mark.ffmpeg]

WRITES = {
    "PutObject",
    "UploadPart",
    "CreateMultipartUpload",
    "CompleteMultipartUpload",
    "DeleteObjects",
}
TOKEN = "a-token"


@pytest.fixture
def proxy(s3_server, worker, monkeypatch):
    """What stands between the workers that are opened from here on and the store."""
    with S3Proxy(s3_server.port) as opened:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", opened.endpoint)
        yield opened


@pytest.fixture(autouse=True)
def _without_long_pauses(monkeypatch):
    monkeypatch.setattr("pipelines.retry.FIRST_PAUSE", 0.001)
    monkeypatch.setattr("pipelines.retry.LONGEST_PAUSE", 0.01)
    monkeypatch.setattr("pipelines.retry.THROTTLED_FIRST_PAUSE", 0.001)
    monkeypatch.setattr("pipelines.retry.THROTTLED_LONGEST_PAUSE", 0.05)
    monkeypatch.setattr("worker.perform.FIRST_PAUSE_MS", 10)
    monkeypatch.setattr("worker.perform.LONGEST_PAUSE_MS", 20)


@pytest.fixture
def api(worker):
    """Opens the API beside a worker."""

    def opened(made):
        settings = made.runtime.settings.model_copy(update={"api_token": (SecretStr(TOKEN),)})
        app = create_app(settings, made.runtime.sessions, Reconciler(), list)
        return TestClient(app, headers={"Authorization": f"Bearer {TOKEN}"})

    return opened


class Reconciler:
    def request(self, session_id, *, delay_ms=0):
        pass


def refusing(status, code, operations):
    return lambda request: Refusal(status, code) if request.operation in operations else None


def round_of(worker):
    """Look, do what was claimed, and look again."""
    worker.look()
    claims, worker.sent.claims = worker.sent.claims, []
    for claim in claims:
        perform(claim.key, claim.token, worker.runtime, worker.sent)
    worker.look()


def goes_on(worker):
    """Look and work until the session is ready."""

    def ready():
        worker.finalize()
        return worker.record().phase is Phase.READY

    eventually(ready)
    assert worker.record().waiting is None


def test_a_store_that_throttles_gets_fewer_calls_and_fails_nothing(recorded, proxy):
    asked = iter(range(10**9))
    proxy.rule = lambda _: Refusal(503, "SlowDown") if next(asked) % 3 else None
    worker = recorded(slice_seconds=6)
    with capture_logs() as logged:
        worker.finalize()
    assert worker.record().phase is Phase.READY
    assert worker.record().waiting is None
    actions = [line["action"] for line in logged]
    assert actions.count("store_throttled") == 1
    assert not {"outage", "postponed", "attempt_failed"} & set(actions)


def test_a_store_that_throttles_for_long_is_waited_for(recorded, proxy, monkeypatch):
    monkeypatch.setattr("pipelines.retry.THROTTLED_PATIENCE_SECONDS", 0.05)
    worker = recorded(slice_seconds=6)
    proxy.rule = refusing(503, "SlowDown", WRITES)
    round_of(worker)
    assert worker.record().phase is Phase.FINALIZING
    assert worker.record().waiting.code == "store_throttled"
    assert {item.attempts for item in worker.items().values()} == {0}
    proxy.rule = no_faults
    goes_on(worker)


@pytest.mark.parametrize(
    ("status", "said", "code"),
    [(507, "InsufficientStorage", "store_full"), (403, "AccessDenied", "store_refused")],
)
def test_a_store_that_cannot_be_written_is_told_of_and_waited_for(
    recorded, proxy, api, status, said, code
):
    worker = recorded(slice_seconds=6)
    proxy.rule = refusing(status, said, WRITES)
    with capture_logs() as logged:
        for _ in range(4):
            round_of(worker)
    shown = api(worker).get(f"/sessions/{ID}").json()
    assert (shown["phase"], shown["error"]) == ("finalizing", None)
    assert shown["waitingFor"]["code"] == code
    assert said in shown["waitingFor"]["message"]
    outages = [line for line in logged if line["action"] == "outage"]
    assert [line["log_level"] for line in outages].count("warning") == 1
    events = [each for each in worker.runtime.sessions.events(ID) if each["action"] == "postponed"]
    assert len(events) == len({each["item"] for each in events}) == 2
    assert {item.attempts for item in worker.items().values()} == {0}
    failing = {each.subject for each in run_checks(worker.runtime.settings) if level_fails(each)}
    assert {"staging", "output"} <= failing

    proxy.rule = no_faults
    with capture_logs() as logged:
        goes_on(worker)
    assert [line["action"] for line in logged].count("outage_over") == 1
    assert api(worker).get(f"/sessions/{ID}").json()["waitingFor"] is None


def level_fails(finding):
    return finding.level is Level.FAIL


def test_a_store_that_is_full_when_the_mp4_is_completed_is_waited_for(recorded, proxy):
    worker = recorded(slice_seconds=6)
    proxy.rule = lambda request: (
        Refusal(507, "InsufficientStorage")
        if request.key.endswith(".mp4") and request.operation in WRITES
        else None
    )
    round_of(worker)
    round_of(worker)
    assert worker.record().waiting.item == "assemble/source"
    proxy.rule = no_faults
    goes_on(worker)


def test_a_source_that_refuses_to_be_read_is_told_of_and_waited_for(recorded, proxy, api):
    worker = recorded()
    worker.put(lastSeen=worker.runtime.sessions.now_ms() - 90_000)
    proxy.rule = lambda request: (
        Refusal(403, "AccessDenied") if request.bucket == "recordings" else None
    )
    worker.look()
    shown = api(worker).get(f"/sessions/{ID}").json()
    assert (shown["phase"], shown["waitingFor"]["code"]) == ("live", "store_refused")
    since = shown["waitingFor"]["since"]
    worker.look()
    assert worker.record().waiting.since == since
    proxy.rule = no_faults
    goes_on(worker)


@pytest.fixture
def fill(redis_server):
    """Fills Redis, and frees it again."""
    with redis.Redis.from_url(redis_server.url) as client:

        def filled(full):
            client.config_set("maxmemory", 1 if full else 0)

        yield filled
        filled(False)


def test_a_full_redis_changes_nothing_and_is_told_of(recorded, api, fill):
    worker = recorded(slice_seconds=6)
    client = api(worker)
    before = client.get(f"/sessions/{ID}").json()
    fill(True)
    refused = client.put(f"/sessions/{ID}", json={"lastSeen": before["lastSeen"] + 1})
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "store_full")
    assert "Retry-After" in refused.headers
    shown = client.get(f"/sessions/{ID}")
    assert shown.status_code == 200
    assert {**shown.json(), "waitingFor": None} == before

    def waiting():
        return client.get(f"/sessions/{ID}").json()["waitingFor"]

    eventually(waiting)
    assert waiting()["code"] == "store_full"
    assert client.get("/sessions").status_code == 200
    assert client.get(f"/sessions/{ID}/events").status_code == 200
    assert any(level_fails(each) for each in redis_findings(worker.runtime.settings))
    with pytest.raises(RedisError):
        reconcile(ID, worker.runtime, Recorder())
    with pytest.raises(RedisError):
        sweep_once(worker.runtime, Recorder())
    fill(False)
    eventually(lambda: waiting() is None)
    assert client.get(f"/sessions/{ID}").json() == before
    goes_on(worker)


def test_what_was_done_while_redis_was_full_counts(recorded, fill, monkeypatch):
    """A slice whose end could not be written down is not done again, and is no crash."""
    monkeypatch.setattr("worker.perform.WRITE_AGAIN_SECONDS", 0.05)
    worker = recorded(slice_seconds=12)
    worker.look()
    claim = worker.sent.claims.pop(0)
    tried = iter(range(100))
    complete = worker.runtime.work.complete

    def full_at_first(lease, result):
        fill(next(tried) < 2)
        return complete(lease, result)

    monkeypatch.setattr(worker.runtime.work, "complete", full_at_first)
    perform(claim.key, claim.token, worker.runtime, worker.sent)
    item = worker.items()[claim.key.item]
    assert (item.state, item.attempts) == (State.DONE, 0)
    goes_on(worker)
