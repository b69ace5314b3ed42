"""Fixtures of the tests that package whole recordings."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.tools import MediaTools
from tests.packaging import Finalizer


@pytest.fixture(scope="session")
def finalizer(s3: Any, media_tools: MediaTools) -> Callable[..., Finalizer]:
    """Makes finalizers against the S3 server; options as of ``Finalizer``. Leaves objects under a
    name of its own."""
    return lambda **options: Finalizer(s3, media_tools, **options)


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
