"""Fixtures of the tests that finalize damaged recordings: from their files to the published MP4."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from pipelines.session import Phase
from scripts.fault_base import Bases
from scripts.fault_judge import complaints
from scripts.fault_kit import BY_NAME
from scripts.fault_truth import Truth
from tests.browser import PageServer, Viewer, page_server, watching
from tests.by_hand import ID, Worker
from tests.integration.conftest import worker as worker
from tests.packaging import upload_folder
from tests.report_laws import broken_laws
from worker.run import Run
from worker.run_plan import RunPlan

#: Faults of different kinds that are put before an encoder too: its pictures are judged alike.
TRANSCODED = frozenset({
    "missing-middle", "truncated", "hole-inside", "lost-packets", "overlap", "twice-two-uris",
    "reset-untagged", "jump-short", "wrap-inside", "sound-vanishes", "other-size", "other-rate",
    "fmp4-jump", "fmp4-overlap", "two-languages", "vp9-opus",
})  # fmt: skip
SMALL = {"name": "small", "width": 128, "height": 128, "bitrate": 100_000, "fps": 0}


@dataclass(frozen=True)
class Finalized:
    """What became of a recording: its session's record, its report, and its MP4s and where their
    slices meet (seconds of what is listed) by the names of their renditions."""

    record: Any
    report: dict[str, Any]
    files: dict[str, Path]
    seams: dict[str, tuple[float, ...]]

    def rendition(self, name: str) -> dict[str, Any]:
        """What the report says of one rendition."""
        return next(each for each in self.report["renditions"] if each["name"] == name)

    @property
    def mp4(self) -> Path | None:
        """The one whose media are the source's own."""
        return self.files.get("source")


@pytest.fixture(scope="session")
def bases(media_tools, tmp_path_factory) -> Bases:
    """Whole recordings to put faults into, each made once by this process."""
    return Bases(media_tools, tmp_path_factory.mktemp("bases"))


@pytest.fixture
def finalized(worker, tmp_path) -> Callable[..., Finalized]:
    """Finalizes the recording of a playlist, as a worker process does; further options are
    settings. Once in a test."""

    def make(playlist: Path, *, profiles: Sequence[Any] = (), **settings: Any) -> Finalized:
        one = worker(**{"slice_seconds": 6, "preset": "ultrafast", **settings})
        upload_folder(one.s3, playlist.parent, "recordings", ID)
        one.put(sourceUrl=f"s3://recordings/{ID}/{playlist.name}", profiles=list(profiles))
        one.look()
        seams = _seams(Run(one.runtime, one.record()).plan())
        one.finalize()
        return _found(one, tmp_path, seams)

    return make


@pytest.fixture(scope="session")
def known() -> dict[str, Finalized]:
    """What became of recordings that tests of this process finalized before, by their names."""
    return {}


@pytest.fixture
def faulty(bases, finalized, known, tmp_path) -> Callable[[str], tuple[Finalized, Truth]]:
    """A recording with a fault, finalized once, and what is true of it."""

    def look(name: str) -> tuple[Finalized, Truth]:
        recording = BY_NAME[name].make(bases)
        if name not in known:
            playlist = recording.write(tmp_path / name)
            known[name] = finalized(playlist, profiles=[SMALL] if name in TRANSCODED else [])
        return known[name], recording.truth

    return look


@pytest.fixture
def assert_true(faulty, media_tools) -> Callable[[str], None]:
    """Asserts that what was made of a recording with a fault, and its report, are true to it."""

    def judge(name: str) -> None:
        made, truth = faulty(name)
        assert made.record.phase is Phase.READY, made.record.error
        assert ("small" in made.files) == (name in TRANSCODED)
        media = {name: str(path) for name, path in made.files.items()}
        found = complaints(media_tools, made.report, media, truth)
        assert not found, "\n".join(found)

    return judge


@pytest.fixture(scope="module")
def pages() -> Iterator[PageServer]:
    """The server of the viewer's page and files."""
    with page_server() as server:
        yield server


@pytest.fixture(scope="module")
def viewer(chromium, pages) -> Iterator[Viewer]:
    """Somebody in front of Chromium."""
    with watching(pages.url) as viewer:
        yield viewer


def _seams(plan: RunPlan | None) -> dict[str, tuple[float, ...]]:
    return {
        each.name: tuple(accumulate(part.seconds for part in each.slices[:-1]))
        for each in (plan.renditions if plan else ())
    }


def _found(one: Worker, folder: Path, seams: dict[str, tuple[float, ...]]) -> Finalized:
    objects = one.s3.list_objects_v2(Bucket="vod").get("Contents", [])
    written = [each["Key"] for each in objects if each["Key"].endswith("/recording.json")]
    if not written:
        return Finalized(one.record(), {}, {}, seams)
    report = json.loads(one.s3.get_object(Bucket="vod", Key=written[0])["Body"].read())
    assert broken_laws(report) == []
    files = {}
    for rendition in report["renditions"]:
        if rendition["state"] == "ready":
            name = f"{rendition['name']}.mp4"
            key = f"{written[0].rpartition('/')[0]}/{name}"
            files[rendition["name"]] = folder / f"made-{name}"
            one.s3.download_file("vod", key, str(files[rendition["name"]]))
            head = one.s3.head_object(Bucket="vod", Key=key)
            assert (rendition["size"], rendition["etag"]) == (head["ContentLength"], head["ETag"])
    return Finalized(one.record(), report, files, seams)
