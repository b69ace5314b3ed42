"""ffmpeg as a live origin that forgets and deletes its segments, packaged while it plays."""

import contextlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pipelines.session import Phase
from tests.by_hand import ID, LONG_AGO
from tests.demuxed import Sound, demuxed_recording
from tests.packaging import upload_folder
from tests.report_laws import broken_laws
from tests.stack import eventually
from worker.perform import perform

pytestmark = [pytest.mark.redis, pytest.mark.s3, pytest.mark.ffmpeg]

#: Segments, of a second each, that the window holds; one more stays before it is deleted.
WINDOW = 9


@dataclass
class Origin:
    """Plays a recording at its own speed into a window that slides, and into a list of it all."""

    s3: Any
    folder: Path
    ffmpeg: str
    kept: set[str] = field(default_factory=set)  #: names of the segments that are in the store

    @contextlib.contextmanager
    def playing(self, index: Path) -> Iterator[subprocess.Popen[bytes]]:
        """The process; ended when the context is left."""
        outputs: list[str] = []
        for name, options in (
            ("live", ["-hls_list_size", str(WINDOW), "-hls_flags", "delete_segments+temp_file"]),
            ("whole", ["-hls_list_size", "0"]),
        ):
            (self.folder / name).mkdir()
            outputs += ["-c", "copy", "-f", "hls", "-hls_time", "1", *options, f"{name}/index.m3u8"]
        argv = [
            self.ffmpeg,
            "-v",
            "error",
            "-nostdin",
            "-readrate",
            "1",
            "-i",
            str(index),
            *outputs,
        ]
        process = subprocess.Popen(argv, cwd=self.folder, stdin=subprocess.DEVNULL)
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def mirror(self) -> None:
        """Bring the store to what the folder holds: segments, then the list, then what is gone."""
        live = self.folder / "live"
        try:
            listed = (live / "index.m3u8").read_text()
            named = {line for line in listed.splitlines() if line.endswith(".ts")}
            for name in sorted(named - self.kept):
                self._write(name, (live / name).read_bytes())
        except FileNotFoundError:
            return  # not there yet, or deleted meanwhile
        self._write("index.m3u8", listed.encode())
        self.kept |= named
        for name in sorted(self.kept - {path.name for path in live.iterdir()}):
            self.s3.delete_object(Bucket="recordings", Key=f"{ID}/{name}")
            self.kept.remove(name)

    def _write(self, name: str, data: bytes) -> None:
        self.s3.put_object(Bucket="recordings", Key=f"{ID}/{name}", Body=data)


def work(worker, session_id=ID):
    """A look, if one is due, and all the work that was claimed."""
    if (worker.due_in_ms(session_id) or 0) <= 0:
        worker.look(session_id)
    while worker.sent.claims:
        claim = worker.sent.claims.pop(0)
        perform(claim.key, claim.token, worker.runtime, worker.sent)
        worker.look(session_id)


def test_a_window_whose_segments_are_deleted_is_packaged_whole(
    worker, media, tmp_path, media_tools
):
    one = worker(idle_timeout=3, sweep_interval=0.5)
    source = Origin(one.s3, tmp_path, media_tools.ffmpeg)
    recording = media.recording(duration=16.0, segment=1.0, gop=30, size="160x90")
    with source.playing(recording) as process:
        while process.poll() is None:
            source.mirror()
            one.put(lastSeen=one.runtime.sessions.now_ms())
            work(one)
        assert process.returncode == 0
    source.mirror()
    assert len(source.kept) <= WINDOW + 2
    eventually(lambda: work(one) or one.record().phase in (Phase.READY, Phase.FAILED))
    assert one.record().phase is Phase.READY, one.record().error
    report = json.loads(one.runtime.sessions.report(ID))
    assert (report["verdict"], report["losses"], broken_laws(report)) == ("complete", [], [])
    assert report["window"]["segments"] == 16 - WINDOW
    assert report["window"]["notAtSource"] >= 16 - WINDOW - 2
    actions = [event["action"] for event in one.runtime.sessions.events(ID)]
    assert "slice_packaged" in actions[: actions.index("finalizing")]
    upload_folder(one.s3, tmp_path / "whole", "recordings", "whole")
    one.put("whole", createdAt=one.record().session.created_at)
    eventually(lambda: work(one, "whole") or one.record("whole").phase is Phase.READY)
    made, whole = (
        one.s3.get_object(Bucket="vod", Key=f"{name}/r1/source.mp4")["Body"].read()
        for name in (ID, "whole")
    )
    assert made == whole


@pytest.mark.parametrize("stays_away", [False, True])
def test_a_playlist_of_sound_that_is_away_costs_nothing(worker, media, tmp_path, stays_away):
    """Without it, what is packaged and deleted would be packaged again, of nothing."""
    one = worker(slice_seconds=4)
    spec = {"duration": 12.0, "size": "160x90"}
    index = demuxed_recording(
        tmp_path,
        [media.recording(audio=None, **spec)],
        [Sound("Deutsch", "de", [media.recording(video=None, **spec)], default=True)],
    )
    upload_folder(one.s3, tmp_path, "recordings", ID)

    def looks(first: int, end: int, *, sound: bool = True) -> None:
        for name in ("pictures", "de"):
            head, *listed = (index.parent / f"{name}.m3u8").read_text().split("#EXTINF")
            for gone in listed[:first]:
                one.s3.delete_object(Bucket="recordings", Key=f"{ID}/{gone.splitlines()[1]}")
            listed = [f"#EXTINF{each}".replace("#EXT-X-ENDLIST", "") for each in listed]
            text = f"{head}#EXT-X-MEDIA-SEQUENCE:{first}\n" + "".join(listed[first:end])
            key = f"{ID}/{name}.m3u8"
            one.s3.put_object(Bucket="recordings", Key=key, Body=text.encode())
        if not sound:
            one.s3.delete_object(Bucket="recordings", Key=f"{ID}/de.m3u8")
        one.put(lastSeen=one.runtime.sessions.now_ms(), createdAt=one.runtime.sessions.now_ms())
        one.runtime.sessions.update(ID, one.record().generation, {"look_at": 0})
        one.finalize()

    looks(0, 4)
    looks(2, 5)
    looks(2, 5, sound=False)
    looks(3, 6)
    done = one.items()
    if stays_away:
        one.s3.delete_object(Bucket="recordings", Key=f"{ID}/de.m3u8")
    one.redis.hset(
        f"finalizer:session:{ID}",
        "doc",
        one.record()
        .session.model_copy(update={"last_seen": LONG_AGO, "created_at": LONG_AGO})
        .model_dump_json(exclude_unset=True),
    )
    one.finalize()
    report = json.loads(one.runtime.sessions.report(ID))
    assert sorted(done) == ["package/source/0", "package/source/1"]
    assert (report["verdict"], report["losses"]) == ("complete", [])
    packaged = [
        event["slice"]
        for event in one.runtime.sessions.events(ID)
        if event["action"] == "slice_packaged"
    ]
    assert packaged == [0, 1, 2]
