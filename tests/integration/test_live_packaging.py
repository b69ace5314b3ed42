"""What is packaged while a session is live: against a real Redis, a real S3 and a real ffmpeg."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.session import Phase
from tests.by_hand import ID, Worker
from tests.packaging import upload_folder
from worker.perform import perform

pytestmark = [pytest.mark.redis, pytest.mark.s3, pytest.mark.ffmpeg]

OBJECT = f"{ID}/r1/source.mp4"


class Live:
    """A session whose playlist lists the first segments of a recording, and more when told so."""

    def __init__(self, worker: Worker, playlist: Path) -> None:
        self.worker = worker
        self._lines = playlist.read_text().splitlines()
        upload_folder(worker.s3, playlist.parent, "recordings", ID)

    def lists(self, segments: int) -> None:
        """The playlist has so many segments, and no end."""
        ends = [n for n, line in enumerate(self._lines) if line and not line.startswith("#")]
        kept = "\n".join(self._lines[: ends[segments - 1] + 1])
        self.writes(kept.replace("#EXT-X-PLAYLIST-TYPE:VOD", "#EXT-X-PLAYLIST-TYPE:EVENT"))

    def writes(self, playlist: str) -> None:
        body = playlist.encode()
        self.worker.s3.put_object(Bucket="recordings", Key=f"{ID}/index.m3u8", Body=body)

    def beats(self, **fields: object) -> None:
        self.worker.put(lastSeen=self.worker.runtime.sessions.now_ms(), **fields)

    def looks(self) -> Phase:
        """The next look is due, and what it claims is done."""
        sessions = self.worker.runtime.sessions
        sessions.update(ID, self.worker.record().generation, {"look_at": 0})
        self.worker.look()
        self.works()
        return self.worker.record().phase

    def works(self) -> None:
        while self.worker.sent.claims:
            claim = self.worker.sent.claims.pop(0)
            perform(claim.key, claim.token, self.worker.runtime, self.worker.sent)
            self.worker.look()

    def is_silent(self) -> None:
        """The last sign of life was long ago: as if time had passed."""
        redis, key = self.worker.redis, f"finalizer:session:{ID}"
        record = self.worker.record()
        past = record.session.active_at - 3_600_000
        session = record.session.model_copy(update={"last_seen": past, "created_at": past})
        redis.hset(key, "doc", session.model_dump_json(exclude_unset=True))
        redis.hset(key, "last_seen", str(past))

    @property
    def done(self) -> list[str]:
        items = self.worker.items()
        return sorted(name for name, state in items.items() if state.state == "done")

    def packaged(self) -> list[int]:
        """Numbers of the slices in the order in which they were packaged, over all runs."""
        events = self.worker.runtime.sessions.events(ID)
        return [each["slice"] for each in events if each["action"] == "slice_packaged"]

    def read(self, key: str = OBJECT) -> bytes:
        return self.worker.s3.get_object(Bucket="vod", Key=key)["Body"].read()


@pytest.fixture
def live(worker, media) -> Callable[..., Live]:
    """Opens a live session of a recording of twelve seconds in six segments, two of them a slice."""

    def opened(**options: object) -> Live:
        recording = options.pop("recording", {})
        made = Live(
            worker(**{"slice_seconds": 4, **options}),
            media.recording(**{"duration": 12.0, **recording}),
        )
        made.lists(1)
        made.beats(createdAt=1_763_794_800_000)
        return made

    return opened


def finalized(live: Live) -> bytes:
    """The MP4 of the session once its playlist lists everything and nobody is heard of any more."""
    live.lists(6)
    live.is_silent()
    live.worker.finalize()
    record = live.worker.record()
    assert record.phase is Phase.READY, record.error
    return live.read()


def test_settled_slices_are_done_before_the_end_and_the_same_run_goes_on(live):
    session = live()
    assert session.looks() is Phase.LIVE
    assert session.worker.record().generation == 0
    session.lists(5)
    assert session.looks() is Phase.LIVE
    generation = session.worker.record().generation
    assert session.done == ["package/source/0", "package/source/1"]
    whole = finalized(session)
    assert session.worker.record().generation == generation
    assert session.packaged() == [0, 1, 2]
    session.worker.redis.flushall()
    apart = live(package_live=False)
    apart.lists(5)
    assert apart.looks() is Phase.LIVE
    assert apart.packaged() == []
    assert finalized(apart) == whole
