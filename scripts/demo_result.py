"""What the demo has shown in the end: the table, and whether it was a success."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from scripts.event_words import count_words, printable, size_words
from scripts.playback import Playback, count_beeps, count_flashes, play

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

_FIELD_WIDTH = 15


@dataclass(frozen=True)
class Seen:
    """What playing the MP4 showed: ``ok`` if it is as it should be, ``words`` for people."""

    ok: bool
    words: str
    complaint: str = ""


def watch_generated(ffmpeg: str, url: str, *, seconds: int, frame_rate: int) -> Seen:
    """Play the demo's own recording: every picture, flash and beep must be there, and no error."""
    playback = play(ffmpeg, url)
    pictures, flashes = count_flashes(ffmpeg, url)
    beeps = count_beeps(ffmpeg, url)
    ok = playback.clean and (pictures, flashes, beeps) == (seconds * frame_rate, seconds, seconds)
    words = (
        f"{count_words(pictures, 'picture')}, {count_words(flashes, 'flash', 'flashes')}, "
        f"{count_words(beeps, 'beep')}, {_errors(playback)}"
    )
    return Seen(ok, words, next(iter(playback.complaints), ""))


def watch_any(ffmpeg: str, url: str) -> Seen:
    """Play somebody's recording to its end; a decoder may complain about what the source has."""
    playback = play(ffmpeg, url)
    words = f"to its end, {_errors(playback)}" if playback.finished else "ffmpeg gave up"
    return Seen(playback.finished, words, next(iter(playback.complaints), ""))


def show(
    console: Console,
    session: Mapping[str, Any],
    report: Mapping[str, Any],
    idle_to_ready: float,
    seen: Seen,
) -> None:
    """Print the renditions, and below them the figures and the addresses."""
    console.print()
    console.print(Padding(_table(report), (0, 0, 1, 2)))
    _field(console, "Verdict", str(report["verdict"]))
    _field(console, "Idle to ready", f"{idle_to_ready:.1f} s")
    _field(console, "Played back", seen.words, "" if seen.ok else "red")
    if seen.complaint:
        _field(console, "", printable(seen.complaint), "yellow")
    _field(console, "MP4", session["mp4Url"])
    for rendition in session["renditions"]:
        if rendition.get("url") and rendition["url"] != session["mp4Url"]:
            _field(console, "", rendition["url"])
    _field(console, "HLS", session["recordingUrl"])


def _table(report: Mapping[str, Any]) -> Table:
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="dim")
    table.add_column("Rendition", style="bold")
    table.add_column("Kind", no_wrap=True)
    for heading in ("Duration", "Size", "Slices"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("State", no_wrap=True)
    table.add_column("Why")
    for rendition in report["renditions"]:
        made = rendition["size"] is not None
        table.add_row(
            Text(printable(rendition["name"])),
            Text(rendition["kind"] if made else "–"),
            f"{rendition['duration']:.3f} s" if made else "–",
            size_words(rendition["size"]) if made else "–",
            str(rendition["slices"]) if made else "–",
            Text("✓ proven", style="green") if made else Text("not made", style="yellow"),
            Text(printable(rendition["reason"]), style="dim"),
        )
    return table


def _field(console: Console, name: str, value: str, style: str = "") -> None:
    line = Text("  ").append(f"{name:<{_FIELD_WIDTH}}", style="dim").append(value, style=style)
    console.print(line, soft_wrap=True)


def _errors(playback: Playback) -> str:
    if not playback.complaints:
        return "no decoding error"
    return f"{count_words(len(playback.complaints), 'complaint')} of the decoder"
