"""MPEG-1 and MPEG-2 video: pictures, key frames and the sequence header (ISO/IEC 13818-2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipelines.media import Codec, Configuration
from pipelines.mpegts.nal import START_CODE, NalUnits, find_nal_units, unit_starts
from pipelines.mpegts.units import Units, no_units
from pipelines.segment_index import UNKNOWN_SIZE
from pipelines.sequence_header import sequence_facts

if TYPE_CHECKING:
    from pipelines.mpegts.packets import Bytes, Flags, Offsets
    from pipelines.mpegts.pes import ElementaryStream

PICTURE, SEQUENCE, EXTENSION, SEQUENCE_END, GROUP = 0x00, 0xB3, 0xB5, 0xB7, 0xB8
#: extension_start_code_identifier of a picture coding extension (6.3.1), and a whole frame in it.
PICTURE_CODING, WHOLE_FRAME = 8, 3
#: picture_coding_type (table 6-12) of pictures that need no other, and of those between others.
INTRA, BIDIRECTIONAL = 1, 3
#: Bytes of a sequence header that matter, behind its start code.
HEADER_BYTES = 8
#: closed_gop in the fourth byte behind a group's start code (6.2.2.6).
CLOSED_GROUP = 0x40


def index_mpeg2_video(stream: ElementaryStream) -> Units:
    """Find the pictures as ffmpeg's parser does: the two fields of a frame are one unit."""
    codes = find_nal_units(stream.data)
    events = np.flatnonzero(np.isin(codes.first, (PICTURE, SEQUENCE, GROUP)))
    kinds = codes.first[events]
    second = _second_fields(codes, events, kinds)
    events, kinds = events[~second], kinds[~second]
    picture = kinds == PICTURE
    starts = unit_starts(picture, np.ones(len(events), np.bool_))
    if not len(events):
        return no_units(Codec.MPEG2_VIDEO)
    unit = np.cumsum(starts) - 1
    octets = np.frombuffer(stream.data, np.uint8)
    coding = octets[np.minimum(codes.codes[events] + 5, len(octets) - 1)] >> 3 & 7
    sync = np.zeros(int(unit[-1]) + 1, np.bool_)
    sync[unit[picture]] = coding[picture] == INTRA
    begins = events[starts]
    configurations = _configurations(codes, events[kinds == SEQUENCE])
    edges = _edges(codes, begins)
    sizes = np.diff(edges, append=len(stream.data))
    if _may_be_cut(stream.data):
        sizes[-1] = UNKNOWN_SIZE
    return Units(
        codec=Codec.MPEG2_VIDEO,
        starts=codes.codes[begins],
        stamped_at=codes.codes[begins] + 3,
        sync=sync,
        sizes=sizes,
        carried=int(edges[0]),
        configuration=configurations[0] if configurations else None,
        configuration_change=_change(configurations),
        unconfigured=_before_sequence(kinds, unit),
        starts_clean=bool(kinds[0] == SEQUENCE and sync[0]) and _is_closed(codes, events, kinds),
        ends_unfinished=stream.unfinished or not bool(picture[-1]),
        limited=codes.limited,
    )


def _before_sequence(kinds: Bytes, unit: Offsets) -> int:
    """How many pictures come before the first sequence header."""
    headers = np.flatnonzero(kinds == SEQUENCE)
    return int(unit[headers[0]]) if len(headers) else int(unit[-1]) + 1


def _edges(codes: NalUnits, begins: Offsets) -> Offsets:
    """Where each unit's bytes begin: an end of sequence, and nothing behind it, ends the one before.

    Of the zeros before a start code none belong to it, other than in H.264.
    """
    edges = codes.codes[begins]
    for unit in np.flatnonzero((begins > 0) & (codes.first[begins - 1] == SEQUENCE_END)).tolist():
        edges[unit] = codes.codes[begins[unit] - 1] + len(START_CODE) + 1
    return edges


def _may_be_cut(data: bytes | bytearray) -> bool:
    """Whether a start code may lie across the end of the segment."""
    tail = bytes(data[-len(START_CODE) - 1 :])
    return tail.endswith(b"\0") or START_CODE in tail


def _is_closed(codes: NalUnits, events: Offsets, kinds: Bytes) -> bool:
    """Whether no picture refers to one before the first: the group says so, or has none between.

    Encoders that use no B-pictures leave the flag out.
    """
    octets = np.frombuffer(codes.data, np.uint8)
    pictures = np.flatnonzero(kinds == PICTURE)
    groups = events[: int(pictures[0])][kinds[: int(pictures[0])] == GROUP]
    flags = octets[np.minimum(codes.codes[groups] + 7, len(octets) - 1)]
    if bool((flags & CLOSED_GROUP).any()):
        return True
    second = codes.codes[events[pictures[1:2]]]
    coding = octets[np.minimum(second + 5, len(octets) - 1)] >> 3 & 7
    return bool(len(second)) and int(coding[0]) != BIDIRECTIONAL


def _second_fields(codes: NalUnits, events: Offsets, kinds: Bytes) -> Flags:
    """Picture headers that belong to the second field of the frame before."""
    octets = np.frombuffer(codes.data, np.uint8)
    coding = np.flatnonzero((codes.first == EXTENSION) & (codes.second >> 4 == PICTURE_CODING))
    structure = octets[np.minimum(codes.codes[coding] + 6, max(len(octets) - 1, 0))] & 3
    fields = np.zeros(len(codes.codes) + 1, np.bool_)
    fields[coding] = structure != WHOLE_FRAME
    # The extension follows its picture header.
    is_field = (kinds == PICTURE) & fields[np.minimum(events + 1, len(codes.codes))]
    second = np.zeros(len(events), np.bool_)
    for event in np.flatnonzero(is_field[1:] & is_field[:-1]).tolist():
        second[event + 1] = not second[event]
    return second


def _configurations(codes: NalUnits, sequences: Offsets) -> list[Configuration]:
    """What each whole sequence header says."""
    headers = (START_CODE + codes.payload(int(index), HEADER_BYTES) for index in sequences.tolist())
    found = (sequence_facts(header) for header in headers)
    return [Configuration(Codec.MPEG2_VIDEO, (), tuple(facts.items())) for facts in found if facts]


def _change(configurations: list[Configuration]) -> str | None:
    """How a later sequence header contradicts the first."""
    conflicts = (configurations[0].conflict_with(later) for later in configurations[1:])
    return next((conflict for conflict in conflicts if conflict), None)
