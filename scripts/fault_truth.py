"""What is true of a faulty recording by construction, and whether a finished MP4 is true to it."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from scripts.fault_base import FRAME_RATE, WITHIN_SECOND
from scripts.flash_and_beep import WINDOWS_PER_SECOND, beep_times, flash_times, loudest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.tools import MediaTools

#: Seconds by which a flash may be off: one frame.
FLASH_TOLERANCE = 1 / FRAME_RATE
#: Seconds by which a beep may be off: one frame, and the window in which it is found.
BEEP_TOLERANCE = FLASH_TOLERANCE + 1 / WINDOWS_PER_SECOND
#: Seconds by which a silence is looked at later, and less long: a frame of sound may reach into it.
_SILENCE_EDGE = 0.1
#: What an encoder may leave of silence.
_SILENT = 0.02


@dataclass(frozen=True)
class Kept:
    """Base time that is in the recording, in ``[begin, end)``, and how it comes to lie.

    ``moved`` is added to base time; seconds. ``pictures`` and ``sound`` say what of it is there.
    """

    begin: float
    end: float
    moved: float = 0.0
    pictures: bool = True
    sound: bool = True


@dataclass(frozen=True)
class Truth:
    """When what must be seen and heard in the finished MP4, under policy ``hold``; seconds."""

    flashes: tuple[float, ...]
    beeps: tuple[float, ...]
    silences: tuple[tuple[float, float], ...]  #: that are real silence, not holes in the track
    verdicts: tuple[str, ...]  #: of which the report must give one
    lost: tuple[str, ...]  #: URIs of segments of which nothing can be kept

    def to_json(self) -> str:
        """As it is written beside the recording."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Truth:
        """The inverse of ``to_json``."""
        data = json.loads(text)
        return cls(
            tuple(data["flashes"]),
            tuple(data["beeps"]),
            tuple((begin, end) for begin, end in data["silences"]),
            tuple(data["verdicts"]),
            tuple(data["lost"]),
        )


def truth_of(
    kept: Sequence[Kept],
    zero: float,
    *,
    silences: Sequence[tuple[float, float]] = (),
    verdicts: Sequence[str],
    lost: Sequence[str] = (),
) -> Truth:
    """The truth of a recording that holds ``kept``, whose media time 0 is base time ``zero``.

    ``silences`` are base times that were moved already.
    """
    return Truth(
        flashes=_events([each for each in kept if each.pictures], zero),
        beeps=_events([each for each in kept if each.sound], zero),
        silences=tuple((begin - zero, end - zero) for begin, end in silences),
        verdicts=tuple(verdicts),
        lost=tuple(lost),
    )


def differences(tools: MediaTools, path: str, truth: Truth) -> list[str]:
    """What is not as it should be in a finished MP4 (a path or URL), in words.

    Raises MediaFailedError when it cannot be decoded.
    """
    found: list[str] = []
    if truth.flashes:
        found += _off("flash", flash_times(tools, path), truth.flashes, FLASH_TOLERANCE)
    if truth.beeps:
        found += _off("beep", beep_times(tools, path), truth.beeps, BEEP_TOLERANCE)
    for begin, end in truth.silences:
        peak = loudest(tools, path, begin + _SILENCE_EDGE, end - _SILENCE_EDGE)
        if peak > _SILENT:
            found.append(f"from {begin:.3f} to {end:.3f} s there is no silence ({peak:.2f})")
    return found


def _events(kept: Sequence[Kept], zero: float) -> tuple[float, ...]:
    """Media times of what comes once a second of base time."""
    times = [
        second + WITHIN_SECOND + each.moved - zero
        for each in kept
        for second in range(int(each.begin), math.ceil(each.end))
        if each.begin <= second + WITHIN_SECOND < each.end
    ]
    return tuple(round(time, 6) for time in times)


def _off(what: str, found: list[float], due: tuple[float, ...], tolerance: float) -> list[str]:
    """Each event that is due must be found at its time, and nothing besides."""
    missing = [at for at in due if all(abs(at - seen) > tolerance for seen in found)]
    surplus = [seen for seen in found if all(abs(at - seen) > tolerance for at in due)]
    told = [f"no {what} at {at:.3f} s" for at in missing]
    return [*told, *(f"a {what} at {seen:.3f} s that is not due" for seen in surplus)]
