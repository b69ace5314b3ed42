"""What was mended in the source's media on the way, without which a player would stumble."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class RepairKind(StrEnum):
    """Kinds of mending; nothing of the media is lost by any of them."""

    TIMESTAMPS = (
        "timestamps"  #: decode times that did not go forward, lacked or were wrong, set anew
    )
    DUPLICATE = "duplicate"  #: media that came twice is kept once
    CLOCK_SPLIT = "clock_split"  #: the clock, tracks or configuration changed inside a segment
    PARAMETER_SETS = "parameter_sets"  #: sets sent once, long before, are put before a picture
    LEFT_OUT = "left_out"  #: bytes that carry no media: junk between packets, foreign packets


@dataclass(frozen=True, slots=True)
class Repair:
    """One thing that was mended; ``units`` counts the access units (or frames) concerned.

    ``rendition`` names the audio rendition whose own playlist lists the segment; empty: the main one.
    ``whole``: the segment as a whole came before. ``by_track``: pairs of a PID or track_ID and its
    units that were left out before anything was made of them, since they came before.
    """

    sequence: int
    kind: RepairKind
    detail: str
    units: int = 0
    rendition: str = ""
    whole: bool = False
    by_track: tuple[tuple[int, int], ...] = ()


def repeats(first: int, whole: Sequence[int], units: int) -> list[Repair]:
    """What is told of so many ``units`` that came before, from segment ``first`` on: of each of the
    segments that are repeated as a ``whole``, that it is one."""
    detail = f"media that begins with segment {first} came twice and is kept once"
    if not whole:
        return [Repair(first, RepairKind.DUPLICATE, detail, units)]
    counts = [units, *[0] * (len(whole) - 1)]
    return [
        Repair(sequence, RepairKind.DUPLICATE, detail, count, whole=True)
        for sequence, count in zip(whole, counts, strict=True)
    ]
