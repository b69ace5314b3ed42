"""Stretches of one PID's packets: between two of them packets are missing, within one none are."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipelines.mpegts.packets import HEADER, Packets, continuity
from pipelines.mpegts.pes import missing_bytes

if TYPE_CHECKING:
    from pipelines.mpegts.packets import Flags, Offsets

#: payload_unit_start_indicator, in the second byte of a packet (ISO/IEC 13818-1, 2.4.3.2).
UNIT_START = 0x40
#: Bytes of a program clock reference in an adaptation field, and the flag that tells of one.
CLOCK_BYTES, CLOCK_FLAG = 6, 0x10


@dataclass(frozen=True, eq=False)
class Stretch:
    """Packets that follow each other; ``ended`` when the last PES packet in them is complete."""

    packets: Packets
    ended: bool


def stretches(packets: Packets, pid: int) -> tuple[Stretch, ...]:
    """The packets with payload of one PID, cut where others are missing.

    Inside a PES packet that has exactly the bytes that it declares none are, whatever the counters
    say.
    """
    numbers = packets.of(pid)
    breaks, _ = continuity(packets, numbers)
    filled = packets.rows[numbers, 3] & 0x10 != 0
    # What is missing before a packet without payload is missing before the next that has some.
    lost = np.diff(np.append(0, np.cumsum(breaks)[filled])) > 0
    numbers = numbers[filled]
    begins = packets.rows[numbers, 1] & UNIT_START != 0
    edges = [0, *_breaks(packets, pid, numbers, lost, begins), len(numbers)]
    parts = [
        packets.only(numbers[first:last])
        for first, last in itertools.pairwise(edges)
        if first < last
    ]
    return tuple(Stretch(part, is_ended(part, pid)) for part in parts)


def _breaks(packets: Packets, pid: int, numbers: Offsets, lost: Flags, begins: Flags) -> list[int]:
    """Positions in ``numbers`` before which packets are missing."""
    starts = [*np.flatnonzero(begins).tolist(), len(numbers)]
    found = []
    for at in np.flatnonzero(lost).tolist():
        group = int(np.searchsorted(starts, at, side="right")) - 1
        if not begins[at] and group >= 0:
            whole = packets.only(numbers[starts[group] : starts[group + 1]])
            if missing_bytes(whole, pid) == 0:
                continue
        if at:
            found.append(at)
    return found


def is_ended(part: Packets, pid: int) -> bool:
    """Whether the last PES packet of a PID is complete: by its own word, or because its last packet
    is stuffed, which only the last packet of a PES packet is. ``part`` has packets with payload of
    no other PID."""
    missing = missing_bytes(part, pid)
    if missing is not None:
        return missing == 0
    control, length, flags = part.rows[-1, [3, HEADER, HEADER + 1]].tolist()
    if not control & 0x20:
        return False
    fields = 1 + (CLOCK_BYTES if length and flags & CLOCK_FLAG else 0)
    return not length or int(length) > fields
