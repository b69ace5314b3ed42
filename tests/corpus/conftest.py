"""Fixtures of the tests that finalize damaged recordings: from their files to the published MP4."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from scripts.fault_base import Bases
from tests.by_hand import ID, Worker
from tests.integration.conftest import worker as worker
from tests.packaging import upload_folder


@dataclass(frozen=True)
class Finalized:
    """What became of a recording: its session's record, its report, and its MP4 when there is one."""

    record: Any
    report: dict[str, Any]
    mp4: Path | None
    url: str = ""  #: of the MP4, for a viewer without credentials


@pytest.fixture(scope="session")
def bases(media_tools, tmp_path_factory) -> Bases:
    """Whole recordings to put faults into, each made once by this process."""
    return Bases(media_tools, tmp_path_factory.mktemp("bases"))


@pytest.fixture
def finalized(worker, tmp_path) -> Callable[..., Finalized]:
    """Finalizes the recording of a playlist, as a worker process does; further options are
    settings. Once in a test."""

    def make(playlist: Path, **settings: Any) -> Finalized:
        one = worker(**{"slice_seconds": 6, **settings})
        upload_folder(one.s3, playlist.parent, "recordings", ID)
        one.put(sourceUrl=f"s3://recordings/{ID}/{playlist.name}")
        one.finalize()
        return _found(one, tmp_path / "made.mp4")

    return make


def _found(one: Worker, target: Path) -> Finalized:
    objects = {
        item["Key"]: item for item in one.s3.list_objects_v2(Bucket="vod").get("Contents", [])
    }
    report, mp4, url = {}, None, ""
    for key in objects:
        body = one.s3.get_object(Bucket="vod", Key=key)["Body"].read()
        if key.endswith("/recording.json"):
            report = json.loads(body)
        elif key.endswith("/source.mp4"):
            target.write_bytes(body)
            mp4, url = target, f"{one.s3.meta.endpoint_url}/vod/{key}"
    return Finalized(one.record(), report, mp4, url)
