"""Pictures that players turn: stored so that they are upright once they are turned by a matrix."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TypeAlias

    Filters: TypeAlias = tuple[tuple[str, ...], ...]

#: ffmpeg's filters that undo a matrix, by the signs of its a, b, c and d (ISO/IEC 14496-12, 6.2.2):
#: x' = a·x + c·y, y' = b·x + d·y.
_UNDONE: dict[tuple[int, ...], Filters] = {
    (1, 0, 0, 1): (),
    (-1, 0, 0, 1): (("hflip",),),
    (1, 0, 0, -1): (("vflip",),),
    (-1, 0, 0, -1): (("hflip",), ("vflip",)),
    (0, 1, -1, 0): (("transpose", "cclock"),),
    (0, -1, 1, 0): (("transpose", "clock"),),
    (0, 1, 1, 0): (("transpose", "cclock_flip"),),
    (0, -1, -1, 0): (("transpose", "clock_flip"),),
}
_MATRIX = struct.Struct(">9i")


def undoing(matrix: bytes) -> Filters:
    """Filters, with their arguments, by which upright pictures come to lie as they are stored.

    A matrix that turns by no right angle is taken for one that turns nothing, as ffmpeg does.
    """
    a, b, _, c, d, *_ = _MATRIX.unpack(matrix)
    return _UNDONE.get(tuple((each > 0) - (each < 0) for each in (a, b, c, d)), ())


def lies_sideways(matrix: bytes) -> bool:
    """Whether width and height change places by it."""
    return any(name == "transpose" for name, *_ in undoing(matrix))
