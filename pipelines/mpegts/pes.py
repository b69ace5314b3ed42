"""The elementary stream of one PID: its bytes without packet headers, and its PES time stamps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.mpegts.packets import HEADER, PACKET, Bytes, Flags, Offsets, Packets
from pipelines.segment_index import NO_TIME

#: Bytes of a PES header before its optional fields (ISO/IEC 13818-1, 2.4.3.7).
PES_FIXED = 9
#: With PTS and DTS behind them.
PES_STAMPED = 19
#: stream_id of what is no stream of access units: tables, padding, private_stream_2, ECM, EMM …
OTHER_STREAM_IDS = (0xBC, 0xBE, 0xBF, 0xF0, 0xF1, 0xF2, 0xF8, 0xFF)


@dataclass(frozen=True, eq=False)
class ElementaryStream:
    """The payload of one PID, and where each PES packet and each transport packet begins in it.

    ``headless`` bytes at the front come before the first PES header of the segment: they go on
    with the last PES packet of the segment before. ``unfinished``: the last PES packet declares
    more bytes than the segment has. Times are 33-bit values or ``NO_TIME``.
    """

    data: bytearray
    headless: int
    unfinished: bool
    closed: bool  #: the last PES packet is of no stream of access units
    pes_starts: Offsets
    pes_offsets: Offsets  #: byte in the segment of the packet with the PES header
    pts: Offsets
    dts: Offsets
    packet_starts: Offsets
    packet_ends: Offsets  #: byte in the segment at which each transport packet ends

    @classmethod
    def of_unit(cls, data: bytes) -> ElementaryStream:
        """The bytes of one access unit as a stream of its own, without packets or times."""
        nothing = np.empty(0, np.int64)
        return cls(bytearray(data), 0, False, False, *[nothing] * 6)

    def segment_offset(self, end: int) -> int:
        """The byte in the segment by which the first ``end`` bytes of the stream have passed."""
        if not len(self.packet_ends):
            return 0
        packet = int(np.searchsorted(self.packet_starts, max(end - 1, 0), side="right")) - 1
        return int(self.packet_ends[packet])


@dataclass(frozen=True, eq=False)
class _PesHeaders:
    """The fields of every PES header of a PID, one row each."""

    readable: Flags
    foreign: Flags  #: of what is no stream of access units
    size: Offsets
    declared: Offsets  #: payload bytes that the header promises; 0: not said
    pts: Offsets
    dts: Offsets


def gather(packets: Packets, pid: int) -> ElementaryStream:
    """Read all PES packets of one PID, as ffmpeg's demuxer reads them.

    A PES packet whose header cannot be read is left out; one that declares its length ends there
    when that is the end of a packet, else goes on until the next header.
    """
    numbers, starts = _payload_starts(packets, pid)
    begins = np.flatnonzero(packets.rows[numbers, 1] & 0x40)
    headers = _pes_headers(packets.rows, numbers, starts, begins)
    _skip_headers(starts, begins, headers.size)
    stops = np.full(len(numbers), PACKET, np.int64)
    kept = _kept(starts, stops, begins, headers)
    sizes = np.where(kept, stops - starts, 0)
    ends = np.cumsum(sizes)
    bounds = np.append(begins, len(numbers))
    totals = np.diff(np.append(0, ends)[bounds]) if len(begins) else np.empty(0, np.int64)
    unfinished = bool(len(begins) and totals[-1] < headers.declared[-1])
    read = headers.readable & (totals > 0)
    used = np.flatnonzero(kept & (sizes > 0))
    return ElementaryStream(
        data=_join(packets.rows, numbers[used], starts[used], stops[used]),
        headless=int(np.append(0, ends)[bounds[0]]),
        unfinished=unfinished,
        closed=bool(len(begins) and headers.foreign[-1]),
        pes_starts=(ends - sizes)[begins][read],
        pes_offsets=packets.offsets[numbers[begins]][read],
        pts=headers.pts[read],
        dts=headers.dts[read],
        packet_starts=(ends - sizes)[used],
        packet_ends=packets.offsets[numbers[used]] + PACKET,
    )


def missing_bytes(packets: Packets, pid: int) -> int | None:
    """Bytes that the last PES packet of a PID declares and does not have: fewer than 0 when it has
    more; None when there is none, or it does not say how long it is."""
    numbers, starts = _payload_starts(packets, pid)
    begins = np.flatnonzero(packets.rows[numbers, 1] & 0x40)
    if not len(begins):
        return None
    headers = _pes_headers(packets.rows, numbers, starts, begins)
    if not headers.readable[-1] or not headers.declared[-1]:
        return None
    payload = int((PACKET - starts[begins[-1] :]).sum())
    return int(headers.declared[-1]) - (payload - int(headers.size[-1]))


def _payload_starts(packets: Packets, pid: int) -> tuple[Offsets, Offsets]:
    """Numbers of the packets of a PID that carry payload, and the column where that begins."""
    numbers = packets.of(pid)
    control = packets.rows[numbers, 3]
    adaptation = packets.rows[numbers, HEADER].astype(np.int64) + 1
    starts = HEADER + np.where(control & 0x20, adaptation, 0)
    filled = (control & 0x10 != 0) & (starts < PACKET)
    return numbers[filled], starts[filled]


def _pes_headers(rows: Bytes, numbers: Offsets, starts: Offsets, begins: Offsets) -> _PesHeaders:
    columns = starts[begins, None] + np.arange(PES_STAMPED)
    heads = rows[numbers[begins, None], np.minimum(columns, PACKET - 1)]
    for pes in np.flatnonzero(columns[:, -1] >= PACKET).tolist():
        heads[pes] = _spread_header(rows, numbers, starts, begins, pes)
    field = heads.astype(np.int64)
    prefixed = (field[:, 0] == 0) & (field[:, 1] == 0) & (field[:, 2] == 1)
    foreign = prefixed & np.isin(heads[:, 3], OTHER_STREAM_IDS)
    readable = prefixed & ~foreign
    size = PES_FIXED + field[:, 8]
    length = field[:, 4] << 8 | field[:, 5]
    declared = np.where(length > 0, np.maximum(length + 6 - size, 0), 0)
    flags = field[:, 7] >> 6
    pts = np.where(readable & (flags >= 2), _stamp(field[:, 9:14]), NO_TIME)
    dts = np.where(readable & (flags == 3), _stamp(field[:, 14:19]), pts)
    return _PesHeaders(readable, foreign, size, declared, pts, dts)


def _stamp(field: npt.NDArray[np.int64]) -> Offsets:
    """The 33 bits of a PTS or DTS out of its five bytes."""
    high = (field[:, 0] >> 1 & 7) << 30
    return high | field[:, 1] << 22 | field[:, 2] >> 1 << 15 | field[:, 3] << 7 | field[:, 4] >> 1


def _spread_header(
    rows: Bytes, numbers: Offsets, starts: Offsets, begins: Offsets, pes: int
) -> Bytes:
    """The first bytes of a PES header that goes on in the next packets; zeros where it is cut."""
    last = int(begins[pes + 1]) if pes + 1 < len(begins) else len(numbers)
    header = b""
    for row in range(int(begins[pes]), last):
        header += rows[numbers[row], int(starts[row]) :].tobytes()
        if len(header) >= PES_STAMPED:
            break
    return np.frombuffer(header[:PES_STAMPED].ljust(PES_STAMPED, b"\0"), np.uint8)


def _skip_headers(starts: Offsets, begins: Offsets, sizes: Offsets) -> None:
    """Move the payload starts behind the PES headers, which may span packets."""
    starts[begins] += sizes
    for pes in np.flatnonzero(starts[begins] > PACKET).tolist():
        row = int(begins[pes])
        last = int(begins[pes + 1]) if pes + 1 < len(begins) else len(starts)
        rest = int(starts[row]) - PACKET
        starts[row] = PACKET
        while rest > 0 and (row := row + 1) < last:
            taken = min(rest, PACKET - int(starts[row]))
            starts[row] += taken
            rest -= taken


def _kept(starts: Offsets, stops: Offsets, begins: Offsets, headers: _PesHeaders) -> Flags:
    """Which packets belong to the stream; cuts ``stops`` of a PES packet padded by its only one."""
    kept = np.ones(len(starts), np.bool_)
    bounds = np.append(begins, len(starts)).tolist()
    passed = np.append(0, np.cumsum(PACKET - starts))
    totals = np.diff(passed[bounds])
    for pes in np.flatnonzero(~headers.readable).tolist():
        kept[bounds[pes] : bounds[pes + 1]] = False
    overlong = headers.readable & (headers.declared > 0) & (totals > headers.declared)
    for pes in np.flatnonzero(overlong).tolist():
        first, last, size = bounds[pes], bounds[pes + 1], int(headers.declared[pes])
        if PACKET - starts[first] > size:
            stops[first] = starts[first] + size
            kept[first + 1 : last] = False
            continue
        end = passed[first] + size
        row = int(np.searchsorted(passed[first : last + 1], end)) + first
        if passed[row] == end:
            kept[row:last] = False
    return kept


def _join(rows: Bytes, numbers: Offsets, starts: Offsets, stops: Offsets) -> bytearray:
    """The payloads one after the other: all packets are copied, then the odd ones closed up."""
    width = PACKET - HEADER
    joined = bytearray(len(numbers) * width)
    _copy_payloads(rows, numbers, np.frombuffer(joined, np.uint8).reshape(-1, width))
    odd = np.flatnonzero((starts != HEADER) | (stops != PACKET))
    bases = odd * width
    begins = np.append(0, bases + starts[odd] - HEADER)
    ends = np.append(bases, len(joined))
    # Only the last packet of a PES packet is cut short, so what follows it is odd as well.
    short = np.flatnonzero(stops[odd] != PACKET)
    ends[1 + short] = bases[short] + stops[odd][short] - HEADER
    filled = 0
    with memoryview(joined) as view:
        for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
            if begin != filled:
                view[filled : filled + end - begin] = view[begin:end]
            filled += end - begin
    del joined[filled:]
    return joined


def _copy_payloads(rows: Bytes, numbers: Offsets, payloads: Bytes) -> None:
    """Copy 184 bytes of every packet, run by run where packets of the PID follow each other."""
    bounds = np.flatnonzero(np.diff(numbers) != 1) + 1
    if len(bounds) > len(numbers) // 8:
        payloads[:] = rows[numbers, HEADER:]
        return
    begins, ends = [0, *bounds.tolist()], [*bounds.tolist(), len(numbers)]
    for begin, end in zip(begins, ends, strict=True):
        if begin < end:
            first = int(numbers[begin])
            payloads[begin:end] = rows[first : first + end - begin, HEADER:]
