"""WebVTT, the form of subtitles in HLS: cues read from hostile text, moved in time, written anew.

Nothing but cues is taken over (no styles, regions or comments), and of their text nothing that a
player could take for more than text: W3C WebVTT, RFC 8216 section 3.5.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

#: Most cues that one text may hold.
MAX_CUES = 100_000
#: Most characters of one cue; a longer one is cut.
MAX_TEXT = 8_192
#: Ticks per second of ``X-TIMESTAMP-MAP``.
MAP_TIMESCALE = 90_000
#: Seconds by which the times of what is one cue may differ in two segments.
SAME_TIME = 0.002

_TIME = r"(?:(\d{2,6}):)?([0-5]\d):([0-5]\d)\.(\d{3})"
_TIMING = re.compile(rf"\s*{_TIME}[ \t]*-->[ \t]*{_TIME}(?:[ \t]+(.*))?", re.ASCII)
_WHOLE_TIME = re.compile(_TIME, re.ASCII)
_LOCAL = re.compile(rf"LOCAL:{_TIME}(?=,|\s*$)", re.ASCII)
_MPEGTS = re.compile(r"MPEGTS:(\d{1,20})(?=,|\s*$)", re.ASCII)
_MAP = re.compile(r"X-TIMESTAMP-MAP\s*=\s*(.*)", re.ASCII)
_SETTING = re.compile(
    r"vertical:(?:rl|lr)|line:-?\d{1,4}(?:\.\d{1,3})?%?(?:,(?:start|center|end))?"
    r"|position:\d{1,3}(?:\.\d{1,3})?%(?:,(?:line-left|center|line-right))?"
    r"|size:\d{1,3}(?:\.\d{1,3})?%|align:(?:start|center|end|left|right)",
    re.ASCII,
)
#: The tags of WebVTT, and times inside a cue; every other ``<`` is text.
_TAG = re.compile(
    rf"<(?:(?P<time>{_TIME})|/?(?:c|i|b|u|ruby|rt|v|lang)(?:\.[\w.-]{{1,64}})?"
    r"(?:[ \t][^<>\"'`\n]{1,200})?)>",
    re.ASCII,
)


class WebVttError(ValueError):
    """Raised for a text that is no WebVTT, or holds more cues than any subtitles do."""


@dataclass(frozen=True, slots=True)
class Cue:
    """Text that is shown from ``start`` to ``end``, seconds of whatever clock is meant."""

    start: float
    end: float
    text: str  #: lines of WebVTT cue text, made harmless
    settings: str = ""

    def moved(self, by: float) -> Cue:
        """The cue on another clock, times inside its text as well."""
        text = _TAG.sub(lambda tag: _moved_tag(tag, by), self.text)
        return replace(self, start=self.start + by, end=self.end + by, text=text)

    def cut(self, start: float, end: float) -> Cue | None:
        """What of it lies between two times; None when nothing does."""
        begin, until = max(self.start, start), min(self.end, end)
        return replace(self, start=begin, end=until) if until > begin else None


@dataclass(frozen=True)
class WebVtt:
    """The cues of one text, and how their times lie on the clock of the media."""

    cues: tuple[Cue, ...]
    clock: float | None  #: media clock (s) at cue time 0; None without ``X-TIMESTAMP-MAP``
    left_out: int = 0  #: cues whose times cannot be read


def parse(data: bytes) -> WebVtt:
    """Read a WebVTT text; raises ``WebVttError`` for another one.

    Cues whose times make no sense are left out and counted.
    """
    text = data.decode("utf-8-sig", "replace").replace("\0", "�")
    lines = re.split(r"\r\n|\r|\n", text)
    if not re.fullmatch(r"WEBVTT(?:[ \t].*)?", lines[0]):
        raise WebVttError("it does not begin with WEBVTT")
    blocks = _blocks(lines)
    header = next(blocks)
    cues: list[Cue] = []
    left_out = 0
    for block in blocks:
        timing = next((n for n, line in enumerate(block[:2]) if "-->" in line), None)
        if timing is None:
            continue  # NOTE, STYLE, REGION
        cue = _cue(block[timing], block[timing + 1 :])
        if cue is None:
            left_out += 1
            continue
        if len(cues) >= MAX_CUES:
            raise WebVttError(f"it holds more than {MAX_CUES} cues")
        cues.append(cue)
    return WebVtt(tuple(cues), _clock(header), left_out)


def joined(segments: Iterable[Sequence[Cue]]) -> list[Cue]:
    """The cues of segments that follow each other, in the order of their times, each once.

    A cue that reaches over a border stands in both segments; one that was cut at the border is
    made whole again.
    """
    joined: list[Cue] = []
    ends: dict[tuple[str, str], int] = {}  # where the latest cue of that text stands
    for cues in segments:
        before = len(joined)
        for cue in sorted(cues, key=lambda cue: (cue.start, cue.end)):
            same = ends.get((cue.text, cue.settings))
            if same is not None and same < before and _goes_on(joined[same], cue):
                joined[same] = replace(joined[same], end=max(joined[same].end, cue.end))
                continue
            ends[cue.text, cue.settings] = len(joined)
            joined.append(cue)
    return sorted(joined, key=lambda cue: (cue.start, cue.end))


def write(cues: Iterable[Cue], clock: float | None = None) -> str:
    """The text of these cues; with ``clock`` the media clock (s) at cue time 0 is told.

    Times below 0 are shown from 0 on.
    """
    header = "WEBVTT\n"
    if clock is not None:
        ticks = round(clock * MAP_TIMESCALE) % (1 << 33)
        header += f"X-TIMESTAMP-MAP=MPEGTS:{ticks},LOCAL:00:00:00.000\n"
    return header + "".join(f"\n{_written(cue)}\n" for cue in cues)


def _blocks(lines: list[str]) -> Iterator[list[str]]:
    """Lines between blank lines; the first block is the header, even if nothing else is."""
    block: list[str] = []
    first = True
    for line in lines:
        if line.strip(" \t\f"):
            block.append(line)
        elif block or first:
            yield block
            block, first = [], False
    if block or first:
        yield block


def _clock(header: list[str]) -> float | None:
    found = next((match for line in header if (match := _MAP.fullmatch(line.strip()))), None)
    if found is None:
        return None
    local, ticks = _LOCAL.search(found[1]), _MPEGTS.search(found[1])
    at = int(ticks[1]) / MAP_TIMESCALE if ticks else 0.0
    return at - (_seconds(local.groups()) if local else 0.0)


def _cue(timing: str, lines: list[str]) -> Cue | None:
    found = _TIMING.fullmatch(timing)
    if found is None:
        return None
    times = found.groups()
    start, end = _seconds(times[:4]), _seconds(times[4:8])
    if end <= start:
        return None
    words = (times[8] or "").split()
    settings = " ".join(word for word in words if _SETTING.fullmatch(word))
    return Cue(start, end, _harmless("\n".join(lines)[:MAX_TEXT]), settings)


def _seconds(parts: Sequence[str | None]) -> float:
    hours, minutes, seconds, millis = (int(part or 0) for part in parts)
    return hours * 3600 + minutes * 60 + seconds + millis / 1000


def _harmless(text: str) -> str:
    """Cue text in which every ``<`` begins a tag of WebVTT, and no line looks like a timing."""
    pieces, at = [], 0
    for tag in _TAG.finditer(text):
        pieces += [_escaped(text[at : tag.start()]), tag[0]]
        at = tag.end()
    return "".join([*pieces, _escaped(text[at:])])


def _escaped(text: str) -> str:
    return text.replace("<", "&lt;").replace(">", "&gt;")


def _moved_tag(tag: re.Match[str], by: float) -> str:
    inside = tag["time"]
    if inside is None:
        return tag[0]
    found = _WHOLE_TIME.fullmatch(inside)
    assert found is not None
    return f"<{_stamp(_seconds(found.groups()) + by)}>"


def _goes_on(before: Cue, after: Cue) -> bool:
    """Whether two cues of the same text are one: equal in time, or the second where the first ends."""
    equal = (
        abs(before.start - after.start) <= SAME_TIME and abs(before.end - after.end) <= SAME_TIME
    )
    return equal or abs(before.end - after.start) <= SAME_TIME


def _written(cue: Cue) -> str:
    settings = f" {cue.settings}" if cue.settings else ""
    times = f"{_stamp(cue.start)} --> {_stamp(cue.end)}{settings}"
    return f"{times}\n{cue.text}" if cue.text else times


def _stamp(seconds: float) -> str:
    millis = max(0, round(seconds * 1000))
    rest, hours = millis % 3_600_000, millis // 3_600_000
    return f"{hours:02}:{rest // 60_000:02}:{rest // 1000 % 60:02}.{rest % 1000:03}"
