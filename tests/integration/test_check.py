"""The preflight finds what would stop the work, says what to do, and leaves nothing behind."""

import os
import subprocess
import sys

import pytest

from scripts.s3_access import Credentials
from tests.conftest import ROOT
from worker import check
from worker.finding import Level

pytestmark = [pytest.mark.redis, pytest.mark.s3]

RULE = {
    "ID": "uploads", "Status": "Enabled", "Filter": {"Prefix": ""},
    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
}  # fmt: skip


@pytest.fixture
def environment(redis_url, s3_server, s3, buckets):
    """The variables of a healthy deployment."""
    s3.put_bucket_lifecycle_configuration(
        Bucket=buckets.vod, LifecycleConfiguration={"Rules": [RULE]}
    )
    s3.put_object(Bucket=buckets.recordings, Key="a/index.m3u8", Body=b"#EXTM3U")
    return {
        "FINALIZER_REDIS_URL": redis_url,
        "FINALIZER_SOURCE_URL": "s3://recordings/{id}/index.m3u8",
        "FINALIZER_OUTPUT_URL": "s3://vod/",
        "FINALIZER_STAGING_URL": "s3://staging/",
        "FINALIZER_PUBLIC_URL": f"{s3_server.endpoint}/vod/",
        "AWS_ACCESS_KEY_ID": s3_server.credentials.access_key,
        "AWS_SECRET_ACCESS_KEY": s3_server.credentials.secret_key,
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_S3": s3_server.endpoint,
    }


@pytest.fixture
def findings(environment, monkeypatch):
    """Runs the checks with some variables changed; lines of those that are not ``ok``."""

    def run(**changes: str) -> list[str]:
        for name, value in {**environment, **changes}.items():
            if name.startswith("AWS_"):
                monkeypatch.setenv(name, value)
        ours = {n: v for n, v in {**environment, **changes}.items() if n.startswith("FINALIZER_")}
        found = check.run_checks(check.load(ours))
        return [str(finding) for finding in found if finding.level is not Level.OK]

    return run


def test_a_healthy_deployment_has_nothing_to_mend(findings):
    assert findings() == []


@pytest.mark.parametrize("url", ["amqp://127.0.0.1:9/", "redis://127.0.0.1:9/0"])
def test_a_queue_of_its_own_that_does_not_answer_is_told(findings, url):
    assert findings(FINALIZER_BROKER_URL=url) == [
        "fail broker   does not answer, or refuses us: check FINALIZER_BROKER_URL."
    ]


def test_the_probe_leaves_nothing_in_the_buckets(findings, s3, buckets):
    findings()
    for bucket in (buckets.vod, buckets.staging):
        assert s3.list_objects_v2(Bucket=bucket).get("KeyCount") == 0
        assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


def test_the_command_prints_a_line_per_finding_and_exits_zero(environment):
    run = _command(environment)
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert {line.split()[0] for line in lines} == {"ok"}
    assert {line.split()[1] for line in lines} == {
        "redis", "source", "staging", "output", "ffmpeg", "ffprobe",
    }  # fmt: skip
    assert environment["AWS_SECRET_ACCESS_KEY"] not in run.stdout


def test_the_command_exits_one_when_something_fails(environment):
    run = _command({**environment, "FINALIZER_OUTPUT_URL": "s3://nowhere/"})
    assert run.returncode == 1
    assert "no such bucket" in run.stdout


def test_wrong_settings_and_wrong_usage_exit_two(environment):
    unknown = _command({**environment, "FINALIZER_OUTPUT": "s3://vod/"})
    assert (unknown.returncode, "FINALIZER_OUTPUT " in unknown.stderr) == (2, True)
    assert _command(environment, "--help").returncode == 2


def test_a_redis_that_forgets_and_evicts_is_refused(findings, redis_server_factory):
    server = redis_server_factory(append_only=False, policy="allkeys-lru")
    found = findings(FINALIZER_REDIS_URL=server.url)
    assert [line.split()[0] for line in found] == ["fail", "fail"]
    assert "Set appendonly yes" in found[0]
    assert "maxmemory-policy is allkeys-lru" in found[1]


def test_a_redis_that_is_down_does_not_hide_the_other_findings(findings, redis_server_factory):
    server = redis_server_factory()
    server.kill()
    found = findings(FINALIZER_REDIS_URL=server.url, FINALIZER_OUTPUT_URL="s3://nowhere/")
    assert found[0].startswith("fail redis    does not answer")
    assert any("nowhere" in line for line in found[1:])


def test_a_missing_source_bucket_is_named(findings):
    [line] = findings(FINALIZER_SOURCE_URL="s3://elsewhere/{id}/index.m3u8")
    assert line.startswith("fail source")
    assert "s3://elsewhere/" in line
    assert "no such bucket" in line


def test_a_wrong_secret_is_said_to_be_one(findings):
    found = findings(AWS_SECRET_ACCESS_KEY="wrong")
    assert any("wrong secret" in line for line in found)


def test_credentials_that_may_only_read_cannot_write(findings, s3_server_factory):
    reader = Credentials.random()
    server = s3_server_factory(
        identities=[
            {
                "name": "reader",
                "credentials": [{"accessKey": reader.access_key, "secretKey": reader.secret_key}],
                "actions": ["Read", "List"],
            }
        ]
    )
    found = findings(
        AWS_ENDPOINT_URL_S3=server.endpoint,
        AWS_ACCESS_KEY_ID=reader.access_key,
        AWS_SECRET_ACCESS_KEY=reader.secret_key,
    )
    failed = [line for line in found if line.startswith("fail")]
    assert len(failed) == 2
    assert "s3://staging/ can be written (access denied" in failed[0]
    assert "s3://vod/ can be written (access denied" in failed[1]


def test_a_source_that_denies_what_is_missing_is_refused(findings, s3_server_factory):
    lister = Credentials.random()
    access = {"accessKey": lister.access_key, "secretKey": lister.secret_key}
    server = s3_server_factory(
        identities=[{"name": "lister", "credentials": [access], "actions": ["List:recordings"]}]
    )
    found = findings(
        AWS_ENDPOINT_URL_S3=server.endpoint,
        AWS_ACCESS_KEY_ID=lister.access_key,
        AWS_SECRET_ACCESS_KEY=lister.secret_key,
    )
    [line] = [line for line in found if line.split()[1] == "source"]
    assert line.startswith("fail source   s3://recordings/ answers 403, not 404")
    assert "s3:ListBucket" in line


def test_a_bucket_without_a_lifecycle_rule_is_only_a_warning(findings, s3, buckets):
    s3.delete_bucket_lifecycle(Bucket=buckets.vod)
    [line] = findings()
    assert line.startswith("warn output")
    assert "AbortIncompleteMultipartUpload" in line


def test_a_lifecycle_rule_for_another_prefix_does_not_count(findings, s3, buckets):
    rule = {**RULE, "Filter": {"Prefix": "elsewhere/"}}
    s3.put_bucket_lifecycle_configuration(
        Bucket=buckets.vod, LifecycleConfiguration={"Rules": [rule]}
    )
    [line] = findings()
    assert line.startswith("warn output")


def test_an_ffmpeg_that_is_too_old_or_unable_is_refused(findings, tmp_path):
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\necho 'ffmpeg version 4.3.1 Copyright'\n")
    program.chmod(0o755)
    found = findings(FINALIZER_FFMPEG=str(program))
    assert "4.3.1" in found[0]
    assert "too old" in found[0]
    assert "lacks mpegts, mov, mp4, aac_adtstoasc, libx264, aac" in found[1]


def test_an_ffmpeg_that_lacks_an_encoder_of_some_sessions_is_only_warned_about(
    findings, tmp_path, media_tools
):
    program = tmp_path / "ffmpeg"
    program.write_text(f'#!/bin/sh\n{media_tools.ffmpeg} "$@" | grep -Ev "libx265|zscale|_qsv"\n')
    program.chmod(0o755)
    found = findings(FINALIZER_FFMPEG=str(program), FINALIZER_HARDWARE="qsv")
    assert [line.split()[:2] for line in found] == [["warn", "ffmpeg"]] * 4
    assert [line.split("lacks ")[1].split()[0] for line in found] == [
        "libx265:", "zscale:", "h264_qsv", "hevc_qsv",
    ]  # fmt: skip


def test_readiness_sees_both_stores(environment, monkeypatch, redis_server_factory):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert {finding.level for finding in check.readiness(check.load())} == {Level.OK}
    gone = redis_server_factory()
    gone.kill()
    monkeypatch.setenv("FINALIZER_REDIS_URL", gone.url)
    monkeypatch.setenv("FINALIZER_OUTPUT_URL", "s3://nowhere/")
    assert {finding.level for finding in check.readiness(check.load())} == {Level.FAIL}


def test_readiness_is_asked_anew_only_after_a_while(environment, monkeypatch, s3_server_factory):
    server = s3_server_factory()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.credentials.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.credentials.secret_key)
    settings = check.load()
    patient, eager = check.Readiness(settings, kept=3600), check.Readiness(settings, kept=0)
    assert _levels(patient) == _levels(eager) == {Level.OK}
    server.kill()
    assert _levels(patient) == {Level.OK}
    assert _levels(eager) == {Level.OK, Level.FAIL}


def _levels(readiness: check.Readiness) -> set[Level]:
    return {finding.level for finding in readiness.findings()}


def _command(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "worker.check", *arguments],
        env={"PATH": os.environ["PATH"], **environment},
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
