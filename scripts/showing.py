"""One showing of the product: a session from its first sign of life to the MP4 being played."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError
from rich.text import Text

from pipelines.session import Phase
from scripts.api_client import ApiFailedError
from scripts.demo_result import Seen, show, watch_any, watch_generated
from scripts.demo_stack import WORKERS, DemoStack, recording_url
from scripts.event_words import count_words, printable, size_words
from scripts.live_origin import FRAMES_PER_SECOND, INDEX, SMALL, Broadcast, LiveOrigin
from scripts.screen import Screen

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from pipelines.tools import MediaTools
    from scripts.own_recording import OwnRecording

IDLE_TIMEOUT_S = 5
_MEDIA_S = 20
_SPEED = 4.0
_LOOK_S = 0.15

#: One profile that the origin makes itself, and one that is transcoded from the source.
_PROFILES = [
    {"name": SMALL, "width": 640, "height": 360, "bitrate": 800_000, "fps": 0},
    {"name": "480p0", "width": 854, "height": 480, "bitrate": 1_600_000, "fps": 0},
]

_ENDED = (Phase.READY, Phase.FAILED, Phase.EMPTY, Phase.DELETED)


class NotReadyError(Exception):
    """There is no playable recording in the end; the message says why."""


@dataclass
class Showing:
    """One showing of the product: a session from its first sign of life to its MP4."""

    console: Console
    stack: DemoStack
    tools: MediaTools
    folder: Path
    session_id: str = field(default_factory=lambda: f"demo-{time.strftime('%m%d-%H%M%S')}")

    def run(self, own: OwnRecording | None) -> bool:
        """Show it; False, and a sentence on standard error, when there is no playable MP4."""
        self._start()
        try:
            with Screen(self.console) as screen:
                last_seen = self._upload(own, screen) if own else self._live(screen)
                session = self._follow(last_seen, screen)
            return self._judge(session, last_seen, own)
        except (NotReadyError, ApiFailedError, BotoCoreError, ClientError, OSError) as error:
            print(f"\n{printable(str(error))}", file=sys.stderr, flush=True)
            return False

    def _start(self) -> None:
        began = time.monotonic()
        self.console.print()
        if self.console.is_terminal:
            with self.console.status("Starting Redis, an S3 server, the API and workers …"):
                self.stack.start()
        else:
            self.stack.start()
        parts = f"Redis, S3, API and {2 * WORKERS + 1} workers answer on loopback"
        self._done("stack", f"{parts}, after {time.monotonic() - began:.1f} s")

    def _live(self, screen: Screen) -> int:
        """Play a live session up to its sudden end; when it showed life last, Unix ms."""
        self._put({"name": "demo", "record": True, "profiles": _PROFILES})
        began, last_seen, so_far = time.monotonic(), 0, ""
        folder = self.folder / "origin"
        folder.mkdir()
        origin = LiveOrigin(self.tools.ffmpeg, folder, seconds=_MEDIA_S, speed=_SPEED)
        for sent in origin.play(lambda name, body: self.stack.put(self.session_id, name, body)):
            last_seen = _now_ms()
            sign_of_life = {
                "lastSeen": last_seen,
                "sourceSegments": sent.segments,
                "sourceSegmentsDuration": sent.seconds,
                "sourceBytes": sent.size,
            }
            self._put(sign_of_life)
            so_far = _so_far(sent)
            self._look(screen, so_far)
        took = time.monotonic() - began
        self._done("live", f"{so_far} in {took:.1f} s; then the origin falls silent")
        return last_seen

    def _upload(self, own: OwnRecording, screen: Screen) -> int:
        """Upload somebody's recording, and say that its session was seen just now; Unix ms."""
        for number, name in enumerate(own.files, 1):
            uploading = {"phase": "uploading", "renditions": ()}
            screen.look(self.session_id, uploading, (), f"{number} of {len(own.files)} files")
            with own.path(name).open("rb") as body:
                self.stack.put(self.session_id, name, body)
        last_seen = _now_ms()
        url = recording_url(self.session_id, own.playlist)
        where = {} if own.playlist == INDEX else {"sourceUrl": url}
        self._put({"name": own.playlist, "record": True, "lastSeen": last_seen, **where})
        size = sum(own.path(name).stat().st_size for name in own.files)
        self._done("uploaded", f"{count_words(len(own.files), 'file')}, {size_words(size)}")
        if own.missing:
            names = ", ".join(own.missing[:3]) + (" …" if len(own.missing) > 3 else "")
            self._done("missing", f"{count_words(len(own.missing), 'file')}: {names}", "! yellow")
        return last_seen

    def _follow(self, last_seen: int, screen: Screen) -> dict[str, Any]:
        """Look at the session until it has ended; raises NotReadyError unless it is ready."""
        idle_at = last_seen / 1000 + IDLE_TIMEOUT_S
        while True:
            if not self.stack.running():
                raise NotReadyError(f"The stack has ended: {self.stack.last_words()}")
            left = idle_at - time.time()
            note = f"idle in {left:.0f} s" if left > 0 else f"{-left:.0f} s since it became idle"
            session = self._look(screen, note)
            if session["phase"] in _ENDED:
                screen.leave(self.session_id)
                break
            time.sleep(_LOOK_S)
        if session["phase"] == Phase.READY:
            return session
        error = session["error"] or {"message": "it is empty", "code": session["phase"]}
        raise NotReadyError(
            f"The recording did not become ready: {error['message']} ({error['code']})"
        )

    def _judge(self, session: dict[str, Any], last_seen: int, own: OwnRecording | None) -> bool:
        url = session["mp4Url"]
        seen = self._watch(url, own)
        events = self.stack.api.events(self.session_id)
        ready_at = next(event["at"] for event in events if event["action"] == Phase.READY)
        idle_to_ready = (ready_at - last_seen) / 1000 - IDLE_TIMEOUT_S
        show(self.console, session, self.stack.api.report(self.session_id), idle_to_ready, seen)
        self.console.print()
        if not seen.ok:
            raise NotReadyError(f"The MP4 cannot be played as it should: {seen.words}")
        return True

    def _watch(self, url: str, own: OwnRecording | None) -> Seen:
        def watch() -> Seen:
            if own:
                return watch_any(self.tools.ffmpeg, url)
            return watch_generated(
                self.tools.ffmpeg, url, seconds=_MEDIA_S, frame_rate=FRAMES_PER_SECOND
            )

        if not self.console.is_terminal:
            return watch()
        with self.console.status("Playing the MP4 from its address …"):
            return watch()

    def _put(self, patch: dict[str, Any]) -> None:
        self.stack.api.put_session(self.session_id, patch)

    def _look(self, screen: Screen, note: str) -> dict[str, Any]:
        session = self.stack.api.session(self.session_id)
        screen.look(self.session_id, session, self.stack.api.events(self.session_id), note)
        return session

    def _done(self, what: str, words: str, mark: str = "✓ green") -> None:
        sign, style = mark.split()
        line = Text("  ").append(f"{sign} ", style=style).append(f"{what:<9} ", style="bold")
        self.console.print(line.append(printable(words)), soft_wrap=True)


def _so_far(sent: Broadcast) -> str:
    segments = count_words(sent.segments, "segment")
    return f"{segments}, {sent.seconds:.0f} s of media, {size_words(sent.size)}"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
