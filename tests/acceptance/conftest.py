"""Recordings for whole runs, and the tools to look at what comes out of them."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.media import MediaFactory, run


@pytest.fixture(scope="session", autouse=True)
def _broker(request: pytest.FixtureRequest, _environment_without_settings: None) -> Iterator[None]:
    """With ``--rabbitmq`` every stack has its queues on a RabbitMQ; by its URL alone."""
    if not request.config.getoption("--rabbitmq"):
        yield
        return
    os.environ["FINALIZER_BROKER_URL"] = request.getfixturevalue("rabbitmq_server").url
    yield
    del os.environ["FINALIZER_BROKER_URL"]


@pytest.fixture(scope="session")
def small(media: MediaFactory) -> Path:
    """Twelve seconds in six segments, about a megabyte: a single write in the end."""
    return media.recording(duration=12.0)


@pytest.fixture(scope="session")
def heavy(media: MediaFactory) -> Path:
    """Twelve seconds of noise in six segments: slices large enough to go up as parts."""
    noise = ("-vf", "noise=alls=40:allf=t", "-qp", "33")
    return media.recording(duration=12.0, size="640x360", encoder_options=noise)


@pytest.fixture
def plays(media_tools):
    """Checks that ffmpeg decodes everything at an address without a complaint, for so long."""

    def check(url: str, seconds: float) -> None:
        shown = run(
            media_tools.ffprobe, "-v", "error", "-show_entries", "format=duration",
            "-of", "csv=p=0", url,
        )  # fmt: skip
        assert float(shown) == pytest.approx(seconds, abs=0.2)
        said = run(
            media_tools.ffmpeg, "-v", "error", "-xerror", "-i", url, "-f", "framemd5", "-map", "0",
            "-",
        )  # fmt: skip
        pictures = [line for line in said.splitlines() if line.startswith(b"0,")]
        assert len(pictures) == round(seconds * 30)

    return check
