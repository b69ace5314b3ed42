"""What was mended in the source's media on the way, without which a player would stumble."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class RepairKind(StrEnum):
    """Kinds of mending; nothing of the media is lost by any of them."""

    TIMESTAMPS = "timestamps"  #: decode times that did not go forward, lacked or were wrong, set anew
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
