"""Workers that die, stop or have a broken ffmpeg: what is lost is done again, what is broken is told.

ffmpeg is a stand-in here, which does as files in a folder say before it becomes the real one.
"""

import functools
import http.server
import json
import os
import signal
import threading

import pytest

from pipelines.tools import locate
from tests.product import Product, new_id
from tests.stack import running_stack

pytestmark = [pytest.mark.acceptance, pytest.mark.redis, pytest.mark.s3, pytest.mark.ffmpeg]

STAND_IN = """#!/bin/sh
case "$*" in *-version*|*-encoders*|*-filters*) exec "{ffmpeg}" "$@";; esac
while [ -e "{folder}/hold" ]; do sleep 0.05; done
if [ -e "{folder}/fail" ]; then
  echo "reading" >&2
  echo "no luck today" >&2
  exit 1
fi
case "$*" in *hvc1*) if [ -e "{folder}/poison" ]; then kill -9 $PPID; fi;; esac
exec "{ffmpeg}" "$@"
"""
QUERY_SECRET = "hush-4711"


class Will:
    """What the stand-in is told: the files that it looks for."""

    def __init__(self, folder):
        self.folder = folder

    def say(self, word):
        (self.folder / word).touch()

    def unsay(self, word):
        (self.folder / word).unlink(missing_ok=True)


@pytest.fixture(scope="module")
def will_of_ffmpeg(tmp_path_factory):
    folder = tmp_path_factory.mktemp("will")
    script = folder / "ffmpeg"
    script.write_text(STAND_IN.format(ffmpeg=locate().ffmpeg, folder=folder))
    script.chmod(0o755)
    return Will(folder)


@pytest.fixture(scope="module")
def web(small):
    """A web server with a recording, for sources that are not in S3; its base URL."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_arguments):
            """Tests print nothing."""

    handler = functools.partial(Quiet, directory=str(small.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def product(tmp_path_factory, will_of_ffmpeg, web):
    with running_stack(
        tmp_path_factory.mktemp("faults") / "st", "--workers", "2",
        FINALIZER_IDLE_TIMEOUT="1", FINALIZER_SWEEP_INTERVAL="0.2", FINALIZER_SLICE_SECONDS="4",
        FINALIZER_LEASE="4", FINALIZER_FFMPEG=str(will_of_ffmpeg.folder / "ffmpeg"),
        FINALIZER_MISSING_GRACE="2", FINALIZER_SOURCE_PREFIXES=f"s3://recordings/,{web}",
    ) as stack:  # fmt: skip
        yield Product(stack)


@pytest.fixture
def will(will_of_ffmpeg):
    yield will_of_ffmpeg
    for word in ("hold", "fail", "poison"):
        will_of_ffmpeg.unsay(word)


def slices(product, session_id):
    """The items of the session's run that package slices, as they are written down."""
    return product.items(session_id, "package")


def leased(product, session_id):
    """The items that a worker is on, with that worker's process id."""
    return {
        name: int(item["owner"].rpartition(":")[2])
        for name, item in slices(product, session_id).items()
        if item["state"] == "leased"
    }


def held_in_the_middle(product, will, playlist):
    """A session whose slices are all under way, and stay so until ``hold`` is unsaid."""
    will.say("hold")
    session_id = new_id("held")
    product.upload(session_id, playlist)
    product.begin(session_id)
    product.happens(session_id, lambda: len(leased(product, session_id)) == 3)
    return session_id


def test_a_worker_that_is_killed_in_a_slice_costs_nothing_but_time(product, will, small):
    undisturbed = new_id("calm")
    product.upload(undisturbed, small)
    created = product.begin(undisturbed)["createdAt"]
    expected = product.fetch(product.ready(undisturbed)["mp4Url"]).body

    will.say("hold")
    session_id = new_id("killed")
    product.upload(session_id, small)
    product.begin(session_id, createdAt=created)
    product.happens(session_id, lambda: len(leased(product, session_id)) == 3)
    os.kill(min(leased(product, session_id).values()), signal.SIGKILL)
    will.unsay("hold")
    assert product.fetch(product.ready(session_id)["mp4Url"]).body == expected


def test_a_worker_that_is_asked_to_end_hands_its_slices_back_at_once(product, will, small):
    session_id = held_in_the_middle(product, will, small)
    before = leased(product, session_id)
    ended = product.stack.pids["worker-1"]
    os.kill(ended, signal.SIGTERM)
    product.happens(session_id, lambda: product.stack.pids.get("worker-1", ended) != ended)
    product.happens(
        session_id, lambda: set(leased(product, session_id).values()).isdisjoint(gone(before))
    )
    assert {item["attempts"] for item in slices(product, session_id).values()} == {0}
    will.unsay("hold")
    product.ready(session_id)


def gone(owners):
    return {pid for pid in owners.values() if not os.path.exists(f"/proc/{pid}")}  # noqa: PTH110


def test_a_broken_ffmpeg_ends_a_session_after_three_attempts_with_its_last_words(
    product, will, small
):
    will.say("fail")
    session_id = new_id("broken")
    product.upload(session_id, small)
    product.begin(session_id)
    session = product.reaches(session_id, "failed", "ready")
    assert session["error"]["code"] == "ffmpeg_failed"
    assert session["error"]["message"].endswith("no luck today")
    attempts = product.events(session_id, "attempt_failed")
    assert (
        max(
            sum(event["item"] == item for event in attempts)
            for item in {event["item"] for event in attempts}
        )
        == 3
    )
    product.happens(session_id, lambda: product.is_settled(session_id))
    assert product.objects("vod", session_id) == []
    will.unsay("fail")
    assert product.rerun(session_id) == 202
    product.ready(session_id)


def test_a_slice_that_kills_its_workers_fails_its_session_alone(product, will, small, media):
    will.say("poison")
    poisoned, other = new_id("poison"), new_id("other")
    product.upload(poisoned, media.recording(duration=4.0, video="hevc"))
    product.begin(poisoned)
    session = product.reaches(poisoned, "failed", "ready", timeout=90)
    assert session["error"]["code"] == "slice_poison"
    product.upload(other, small)
    product.begin(other)
    assert product.ready(other)["error"] is None


def test_a_source_on_the_web_is_read_and_its_query_stays_a_secret(product, web, plays):
    session_id = new_id("web")
    product.begin(session_id, sourceUrl=f"{web}index.m3u8?token={QUERY_SECRET}")
    session = product.ready(session_id)
    plays(session["mp4Url"], 12.0)
    answers = product.published_uris(session["recordingUrl"])
    assert {answer.status for answer in answers.values()} == {200}
    missing = new_id("web")
    product.begin(missing, sourceUrl=f"{web}nowhere.m3u8?token={QUERY_SECRET}")
    error = product.reaches(missing, "failed", "ready")["error"]
    assert error["code"] == "playlist_missing"
    told = [error, product.events(session_id), product.events(missing), *map(str, answers.items())]
    said = json.dumps(told)
    assert QUERY_SECRET not in said


def test_no_log_of_the_stack_tells_a_secret(product, web):
    session_id = new_id("told")
    product.begin(session_id, sourceUrl=f"{web}index.m3u8?token={QUERY_SECRET}")
    product.webhook("stream.started", stream={"id": "x"})
    product.ready(session_id)
    names = ("FINALIZER_API_TOKEN", "FINALIZER_WEBHOOK_SECRET", "AWS_SECRET_ACCESS_KEY")
    secrets = [product.facts[name] for name in names] + [QUERY_SECRET, "X-Amz-Signature"]
    logs = sorted((product.stack.directory / "logs").iterdir())
    assert len(logs) == 8
    told = [
        (log.name, number)
        for log in logs
        for number, secret in enumerate(secrets)
        if secret in log.read_text(errors="replace")
    ]
    assert told == []
