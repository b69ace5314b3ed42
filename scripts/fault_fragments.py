"""Moves the clocks of fragments of MP4 on, and joins their segments (ISO/IEC 14496-12)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from scripts.fault_recording import Entry

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Boxes that hold others, on the way to the times of tracks and of their fragments.
_PARENTS = (b"moov", b"trak", b"mdia", b"moof", b"traf")


def moved_fragments(entries: Sequence[Entry], init: bytes, seconds: float) -> list[Entry]:
    """Segments whose fragments are decoded so much later; ``init`` tells each track's timescale."""
    scales = _timescales(init)
    return [
        replace(entry, data=_moved(entry.data, scales, seconds) if entry.data else None)
        for entry in entries
    ]


def joined(entries: Sequence[Entry], number: int) -> Entry:
    """Segments, one after the other, as one."""
    data = b"".join(entry.data or b"" for entry in entries)
    return Entry(f"s{number:03}.m4s", sum(entry.seconds for entry in entries), data)


def _timescales(init: bytes) -> dict[int, int]:
    """Units a second of each track, by its track_ID, of ``tkhd`` and ``mdhd`` (8.3.2, 8.4.2)."""
    scales, track = {}, 0
    for name, at in _boxes(init, 0, len(init)):
        wide = bool(init[at])  # the version: times of 64 bits
        if name == b"tkhd":
            track = _number(init, at + (20 if wide else 12))
        elif name == b"mdhd":
            scales[track] = _number(init, at + (20 if wide else 12))
    return scales


def _moved(segment: bytes, scales: dict[int, int], seconds: float) -> bytes:
    """Adds to every ``tfdt`` (8.8.12), and to the time that ``sidx`` repeats (8.16.3)."""
    data, track = bytearray(segment), 0
    for name, at in _boxes(segment, 0, len(segment)):
        if name == b"tfhd":
            track = _number(segment, at + 4)
        elif name in (b"tfdt", b"sidx"):
            field = at + (4 if name == b"tfdt" else 12)
            scale = scales[track] if name == b"tfdt" else _number(segment, at + 8)
            size = 8 if segment[at] else 4
            time = _number(segment, field, size) + round(seconds * scale)
            data[field : field + size] = time.to_bytes(size, "big")
    return bytes(data)


def _boxes(data: bytes, begin: int, end: int) -> Iterator[tuple[bytes, int]]:
    """Name and first byte of the content of every box, of parents their children instead (4.2)."""
    while begin < end:
        size, name = _number(data, begin), data[begin + 4 : begin + 8]
        if name in _PARENTS:
            yield from _boxes(data, begin + 8, begin + size)
        else:
            yield name, begin + 8
        begin += size


def _number(data: bytes, at: int, size: int = 4) -> int:
    return int.from_bytes(data[at : at + size], "big")
