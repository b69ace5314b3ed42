"""What the tests stand on: real servers, real media tools, made and stored recordings."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis as redis_client

from pipelines.tools import MediaTools, locate
from scripts.embedded import RedisServer, S3Server, start_redis, start_s3
from tests.browser import CHROMIUM, fetch_hls_js, fetch_mp4box, install_chromium
from tests.installing import Missing
from tests.media import MediaFactory
from tests.rabbitmq import RABBITMQ, RabbitmqServer, install_rabbitmq, start_rabbitmq

ROOT = Path(__file__).parents[1]
CORPUS = ROOT.parent / "shared" / "corpus"

#: A row of a table of parameters that has marks or a name of its own.
NAMED_ROW = type(pytest.param())
#: In a complete run nothing may be skipped for want of something on the machine.
COMPLETE = os.environ.get("FINALIZER_TEST_COMPLETE") == "1"


class Buckets(NamedTuple):
    """The product's own buckets, empty."""

    recordings: str = "recordings"
    vod: str = "vod"
    staging: str = "staging"


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--fuzz-seconds`` lets tests/integration/test_fuzz.py go on, ``--long`` adds long tests,
    ``--chaos-seed`` draws other strikes for tests/acceptance/test_chaos.py."""
    parser.addoption("--long", action="store_true", help="also run the tests that are marked long")
    parser.addoption(
        "--rabbitmq", action="store_true", help="run the stacks of acceptance tests on RabbitMQ"
    )
    parser.addoption(
        "--fuzz-seconds",
        type=float,
        default=0.0,
        help="seconds to look for what readers stumble over",
    )
    parser.addoption("--chaos-seed", type=int, default=5, help="what chaos draws its strikes from")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave tests marked long, and most of those marked alike, out where ``--long`` is not given:
    others show the same."""
    if config.getoption("--long"):
        return
    left_out = [
        item for item in items if item.get_closest_marker("long") or _is_shown_by_others(item)
    ]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


def _is_shown_by_others(item: pytest.Item) -> bool:
    """Whether ``alike(n)`` leaves a case out: of a table of parameters one case in n stays, in such a
    pattern (the sum of the places is a multiple of n) that each value of each parameter does."""
    alike = item.get_closest_marker("alike")
    if alike is None or not isinstance(item, pytest.Function):
        return False
    places = (_place(item, *mark.args[:2]) for mark in item.iter_markers("parametrize"))
    return sum(places) % alike.args[0] != 0


def _place(item: pytest.Function, names: str | Sequence[str], rows: Iterable[object]) -> int:
    """Which row of a table of parameters a case was made of."""
    listed = [name.strip() for name in names.split(",")] if isinstance(names, str) else [*names]
    mine = [item.callspec.params[name] for name in listed]
    whole = len(listed) > 1

    def values(row: object) -> list[object]:
        return [*row.values] if isinstance(row, NAMED_ROW) else [*row] if whole else [row]

    return [values(row) for row in rows].index(mine)


@pytest.fixture(scope="session", autouse=True)
def _environment_without_settings() -> None:
    """The caller's settings and credentials are none of the tests' business."""
    for name in [name for name in os.environ if name.startswith(("FINALIZER_", "AWS_"))]:
        del os.environ[name]


@pytest.fixture(scope="session")
def complete() -> bool:
    """Whether this run must skip nothing."""
    return COMPLETE


@pytest.fixture(scope="session")
def media_tools() -> MediaTools:
    """The packages' ffmpeg and ffprobe, whatever the machine has."""
    return locate()


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of odd recordings, one folder each, that lies beside the project."""
    if not CORPUS.is_dir():
        message = "the corpus of recordings is not beside the project (../shared/corpus)"
        if COMPLETE:
            pytest.fail(message)
        pytest.skip(message)
    return CORPUS


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this run share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def media(media_tools: MediaTools, run_folder: Path) -> MediaFactory:
    """Makes recordings, each once for all tests of the run."""
    return MediaFactory(media_tools, run_folder / "media")


@pytest.fixture(scope="session")
def chromium(complete: bool, run_folder: Path) -> None:
    """Makes sure of Chromium; only where nothing may be skipped is it installed."""
    if not CHROMIUM.exists():
        if not complete:
            pytest.skip(f"there is no {CHROMIUM}")
        install_chromium(run_folder)


@pytest.fixture(scope="session")
def rabbitmq_server(
    complete: bool, run_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RabbitmqServer]:
    """One RabbitMQ for all tests of this process; only where nothing may be skipped is it
    installed."""
    if not RABBITMQ.exists():
        if not complete:
            pytest.skip(f"there is no {RABBITMQ}")
        install_rabbitmq(run_folder)
    server = start_rabbitmq(tmp_path_factory.mktemp("rabbitmq"))
    yield server
    server.kill()


@pytest.fixture(scope="session")
def hls_js(complete: bool, run_folder: Path) -> Path:
    """The script of hls.js, fetched once a run."""
    return _fetched(fetch_hls_js, run_folder, complete)


@pytest.fixture(scope="session")
def mp4box(complete: bool, run_folder: Path) -> Path:
    """The script of mp4box.js, fetched once a run."""
    return _fetched(fetch_mp4box, run_folder, complete)


def _fetched(fetch: Callable[[Path], Path], run_folder: Path, complete: bool) -> Path:
    folder = run_folder / "npm"
    folder.mkdir(exist_ok=True)
    try:
        return fetch(folder)
    except Missing as missing:
        if complete:
            raise
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One Redis-protocol server for all tests of this process."""
    server = start_redis(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The URL of an empty database."""
    with redis_client.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture
def redis_server_factory(tmp_path: Path) -> Iterator[Callable[..., RedisServer]]:
    """Starts servers that a test may kill; options as of ``RedisServer``."""
    servers: list[RedisServer] = []

    def start(**options: Any) -> RedisServer:
        servers.append(start_redis(tmp_path / f"redis-{len(servers)}", **options))
        return servers[-1]

    yield start
    for server in servers:
        server.kill()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One S3 server for all tests of this process."""
    server = start_s3(tmp_path_factory.mktemp("s3"), private=("staging", "test"))
    yield server
    server.kill()


@pytest.fixture
def s3_server_factory(tmp_path: Path) -> Iterator[Callable[..., S3Server]]:
    """Starts servers that a test may kill; options as of ``S3Server``."""
    servers: list[S3Server] = []

    def start(**options: Any) -> S3Server:
        servers.append(start_s3(tmp_path / f"s3-{len(servers)}", **options))
        return servers[-1]

    yield start
    for server in servers:
        server.kill()


@pytest.fixture(scope="session")
def s3(s3_server: S3Server) -> Any:
    """A boto3 client of the S3 server, as its administrator."""
    return s3_server.client()


@pytest.fixture
def bucket(s3: Any) -> str:
    """The name of an empty, private bucket."""
    return _emptied(s3, "test")


@pytest.fixture
def buckets(s3: Any) -> Buckets:
    """The product's three buckets, empty; ``recordings`` and ``vod`` are public."""
    return Buckets(*(_emptied(s3, name) for name in Buckets()))


@pytest.fixture
def moto_server() -> Iterator[str]:
    """The endpoint of an S3 in memory where the last upload of a part number wins."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def _emptied(s3: Any, bucket: str) -> str:
    """Remove every object and every open upload: a fresh bucket costs a second, this does not."""
    for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket):
        for upload in page.get("Uploads", []):
            s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for item in page.get("Contents", []):
            s3.delete_object(Bucket=bucket, Key=item["Key"])
    return bucket
