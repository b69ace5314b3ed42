"""Transport stream packets: finding the 188-byte grid, and what each packet's four bytes say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.segment_index import Damage, Finding

#: Bytes of one transport stream packet (ISO/IEC 13818-1, 2.4.3.2).
PACKET = 188
#: Bytes of a packet's fixed header.
HEADER = 4
SYNC_BYTE = 0x47
#: Byte of a PES header with PES_scrambling_control (2.4.3.7).
PES_CONTROL = 6
#: Packets in a row that must show the sync byte before a grid is believed.
SYNC_RUN = 3

Bytes = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]
Offsets = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Packets:
    """All packets of a segment, in order.

    ``rows`` is (n, 188) uint8, a view of the segment unless the grid had to be found again;
    ``offsets`` the byte at which each packet begins; ``pids`` its 13-bit PID.
    """

    rows: Bytes
    offsets: Offsets
    pids: npt.NDArray[np.uint16]

    def of(self, pid: int) -> Offsets:
        """The numbers of the packets of one PID."""
        return np.flatnonzero(self.pids == pid)

    def only(self, numbers: Offsets | Flags) -> Packets:
        """These packets alone, by number or by a flag for each."""
        return Packets(self.rows[numbers], self.offsets[numbers], self.pids[numbers])

    def between(self, first: int, stop: int) -> Packets:
        """Those from number ``first`` up to ``stop``, which are not copied."""
        return Packets(self.rows[first:stop], self.offsets[first:stop], self.pids[first:stop])

    def present(self) -> frozenset[int]:
        """Every PID that has a packet."""
        return frozenset(np.flatnonzero(np.bincount(self.pids, minlength=1)).tolist())


def read_packets(data: bytes | memoryview) -> tuple[Packets, tuple[Finding, ...]]:
    """Cut a segment into packets, finding the grid again where bytes are missing or foreign."""
    octets = np.frombuffer(data, dtype=np.uint8)
    if not len(octets):
        return _packets(octets, []), (Finding(Damage.EMPTY, 0, "the segment has no bytes"),)
    count, rest = divmod(len(octets), PACKET)
    if not rest and bool((octets[::PACKET] == SYNC_BYTE).all()):
        return _packets(octets, [(0, count)]), ()
    runs = _sync_runs(octets)
    if not runs:
        detail = "no transport stream packets in it"
        return _packets(octets, []), (Finding(Damage.NOT_MEDIA, 0, detail),)
    return _packets(octets, runs), _grid_findings(runs, len(octets))


def _packets(octets: Bytes, runs: list[tuple[int, int]]) -> Packets:
    rows = [octets[start : start + n * PACKET].reshape(n, PACKET) for start, n in runs]
    offsets = [start + PACKET * np.arange(n, dtype=np.int64) for start, n in runs]
    table = (
        np.concatenate(rows) if len(rows) > 1 else (rows or [np.empty((0, PACKET), np.uint8)])[0]
    )
    head = np.ascontiguousarray(table[:, 1:3]).astype(np.uint16)
    pids = (head[:, 0] & 0x1F) << 8 | head[:, 1]
    begins = np.concatenate(offsets) if offsets else np.empty(0, np.int64)
    return Packets(table, begins, pids.astype(np.uint16))


def _sync_runs(octets: Bytes) -> list[tuple[int, int]]:
    """``(offset, packets)`` of every stretch of bytes that lies on one grid."""
    grid = _grid_starts(octets)
    runs: list[tuple[int, int]] = []
    position = 0
    while (index := int(np.searchsorted(grid, position))) < len(grid):
        start = int(grid[index])
        count = _run_length(octets, start)
        runs.append((start, count))
        position = start + count * PACKET
    return runs


def _grid_starts(octets: Bytes) -> Offsets:
    """Offsets at which a grid may begin: sync bytes for three packets, or exactly up to the end."""
    size = len(octets)
    sync = octets == SYNC_BYTE
    starts = np.empty(0, np.int64)
    if size >= SYNC_RUN * PACKET:
        last = size - (SYNC_RUN - 1) * PACKET
        found = sync[:last].copy()
        for packet in range(1, SYNC_RUN):
            found &= sync[packet * PACKET : packet * PACKET + last]
        starts = np.flatnonzero(found)
        starts = starts[starts + SYNC_RUN * PACKET <= size]
    tail = [size - n * PACKET for n in range(SYNC_RUN - 1, 0, -1) if size >= n * PACKET]
    whole = [
        start for start in tail if bool(sync[start::PACKET].all()) and (len(starts) or not start)
    ]
    return np.concatenate((starts, np.array(whole, np.int64)))


def _run_length(octets: Bytes, start: int) -> int:
    """Whole packets from ``start`` on that keep the grid; looks ahead in growing steps."""
    total = (len(octets) - start) // PACKET
    count, step = 0, 64
    while count < total:
        step = min(2 * step, total - count)
        begin = start + count * PACKET
        off = octets[begin : begin + step * PACKET : PACKET] != SYNC_BYTE
        if off.any():
            return count + int(off.argmax())
        count += step
    return count


def _grid_findings(runs: list[tuple[int, int]], size: int) -> tuple[Finding, ...]:
    findings = []
    foreign, where, end = 0, -1, 0
    for start, count in runs:
        if start != end:
            foreign += start - end
            where = end if where < 0 else where
        end = start + count * PACKET
    if foreign:
        detail = f"{foreign} bytes lie off the packet grid"
        findings.append(Finding(Damage.SYNC_LOST, where, detail))
    if size - end >= PACKET:
        detail = f"the last {size - end} bytes are no packets"
        findings.append(Finding(Damage.SYNC_LOST, end, detail))
    elif end < size:
        detail = f"the last packet has {size - end} of {PACKET} bytes"
        findings.append(Finding(Damage.TRUNCATED, end, detail))
    return tuple(findings)


def packet_findings(packets: Packets, pid: int) -> tuple[Finding, ...]:
    """What is wrong with the packets of one media PID: scrambled ones, lost ones."""
    numbers = packets.of(pid)
    breaks, repeated = continuity(packets, numbers)
    findings = []
    for damage, where, what in (
        (Damage.SCRAMBLED, numbers[scrambled(packets, numbers)], "packets are scrambled"),
        (Damage.MARKED, numbers[marked(packets, numbers)], "packets are marked as damaged"),
        (Damage.REPEATED, numbers[repeated], "packets come twice"),
        (Damage.PACKETS_LOST, numbers[breaks], "times the continuity counter jumps"),
    ):
        if len(where):
            detail = f"PID {pid:#x}: {len(where)} {what}"
            findings.append(Finding(damage, int(packets.offsets[where[0]]), detail))
    return tuple(findings)


def scrambled(packets: Packets, numbers: Offsets) -> Flags:
    """Which packets of one PID are scrambled: by transport_scrambling_control, or by
    PES_scrambling_control (2.4.3.7), which holds for a whole PES packet."""
    rows = packets.rows
    flags: Flags = rows[numbers, 3] & 0xC0 != 0
    begins = np.flatnonzero(rows[numbers, 1] & 0x40)
    if len(begins):
        behind_last = np.append(begins[1:], len(numbers)) - begins
        flags[begins[0] :] |= np.repeat(_scrambled_pes(rows, numbers[begins]), behind_last)
    return flags


def _scrambled_pes(rows: Bytes, firsts: Offsets) -> Flags:
    """Of packets with which a PES packet begins, those whose header says that it is scrambled."""
    control = rows[firsts, 3]
    fields = rows[firsts, HEADER].astype(np.int64) + 1
    starts = HEADER + np.where(control & 0x20, fields, 0)
    inside = (control & 0x10 != 0) & (starts + PES_CONTROL < PACKET)
    columns = np.where(inside, starts, HEADER)[:, None] + np.arange(PES_CONTROL + 1)
    heads = rows[firsts[:, None], columns]
    prefixed = (heads[:, :3] == (0, 0, 1)).all(axis=1)
    # The two bits above tell a header with flags: other streams have payload here.
    flagged = heads[:, PES_CONTROL] & 0xC0 == 0x80
    told: Flags = inside & prefixed & flagged & (heads[:, PES_CONTROL] & 0x30 != 0)
    return told


def marked(packets: Packets, numbers: Offsets) -> Flags:
    """Which of these packets a receiver has marked as damaged (transport_error_indicator)."""
    flags: Flags = packets.rows[numbers, 1] & 0x80 != 0
    return flags


def continuity(packets: Packets, numbers: Offsets) -> tuple[Flags, Flags]:
    """Where the counter does not go on (2.4.3.3), and where a packet repeats the one before it.

    The counter advances on packets with payload only; one repetition of a packet, and any value
    beside a discontinuity_indicator, are allowed. ``numbers`` are the packets of one PID.
    """
    rows, control = packets.rows, packets.rows[numbers, 3]
    breaks, repeats = np.zeros(len(numbers), np.bool_), np.zeros(len(numbers), np.bool_)
    if len(numbers) < 2:
        return breaks, repeats
    payload = control & 0x10 != 0
    step = (control[1:] - control[:-1]) & 0x0F
    breaks[1:] = step != payload[1:]
    suspects = np.flatnonzero(breaks)
    adaptation = rows[numbers[suspects], 3] & 0x20 != 0
    told = adaptation & (rows[numbers[suspects], 4] > 0) & (rows[numbers[suspects], 5] & 0x80 != 0)
    # The PCR (bytes 6 to 11) is the one thing in which a repeated packet may differ.
    same = (rows[numbers[suspects], 12:] == rows[numbers[suspects - 1], 12:]).all(axis=1)
    repeated = (step[suspects - 1] == 0) & payload[suspects] & same
    breaks[suspects[told | repeated]] = False
    repeats[suspects[repeated & ~told]] = True
    return breaks, repeats
