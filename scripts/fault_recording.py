"""A faulty recording on its way into a folder: what the playlist lists, and what is there of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from scripts.fault_base import Base
    from scripts.fault_truth import Truth

INDEX = "index.m3u8"
TRUTH = "truth.json"
DISCONTINUITY = "#EXT-X-DISCONTINUITY"
MAP, INIT = '#EXT-X-MAP:URI="{}"', "init.mp4"


@dataclass(frozen=True)
class Entry:
    """One segment of the playlist; ``data`` None: it is listed, and not there."""

    name: str
    seconds: float
    data: bytes | None
    tags: tuple[str, ...] = ()  #: lines before its EXTINF


@dataclass(frozen=True)
class FaultyRecording:
    """The files of a recording by name, and what is true of it."""

    files: dict[str, bytes] = field(repr=False)
    truth: Truth

    def write(self, folder: Path) -> Path:
        """Write all files and ``truth.json`` into a folder; the path of the playlist."""
        for name, data in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        (folder / TRUTH).write_text(self.truth.to_json(), encoding="utf-8")
        return folder / INDEX


def entries_of(base: Base, prefix: str = "s") -> list[Entry]:
    """All segments of a whole recording, in order."""
    suffix = "m4s" if base.init else "ts"
    return [
        Entry(f"{prefix}{number:03}.{suffix}", segment.seconds, segment.data)
        for number, segment in enumerate(base.segments)
    ]


def media_playlist(
    entries: Sequence[Entry],
    *,
    head: Sequence[str] = (),
    target: str = "2",
    ended: bool = True,
) -> bytes:
    """A media playlist; ``head`` are lines before the first segment."""
    lines = ["#EXTM3U", "#EXT-X-VERSION:7", f"#EXT-X-TARGETDURATION:{target}"]
    lines += ["#EXT-X-MEDIA-SEQUENCE:0", *head]
    for entry in entries:
        lines += [*entry.tags, f"#EXTINF:{entry.seconds:.6f},", entry.name]
    if ended:
        lines.append("#EXT-X-ENDLIST")
    return ("\n".join(lines) + "\n").encode()


def files_of(entries: Sequence[Entry], playlist: bytes, **further: bytes) -> dict[str, bytes]:
    """The files of a recording with one media playlist; a URI listed twice is one file."""
    there = {entry.name: entry.data for entry in entries if entry.data is not None}
    return {**there, **further, INDEX: playlist}
