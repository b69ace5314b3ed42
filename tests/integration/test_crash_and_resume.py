"""Workers that are real processes are killed, stopped and asked to end; stores forget and lose: what
counts is done once, and comes out the same."""

import contextlib
import hashlib
import json
import os
import signal
import sys
import threading

import pytest
import redis as redis_client
from dramatiq import Message

from pipelines.errors import ErrorCode, TransientError
from pipelines.session import Phase
from scripts.child import Child
from scripts.embedded import child_environment
from scripts.s3_access import REGION, Credentials, s3_client
from scripts.s3_proxy import LostAnswer, S3Proxy
from scripts.stack import ROOT, WORKER_READY, worker_argv, worker_environment
from tests.by_hand import ID, Worker
from tests.packaging import upload_folder
from tests.stack import eventually
from worker.broker import make_broker
from worker.dispatch import PACKAGING
from worker.perform import perform
from worker.reconcile import MAX_ATTEMPTS
from worker.rendition_upload import RenditionUpload
from worker.run import Run
from worker.run_plan import slices_of
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


class Hold:
    """A rule that keeps requests of one operation waiting until they are released."""

    def __init__(self):
        self.operation = ""
        self.reached = threading.Event()
        self.released = threading.Event()

    def __call__(self, request):
        if request.operation == self.operation and not request.key.endswith(".m3u8"):
            self.reached.set()
            self.released.wait(120)


@pytest.fixture
def hold():
    held = Hold()
    yield held
    held.released.set()


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
    told = json.loads(worker.runtime.sessions.report(session_id))["run"]["madeAgain"]
    return {name: count for name, count in told.items() if count}


def test_a_worker_that_is_asked_to_end_hands_its_slice_back_at_once_although_the_store_hangs(
    site, hold, media, monkeypatch
):
    here = site(lease=600)
    worker = here.worker(monkeypatch)
    record(worker, media.recording(duration=4.0))
    here.proxy.rule, hold.operation = hold, "GetObject"
    with here.process() as process:
        worker.look()
        here.send(worker.sent.claims.pop(0))
        assert hold.reached.wait(60)
        os.kill(process.pid, signal.SIGTERM)
        eventually(lambda: item(worker).state is State.RELEASED)
        assert worker.due_in_ms() <= 0
        work_until_ready(worker)
    assert made_again(worker) == {"slices": 1, "handedBack": 1}


def test_a_worker_that_stood_still_past_its_lease_writes_nothing_that_counts(
    site_on, moto_server, hold, media, monkeypatch
):
    """In this store the last upload of a part number wins, and the source has changed meanwhile."""
    here = site_on((moto_server, Credentials("test", "test")), lease=2)
    for bucket in ("recordings", "vod", "staging"):
        here.s3.create_bucket(Bucket=bucket)
    worker = here.worker(monkeypatch)
    before, after = media.recording(**NOISE), media.recording(**NOISE, gop=30)
    record(worker, after, OTHER)
    undisturbed = work_until_ready(worker, OTHER)
    record(worker, before)
    here.proxy.rule, hold.operation = hold, "UploadPart"
    with here.process() as process:
        worker.look()
        here.send(worker.sent.claims.pop(0))
        assert hold.reached.wait(60)
        pause(process)
        upload_folder(worker.s3, after.parent, "recordings", ID)
        first = taken_over(worker)
        perform(first.key, first.token, worker.runtime, worker.sent)
        assert item(worker).state is State.DONE
        ours = listed_parts(worker)
        go_on(process)
        hold.released.set()
        eventually(lambda: not here.messages())
        assert listed_parts(worker) != ours, "the late part has taken the place of ours"
    assert item(worker).earlier == {Ending.SILENT: 1}
    assert work_until_ready(worker) == undisturbed
    assert made_again(worker) == {"slices": 1, "silent": 1, "lost": 1}


def test_a_slice_that_kills_its_workers_fails_its_session_and_harms_no_other(
    site, media, monkeypatch
):
    here = site(lease=1)
    worker = here.worker(monkeypatch)
    for session_id in (ID, OTHER):
        record(worker, media.recording(duration=2.0), session_id)
    pids = []

    def kills(request):
        if request.key.startswith(f"{ID}/") and request.key.endswith(".ts"):
            os.killpg(pids[-1], signal.SIGKILL)

    here.proxy.rule = kills
    for _ in range(MAX_ATTEMPTS):
        with here.process() as process:
            pids.append(process.pid)
            worker.look(OTHER)
            here.send(taken_over(worker))
            for claim in [*worker.sent.claims]:
                here.send(claim)
            worker.sent.claims.clear()
            eventually(lambda: not process.running())
    eventually(lambda: worker.look() is Phase.FAILED)
    assert worker.record().error.code == ErrorCode.SLICE_POISON
    worker.sent.claims.clear()
    work_until_ready(worker, OTHER)


def test_an_upload_that_the_store_forgot_is_begun_anew(site, media, monkeypatch):
    """Once between two slices, and once when all of them are packaged."""
    worker = site().worker(monkeypatch)
    for session_id in (OTHER, ID):
        record(worker, media.recording(**NOISE), session_id)
    undisturbed = work_until_ready(worker, OTHER)
    worker.look()
    claims, worker.sent.claims = worker.sent.claims, []
    perform(claims[0].key, claims[0].token, worker.runtime, worker.sent)
    forget_uploads(worker)
    for claim in claims[1:]:
        perform(claim.key, claim.token, worker.runtime, worker.sent)
    eventually(lambda: slices_are_done(worker))
    events = [each["action"] for each in worker.runtime.sessions.events(ID)]
    assert events.count("upload_lost") == 1
    assert item(worker).earlier == {Ending.LOST: 1}, "made again as soon as it was noticed"
    forget_uploads(worker)
    assert work_until_ready(worker) == undisturbed
    assert made_again(worker)["lost"] == 3


def test_a_worker_that_goes_on_after_the_assembly_has_no_slice_made_again(site, media, monkeypatch):
    """Its part finds no upload, since that was completed meanwhile."""
    worker = site().worker(monkeypatch)
    record(worker, media.recording(**NOISE))
    worker.look()
    run = Run(worker.runtime, worker.record())
    plan = run.plan()
    (planned,) = plan.renditions
    work, *_ = slices_of(run.read_recording(), planned.variant, planned.kind, 2.0)
    late = RenditionUpload(run, plan, planned, work)
    late.scheme(1)
    while (made := worker.items().get("assemble/source")) is None or made.state is not State.DONE:
        claim = worker.sent.claims.pop(0)
        perform(claim.key, claim.token, worker.runtime, worker.sent)
        worker.look()
    with pytest.raises(TransientError, match="dropped the upload"):
        late.upload_part(100, b"late")
    assert slices_are_done(worker)
    work_until_ready(worker)
    assert made_again(worker) == {}


def test_an_answer_to_complete_that_was_lost_is_taken_for_one(site, media, monkeypatch):
    here = site()
    direct = here.worker(monkeypatch)
    for session_id in (OTHER, ID):
        record(direct, media.recording(**NOISE), session_id)
    undisturbed = work_until_ready(direct, OTHER)
    lost = iter([LostAnswer()])

    def loses(request):
        return next(lost, None) if request.operation == "CompleteMultipartUpload" else None

    here.proxy.rule = loses
    worker = here.worker(monkeypatch, behind_proxy=True)
    assert work_until_ready(worker) == undisturbed
    assert here.proxy.traffic().faults["LostAnswer"] == 1
    assert "attempt_failed" not in {each["action"] for each in worker.runtime.sessions.events(ID)}
    assert made_again(worker) == {}


def pause(process):
    """Stop a process and all that it started, as a machine that stalls does."""
    os.killpg(process.pid, signal.SIGSTOP)


def go_on(process):
    os.killpg(process.pid, signal.SIGCONT)


def taken_over(worker, session_id=ID):
    """The claim of the session's first slice, as soon as it can be had."""

    def found():
        worker.look(session_id)
        return [
            each
            for each in worker.sent.claims
            if (each.key.session_id, each.key.item) == (session_id, FIRST)
        ]

    eventually(found)
    claim = found()[0]
    worker.sent.claims.remove(claim)
    return claim


def listed_parts(worker):
    """The parts of the session's open upload, as the store tells them."""
    where = {"Bucket": "vod", "Key": f"{ID}/r1/source.mp4"}
    [upload] = worker.s3.list_multipart_uploads(Bucket="vod", Prefix=where["Key"])["Uploads"]
    parts = worker.s3.list_parts(**where, UploadId=upload["UploadId"])["Parts"]
    return [(part["PartNumber"], part["ETag"]) for part in parts]


def forget_uploads(worker):
    key = f"{ID}/r1/source.mp4"
    for each in worker.s3.list_multipart_uploads(Bucket="vod", Prefix=key).get("Uploads", ()):
        worker.s3.abort_multipart_upload(Bucket="vod", Key=key, UploadId=each["UploadId"])


def slices_are_done(worker):
    """Whether every slice is packaged; works on what is not."""
    worker.look()
    mine = [each for each in worker.sent.claims if each.key.item.startswith("package/")]
    worker.sent.claims = [each for each in worker.sent.claims if each not in mine]
    for claim in mine:
        perform(claim.key, claim.token, worker.runtime, worker.sent)
    states = {name: each.state for name, each in worker.items().items() if "package/" in name}
    return {*states.values()} == {State.DONE} and len(states) == 3
