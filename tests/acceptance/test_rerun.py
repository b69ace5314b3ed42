"""``./scripts/rerun`` tells by its exit code what became of the sessions, and runs them again."""

import contextlib
import os
import signal
import subprocess

import pytest

from tests.product import Product, new_id
from tests.stack import ROOT, running_stack

pytestmark = [pytest.mark.acceptance, pytest.mark.redis, pytest.mark.s3, pytest.mark.ffmpeg]

TIMEOUT_S = 90
#: Nobody listens there: whoever asks this broker for anything fails.
NO_BROKER = "amqp://127.0.0.1:9/"


@pytest.fixture(scope="module")
def product(tmp_path_factory):
    with running_stack(
        tmp_path_factory.mktemp("rerun") / "st", "--workers", "1",
        FINALIZER_IDLE_TIMEOUT="1", FINALIZER_SWEEP_INTERVAL="0.2", FINALIZER_PACKAGE_LIVE="false",
        FINALIZER_MISSING_GRACE="1", FINALIZER_GAP_POLICY="fail",
    ) as stack:  # fmt: skip
        yield Product(stack)


@pytest.fixture
def rerun(product, tmp_path):
    """Runs the command with the stack's environment, from a folder that has nothing to do with it."""

    def run(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        return command(*arguments, cwd=tmp_path, environment=product.facts | changes)

    return run


def command(*arguments, cwd, environment):
    return subprocess.run(
        [str(ROOT / "scripts" / "rerun"), *arguments],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def code(done, expected):
    """The exit code is the expected one; else what the command said is shown."""
    assert done.returncode == expected, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def ready(product, playlist):
    """The id of a session that is ready."""
    session_id = new_id("rerun")
    product.upload(session_id, playlist)
    product.begin(session_id)
    assert product.reaches(session_id, "ready", "failed")["phase"] == "ready"
    product.happens(session_id, lambda: product.is_settled(session_id))
    return session_id


def failed(product, playlist):
    """The id of a session that failed because of a gap, and the missing segment's key and bytes."""
    session_id = new_id("failed")
    product.upload(session_id, playlist)
    key = f"{session_id}/segment00002.ts"
    segment = product.s3.get_object(Bucket="recordings", Key=key)["Body"].read()
    product.s3.delete_object(Bucket="recordings", Key=key)
    product.begin(session_id)
    session = product.reaches(session_id, "ready", "failed")
    assert session["error"]["code"] == "gap_refused"
    return session_id, key, segment


@contextlib.contextmanager
def workers_stopped(product):
    """Every worker process holds its breath."""
    groups = [pid for name, pid in product.stack.pids.items() if name not in ("redis", "s3", "api")]
    for group in groups:
        os.killpg(group, signal.SIGSTOP)
    try:
        yield
    finally:
        for group in groups:
            os.killpg(group, signal.SIGCONT)


@contextlib.contextmanager
def cleanup_held(product, session_id):
    """Some cleaner is busy with the session: no run of it gets further than its beginning."""
    key = f"finalizer:cleanup:{session_id}"
    with product.stack.redis() as client:
        client.set(key, "somebody")
        try:
            yield
        finally:
            client.delete(key)


def test_an_unknown_session_is_one_line_on_standard_error_and_3(rerun):
    done = code(rerun("nobody"), 3)
    assert done.stderr == "There is no session nobody.\n"
    assert done.stdout == ""


def test_a_deleted_session_is_refused(product, rerun):
    session_id = new_id("deleted")
    product.begin(session_id)
    product.api("DELETE", f"/sessions/{session_id}")
    done = code(rerun("--force", session_id), 4)
    assert done.stderr == f"Session {session_id} is deleted.\n"


@pytest.mark.parametrize(
    "arguments", [(), ("some", "--all-failed"), ("some", "--timeout", "1"), ("--nonsense", "some")]
)
@pytest.mark.alike(2)
def test_wrong_usage_is_2(arguments, tmp_path):
    code(command(*arguments, cwd=tmp_path, environment={}), 2)


def test_without_settings_it_says_what_is_missing_and_which_stack_runs_here(tmp_path):
    (tmp_path / ".stack").mkdir()
    (tmp_path / ".stack" / "env").write_text("export FINALIZER_REDIS_URL='redis://here'\n")
    done = code(command("some", cwd=tmp_path, environment={}), 2)
    assert "FINALIZER_SOURCE_URL is missing." in done.stderr
    assert "source .stack/env first" in done.stderr


def test_a_redis_that_is_away_is_our_fault(rerun):
    done = code(rerun("some", FINALIZER_REDIS_URL="redis://127.0.0.1:9/0"), 1)
    assert "127.0.0.1:9" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_dry_run_of_a_live_session_tells_the_plan_and_writes_nothing(product, rerun, small):
    session_id = new_id("live")
    product.upload(session_id, small)
    profile = {"name": "480p0", "width": 854, "height": 480, "bitrate": 1_000_000, "fps": 0}
    product.put(session_id, record=True, lastSeen=far_future(product), profiles=[profile])
    before = product.get(session_id), product.events(session_id)
    done = code(rerun("--dry-run", session_id, FINALIZER_SLICE_SECONDS="4"), 0)
    assert (product.get(session_id), product.events(session_id)) == before
    assert product.objects("staging", session_id) == []
    said = done.stdout
    assert f"{session_id}: live" in said
    assert "would be refused" in said
    assert "6 segments, 12.000 s" in said
    assert "The recording has this one variant." in said
    assert "slice 0: segments 0 to 1, 0.000 s to 4.000 s" in said
    assert "slice 2: segments 4 to 5, 8.000 s to 12.000 s" in said
    assert "480p0: transcode of variant" in said
    assert "320x180, H.264 by libx264, at 1000000 bit/s" in said
    assert "854x480 is larger than the source" in said
    assert said.count("slice 2: segments 4 to 5, 8.000 s to 12.000 s") == 2
    code(rerun(session_id), 4)


def far_future(product):
    """As late as a heartbeat may come: a session that stays live for a minute."""
    with product.stack.redis() as client:
        return client.time()[0] * 1000 + 59_000


def test_a_forced_run_makes_a_revision_and_the_one_before_stays_readable(product, rerun, small):
    session_id = ready(product, small)
    before = product.get(session_id)
    refused = code(rerun(session_id), 4)
    assert "force" in refused.stderr
    done = code(rerun("--force", "--wait", session_id), 0)
    after = product.get(session_id)
    assert after["mp4Url"] == before["mp4Url"].replace("/r1/", "/r2/")
    assert after["mp4Url"] in done.stdout
    assert product.fetch(after["mp4Url"]).status == 200
    assert product.fetch(before["mp4Url"]).body == product.fetch(after["mp4Url"]).body


def test_here_does_everything_without_workers_and_without_a_broker(product, rerun, small, plays):
    ids = [ready(product, small) for _ in range(2)]
    profile = {"name": "144p", "width": 256, "height": 144, "bitrate": 400_000, "fps": 0}
    product.put(ids[0], profiles=[profile])
    with workers_stopped(product):
        done = code(
            rerun(
                "--force", "--here", *ids,
                FINALIZER_BROKER_URL=NO_BROKER, FINALIZER_SLICE_SECONDS="4",
            ),
            0,
        )  # fmt: skip
        for session_id in ids:
            session = product.get(session_id)
            assert session["phase"] == "ready"
            assert session["mp4Url"].endswith("/r2/source.mp4")
            assert product.is_settled(session_id)
    assert done.stdout.count("slice packaged") == 2 * 3
    assert done.stdout.count("slice transcoded") == 3
    plays(session["mp4Url"], 12.0)
    plays(product.get(ids[0])["renditions"][1]["url"], 12.0)


def test_what_here_gives_up_is_gone_on_with_by_workers(product, rerun, small):
    session_id = ready(product, small)
    with workers_stopped(product), cleanup_held(product, session_id):
        done = code(rerun("--force", "--here", "--timeout", "0.5", session_id, "nobody"), 6)
        assert product.get(session_id)["phase"] == "finalizing"
    assert f"Gave up waiting for session {session_id}" in done.stderr
    assert "nobody: it was not run" in done.stderr
    assert product.reaches(session_id, "ready")["mp4Url"].endswith("/r2/source.mp4")


def test_without_workers_waiting_ends_after_the_timeout(product, rerun, small):
    session_id = ready(product, small)
    with workers_stopped(product):
        done = code(rerun("--force", "--wait", "--timeout", "0.5", session_id), 6)
    assert "Gave up waiting" in done.stderr
    product.reaches(session_id, "ready")


@pytest.mark.long
def test_a_run_that_fails_again_is_5_here_as_well_as_there(product, rerun, small):
    session_id, _, _ = failed(product, small)
    for way in ("--wait", "--here"):
        done = code(rerun(way, session_id), 5)
        assert "gap_refused" in done.stderr
    # Planning fetches the first segment alone: that a later one is missing shows when it is read.
    product.s3.delete_object(Bucket="recordings", Key=f"{session_id}/index.m3u8")
    assert "playlist_missing" in code(rerun("--dry-run", session_id), 5).stdout


def test_all_failed_sessions_are_run_again_once_they_are_mended(product, rerun, small):
    for listed in product.api("GET", "/sessions?status=failed").json()["sessions"]:
        product.put(listed["id"], record=False)
    mended = [failed(product, small) for _ in range(2)]
    for _, key, segment in mended:
        product.s3.put_object(Bucket="recordings", Key=key, Body=segment)
    code(rerun("--all-failed", "--wait"), 0)
    for session_id, _, _ in mended:
        assert product.get(session_id)["phase"] == "ready"
    assert code(rerun("--all-failed"), 0).stdout == "No session has failed.\n"


def test_of_several_sessions_the_highest_exit_code_counts(product, rerun, small):
    session_id = ready(product, small)
    done = code(rerun(session_id, "nobody"), 4)
    assert "There is no session nobody." in done.stderr
    done = code(rerun("--stack", str(product.stack.directory), "nobody", "nobody"), 3)
    assert done.stderr.count("nobody") == 1
