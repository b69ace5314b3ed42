"""The stack keeps the contract of DESIGN 11: what it writes, what it survives, what it leaves."""

import contextlib
import os
import signal
import socket
import stat
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
import redis as redis_client
from botocore.exceptions import BotoCoreError, ClientError

from tests.stack import (
    RunningStack,
    alive,
    end,
    eventually,
    group_members,
    running_stack,
    start_stack,
)
from worker import settings

pytestmark = [pytest.mark.acceptance, pytest.mark.redis, pytest.mark.s3]

PARTS = [
    "redis", "s3", "api", "control", "worker-1", "worker-2", "transcode-1", "transcode-2",
]  # fmt: skip


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """One stack for the tests that leave it running."""
    with running_stack(tmp_path_factory.mktemp("stack") / "st", "--workers", "2") as running:
        yield running


def test_env_can_be_sourced_and_is_a_complete_set_of_settings(stack):
    script = f'. "{stack.directory}/env" && env'
    sourced = subprocess.run(
        ["sh", "-c", script], env={}, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    seen = dict(line.split("=", 1) for line in sourced)
    assert stack.environment.items() <= seen.items()
    loaded = settings.load(seen)
    assert loaded.source_url == "s3://recordings/{id}/index.m3u8"
    assert loaded.output_url == "s3://vod/"
    assert loaded.idle_timeout == 60
    assert {
        "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL_S3",
        "FINALIZER_API_TOKEN", "FINALIZER_WEBHOOK_SECRET", "FINALIZER_API_URL",
    } <= seen.keys()  # fmt: skip


def test_every_part_is_named_in_pids_and_runs(stack):
    assert list(stack.pids) == PARTS
    assert all(alive(pid) for pid in stack.pids.values())


def test_secrets_are_readable_by_their_owner_alone(stack):
    for name in ("env", "pids", "stack.json", "s3/s3.json"):
        assert stat.S_IMODE((stack.directory / name).stat().st_mode) == 0o600, name


def test_every_part_writes_its_own_log(stack):
    logs = {log.name for log in (stack.directory / "logs").iterdir()}
    assert logs == {f"{name}.log" for name in PARTS}


def test_both_buckets_are_public_and_staging_is_not(stack):
    s3, facts = stack.s3(), stack.environment
    for bucket in ("recordings", "vod", "staging"):
        s3.put_object(Bucket=bucket, Key="here/x", Body=b"x")
    assert _get(facts["FINALIZER_SOURCE_PUBLIC_URL"] + "here/x") == 200
    assert _get(facts["FINALIZER_PUBLIC_URL"] + "here/x") == 200
    assert _get(facts["AWS_ENDPOINT_URL_S3"] + "/staging/here/x") == 403


def test_a_second_start_in_the_same_directory_is_refused(stack):
    process = start_stack(stack.directory, "--fresh")
    with process:
        assert process.wait(60) == 2
        assert "already runs" in process.stderr.read()
    assert stack.process.poll() is None
    assert _api_answers(stack)


@pytest.mark.parametrize("name", PARTS)
def test_a_part_that_is_killed_comes_back_on_the_same_port_and_data(stack, name):
    _remember(stack, name)
    before, published = stack.pids, stack.environment
    os.kill(before[name], signal.SIGKILL)
    eventually(lambda: stack.pids.get(name, before[name]) != before[name])
    eventually(lambda: _everything_answers(stack, name))
    eventually(lambda: not group_members(before[name]))
    assert stack.environment == published
    assert {part: pid for part, pid in stack.pids.items() if part != name} == {
        part: pid for part, pid in before.items() if part != name
    }
    assert _remembered(stack, name)


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """A second stack beside it, whose caller has settings of its own."""
    with running_stack(
        tmp_path_factory.mktemp("other") / "st", "--workers", "1",
        FINALIZER_IDLE_TIMEOUT="5", FINALIZER_REDIS_URL="redis://elsewhere:1/0",
    ) as running:  # fmt: skip
        yield running


def test_two_stacks_run_side_by_side(stack, other):
    assert list(other.pids) == [*PARTS[:4], "worker-1", "transcode-1"]
    assert not _addresses(stack) & _addresses(other)
    assert not set(stack.pids.values()) & set(other.pids.values())
    other.s3().put_object(Bucket="vod", Key="only-here", Body=b"x")
    with pytest.raises(ClientError, match="404"):
        stack.s3().head_object(Bucket="vod", Key="only-here")


def test_the_callers_settings_win_unless_they_lead_away(other):
    assert other.environment["FINALIZER_IDLE_TIMEOUT"] == "5"
    assert "elsewhere" not in other.environment["FINALIZER_REDIS_URL"]


def test_a_stack_that_is_killed_leaves_no_process_and_no_socket(other):
    pids = other.pids
    port = urllib.parse.urlsplit(other.environment["AWS_ENDPOINT_URL_S3"]).port
    other.process.kill()
    eventually(lambda: not any(group_members(pid) for pid in pids.values()))
    eventually(lambda: not list(Path("/tmp").glob(f"seaweedfs-*-{port}.sock")))


def test_a_stack_ends_without_a_trace_and_goes_on_where_it_ended_unless_it_is_told_to_forget(
    tmp_path,
):
    directory = tmp_path / "st"
    with running_stack(directory, "--workers", "1") as first:
        facts = first.environment
        _remember(first, "both")
        _ends_without_a_trace(first, signal.SIGTERM)
    with running_stack(directory, "--workers", "1") as second:
        assert second.environment == facts
        assert _remembered(second, "both")
        _ends_without_a_trace(second, signal.SIGINT)
    with running_stack(directory, "--workers", "1", "--fresh") as third:
        assert not _remembered(third, "both")
        assert third.environment["FINALIZER_API_TOKEN"] != facts["FINALIZER_API_TOKEN"]
        host, port = sorted(_addresses(third))[0]
    _names_a_port_that_somebody_else_took(directory, host, port)


def test_an_unknown_setting_stops_the_start_with_a_sentence(tmp_path):
    process = start_stack(tmp_path / "st", FINALIZER_IDLE_TIMEOT="5")
    with process:
        assert process.wait(60) == 2
        assert "FINALIZER_IDLE_TIMEOT" in process.stderr.read()


def test_a_directory_with_other_things_in_it_is_never_wiped(tmp_path):
    directory = tmp_path / "home"
    directory.mkdir()
    (directory / "redis").mkdir()
    process = start_stack(directory, "--fresh")
    with process:
        assert process.wait(60) == 2
        assert "holds other things" in process.stderr.read()
    assert [entry.name for entry in directory.iterdir()] == ["redis"]


def _names_a_port_that_somebody_else_took(directory: Path, host: str, port: int) -> None:
    with socket.create_server((host, port)) as rival:
        rival.listen()
        process = start_stack(directory)
        try:
            assert process.wait(90) == 1
            assert f"port {port}" in process.stderr.read()
        finally:
            end(process)


def _ends_without_a_trace(stack: RunningStack, number: int) -> None:
    addresses, pids = _addresses(stack), stack.pids
    assert stack.stop(number) == 0
    eventually(lambda: not any(group_members(pid) for pid in pids.values()))
    assert not (stack.directory / "env").exists()
    assert not (stack.directory / "pids").exists()
    assert not any(_listens(*address) for address in addresses)


def _get(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def _api_answers(stack: RunningStack) -> bool:
    try:
        return _get(stack.environment["FINALIZER_API_URL"] + "/healthz") == 200
    except OSError:
        return False


def _everything_answers(stack: RunningStack, what: str) -> bool:
    try:
        _remembered(stack, what)
    except (redis_client.RedisError, BotoCoreError, ClientError):
        return False
    return _api_answers(stack)


def _remember(stack: RunningStack, what: str) -> None:
    with stack.redis() as client:
        client.set(f"test:{what}", "kept")
    stack.s3().put_object(Bucket="vod", Key=f"test/{what}", Body=b"kept")


def _remembered(stack: RunningStack, what: str) -> bool:
    with stack.redis() as client:
        in_redis = client.get(f"test:{what}") == b"kept"
    s3, in_s3 = stack.s3(), False
    with contextlib.suppress(s3.exceptions.NoSuchKey):
        in_s3 = s3.get_object(Bucket="vod", Key=f"test/{what}")["Body"].read() == b"kept"
    assert in_redis == in_s3
    return in_redis


def _addresses(stack: RunningStack) -> set[tuple[str, int]]:
    facts = stack.environment
    names = ("FINALIZER_REDIS_URL", "FINALIZER_API_URL", "AWS_ENDPOINT_URL_S3")
    urls = [urllib.parse.urlsplit(facts[name]) for name in names]
    return {(str(url.hostname), int(url.port or 0)) for url in urls}


def _listens(host: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0
