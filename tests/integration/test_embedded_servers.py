"""The embedded servers are real: durable, private, on loopback, and gone when they are stopped."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import redis as redis_client
from botocore.exceptions import ClientError

from scripts.child import Child, ChildFailedError
from scripts.embedded import (
    RedisServer,
    S3Server,
    child_environment,
    start_redis,
)
from scripts.ports import on_free_ports, ports_are_free
from scripts.s3_access import Credentials
from tests.stack import ROOT, alive, eventually, group_members


@pytest.mark.redis
def test_redis_keeps_what_it_acknowledged_when_it_is_killed(redis_server_factory):
    server = redis_server_factory()
    with redis_client.Redis.from_url(server.url) as client:
        client.set("session", "ready")
    server.kill()
    server.start()
    with redis_client.Redis.from_url(server.url) as client:
        assert client.get("session") == b"ready"
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


@pytest.mark.redis
def test_servers_started_at_once_do_not_take_each_others_ports(tmp_path):
    servers: list[RedisServer] = []
    starts = [
        threading.Thread(target=lambda n=n: servers.append(start_redis(tmp_path / str(n))))
        for n in range(6)
    ]
    for start in starts:
        start.start()
    for start in starts:
        start.join()
    try:
        assert len({server.port for server in servers}) == 6
        assert all(server.child.answers() for server in servers)
    finally:
        for server in servers:
            server.kill()


@pytest.mark.redis
@pytest.mark.s3
@pytest.mark.parametrize(("kind", "taken"), [(RedisServer, 0), (S3Server, 0), (S3Server, 4)])
def test_a_server_moves_on_when_somebody_was_faster_on_its_port(tmp_path, kind, taken):
    with contextlib.ExitStack() as stack:
        tried: list[int] = []

        def make(port: int) -> RedisServer | S3Server:
            if not tried:
                rival = stack.enter_context(socket.create_server(("127.0.0.1", port + taken)))
                rival.listen()
            tried.append(port)
            return kind(tmp_path / kind.__name__, port)

        server = on_free_ports(make, kind.port_count)
        stack.callback(server.kill)
        assert len(tried) == 2
        assert server.port == tried[1]
        assert server.child.answers()


@pytest.mark.s3
def test_the_public_buckets_can_be_read_by_anybody_and_written_by_nobody(s3, s3_server, buckets):
    for name in (buckets.recordings, buckets.vod, buckets.staging):
        s3.put_object(Bucket=name, Key="a/index.m3u8", Body=b"#EXTM3U")
    for name in (buckets.recordings, buckets.vod):
        with urllib.request.urlopen(f"{s3_server.endpoint}/{name}/a/index.m3u8") as answer:
            assert answer.read() == b"#EXTM3U"
    assert _status(f"{s3_server.endpoint}/{buckets.staging}/a/index.m3u8") == 403
    assert _status(f"{s3_server.endpoint}/{buckets.vod}/new", data=b"x", method="PUT") == 403


@pytest.mark.s3
def test_a_page_of_another_origin_may_read_a_public_bucket(s3, s3_server, buckets):
    s3.put_object(Bucket=buckets.vod, Key="a.mp4", Body=b"x")
    request = urllib.request.Request(
        f"{s3_server.endpoint}/{buckets.vod}/a.mp4", headers={"Origin": "https://player.example"}
    )
    with urllib.request.urlopen(request) as answer:
        assert answer.headers["Access-Control-Allow-Origin"] in ("*", "https://player.example")


@pytest.mark.s3
def test_a_wrong_secret_is_refused(s3_server, bucket):
    stranger = Credentials(s3_server.credentials.access_key, "wrong")
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        s3_server.client(stranger).put_object(Bucket=bucket, Key="x", Body=b"x")


@pytest.mark.s3
def test_a_stopped_s3_server_leaves_no_process_no_port_and_no_socket(s3_server_factory):
    server = s3_server_factory()
    server.client().put_object(Bucket="vod", Key="x", Body=b"x")
    pid = server.child.pid
    server.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    ports = range(server.port, server.port + server.port_count)
    assert ports_are_free(server.port, server.port_count)
    assert not [left for port in ports for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock")]


@pytest.mark.s3
def test_an_s3_server_that_cannot_find_its_objects_is_not_ready(s3_server_factory):
    server = s3_server_factory()
    s3 = server.client()
    s3.put_object(Bucket="vod", Key="x", Body=b"x")
    assert server.child.answers()
    _let_the_master_forget_its_volumes(server)
    with pytest.raises(ClientError, match="InternalError"):
        s3.get_object(Bucket="vod", Key="x")
    assert not server.child.answers()


@pytest.mark.s3
def test_an_s3_server_serves_old_and_new_objects_as_soon_as_it_is_ready(s3_server_factory):
    server = s3_server_factory()
    server.client().put_object(Bucket="vod", Key="0", Body=b"kept")
    for end, start in ((server.stop, 1), (server.kill, 2)):
        end()
        server.start()
        s3 = server.client()
        s3.put_object(Bucket="vod", Key=f"{start}", Body=b"kept")
        listed = [entry["Key"] for entry in s3.list_objects_v2(Bucket="vod")["Contents"]]
        assert listed == [f"{number}" for number in range(start + 1)]
        for key in listed:
            assert s3.get_object(Bucket="vod", Key=key)["Body"].read() == b"kept"


@pytest.mark.s3
def test_moto_takes_the_last_upload_of_a_part(moto_server):
    import boto3

    client = boto3.client(
        "s3", endpoint_url=moto_server, region_name="us-east-1",
        aws_access_key_id="x", aws_secret_access_key="y",
    )  # fmt: skip
    client.create_bucket(Bucket="vod")
    upload = client.create_multipart_upload(Bucket="vod", Key="a")["UploadId"]
    part = {"Bucket": "vod", "Key": "a", "UploadId": upload, "PartNumber": 1}
    client.upload_part(**part, Body=b"first")
    tag = client.upload_part(**part, Body=b"second")["ETag"]
    client.complete_multipart_upload(
        Bucket="vod", Key="a", UploadId=upload,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": tag}]},
    )  # fmt: skip
    assert client.get_object(Bucket="vod", Key="a")["Body"].read() == b"second"


def test_children_do_not_survive_an_owner_that_is_killed(tmp_path):
    owner = subprocess.Popen(
        [sys.executable, "-c", _OWNER, str(tmp_path / "sleeper.log")],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with owner:
        pid = int(owner.stdout.readline())
        os.kill(pid, 0)
        owner.send_signal(signal.SIGKILL)
    eventually(lambda: not alive(pid))


def test_a_child_that_ignores_sigterm_is_killed_with_all_it_started(tmp_path):
    child = Child(
        "stubborn",
        [sys.executable, "-c", _STUBBORN],
        environment=child_environment(),
        log=tmp_path / "stubborn.log",
        probe=lambda _pid: "ready" in (tmp_path / "stubborn.log").read_text(),
    )
    child.start()
    child.wait_until_ready(20)
    group = child.pid
    child.stop(grace=0.2)
    assert not child.running()
    eventually(lambda: not group_members(group))


def test_a_child_that_ends_before_it_answers_is_reported_with_its_log(tmp_path):
    child = Child(
        "mayfly", [sys.executable, "-c", "raise SystemExit(3)"],
        environment=child_environment(), log=tmp_path / "mayfly.log", probe=lambda _pid: False,
    )  # fmt: skip
    child.start()
    with pytest.raises(ChildFailedError, match=r"mayfly ended with 3; see .*mayfly\.log"):
        child.wait_until_ready(20)
    child.kill()


_OWNER = """
import sys, threading
from pathlib import Path
from scripts.child import Child
child = Child("sleeper", [sys.executable, "-c", "import threading; threading.Event().wait()"],
              environment={}, log=Path(sys.argv[1]), probe=lambda pid: True)
child.start()
print(child.pid, flush=True)
threading.Event().wait()
"""

_STUBBORN = """
import signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import threading; threading.Event().wait()"])
print("ready", flush=True)
signal.pause()
"""


def _let_the_master_forget_its_volumes(server: S3Server) -> None:
    """Bring about what a restart may begin with: a volume server that the master knows nothing of.

    An address of SeaweedFS' shell is ``host:port.port for gRPC``.
    """
    master, volume = (f"127.0.0.1:{port}.{port + 1}" for port in (server.port + 2, server.port + 4))
    subprocess.run(
        [Path(sysconfig.get_path("scripts")) / "weed", "shell", f"-master={master}"],
        input=f"lock\nvolumeServer.leave -node {volume} -apply\n",
        text=True, capture_output=True, timeout=60, check=True,
    )  # fmt: skip


def _status(url: str, data: bytes | None = None, method: str = "GET") -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=data, method=method)) as ok:
            return ok.status
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code
