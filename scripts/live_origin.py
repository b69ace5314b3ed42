"""A live origin for the demo: encodes a test picture in a hurry and uploads what comes out of it.

The first picture of every second is white, and the first tenth of every second sounds, so that
both can be counted in what becomes of it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import openm3u8

from scripts.child import Child, ChildFailedError
from scripts.embedded import child_environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

#: The multivariant playlist: variants in folders of their names, as Livepeer records them.
INDEX = "index.m3u8"
SOURCE, SMALL = "source", "360p0"
FRAMES_PER_SECOND = 30
_SEGMENT_SECONDS = 2
_SAMPLE_RATE = 48_000
_LOOK_S = 0.05


class Upload(Protocol):
    """Puts a file of a recording into the store, ``name`` with its folders."""

    def __call__(self, name: str, body: bytes) -> None:
        """Return when it is there."""


@dataclass(frozen=True)
class Broadcast:
    """How much of the best variant was uploaded so far: segments, seconds of media, bytes."""

    segments: int = 0
    seconds: float = 0.0
    size: int = 0


class LiveOrigin:
    """Encodes ``seconds`` of media ``speed`` times faster than life, in ``folder``.

    Like an origin that crashes it never writes ENDLIST.
    """

    def __init__(self, ffmpeg: str, folder: Path, *, seconds: int, speed: float) -> None:
        self._folder = folder
        self._encoder = Child(
            "origin",
            [ffmpeg, *_arguments(seconds, speed)],
            environment=child_environment(),
            log=folder / "origin.log",
            probe=lambda _pid: True,
            cwd=folder,
        )

    def play(self, upload: Upload) -> Iterator[Broadcast]:
        """Upload segments as they come, and the playlists that list them; yield after each look
        that found some. Raises ChildFailedError when the encoder fails."""
        self._encoder.start()
        sent: dict[str, Broadcast] = {}
        try:
            while True:
                running = self._encoder.running()  # asked first: its last files are then there
                before = len(sent)
                self._upload_new(upload, sent)
                if len(sent) > before:
                    yield _source_of(sent)
                if not running:
                    break
                time.sleep(_LOOK_S)
            if self._encoder.exit_code() != 0:
                raise ChildFailedError(f"The encoder failed: {self._encoder.last_words(500)}")
        finally:
            self._encoder.kill()

    def _upload_new(self, upload: Upload, sent: dict[str, Broadcast]) -> None:
        """Segments first, playlists after: nothing is ever listed that is not there."""
        changed = False
        for variant in (SOURCE, SMALL):
            playlist = self._read(f"{variant}/{INDEX}")
            listed = openm3u8.loads(playlist.decode()).segments
            for segment in listed:
                name = f"{variant}/{segment.uri}"
                if name not in sent:
                    body = self._read(name)
                    upload(name, body)
                    sent[name] = Broadcast(1, float(segment.duration), len(body))
                    changed = True
            if changed:
                upload(f"{variant}/{INDEX}", playlist)
        if changed and (multivariant := self._read(INDEX)):
            upload(INDEX, multivariant)

    def _read(self, name: str) -> bytes:
        path = self._folder / name
        return path.read_bytes() if path.exists() else b""


def _source_of(sent: Mapping[str, Broadcast]) -> Broadcast:
    """The sum of what was sent of the best variant."""
    parts = [part for name, part in sent.items() if name.startswith(f"{SOURCE}/")]
    return Broadcast(
        sum(part.segments for part in parts),
        sum(part.seconds for part in parts),
        sum(part.size for part in parts),
    )


def _arguments(seconds: int, speed: float) -> list[str]:
    picture = f"testsrc2=size=1280x720:rate={FRAMES_PER_SECOND}:duration={seconds}"
    flash = f"drawbox=color=white:t=fill:enable='lt(mod(t+0.0001,1),1/{FRAMES_PER_SECOND})'"
    tone = "if(lt(mod(t,1),0.1),0.5*sin(2*PI*1000*t),0)"
    pictures = FRAMES_PER_SECOND * _SEGMENT_SECONDS
    return [
        "-hide_banner", "-nostdin", "-loglevel", "error", "-y",
        "-readrate", str(speed), "-f", "lavfi", "-i", f"{picture},{flash}",
        "-readrate", str(speed),
        "-f", "lavfi", "-i", f"aevalsrc='{tone}|{tone}':s={_SAMPLE_RATE}:d={seconds}",
        "-filter_complex", "[0:v]format=yuv420p,split[large][x];[x]scale=640:360[small]",
        "-map", "[large]", "-map", "1:a", "-map", "[small]", "-map", "1:a",
        "-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", str(pictures),
        "-sc_threshold", "0", "-b:v:0", "3000k", "-b:v:1", "800k", "-c:a", "aac", "-b:a", "96k",
        "-f", "hls", "-hls_time", str(_SEGMENT_SECONDS), "-hls_playlist_type", "event",
        "-hls_flags", "omit_endlist+temp_file", "-master_pl_name", INDEX,
        "-var_stream_map", f"v:0,a:0,name:{SOURCE} v:1,a:1,name:{SMALL}",
        "-hls_segment_filename", "%v/%05d.ts", f"%v/{INDEX}",
    ]  # fmt: skip
