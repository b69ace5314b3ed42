"""A damaged segment mended: what is whole of it, as clean segments of one clock each."""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pipelines.media import TrackKind
from pipelines.mpegts.clock import first_stamp
from pipelines.mpegts.clock_lines import FORWARD_LIMIT
from pipelines.mpegts.index import index_segment
from pipelines.mpegts.packets import PACKET, Packets, continuity, marked, read_packets, scrambled
from pipelines.mpegts.pes import gather
from pipelines.mpegts.pieces import TrackPart, one_clock_each
from pipelines.mpegts.salvage import salvage, with_sets
from pipelines.mpegts.stretches import UNIT_START
from pipelines.mpegts.tables import Section, program_changes, program_sections, streams_of
from pipelines.mpegts.transport_writer import TransportWriter
from pipelines.segment_index import MAX_PIECES, NO_TIME, Damage, SegmentIndex, TrackIndex

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

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


@dataclass(frozen=True, eq=False)
class _Draft:
    """A piece to be written: its program tables, its tracks, and the PIDs that nothing goes on with."""

    sections: Sequence[Section]
    parts: Sequence[TrackPart]
    closed: Sequence[int]


@dataclass
class _Mending:
    """What is made of a segment, part by part."""

    known: Mapping[int, Codec]
    without: Mapping[int, int]
    orphaned: Collection[int]
    endless: Collection[int]  #: PIDs whose last packets are missing
    sets: dict[int, bytes] = field(default_factory=dict)  #: those that no picture was given yet
    drafts: deque[_Draft] = field(default_factory=deque)
    left_out: int = 0
    restamped: int = 0
    loses_references: bool = False
    room: int = MAX_PIECES  #: how many more pieces it may come to
    full: bool = False  #: there were more: the rest is left out


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
    whose beginning is missing. ``whole``: it begins with a unit of its own, and no packet is missing
    before that: its counter goes on, or begins as that of a segment of one unit did.
    """

    finished: frozenset[int]
    orphaned: frozenset[int]
    whole: frozenset[int] = frozenset()

    def complete(self, before: SegmentIndex) -> bool:
        """Whether no track of the segment before it lacks a packet at its end, as far as shows."""
        return self.finished | self.whole >= {track.track for track in before.tracks}


#: Nothing goes on with a segment: the next one is lost, or there is none.
TORN = Seam(frozenset(), frozenset())


def seam(before: SegmentIndex, head: bytes | memoryview) -> Seam:
    """What the first bytes of the segment behind it tell of the end of another.

    A PID without a packet in ``head`` may be finished later. Packets are missing where continuity
    counters do not go on.
    """
    packets, _ = read_packets(head)
    finished, orphaned, whole = set(), set(), set()
    for track in before.tracks:
        numbers = packets.of(track.track)
        numbers = numbers[packets.rows[numbers, 3] & 0x10 != 0]
        begins = np.flatnonzero(packets.rows[numbers, 1] & UNIT_START)
        first = int(begins[0]) if len(begins) else len(numbers)
        if not len(numbers):
            finished.add(track.track)
            continue
        counter = int(packets.rows[numbers[0], 3]) & 0x0F
        goes_on = counter == (track.counters[1] + 1) % 16
        if not first:
            if goes_on or (len(track) == 1 and counter == track.counters[0]):
                whole.add(track.track)
        elif not goes_on:
            orphaned.add(track.track)
        elif not continuity(packets, numbers[:first])[0].any():
            finished.add(track.track)
    return Seam(frozenset(finished), frozenset(orphaned), frozenset(whole))


def mend(
    data: bytes,
    index: SegmentIndex,
    known: Mapping[int, Codec],
    goes_on: Collection[int] | None = None,
    *,
    cut: bool = False,
    orphaned: Collection[int] = (),
    without: Mapping[int, int] | None = None,
    sets: Mapping[int, bytes] | None = None,
    checkpoint: Callable[[], None] = lambda: None,
) -> Mended:
    """Take out of a segment what is damaged; what is not stays as it is.

    ``index`` is the segment's, ``known`` names the PIDs where it has no tables. The next segment
    goes on with the last units of the PIDs ``goes_on`` (None: perhaps with all). ``cut``: the end of
    the segment is missing, even if it does not show; ``orphaned``: that of these PIDs is missing
    before its beginning. ``without`` says how many first units of a PID are left out besides;
    ``sets`` are parameter sets (Annex B) that the first picture of a PID is given.
    Scrambled packets are damage: what is written is in the clear. What would make it more than
    ``MAX_PIECES`` pieces is left out. ``checkpoint`` is called now and then, and raises to cancel.
    """
    why = tuple(dict.fromkeys(finding.detail for finding in index.findings))
    if any(finding.damage is Damage.NOT_MEDIA for finding in index.findings):
        return Mended((), why=why)
    sifted = _sifted(data, known)
    removed = len(data) - len(sifted.data)
    damage = (each for each in index.findings if each.damage in _CUT)
    cut = cut or any(each.offset >= sifted.end for each in damage)
    if removed and not (cut or without or sets or orphaned or sifted.headless or sifted.endless):
        again = index_segment(sifted.data, known)
        if again.tracks and is_clean(again) and not ends_cut(again, goes_on):
            return Mended((Piece(sifted.data, again),), removed=removed, why=why)
    made = _Mending(known, without or {}, sifted.headless | frozenset(orphaned), sifted.endless)
    made.sets = dict(sets or {})
    _salvage_all(made, sifted.data, checkpoint, cut=cut, goes_on=goes_on)
    del sifted  # as large as the segment, and so is each piece that is written
    pieces = tuple(_pieces(made, checkpoint))
    if made.full:
        why = (*why, f"it would be more than {MAX_PIECES} pieces of one clock and configuration")
        made.left_out = max(made.left_out, _units(index) - sum(_units(p.index) for p in pieces))
    return Mended(pieces, made.left_out, made.restamped, removed, cut, why, made.loses_references)


def _salvage_all(
    made: _Mending,
    data: bytes,
    checkpoint: Callable[[], None],
    *,
    cut: bool,
    goes_on: Collection[int] | None,
) -> None:
    """Draft the pieces of all that is whole of a segment."""
    packets, _ = read_packets(data)
    sections = program_sections(packets)
    bounds = [0, *program_changes(sections), len(packets.rows)]
    for first, last in itertools.pairwise(bounds):
        checkpoint()
        part, in_force = packets.between(first, last), _in_force(sections, last)
        if last == len(packets.rows):
            _draft_part(made, part, in_force, last=True, cut=cut, goes_on=goes_on)
        else:
            _draft_part(made, part, in_force, last=False, cut=False, goes_on=())
        made.orphaned = ()
        if made.full:
            break


def _units(index: SegmentIndex) -> int:
    return sum(len(track) for track in index.tracks)


def _media(sections: Sequence[Section], known: Mapping[int, Codec]) -> dict[int, Codec]:
    """The media PIDs that tables announce, else those that are known."""
    announced: dict[int, Codec] = {}
    for stream in streams_of(sections):
        if stream.codec:
            announced.setdefault(stream.pid, stream.codec)
    return announced or dict(known)


@dataclass(frozen=True, eq=False)
class _Sifted:
    """A segment without packets that are of no use, and the PIDs whose first or last ones those
    were: there no continuity counter tells that media is missing."""

    data: bytes
    end: int  #: byte behind the last packet of the segment as it came
    headless: frozenset[int]
    endless: frozenset[int]


def _sifted(data: bytes, known: Mapping[int, Codec]) -> _Sifted:
    """The packets without those of media that are scrambled, marked as damaged, or come twice."""
    packets, _ = read_packets(data)
    kept = np.ones(len(packets.rows), np.bool_)
    headless, endless = set(), set()
    for pid in _media(program_sections(packets), known):
        numbers = packets.of(pid)
        _, repeated = continuity(packets, numbers)
        unfit = marked(packets, numbers) | scrambled(packets, numbers)
        kept[numbers[repeated | unfit]] = False
        if unfit[:1].any():
            headless.add(pid)
        if unfit[-1:].any():
            endless.add(pid)
    end = int(packets.offsets[-1]) + PACKET if len(packets.offsets) else 0
    whole = kept.all() and len(packets.rows) * PACKET == len(data)
    clean = data if whole else packets.rows[kept].tobytes()
    return _Sifted(clean, end, frozenset(headless), frozenset(endless))


def _in_force(sections: Sequence[Section], packet: int) -> list[Section]:
    """Of every table the section that came last before a packet."""
    last: dict[int, Section] = {}
    for section in sections:
        if section.packet < packet:
            last[section.pid] = section
    return list(last.values())


def _draft_part(
    made: _Mending,
    packets: Packets,
    sections: Sequence[Section],
    *,
    last: bool,
    cut: bool,
    goes_on: Collection[int] | None,
) -> None:
    """Draft the pieces of packets between which the program tables stay as they are; ``last``: to
    the end of the segment."""
    media = _media(sections, made.known)
    present = packets.present()
    media = {pid: codec for pid, codec in media.items() if pid in present}
    stamps = [first_stamp(gather(packets, pid)) for pid in media]
    reference = min((stamp for stamp in stamps if stamp), default=(0, 0))[1]
    endless = made.endless if last else ()
    tracks = [
        salvage(
            packets,
            pid,
            codec,
            reference,
            orphaned=pid in made.orphaned,
            cut=cut or pid in endless,
            goes_on=goes_on is None or pid in goes_on,
        )
        for pid, codec in media.items()
    ]
    parts = []
    for track in tracks:
        # A last unit of which there is not one packet is not seen otherwise.
        made.left_out += max(track.left_out, int(track.pid in endless))
        head, units = track.head, track.units
        if pictures := made.without.get(track.pid, 0):
            made.left_out += min(pictures, len(units))
            head, units = b"", units[pictures:]
        if units and track.pid in made.sets:
            units = (with_sets(units[0], made.sets.pop(track.pid)), *units[1:])
        parts.append(TrackPart(track.pid, track.codec.kind, head, units))
    made.loses_references = any(
        track.loses_references or (track.pid in endless and track.codec.kind is TrackKind.VIDEO)
        for track in tracks
    )
    cut_up = one_clock_each(parts, made.room)
    made.restamped += cut_up.restamped
    made.left_out += cut_up.left_out
    made.room -= max(1, len(cut_up.pieces))
    made.full = cut_up.left_out > 0 or (not made.room and not last)
    made.loses_references |= made.full
    for piece in cut_up.pieces[:-1]:
        made.drafts.append(_Draft(sections, piece, ()))
    for piece in cut_up.pieces[-1:]:
        closed = [track.pid for track in tracks if track.closed or made.full]
        made.drafts.append(_Draft(sections, piece, closed))


def _pieces(made: _Mending, checkpoint: Callable[[], None]) -> Iterator[Piece]:
    """The drafts as clean segments; what does not come out clean is left out."""
    while made.drafts:
        checkpoint()
        units = sum(len(part.units) for part in made.drafts[0].parts)
        data = _written(made.drafts.popleft())
        index = index_segment(data, made.known)
        if index.tracks and is_clean(index):
            yield Piece(data, index)
        else:
            made.left_out += units
            made.loses_references = True


def _written(draft: _Draft) -> bytes:
    """A segment of these tracks, in the order in which their units came."""
    writer = TransportWriter()
    for section in draft.sections:
        writer.section(section.pid, section.data)
    for part in draft.parts:
        writer.rest(part.pid, part.head)
    units = (unit for part in draft.parts for unit in part.units)
    for unit in sorted(units, key=lambda unit: unit.offset):
        writer.unit(unit.pid, unit.codec, unit.data, unit.pts, unit.dts)
    for pid in draft.closed:
        writer.stop(pid)
    return writer.data
