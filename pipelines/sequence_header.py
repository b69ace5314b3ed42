"""The sequence header of MPEG-1 and MPEG-2 video, in a stream and in sample entries alike."""

from __future__ import annotations

START = b"\0\0\1\xb3"
_SIZE = 8


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
