"""Fixtures of the tests that package whole recordings, and of those that play a worker by hand."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import redis as redis_client

from pipelines.assemble import AssembledObject
from pipelines.tools import MediaTools
from pipelines.transcoding.encoding import VideoEncoding
from scripts.embedded import S3Server
from tests.by_hand import ID, Worker
from tests.packaging import Finalizer, Transcoder, upload_folder
from worker.runtime import Runtime
from worker.settings import Settings


@pytest.fixture(scope="session")
def finalizer(s3: Any, media_tools: MediaTools) -> Callable[..., Finalizer]:
    """Makes finalizers against the S3 server; options as of ``Finalizer``. Leaves objects under a
    name of its own."""
    return lambda **options: Finalizer(s3, media_tools, **options)


@pytest.fixture
def transcoded(s3: Any, media_tools: MediaTools, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Transcodes a recording, whole or in slices, into renditions by name; each as it was
    assembled and proven, and its file."""

    def make(
        path: Path,
        seconds: float | None = None,
        encodes_audio: bool = False,
        **encodings: VideoEncoding | None,
    ) -> dict[str, tuple[AssembledObject, Path]]:
        one = Transcoder(s3, media_tools, encodings, seconds, encodes_audio=encodes_audio)
        folder = tmp_path / f"transcoded{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        files = {}
        for name, (made, proof) in one.finalize(path).items():
            assert all(track.expected == track.copied + track.encoded for track in proof.tracks)
            assert (len(one.renditions[name].receipts) == 1) == (seconds is None)
            files[name] = made, one.renditions[name].download(folder / f"{name}.mp4")
        return files

    return make


@pytest.fixture
def recording_of(tmp_path: Path) -> Callable[..., Path]:
    """Makes a recording of given segments: pairs of bytes and tags that stand before them."""

    def make(*segments: tuple[bytes, str], name: str = "made", seconds: float = 2.0) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        lines = ["#EXTM3U", "#EXT-X-VERSION:7", "#EXT-X-TARGETDURATION:10"]
        for number, (data, tags) in enumerate(segments):
            (folder / f"{number:05}.ts").write_bytes(data)
            lines += [*filter(None, [tags]), f"#EXTINF:{seconds},", f"{number:05}.ts"]
        (folder / "index.m3u8").write_text("\n".join([*lines, "#EXT-X-ENDLIST", ""]))
        return folder / "index.m3u8"

    return make


@pytest.fixture
def worker(redis_url, s3_server: S3Server, s3, buckets, monkeypatch) -> Callable[..., Worker]:
    """Opens a worker with further settings."""
    keys = s3_server.credentials
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_server.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", keys.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", keys.secret_key)
    monkeypatch.setenv("AWS_REGION", "us-east-1")

    def opened(**fields: Any) -> Worker:
        settings = Settings(
            **{
                "redis_url": redis_url,
                "source_url": "s3://recordings/{id}/index.m3u8",
                "output_url": "s3://vod/",
                "staging_url": "s3://staging/",
                "public_url": "http://vod.example/",
                "idle_timeout": 60,
                "slice_seconds": 2,
                **fields,
            }
        )
        return Worker(Runtime.open(settings), s3, client)

    with redis_client.Redis.from_url(redis_url, decode_responses=True) as client:
        yield opened


@pytest.fixture
def recorded(worker, media) -> Callable[..., Worker]:
    """Opens a worker with a silent session of twelve seconds in six slices.

    ``session`` are fields of it, ``recording`` options of its media, all others are settings.
    """

    def opened(
        session: Mapping[str, Any] | None = None,
        recording: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> Worker:
        made = worker(**fields)
        path = media.recording(**{"duration": 12.0, **(recording or {})})
        upload_folder(made.s3, path.parent, "recordings", ID)
        made.put(**(session or {}))
        return made

    return opened
