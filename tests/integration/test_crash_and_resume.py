"""Workers that are real processes are killed, stopped and asked to end; stores forget and lose: what
counts is done once, and comes out the same."""

import contextlib
import hashlib
import os
import signal
import sys
import threading

import pytest
import redis as redis_client
from dramatiq import Message

from pipelines.session import Phase
from scripts.child import Child
from scripts.embedded import child_environment
from scripts.s3_access import REGION, Credentials, s3_client
from scripts.s3_proxy import LostAnswer, S3Proxy
from scripts.stack import ROOT, WORKER_READY, worker_argv, worker_environment
from tests.by_hand import ID, LONG_AGO, Worker
from tests.packaging import upload_folder
from tests.stack import eventually
from worker.broker import make_broker
from worker.dispatch import PACKAGING
from worker.perform import perform
from worker.runtime import Runtime
from worker.settings import load
from worker.work_item import Ending, State

pytestmark = [pytest.mark.redis, pytest.mark.s3, pytest.mark.ffmpeg]

OTHER = "s2"
FIRST = "package/source/0"
#: Noise that barely compresses: two seconds need more than 10 MiB, the last one less.
NOISE = {
    "duration": 4.5, "size": "640x360", "b_frames": 2,
    "encoder_options": ("-vf", "noise=alls=90:allf=t", "-qp", "22"),
}  # fmt: skip


class Site:
    """A store behind a proxy, a worker by hand that reaches it directly, and worker processes that
    go through the proxy."""

    def __init__(self, store, redis_url, folder, **settings):
        endpoint, self._keys = store
        self.proxy = S3Proxy(int(endpoint.rpartition(":")[2]))
        self.s3 = s3_client(endpoint, self._keys, 30)
        self._folder = folder
        self._common = {
            "FINALIZER_REDIS_URL": redis_url,
            "FINALIZER_SOURCE_URL": "s3://recordings/{id}/index.m3u8",
            "FINALIZER_OUTPUT_URL": "s3://vod/",
            "FINALIZER_STAGING_URL": "s3://staging/",
            "FINALIZER_PUBLIC_URL": "http://vod.example/",
            "FINALIZER_SLICE_SECONDS": "2",
            "FINALIZER_SWEEP_INTERVAL": "3600",
            **{f"FINALIZER_{name.upper()}": str(value) for name, value in settings.items()},
        }
        self._endpoint = endpoint
        self.redis = redis_client.Redis.from_url(redis_url, decode_responses=True)

    def worker(self, monkeypatch, *, behind_proxy=False):
        """A worker by hand."""
        for name, value in self._access(behind_proxy).items():
            monkeypatch.setenv(name, value)
        return Worker(Runtime.open(load(self._common)), self.s3, self.redis)

    @contextlib.contextmanager
    def process(self):
        """A worker process for slices that are copied."""
        environment = child_environment() | worker_environment(PACKAGING)
        child = Child(
            "worker",
            [sys.executable, *worker_argv(PACKAGING)],
            environment=environment | self._common | self._access(behind_proxy=True),
            log=self._folder / "worker.log",
            probe=lambda _pid: child.said(WORKER_READY),
            cwd=ROOT,
        )
        child.start()
        try:
            child.wait_until_ready(60)
            yield child
        finally:
            child.kill()

    def send(self, claim):
        """Send the message of a claim, as a look of production does."""
        broker = make_broker(load(self._common))
        broker.declare_queue(PACKAGING)
        broker.enqueue(
            Message(PACKAGING, "package_slice", (*claim.key, claim.token), kwargs={}, options={})
        )

    def messages(self):
        """How many messages nobody has acknowledged."""
        return self.redis.hlen("finalizer:queue:package.msgs")

    def _access(self, behind_proxy):
        return {
            "AWS_ENDPOINT_URL_S3": self.proxy.endpoint if behind_proxy else self._endpoint,
            "AWS_ACCESS_KEY_ID": self._keys.access_key,
            "AWS_SECRET_ACCESS_KEY": self._keys.secret_key,
            "AWS_REGION": REGION,
        }


@pytest.fixture
def site_on(redis_url, tmp_path):
    """Makes a site on a store, given as its endpoint and its credentials."""
    with contextlib.ExitStack() as opened:

        def made(store, **settings):
            site = Site(store, redis_url, tmp_path, **settings)
            opened.enter_context(site.proxy)
            opened.callback(site.redis.close)
            return site

        yield made


@pytest.fixture
def site(site_on, s3_server, buckets):
    """Makes a site on the embedded store."""
    return lambda **settings: site_on((s3_server.endpoint, s3_server.credentials), **settings)


@pytest.fixture
def held():
    """Keeps whatever waits for it, until it is set or the test ends."""
    event = threading.Event()
    yield event
    event.set()


def record(worker, playlist, session_id=ID):
    upload_folder(worker.s3, playlist.parent, "recordings", session_id)
    worker.put(session_id)


def item(worker, name=FIRST):
    return worker.items().get(name)


def work_until_ready(worker, session_id=ID):
    """Look and work, as often as there is something to wait for; the digest of the MP4."""

    def ended():
        worker.look(session_id)
        while worker.sent.claims:
            claim = worker.sent.claims.pop(0)
            perform(claim.key, claim.token, worker.runtime, worker.sent)
            worker.look(session_id)
        return worker.record(session_id).phase in (Phase.READY, Phase.FAILED)

    eventually(ended)
    record = worker.record(session_id)
    assert record.phase is Phase.READY, record.error
    body = worker.s3.get_object(Bucket="vod", Key=f"{session_id}/r1/source.mp4")["Body"].read()
    return hashlib.sha256(body).hexdigest()


def made_again(worker, session_id=ID):
    """What the report tells of it, without what did not happen."""
    told = worker.runtime.sessions.report(session_id)["run"]["madeAgain"]
    return {name: count for name, count in told.items() if count}


def is_segment(request):
    return request.operation == "GetObject" and request.key.endswith(".ts")


def test_a_worker_that_is_asked_to_end_hands_its_slice_back_at_once_although_the_store_hangs(
    site, held, media, monkeypatch
):
    here = site(lease=600)
    worker = here.worker(monkeypatch)
    record(worker, media.recording(duration=4.0))
    here.proxy.rule = lambda request: held.wait(60) and None if is_segment(request) else None
    with here.process() as process:
        worker.look()
        here.send(worker.sent.claims.pop(0))
        eventually(lambda: item(worker).state is State.LEASED)
        os.kill(process.pid, signal.SIGTERM)
        eventually(lambda: item(worker).state is State.RELEASED)
        assert worker.due_in_ms() <= 0
        work_until_ready(worker)
    assert made_again(worker) == {"slices": 1, "handedBack": 1}


def test_a_worker_that_stood_still_past_its_lease_writes_nothing_that_counts(
    site_on, moto_server, held, media, monkeypatch
):
    """In this store the last upload of a part number wins, and the source has changed meanwhile."""
    here = site_on((moto_server, Credentials("test", "test")), lease=1)
    for bucket in ("recordings", "vod", "staging"):
        here.s3.create_bucket(Bucket=bucket)
    worker = here.worker(monkeypatch)
    noise, other = media.recording(**NOISE), media.recording(**NOISE, gop=30)
    record(worker, other)
    undisturbed = work_until_ready(worker)
    ...
