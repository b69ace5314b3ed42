"""What the events of a session say to a person, one line each."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from pipelines.session import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_UNITS = ("B", "kB", "MB", "GB", "TB")


def words(event: Mapping[str, Any]) -> str:
    """The event as a sentence without its time; one of a newer version keeps its bare fields."""
    known = _WORDS.get(event["action"])
    details = {name: value for name, value in event.items() if name not in ("at", "action")}
    try:
        said = known(event) if known else _bare(details)
    except (KeyError, TypeError, ValueError):
        said = _bare(details)
    return printable(said)


def time_of_day(event: Mapping[str, Any]) -> str:
    """When it happened, on this machine's clock."""
    return datetime.fromtimestamp(event["at"] / 1000).astimezone().strftime("%H:%M:%S")


def size_words(count: float) -> str:
    """A number of bytes in decimal units, three digits or so."""
    for unit in _UNITS:
        if count < 1000 or unit == _UNITS[-1]:
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == _UNITS[0] else f"{count:.1f} {unit}"


def count_words(count: int, noun: str, plural: str = "") -> str:
    """A number with its noun, such as ``1 slice`` or ``3 slices``."""
    return f"{count} {noun}" if count == 1 else f"{count} {plural or noun + 's'}"


def printable(text: str) -> str:
    """The text without characters that would steer a terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _bare(details: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in details.items())


def _planned(event: Mapping[str, Any]) -> str:
    made = [
        f"{name} ({kind}) in {count_words(slices, 'slice')}"
        for name, kind, slices in event["renditions"]
    ]
    not_made = [each["name"] for each in event["notMade"]]
    refused = f"; not made: {', '.join(not_made)}" if not_made else ""
    length = f"{count_words(event['segments'], 'segment')}, {event['seconds']:.1f} s"
    return f"{length}: {', '.join(made)}{refused}"


def _upload_lost(event: Mapping[str, Any]) -> str:
    return f"the store dropped the upload of {event['rendition']}; it is begun anew"


def _parts_grown(event: Mapping[str, Any]) -> str:
    size = size_words(event["bytes"])
    return f"{event['rendition']}: uploaded anew, slice {event['slice']} needs parts of {size}"


def _slice_packaged(event: Mapping[str, Any]) -> str:
    return (
        f"{event['rendition']}, slice {event['slice']}: {event['mediaSeconds']:.1f} s of media, "
        f"{size_words(event['bytes'])}, in {event['seconds']:.2f} s"
    )


def _slice_transcoded(event: Mapping[str, Any]) -> str:
    return (
        f"{', '.join(event['renditions'])}, slice {event['slice']}: {event['mediaSeconds']:.1f} s "
        f"of media, {size_words(event['bytes'])}, in {event['seconds']:.2f} s"
    )


def _layout_decided(event: Mapping[str, Any]) -> str:
    return (
        f"{event['rendition']}: {count_words(event['runs'], 'run')} of "
        f"{count_words(event['slices'], 'slice')} to be conformed: {'; '.join(event['reasons'])}"
    )


def _slice_conformed(event: Mapping[str, Any]) -> str:
    return (
        f"{event['rendition']}, slice {event['slice']}: {count_words(event['runs'], 'odd run')} "
        f"conformed, {size_words(event['bytes'])}, in {event['seconds']:.2f} s"
    )


def _sound_encoded(event: Mapping[str, Any]) -> str:
    return f"{event['mediaSeconds']:.1f} s of sound, in {event['seconds']:.2f} s"


def _encoder_fallback(event: Mapping[str, Any]) -> str:
    return f"software goes on for {event['implementation']}: {event['reason']}"


def _rendition_verified(event: Mapping[str, Any]) -> str:
    return (
        f"{event['rendition']}: {size_words(event['bytes'])}, {event['mediaSeconds']:.1f} s, "
        f"assembled and proven in {event['seconds']:.2f} s"
    )


def _segment_came_late(event: Mapping[str, Any]) -> str:
    numbers = ", ".join(str(number) for number in event["segments"])
    more = event["count"] - len(event["segments"])
    numbers += f" and {more} more" if more else ""
    return f"given up before, and there now: {numbers}; all is packaged again"


def _ready(event: Mapping[str, Any]) -> str:
    return (
        f"revision {event['revision']}, verdict {event['verdict']}, "
        f"{event['runSeconds']:.2f} s after the run began"
    )


def _error(event: Mapping[str, Any]) -> str:
    item = f"{event['item']}: " if "item" in event else ""
    return f"{item}{event['message']} ({event['code']})"


_WORDS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "created": lambda _: "the session is known",
    "changed": lambda event: f"new values of {', '.join(event['fields'])}",
    "corrected": lambda event: str(event["note"]),
    "planned": _planned,
    "parts_grown": _parts_grown,
    "upload_lost": _upload_lost,
    "slice_packaged": _slice_packaged,
    "slice_transcoded": _slice_transcoded,
    "layout_decided": _layout_decided,
    "slice_conformed": _slice_conformed,
    "sound_encoded": _sound_encoded,
    "encoder_fallback": _encoder_fallback,
    "rendition_verified": _rendition_verified,
    "segment_came_late": _segment_came_late,
    "postponed": _error,
    "attempt_failed": _error,
    "live_packaging_waits": _error,
    Phase.LIVE: lambda event: str(event["reason"]),
    Phase.FINALIZING: lambda event: f"run {event['generation']} begins: {event['reason']}",
    Phase.EMPTY: lambda event: str(event["reason"]),
    Phase.READY: _ready,
    Phase.FAILED: _error,
}
