"""The sessions that are recorded while chaos reigns: some there from the start, some live."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from scripts.api_client import ApiFailedError
from scripts.fault_base import Bases
from scripts.recordings import make_loop

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from threading import Event
    from typing import TypeVar

    from pipelines.tools import MediaTools
    from scripts.chaos_stack import ChaosStack

    Answer = TypeVar("Answer")

SECONDS = 16
#: As much as makes slices of four seconds go up in parts: more than 10 MiB each.
_BIT_RATE = 24_000_000
_CREATED_MS = 1_763_794_800_000
_SEGMENT_EVERY_S = 1.0
_LOOK_S = 0.5
_RETRY_S = 0.3
_PROFILE = {"name": "128p", "width": 228, "height": 128, "bitrate": 200_000, "fps": 0}


class SessionLateError(Exception):
    """A session has neither become ready nor failed in time; the message tells its story."""


@dataclass(frozen=True)
class SessionKind:
    """A recording, and how a session brings it: ``live`` ones upload it while they are seen.

    ``files`` are all but the playlist; the playlist's ``lines`` list ``segments``, in order.
    """

    name: str
    files: Mapping[str, bytes] = field(repr=False)
    playlist: str = field(repr=False)
    live: bool = False
    profiles: Sequence[Mapping[str, Any]] = ()

    def grown(self) -> list[tuple[tuple[str, ...], str]]:
        """The recording as it grows: the files that each step brings, and the playlist then."""
        head, *listed = self.playlist.replace("#EXT-X-ENDLIST\n", "").split("#EXTINF")
        names = [each.splitlines()[1] for each in listed]
        first = tuple(name for name in self.files if name not in names)
        steps = []
        for count, name in enumerate(names, 1):
            text = "#EXTINF".join([head, *listed[:count]])
            steps.append(((*first, name) if count == 1 else (name,), text))
        return steps


def make_kinds(tools: MediaTools, folder: Path) -> tuple[SessionKind, ...]:
    """The kinds of sessions that chaos disturbs; raises CalledProcessError when ffmpeg fails."""
    loop = make_loop(
        tools.ffmpeg, folder / "noise", seconds=SECONDS, size="640x360", bit_rate=_BIT_RATE
    )
    noise = _files(loop.folder)
    bases = Bases(tools, folder)
    small = {"seconds": SECONDS, "segment": 4.0, "size": "320x180", "gop": 60}
    ts = _files(bases.get(**small).folder)
    fmp4 = _files(bases.get(**small, container="fmp4").folder)
    return (
        _kind("large", noise),
        _kind("large live", noise, live=True),
        _kind("fmp4", fmp4),
        _kind("transcoded live", ts, live=True, profiles=[_PROFILE]),
        _kind("transcoded", fmp4, profiles=[_PROFILE]),
    )


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def _kind(name: str, files: Mapping[str, bytes], **more: Any) -> SessionKind:
    media = {name: body for name, body in files.items() if name != "index.m3u8"}
    return SessionKind(name, media, files["index.m3u8"].decode(), **more)


class Origin:
    """Records sessions into a stack whose parts may be away at any moment, and waits for their end.

    ``patience`` is how long, in seconds, anything may take that is asked of the stack; a session may
    take so long from the moment when it is ``disturbed`` no more.
    """

    def __init__(self, stack: ChaosStack, patience: float, disturbed: Event, ended: Event) -> None:
        self._stack = stack
        self._patience = patience
        self._disturbed = disturbed
        self._ended = ended

    def record(self, kind: SessionKind, session_id: str) -> dict[str, Any]:
        """Have a session recorded; the session once it is ready or has failed.

        Raises SessionLateError when that takes too long.
        """
        steps = kind.grown()
        if not kind.live:
            names = tuple(name for names, _ in steps for name in names)
            steps = [(names, steps[-1][1])]
        for names, playlist in steps:
            for name in names:
                self._put(session_id, name, kind.files[name])
            self._put(session_id, "index.m3u8", playlist.encode())
            self._heartbeat(session_id, kind)
            if kind.live:
                self._ended.wait(_SEGMENT_EVERY_S)
        return self._result(session_id)

    def remove(self, kind: SessionKind, session_id: str) -> None:
        """Delete a session and its recording."""
        self.patiently(lambda: self._stack.api.delete_session(session_id))
        for name in (*kind.files, "index.m3u8"):
            where = {"Bucket": "recordings", "Key": f"{session_id}/{name}"}
            self.patiently(lambda where=where: self._stack.s3.delete_object(**where))  # type: ignore[misc]

    def _heartbeat(self, session_id: str, kind: SessionKind) -> None:
        seen = {"lastSeen": time.time_ns() // 1_000_000 if kind.live else _CREATED_MS}
        patch = {"record": True, "createdAt": _CREATED_MS, "profiles": [*kind.profiles], **seen}
        self.patiently(lambda: self._stack.api.put_session(session_id, patch))

    def _put(self, session_id: str, name: str, body: bytes) -> None:
        where = {"Bucket": "recordings", "Key": f"{session_id}/{name}"}
        self.patiently(lambda: self._stack.s3.put_object(**where, Body=body))

    def _result(self, session_id: str) -> dict[str, Any]:
        deadline = time.monotonic() + self._patience
        while True:
            session = self.patiently(lambda: self._stack.api.session(session_id))
            if session["phase"] in ("ready", "failed"):
                return session
            if self._disturbed.is_set():
                deadline = time.monotonic() + self._patience
            if self._ended.is_set() or time.monotonic() > deadline:
                events = self.patiently(lambda: self._stack.api.events(session_id))
                raise SessionLateError(f"{session_id} is still {session['phase']}: {events[-5:]}")
            self._ended.wait(_LOOK_S)

    def patiently(self, ask: Callable[[], Answer]) -> Answer:
        """The answer of a server that may be away for a while; raises what it raised in the end."""
        deadline = time.monotonic() + self._patience
        while True:
            try:
                return ask()
            except (ApiFailedError, BotoCoreError, ClientError):
                self._stack.check()
                if time.monotonic() > deadline or self._ended.is_set():
                    raise
            self._ended.wait(_RETRY_S)
