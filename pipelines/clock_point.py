"""Where the source's own clock and media time go side by side: by this, subtitles are placed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ClockPoint:
    """From here on, until the next one, the source's clock and media time go side by side.

    ``sequence`` and ``piece`` name the segment, and the part of it, at which that begins.
    """

    media: float  #: media seconds
    clock: float  #: the source's own clock there, seconds, in any round of it
    sequence: int
    piece: int
