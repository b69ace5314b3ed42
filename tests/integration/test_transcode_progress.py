"""A transcode is seen to move while a worker is on it, not only when a slice is done."""

import threading

import pytest

from tests.by_hand import ID
from tests.stack import eventually
from worker import lease_keeper
from worker.perform import perform
from worker.progress import SHOWN_EVERY_MS

pytestmark = [pytest.mark.redis, pytest.mark.s3, pytest.mark.ffmpeg]

SMALL = {"name": "small", "width": 160, "height": 128, "bitrate": 200_000, "fps": 0}


def small(worker):
    worker.look()
    return next(view for view in worker.record().renditions if view["name"] == "small")


@pytest.fixture
def slow_ffmpeg(media_tools, tmp_path):
    """An ffmpeg that reads no faster than four times as fast as the media plays."""
    path = tmp_path / "ffmpeg"
    path.write_text(f'#!/bin/sh\nexec "{media_tools.ffmpeg}" -readrate 4 "$@"\n')
    path.chmod(0o755)
    return path


def test_a_slice_shows_how_far_it_has_come_while_it_is_transcoded(
    recorded, slow_ffmpeg, monkeypatch
):
    monkeypatch.setattr(lease_keeper, "TELLS_EVERY", 0.1)
    worker = recorded(
        {"profiles": [SMALL]}, preset="ultrafast", slice_seconds=12, ffmpeg=str(slow_ffmpeg)
    )
    assert small(worker)["mediaSecondsDone"] == 0.0
    [claim] = worker.claims_of("transcode/source/0")
    on_it = threading.Thread(
        target=perform, args=(claim.key, claim.token, worker.runtime, worker.sent)
    )
    on_it.start()
    seen = [0.0]

    def moved():
        view = small(worker)
        if seen[-1] < view["mediaSecondsDone"] < view["mediaSeconds"]:
            seen.append(view["mediaSecondsDone"])
            assert (view["state"], 0 < view["progress"] < 1) == ("transcoding", True)
        return len(seen) > 2

    eventually(moved)
    assert worker.due_in_ms() <= SHOWN_EVERY_MS
    on_it.join()
    view = small(worker)
    assert (view["mediaSecondsDone"], view["progress"]) == (view["mediaSeconds"], 1.0)


def test_a_slice_that_begins_has_its_session_looked_at_soon(recorded):
    worker = recorded({"profiles": [SMALL]}, preset="ultrafast")
    worker.look()
    assert worker.due_in_ms() > SHOWN_EVERY_MS
    [claim] = worker.claims_of("transcode/source/0")
    perform(claim.key, claim.token, worker.runtime, worker.sent)
    assert worker.runtime.sessions.due_ms(ID) is not None
    assert worker.due_in_ms() <= SHOWN_EVERY_MS
