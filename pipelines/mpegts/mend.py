"""A damaged segment mended: what is whole of it, as clean segments of one clock each."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pipelines.media import TrackKind
from pipelines.mpegts.clock import first_stamp
from pipelines.mpegts.clock_lines import FORWARD_LIMIT
from pipelines.mpegts.index import index_segment
from pipelines.mpegts.packets import PACKET, Packets, continuity, marked, read_packets
from pipelines.mpegts.pes import gather
from pipelines.mpegts.pieces import TrackPart, one_clock_each
from pipelines.mpegts.salvage import salvage
from pipelines.mpegts.stretches import UNIT_START
from pipelines.mpegts.tables import Section, program_changes, program_sections, streams_of
from pipelines.mpegts.transport_writer import TransportWriter
from pipelines.segment_index import NO_TIME, Damage, SegmentIndex, TrackIndex

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from pipelines.media import Codec

#: Damage at the end of a segment: bytes that are missing there, or are none of ours.
_CUT = (Damage.TRUNCATED, Damage.SYNC_LOST)


@dataclass(frozen=True, eq=False)
class Piece:
    """Clean bytes of one clock, one set of tracks and one configuration, and what they hold."""

    data: bytes
    index: SegmentIndex


@dataclass(frozen=True, eq=False)
class Mended:
    """What became of one segment: no piece is left of one without a whole unit.

    ``left_out`` counts access units that are lost, ``restamped`` those that got other times;
    ``removed`` bytes of foreign and repeated packets held no media. ``cut``: its end is missing.
    ``why`` tells of the damage in words. ``loses_references``: pictures of the next segment, up to a key frame, refer to lost ones.
    """

    pieces: tuple[Piece, ...]
    left_out: int = 0
    restamped: int = 0
    removed: int = 0
    cut: bool = False
    why: tuple[str, ...] = ()
    loses_references: bool = False


@dataclass
class _Mending:
    """What is made of a segment, part by part."""

    known: Mapping[int, Codec]
    without: Mapping[int, int]
    orphaned: Collection[int]
    pieces: list[Piece] = field(default_factory=list)
    left_out: int = 0
    restamped: int = 0
    loses_references: bool = False


def is_clean(index: SegmentIndex) -> bool:
    """Whether a segment can be fed as it is: undamaged, of one clock and one configuration."""
    if index.findings:
        return False
    return not any(track.configuration_change or stumbles(track) for track in index.tracks)


def stumbles(track: TrackIndex) -> bool:
    """Whether the track's clock steps back, or jumps further than any hole."""
    steps = np.diff(track.dts[track.dts != NO_TIME])
    return bool(((steps <= 0) | (steps > FORWARD_LIMIT)).any())


def ends_cut(index: SegmentIndex, goes_on: Collection[int] | None) -> bool:
    """Whether the end of a unit is missing: the next segment goes on with the PIDs ``goes_on``
    (None: perhaps with all)."""
    if goes_on is None:
        return False
    return any(track.track not in goes_on and lacks_its_end(track) for track in index.tracks)


def lacks_its_end(track: TrackIndex) -> bool:
    """Whether the last unit certainly goes on in the next segment, unless that is missing."""
    unfinished = track.owes or (track.kind is TrackKind.AUDIO and track.ends_unfinished)
    return unfinished and not track.closed


@dataclass(frozen=True)
class Seam:
    """How a segment goes on with the last units of the one before it, by PID.

    ``finished``: it may have the rest of them. ``orphaned``: it begins with bytes of other units,
    whose beginning is missing.
    """

    finished: frozenset[int]
    orphaned: frozenset[int]


#: Nothing goes on with a segment: the next one is lost, or there is none.
TORN = Seam(frozenset(), frozenset())


def seam(before: SegmentIndex, head: bytes | memoryview) -> Seam:
    """What the first bytes of the segment behind it tell of the end of another.

    A PID without a packet in ``head`` may be finished later. Packets are missing where continuity
    counters do not go on.
    """
    packets, _ = read_packets(head)
    finished, orphaned = set(), set()
    for track in before.tracks:
        numbers = packets.of(track.track)
        numbers = numbers[packets.rows[numbers, 3] & 0x10 != 0]
        begins = np.flatnonzero(packets.rows[numbers, 1] & UNIT_START)
        first = int(begins[0]) if len(begins) else len(numbers)
        if not len(numbers):
            finished.add(track.track)
        elif first:
            counter = int(packets.rows[numbers[0], 3]) & 0x0F
            if counter != (track.counters[1] + 1) % 16:
                orphaned.add(track.track)
            elif not continuity(packets, numbers[:first])[0].any():
                finished.add(track.track)
    return Seam(frozenset(finished), frozenset(orphaned))


def mend(
    data: bytes,
    index: SegmentIndex,
    known: Mapping[int, Codec],
    goes_on: Collection[int] | None = None,
    *,
    cut: bool = False,
    orphaned: Collection[int] = (),
    without: Mapping[int, int] | None = None,
) -> Mended:
    """Take out of a segment what is damaged; what is not stays as it is.

    ``index`` is the segment's, ``known`` names the PIDs where it has no tables. The next segment
    goes on with the last units of the PIDs ``goes_on`` (None: perhaps with all). ``cut``: the end of
    the segment is missing, even if it does not show; ``orphaned``: that of these PIDs is missing
    before its beginning. ``without`` says how many first units of a PID are left out besides. Scrambled packets must not get here: what
    is written is in the clear.
    """
    why = tuple(dict.fromkeys(finding.detail for finding in index.findings))
    if any(finding.damage is Damage.NOT_MEDIA for finding in index.findings):
        return Mended((), why=why)
    packets, _ = read_packets(data)
    clean = _sifted(packets, known)
    removed = len(data) - PACKET * len(clean.rows)
    end = int(packets.offsets[-1]) + PACKET if len(packets.offsets) else 0
    cut = cut or any(each.damage in _CUT and each.offset >= end for each in index.findings)
    if removed and not (cut or without or orphaned):
        sifted = clean.rows.tobytes()
        again = index_segment(sifted, known)
        if again.tracks and is_clean(again) and not ends_cut(again, goes_on):
            return Mended((Piece(sifted, again),), removed=removed, why=why)
    made = _Mending(known, without or {}, orphaned)
    sections = program_sections(clean)
    bounds = [0, *program_changes(sections), len(clean.rows)]
    for first, last in itertools.pairwise(bounds):
        part = clean.only(np.arange(first, last))
        if last == len(clean.rows):
            _mend_part(made, part, _in_force(sections, last), cut=cut, goes_on=goes_on)
        else:
            _mend_part(made, part, _in_force(sections, last), cut=False, goes_on=())
        made.orphaned = ()
    pieces = tuple(made.pieces)
    return Mended(pieces, made.left_out, made.restamped, removed, cut, why, made.loses_references)


def _media(sections: Sequence[Section], known: Mapping[int, Codec]) -> dict[int, Codec]:
    """The media PIDs that tables announce, else those that are known."""
    announced: dict[int, Codec] = {}
    for stream in streams_of(sections):
        if stream.codec:
            announced.setdefault(stream.pid, stream.codec)
    return announced or dict(known)


def _sifted(packets: Packets, known: Mapping[int, Codec]) -> Packets:
    """The packets without those of media that are marked as damaged, or come twice."""
    kept = np.ones(len(packets.rows), np.bool_)
    for pid in _media(program_sections(packets), known):
        numbers = packets.of(pid)
        _, repeated = continuity(packets, numbers)
        kept[numbers[repeated | marked(packets, numbers)]] = False
    return packets if kept.all() else packets.only(kept)


def _in_force(sections: Sequence[Section], packet: int) -> list[Section]:
    """Of every table the section that came last before a packet."""
    last: dict[int, Section] = {}
    for section in sections:
        if section.packet < packet:
            last[section.pid] = section
    return list(last.values())


def _mend_part(
    made: _Mending,
    packets: Packets,
    sections: Sequence[Section],
    *,
    cut: bool,
    goes_on: Collection[int] | None,
) -> None:
    """Mend packets between which the program tables stay as they are."""
    media = _media(sections, made.known)
    present = packets.present()
    media = {pid: codec for pid, codec in media.items() if pid in present}
    stamps = [first_stamp(gather(packets, pid)) for pid in media]
    reference = min((stamp for stamp in stamps if stamp), default=(0, 0))[1]
    tracks = [
        salvage(
            packets,
            pid,
            codec,
            reference,
            orphaned=pid in made.orphaned,
            cut=cut,
            goes_on=goes_on is None or pid in goes_on,
        )
        for pid, codec in media.items()
    ]
    parts = []
    for track in tracks:
        made.left_out += track.left_out
        head, units = track.head, track.units
        if pictures := made.without.get(track.pid, 0):
            made.left_out += min(pictures, len(units))
            head, units = b"", units[pictures:]
        parts.append(TrackPart(track.pid, track.codec.kind, head, units))
    made.loses_references = any(track.loses_references for track in tracks)
    pieces, restamped = one_clock_each(parts)
    made.restamped += restamped
    for number, piece in enumerate(pieces):
        closed = [t.pid for t in tracks if t.closed] if number == len(pieces) - 1 else []
        _write(made, sections, piece, closed)


def _write(
    made: _Mending,
    sections: Sequence[Section],
    piece: Sequence[TrackPart],
    closed: Sequence[int],
) -> None:
    """Add a piece of these tracks, in the order in which their units came."""
    writer = TransportWriter()
    for section in sections:
        writer.section(section.pid, section.data)
    for part in piece:
        writer.rest(part.pid, part.head)
    units = sorted((unit for part in piece for unit in part.units), key=lambda unit: unit.offset)
    for unit in units:
        writer.unit(unit.pid, unit.codec, unit.data, unit.pts, unit.dts)
    for pid in closed:
        writer.stop(pid)
    data = writer.data
    index = index_segment(data, made.known)
    if index.tracks and is_clean(index):
        made.pieces.append(Piece(data, index))
    else:
        made.left_out += len(units)
        made.loses_references = True
