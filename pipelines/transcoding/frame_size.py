"""The size of a rendition's pictures: the source's as displayed, fitted into a box."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pipelines.transcoding.source_media import SourceVideo

#: Pixels of the shortest side that is encoded: libx265 takes no less.
MIN_SIDE = 16
#: Pixels of the largest side that is believed: no encoder of ours takes more.
LARGEST_SIDE = 16_384


class Size(NamedTuple):
    """Width and height of a picture of square pixels."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"

    @property
    def turned(self) -> Size:
        """The same on its side."""
        return Size(self.height, self.width)


def displayed(video: SourceVideo) -> Size:
    """The size at which a player shows the source, in square pixels and upright.

    The stored lines are kept and their width is resampled, as players do: 720x576 at 64:45 shows
    as 1024x576, which counts as not scaled up.
    """
    stored = Size(max(1, round(video.width * video.sample_aspect)), video.height)
    return stored.turned if video.rotation in (90, 270) else stored


def fit(box: tuple[int, int], video: SourceVideo) -> Size:
    """The largest even size inside ``box`` that has the displayed aspect and is not scaled up.

    The box is turned when it lies and the source stands, or the other way round. Sides are the
    nearest even number that exceeds neither the box nor the source. Only a side below ``MIN_SIDE``
    comes out as that and loses the aspect (16x4000 in 426x240 is 16x426, not 2x426).
    """
    shown = displayed(video)
    room = _turned_as(shown, Size(*box))
    factor = min(
        Fraction(1), Fraction(room.width, shown.width), Fraction(room.height, shown.height)
    )
    return Size(
        _even(shown.width * factor, min(room.width, shown.width)),
        _even(shown.height * factor, min(room.height, shown.height)),
    )


def own_size(video: SourceVideo) -> Size:
    """The displayed size itself, made even."""
    return fit(displayed(video), video)


def exceeds(box: tuple[int, int], video: SourceVideo) -> bool:
    """Whether the source would have to be scaled up to fill the box."""
    shown = displayed(video)
    room = _turned_as(shown, Size(*box))
    return room.width > shown.width and room.height > shown.height


def _turned_as(shown: Size, box: Size) -> Size:
    across = (shown.width - shown.height) * (box.width - box.height) < 0
    return box.turned if across else box


def _even(length: Fraction, most: int) -> int:
    return max(MIN_SIDE, min(2 * round(length / 2), most - most % 2))
