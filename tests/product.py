"""Drives a running stack as its users do: origins, viewers, Livepeer, and people who look after it."""

import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import jsonschema
import urllib3

from pipelines.report import schema_text
from tests.deployed_queue import DeployedQueue
from tests.packaging import upload_folder
from tests.stack import RunningStack, eventually

PATIENCE_S = 60.0


@dataclass(frozen=True)
class Answer:
    """What a server said; ``headers`` have lower-case names."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Product:
    """The product behind one stack."""

    def __init__(self, stack: RunningStack) -> None:
        self.stack = stack
        self.facts = stack.environment
        self.s3 = stack.s3()
        self.queue = DeployedQueue(self.facts)
        self._http = urllib3.PoolManager(retries=False, timeout=10)

    # -- HTTP ------------------------------------------------------------------------------

    def api(self, method: str, path: str, body: object = None) -> Answer:
        """A request with the bearer token."""
        headers = {"Authorization": f"Bearer {self.facts['FINALIZER_API_TOKEN']}"}
        text = None if body is None else json.dumps(body)
        return self._ask(method, self.facts["FINALIZER_API_URL"] + path, headers, text)

    def fetch(self, url: str) -> Answer:
        """A viewer's request: without any credentials."""
        return self._ask("GET", url, {}, None)

    def webhook(self, event: str, *, secret: str | None = None, **rest: Any) -> Answer:
        """An event as Livepeer sends it, signed with the stack's secret or another one."""
        now = time.time_ns() // 1_000_000
        body = {"id": uuid.uuid4().hex, "timestamp": now, "event": event, **rest}
        text = json.dumps(body)
        key = (secret or self.facts["FINALIZER_WEBHOOK_SECRET"]).encode()
        digest = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        headers = {"Livepeer-Signature": f"t={now},v1={digest}"}
        url = self.facts["FINALIZER_API_URL"] + "/webhooks/livepeer"
        return self._ask("POST", url, headers, text)

    def _ask(self, method: str, url: str, headers: dict[str, str], body: str | None) -> Answer:
        answer = self._http.request(method, url, headers=headers, body=body, redirect=False)
        names = {name.lower(): value for name, value in answer.headers.items()}
        return Answer(answer.status, names, answer.data)

    # -- the origin ------------------------------------------------------------------------

    def upload(self, session_id: str, playlist: Path, folder: str = "") -> None:
        """Put a recording's folder where the session's recording is looked for."""
        upload_folder(self.s3, playlist.parent, "recordings", f"{session_id}{folder}")

    def write(self, session_id: str, name: str, text: str) -> None:
        """Write one text object of the session's recording."""
        self.s3.put_object(Bucket="recordings", Key=f"{session_id}/{name}", Body=text.encode())

    def put(self, session_id: str, **fields: Any) -> dict[str, Any]:
        """Create or update a session."""
        answer = self.api("PUT", f"/sessions/{session_id}", fields)
        assert answer.status in (200, 201), answer.body
        return answer.json()

    def begin(self, session_id: str, **fields: Any) -> dict[str, Any]:
        """A session that is recorded and was seen just now."""
        return self.put(session_id, record=True, lastSeen=now_ms(), **fields)

    def rerun(self, session_id: str, *, force: bool = False) -> int:
        """Ask for a re-run; the status of the answer."""
        return self.api("POST", f"/sessions/{session_id}/rerun", {"force": force}).status

    # -- looking ---------------------------------------------------------------------------

    def get(self, session_id: str) -> dict[str, Any]:
        answer = self.api("GET", f"/sessions/{session_id}")
        assert answer.status == 200, answer.body
        return answer.json()

    def events(self, session_id: str, *actions: str) -> list[dict[str, Any]]:
        """The session's events; only those of some actions, if any are named."""
        events = self.api("GET", f"/sessions/{session_id}/events").json()["events"]
        return [event for event in events if not actions or event["action"] in actions]

    def report(self, session_id: str) -> dict[str, Any]:
        """The session's report, which has the form that its JSON Schema tells."""
        report = self.api("GET", f"/sessions/{session_id}/report").json()
        jsonschema.validate(report, json.loads(schema_text()))
        return report

    def reaches(
        self, session_id: str, *phases: str, generation_after: int = -1, timeout: float = PATIENCE_S
    ) -> dict[str, Any]:
        """Wait for one of the phases, of a run later than ``generation_after``; the session then."""
        seen: dict[str, Any] = {}

        def there() -> bool:
            seen.update(self.get(session_id))
            return seen["phase"] in phases and seen["generation"] > generation_after

        self._awaited(session_id, there, timeout)
        return self.get(session_id)

    def ready(self, session_id: str) -> dict[str, Any]:
        """The session once it is ready and nothing of its run is left."""
        session = self.reaches(session_id, "ready", "failed")
        assert session["phase"] == "ready", session["error"]
        self.happens(session_id, lambda: self.is_settled(session_id))
        return session

    def items(self, session_id: str, kind: str) -> dict[str, dict[str, Any]]:
        """The work items of one kind of the session's run, by name, as they are written down."""
        with self.stack.redis() as client:
            runs = [client.hgetall(key) for key in client.scan_iter(f"*run:{session_id}:*", 1000)]
        return {
            name.decode(): json.loads(text)
            for fields in runs
            for name, text in fields.items()
            if name.startswith(f"item:{kind}/".encode())
        }

    def happens(self, session_id: str, what: Callable[[], object]) -> None:
        """Wait for something to become true of a session; tell its story when it does not."""
        self._awaited(session_id, what, PATIENCE_S)

    def _awaited(self, session_id: str, what: Callable[[], object], timeout: float) -> None:
        try:
            eventually(what, timeout)
        except AssertionError as late:
            story = json.dumps([self.get(session_id), *self.events(session_id)], indent=1)
            raise AssertionError(f"{late}\n{story}") from None

    def is_settled(self, session_id: str) -> bool:
        """Whether nothing is under way or left over: no upload, no staged object, no run."""
        return not self.leftovers(session_id)

    def leftovers(self, session_id: str) -> list[str]:
        """Whatever a run leaves in Redis or in the store while it lasts."""
        with self.stack.redis() as client:
            left = [key.decode() for key in client.scan_iter(f"*run:{session_id}:*", 1000)]
        left += self.objects("staging", session_id)
        uploads = self.s3.list_multipart_uploads(Bucket="vod", Prefix=f"{session_id}/")
        return left + [f"upload of {each['Key']}" for each in uploads.get("Uploads", ())]

    def objects(self, bucket: str, session_id: str) -> list[str]:
        """Keys of the session's objects in a bucket."""
        listed = self.s3.list_objects_v2(Bucket=bucket, Prefix=f"{session_id}/")
        return [item["Key"] for item in listed.get("Contents", ())]

    def published_uris(self, recording_url: str) -> dict[str, Answer]:
        """Everything that the multivariant playlist leads to, by URL, fetched as a viewer would."""
        found = {recording_url: self.fetch(recording_url)}
        for media in uris(recording_url, found[recording_url].body):
            found[media] = self.fetch(media)
            found |= {url: self.fetch(url) for url in uris(media, found[media].body)}
        return found


def uris(base: str, playlist: bytes) -> list[str]:
    """The absolute URLs of a playlist's URI lines."""
    lines = playlist.decode().splitlines()
    return [urljoin(base, line) for line in lines if line and not line.startswith("#")]


def now_ms() -> int:
    """Unix milliseconds."""
    return time.time_ns() // 1_000_000


def new_id(kind: str) -> str:
    """An id for a session that no other test has."""
    return f"{kind}-{uuid.uuid4().hex[:8]}"
