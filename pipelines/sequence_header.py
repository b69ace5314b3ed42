"""The sequence header of MPEG-1 and MPEG-2 video, in a stream and in sample entries alike."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

START = b"\0\0\1\xb3"
_SIZE = 8
_ANY_START, _EXTENSION_START = b"\0\0\1", b"\0\0\1\xb5"
#: extension_start_code_identifier (table 6-2).
_SEQUENCE_EXTENSION, _DISPLAY_EXTENSION = 1, 2
#: Frames/s by frame_rate_code (ISO/IEC 13818-2, table 6-4).
_FRAME_RATES = {
    1: Fraction(24000, 1001), 2: Fraction(24), 3: Fraction(25), 4: Fraction(30000, 1001),
    5: Fraction(30), 6: Fraction(50), 7: Fraction(60000, 1001), 8: Fraction(60),
}  # fmt: skip


def sequence_facts(data: bytes) -> dict[str, int]:
    """Size, pixel shape and frame rate of a header with its start code (ISO/IEC 13818-2, 6.2.2.1).

    The last two are codes (tables 6-3 and 6-4). Bit rate, buffer size and matrices, which follow,
    may change with every header. Empty for what is no sequence header.
    """
    if len(data) < _SIZE or not data.startswith(START):
        return {}
    return {
        "width": data[4] << 4 | data[5] >> 4,
        "height": (data[5] & 0x0F) << 8 | data[6],
        "aspect_ratio": data[7] >> 4,
        "frame_rate_code": data[7] & 0x0F,
    }


def frame_rate(facts: Mapping[str, int]) -> Fraction | None:
    """Frames/s that ``sequence_facts`` tell; None when they do not."""
    return _FRAME_RATES.get(facts.get("frame_rate_code", 0))


def chroma_format(data: bytes) -> int:
    """chroma_format behind a header (ISO/IEC 13818-2, 6.2.2.3): 1 4:2:0, 2 4:2:2, 3 4:4:4.

    MPEG-1 has no extension, and nothing but 4:2:0.
    """
    body = _extension(data, _SEQUENCE_EXTENSION)
    return (body[1] >> 1 & 3 or 1) if len(body) > 1 else 1


def colour_codes(data: bytes) -> tuple[int, int, int] | None:
    """Primaries, transfer and matrix behind a header (6.2.2.4); None where they are not told."""
    body = _extension(data, _DISPLAY_EXTENSION)
    if len(body) < 4 or not body[0] & 1:
        return None
    return body[1], body[2], body[3]


def _extension(data: bytes, kind: int) -> bytes:
    """The body of an extension from the byte with its number on; empty where there is none."""
    for part in data.split(_EXTENSION_START)[1:]:
        if part[:1] and part[0] >> 4 == kind:
            return part.split(_ANY_START)[0]
    return b""
