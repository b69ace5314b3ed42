"""The access units of a damaged elementary stream that are whole, one by one with their bytes."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pipelines.media import Codec, Configuration, TrackKind
from pipelines.mpegts.clock import count_frames, frame_ticks, near, stamps
from pipelines.mpegts.frames import CHAIN, index_frames, next_header
from pipelines.mpegts.index import FRAME_SYNTAXES, PICTURE_INDEXES
from pipelines.mpegts.nal import find_nal_units
from pipelines.mpegts.packets import PACKET
from pipelines.mpegts.pes import ElementaryStream, gather
from pipelines.mpegts.stretches import stretches
from pipelines.segment_index import NO_TIME

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipelines.mpegts.frames import FrameSyntax
    from pipelines.mpegts.packets import Offsets, Packets
    from pipelines.mpegts.units import Units

#: Where the NAL unit type lies in the first byte (shift, mask), and that of access unit delimiters.
DELIMITERS = {Codec.H264: (0, 0x1F, 9), Codec.HEVC: (1, 0x3F, 35)}
#: NAL unit types of coded slices.
H264_SLICES = (1, 2, 5)
HEVC_SLICES = (*range(10), *range(16, 22))
#: HEVC pictures to which no other of their sub-layer refers: TRAIL_N to RASL_N, reserved ones.
HEVC_UNREFERENCED = range(0, 15, 2)
#: picture_coding_type of pictures to which none refers (ISO/IEC 13818-2, table 6-12).
BIDIRECTIONAL = 3
#: A picture that comes so many usual distances behind another one has lost none between them.
NEIGHBOUR = 1.5


@dataclass(frozen=True, eq=False)
class Salvaged:
    """One access unit; times in 90 kHz, or ``NO_TIME``."""

    pid: int
    codec: Codec
    offset: int  #: byte in the segment of the packet in which it begins
    data: bytes
    dts: int
    pts: int
    key: bool
    configuration: Configuration | None  #: as its own bytes tell it


@dataclass(frozen=True, eq=False)
class SalvagedTrack:
    """What is whole of one PID.

    ``head`` are the bytes that go on with a unit of the segment before. ``left_out`` counts units
    that are damaged, or refer to such. ``closed``: what the next segment begins with goes on with
    none of these units. ``loses_references``: pictures that follow, up to a key frame, refer to
    lost ones.
    """

    pid: int
    codec: Codec
    head: bytes
    units: tuple[Salvaged, ...]
    left_out: int
    closed: bool
    loses_references: bool


@dataclass(frozen=True, eq=False)
class _Found:
    """The units of one stretch: the last one may lack its end."""

    head: bytes
    units: tuple[Salvaged, ...]
    whole: bool  #: the last unit has its end
    owes: bool  #: it certainly has not, unless the next segment goes on with it
    frame: int = 0  #: ticks of one frame of sound


def salvage(
    packets: Packets,
    pid: int,
    codec: Codec,
    reference: int,
    *,
    orphaned: bool,
    cut: bool,
    goes_on: bool,
) -> SalvagedTrack:
    """What is whole of one PID, in packets out of which damaged and repeated ones were taken.

    ``reference``: a time next to which all others are meant (33 bits). ``orphaned``: packets are
    missing at the beginning of the segment. ``cut``: bytes are missing at its end. ``goes_on``: the next segment may go on with the last unit.
    """
    parts = deque(stretches(packets, pid))
    ended = [part.ended for part in parts]
    find = _pictures if codec.kind is TrackKind.VIDEO else _frames
    found: list[_Found] = []
    while parts:  # which are as large as their units: none is held any longer than it is needed
        number = len(found)
        stream = gather(parts.popleft().packets, pid)
        first = not number and not orphaned
        found.append(find(stream, pid, codec, reference, first=first, ended=ended[number]))
    if found and not found[0].units and not ended[0] and (cut or len(found) > 1):
        found[0] = replace(found[0], head=b"")
    if found and not cut:
        found[-1] = replace(found[-1], whole=goes_on or not found[-1].owes)
    choose = _decodable if codec.kind is TrackKind.VIDEO else _complete
    units, left_out, loses_references = choose(found, orphaned=orphaned)
    last = next((each.units[-1] for each in reversed(found) if each.units), None)
    return SalvagedTrack(
        pid=pid,
        codec=codec,
        head=found[0].head if found else b"",
        units=units,
        left_out=left_out,
        closed=cut or (last is not None and (not units or units[-1] is not last)),
        loses_references=loses_references,
    )


def with_sets(unit: Salvaged, sets: bytes) -> Salvaged:
    """A picture of H.264 or HEVC with parameter sets (Annex B), behind its delimiter if it has one."""
    nals = find_nal_units(unit.data)
    shift, mask, delimiter = DELIMITERS[unit.codec]
    delimited = len(nals.codes) > 1 and int(nals.first[0]) >> shift & mask == delimiter
    at = int(nals.codes[1]) if delimited else 0
    return replace(unit, data=unit.data[:at] + sets + unit.data[at:])


def _pictures(
    stream: ElementaryStream, pid: int, codec: Codec, reference: int, *, first: bool, ended: bool
) -> _Found:
    index = PICTURE_INDEXES[codec]
    units = index(stream)
    dts, pts = _times(stream, units, reference)
    # Pictures before the first PES header have no times: nothing can tell when they belong.
    begin = int(np.searchsorted(units.starts, stream.headless))
    ends = [*units.starts.tolist(), len(stream.data)]
    head = bytes(stream.data[: ends[begin]]) if first else b""
    found = []
    for number in range(begin, len(units)):
        data = bytes(stream.data[ends[number] : ends[number + 1]])
        alone = index(ElementaryStream.of_unit(data)) if units.configuration else None
        found.append(
            Salvaged(
                pid=pid,
                codec=codec,
                offset=stream.segment_offset(ends[number] + 1) - PACKET,
                data=data,
                dts=int(dts[number]),
                pts=int(pts[number]),
                key=bool(units.sync[number]),
                configuration=alone.configuration if alone else None,
            )
        )
    return _Found(head, tuple(found), ended, stream.unfinished)


def _frames(
    stream: ElementaryStream, pid: int, codec: Codec, reference: int, *, first: bool, ended: bool
) -> _Found:
    syntax = FRAME_SYNTAXES[codec]
    units = index_frames(stream, syntax, codec)
    if not len(units):
        return _Found(bytes(stream.data) if first else b"", (), ended, owes=False)
    times = _counted(_times(stream, units, reference)[1], units)
    ends = [*units.starts.tolist(), len(stream.data)]
    begin = int(np.searchsorted(units.starts, stream.headless)) if first else 0
    head = bytes(stream.data[: ends[begin]]) if first else b""
    found, cut = [], False
    for number in range(begin, len(units)):
        extent = _extent(stream.data, syntax, ends[number], ends[number + 1])
        if extent is None:
            continue
        start, end, cut = extent
        configuration = None if cut else syntax.describe(stream.data, start).configuration
        found.append(
            Salvaged(
                pid=pid,
                codec=units.codec,
                offset=stream.segment_offset(start + 1) - PACKET,
                data=bytes(stream.data[start:end]),
                dts=int(times[number]),
                pts=int(times[number]),
                key=True,
                configuration=configuration,
            )
        )
    frame = int(frame_ticks(np.ones(1, np.int64), units.samples, units.sample_rate)[0])
    return _Found(head, tuple(found), not cut, cut, frame)


def _times(stream: ElementaryStream, units: Units, reference: int) -> tuple[Offsets, Offsets]:
    dts, pts = stamps(stream, units)
    dts = near(dts, reference)
    return dts, near(pts, dts)


def _counted(times: Offsets, units: Units) -> Offsets:
    """Times of all frames, those before the first time stamp too: counted back from it."""
    counted = count_frames(times, units.samples, units.sample_rate)
    known = np.flatnonzero(counted != NO_TIME)
    if len(known):
        before = np.arange(known[0], 0, -1, dtype=np.int64)
        ticks = frame_ticks(before, units.samples, units.sample_rate)
        counted[: known[0]] = counted[known[0]] - ticks
    return counted


def _extent(
    data: bytearray | bytes, syntax: FrameSyntax, start: int, stop: int
) -> tuple[int, int, bool] | None:
    """From where to where a frame with what depends on it goes, without the junk beside it, and
    whether its end is missing; None where there is only junk."""
    if stop == len(data) and stop - start < syntax.header_bytes:
        begun = data[start : start + len(syntax.sync_word)]
        return (start, stop, True) if syntax.sync_word.startswith(begun) else None
    begin = next_header(data, syntax, start)
    if begin is None or begin >= stop:
        return None
    at = begin
    while at < stop and at + syntax.header_bytes <= len(data):
        header = syntax.header(data, at)
        if header is None or (at > begin and header.begins_unit):
            break
        at += header.size
    return begin, min(at, stop), at > stop


def _complete(found: Sequence[_Found], *, orphaned: bool) -> tuple[tuple[Salvaged, ...], int, bool]:
    """The frames that are whole, and how many are not."""
    units: list[Salvaged] = []
    left_out = int(orphaned)
    for number, part in enumerate(found):
        whole = part.units if part.whole else part.units[:-1]
        damaged = len(part.units) - len(whole)
        if number and units and whole and part.frame:
            apart = (
                whole[0].dts - units[-1].dts if NO_TIME not in (whole[0].dts, units[-1].dts) else 0
            )
            left_out += max(round(apart / part.frame) - 1 - _pending(found[number - 1]), 0)
        opens = number == 0 and not orphaned
        units += [unit for unit in whole if opens or unit.dts != NO_TIME]
        left_out += damaged
    believed = _believed(units)
    return believed, left_out + len(units) - len(believed), False


def _believed(units: Sequence[Salvaged]) -> tuple[Salvaged, ...]:
    """The frames without those that only look like frames: a few of a format of their own."""
    groups: list[list[Salvaged]] = []
    for unit in units:
        if groups and _are_alike(groups[-1][-1], unit):
            groups[-1].append(unit)
        else:
            groups.append([unit])
    longest = max((len(group) for group in groups), default=0)
    return tuple(unit for group in groups if len(group) >= min(CHAIN, longest) for unit in group)


def _are_alike(one: Salvaged, other: Salvaged) -> bool:
    if one.configuration is None or other.configuration is None:
        return True
    return one.configuration.conflict_with(other.configuration) is None


def _pending(before: _Found) -> int:
    """Damaged frames of a stretch that were counted already."""
    return 0 if before.whole or not before.units else 1


def _decodable(
    found: Sequence[_Found], *, orphaned: bool
) -> tuple[tuple[Salvaged, ...], int, bool]:
    """The pictures that are whole and refer to none that is not, how many are left out, and whether
    pictures behind them would be.

    Behind a loss nothing decodes up to a key frame, and what is shown before that neither; unless
    all that was lost is one picture to which none refers.
    """
    usual = _usual_distance([unit.dts for part in found for unit in part.units])
    units: list[Salvaged] = []
    left_out, shown = int(orphaned), NO_TIME
    before: Salvaged | None = None  # the picture before the one looked at, whole or not
    waiting = suspect = False  # for a key frame; whether pictures may be missing before this one
    for part in found:
        suspect = suspect or orphaned or part is not found[0]
        for number, unit in enumerate(part.units):
            if suspect:
                waiting |= not _are_neighbours(before, unit, usual)
                left_out += _missing_between(before, unit, usual)
                suspect = False
            damaged = number == len(part.units) - 1 and not part.whole
            if unit.key and waiting and not damaged:
                waiting, shown = False, unit.pts
            if damaged or waiting or (NO_TIME not in (unit.pts, shown) and unit.pts < shown):
                left_out += 1
                waiting |= damaged and not _is_unreferenced(unit)
            else:
                units.append(unit)
            before = unit
    return tuple(units), left_out, waiting


def _usual_distance(times: Iterable[int]) -> float:
    known = np.array([time for time in times if time != NO_TIME], np.int64)
    steps = np.diff(known)
    steps = steps[steps > 0]
    return float(np.median(steps)) if len(steps) else 0.0


def _are_neighbours(before: Salvaged | None, unit: Salvaged, usual: float) -> bool:
    """Whether no picture is missing between two, by their times."""
    if before is None or NO_TIME in (before.dts, unit.dts):
        return False
    return 0 < unit.dts - before.dts <= NEIGHBOUR * usual


def _missing_between(before: Salvaged | None, unit: Salvaged, usual: float) -> int:
    """How many pictures are missing between two, by their times."""
    if before is None or NO_TIME in (before.dts, unit.dts) or not usual:
        return 0
    return max(round((unit.dts - before.dts) / usual) - 1, 0)


def _is_unreferenced(unit: Salvaged) -> bool:
    """Whether no other picture refers to this one, as far as the bytes that are left can tell."""
    nals = find_nal_units(unit.data)
    if unit.codec is Codec.H264:
        slices = np.isin(nals.first & 0x1F, H264_SLICES)
        return bool(slices.any()) and not (nals.first[slices] & 0x60).any()
    if unit.codec is Codec.HEVC:
        kinds = nals.first >> 1 & 0x3F
        slices = np.isin(kinds, HEVC_SLICES)
        return bool(slices.any()) and bool(np.isin(kinds[slices], HEVC_UNREFERENCED).all())
    octets = np.frombuffer(unit.data, np.uint8)
    pictures = nals.codes[nals.first == 0]
    coding = octets[np.minimum(pictures + 5, len(octets) - 1)] >> 3 & 7
    return bool(len(pictures)) and bool((coding == BIDIRECTIONAL).all())
