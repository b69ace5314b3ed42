"""HEVC in a byte stream: access units, key frames and parameter sets (ITU-T H.265)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipelines.media import Codec, Configuration
from pipelines.mpegts.nal import (
    BitReader,
    NalUnits,
    UnreadableBits,
    code_starts,
    find_nal_units,
    sample_sizes,
    unescape,
    unit_starts,
)
from pipelines.mpegts.unit_hashes import picture_hashes
from pipelines.mpegts.units import ParameterSets, Units, no_units

if TYPE_CHECKING:
    from pipelines.mpegts.packets import Flags, Offsets
    from pipelines.mpegts.pes import ElementaryStream

VPS, SPS, PPS, DELIMITER = 32, 33, 34, 35
SET_NAMES = {VPS: "vps", SPS: "sps", PPS: "pps"}
#: Intra random access pictures (table 7-1), and those of them from which all that follows decodes.
IRAP, CLOSED = range(16, 24), (19, 20)
#: Slice segments: TRAIL_N to RASL_R, BLA_W_LP to CRA_NUT.
PICTURE = (*range(10), *range(16, 22))
#: NAL units that end the picture before them (7.4.2.4.4): parameter sets, delimiter, end of
#: sequence and of stream, prefix SEI, reserved and unspecified ones.
SEPARATORS = (*range(32, 38), 39, *range(41, 45), *range(48, 56))


def index_hevc(stream: ElementaryStream) -> Units:
    """Find the access units of the base layer as ffmpeg's parser does."""
    nals = find_nal_units(stream.data)
    types = (nals.first >> 1 & 0x3F).astype(np.int64)
    base = ((nals.first & 1) << 5 | nals.second >> 3) == 0
    first_slice = _first_slices(nals, types)
    events = np.flatnonzero(base & (first_slice | np.isin(types, SEPARATORS)))
    kinds = types[events]
    picture = np.isin(kinds, PICTURE)
    starts = unit_starts(picture, np.ones(len(events), np.bool_))
    lead = _continuation(nals, events, kinds, starts, stream.headless)
    events, kinds, picture, starts = events[lead:], kinds[lead:], picture[lead:], starts[lead:]
    if not len(events):
        return no_units(Codec.HEVC)
    unit = np.cumsum(starts) - 1
    sync = np.zeros(int(unit[-1]) + 1, np.bool_)
    sync[unit[picture]] = np.isin(kinds[picture], IRAP)
    sets = _parameter_sets(nals, events, kinds, unit)
    head, begins = set(kinds[unit == 0].tolist()), events[starts]
    # Samples of hvc1 hold no parameter sets, but not every ffmpeg leaves them out.
    bytes_of = sample_sizes(nals, begins, np.flatnonzero(np.isin(types, tuple(SET_NAMES))))
    return Units(
        codec=Codec.HEVC,
        starts=code_starts(nals)[begins],
        stamped_at=nals.codes[begins] + 3,
        sync=sync,
        sizes=bytes_of.sizes,
        hashes=picture_hashes(nals, begins, bytes_of),
        optional=bytes_of.optional,
        padding=bytes_of.padding,
        carried=bytes_of.carried,
        configuration=_configuration(sets),
        configuration_change=sets.change,
        unconfigured=sets.before_all(tuple(SET_NAMES.values()), len(begins)),
        starts_clean={VPS, SPS, PPS} <= head and bool(head & set(CLOSED)),
        ends_unfinished=stream.unfinished or not bool(picture[-1]),
        limited=nals.limited,
    )


def _first_slices(nals: NalUnits, types: Offsets) -> Flags:
    """Slice segments with first_slice_segment_in_pic_flag, the bit behind the NAL unit header."""
    behind = np.minimum(nals.codes + 5, max(len(nals.data) - 1, 0))
    flags = np.frombuffer(nals.data, np.uint8)[behind] & 0x80 != 0
    first: Flags = np.isin(types, PICTURE) & flags & (nals.codes + 5 < len(nals.data))
    return first


def _continuation(
    nals: NalUnits, events: Offsets, kinds: Offsets, starts: Flags, headless: int
) -> int:
    """How many of the first NAL units belong to a unit that began in the segment before."""
    if not len(events) or int(nals.codes[events[0]]) >= headless or int(kinds[0]) == DELIMITER:
        return 0
    pictures = np.flatnonzero(np.isin(kinds, PICTURE))
    later = np.flatnonzero(starts)
    later = later[later > pictures[0]] if len(pictures) else later[:0]
    return int(later[0]) if len(later) else len(events)


def _parameter_sets(
    nals: NalUnits, events: Offsets, kinds: Offsets, unit: Offsets
) -> ParameterSets:
    sets = ParameterSets()
    seen: set[bytes] = set()
    for event in np.flatnonzero(np.isin(kinds, tuple(SET_NAMES))).tolist():
        index = int(events[event])
        nal = nals.payload(index)
        # The last unit may be cut off by the end of the segment.
        if nal in seen or index + 1 >= len(nals.codes):
            continue
        seen.add(nal)
        kind = int(kinds[event])
        try:
            sets.add(f"{SET_NAMES[kind]}{_set_number(kind, nal)}", nal, int(unit[event]))
        except UnreadableBits:
            continue
    return sets


def _set_number(kind: int, nal: bytes) -> int:
    bits = BitReader(unescape(nal)[2:])
    if kind == VPS:
        return bits.bits(4)
    if kind == SPS:
        _skip_sps_head(bits)
    return bits.ue()


def _skip_sps_head(bits: BitReader) -> int:
    """Read over the fields before sps_seq_parameter_set_id; general_profile_idc (7.3.3)."""
    bits.bits(4)  # sps_video_parameter_set_id
    sub_layers = bits.bits(3)
    bits.bits(1 + 2 + 1)  # nesting flag, general_profile_space, general_tier_flag
    profile = bits.bits(5)
    bits.bits(32 + 48 + 8)  # compatibility and constraint flags, general_level_idc
    present = [(bits.bits(1), bits.bits(1)) for _ in range(sub_layers)]
    if sub_layers:
        bits.bits(2 * (8 - sub_layers))
    for has_profile, has_level in present:
        bits.bits(88 * has_profile + 8 * has_level)
    return profile


def _configuration(sets: ParameterSets) -> Configuration | None:
    if not (named := sets.sorted()):
        return None
    sps = sets.first("sps")
    return Configuration(Codec.HEVC, named, sps_facts(sps) if sps else ())


def sps_facts(nal: bytes) -> tuple[tuple[str, int], ...]:
    """Size, profile, bit depth and chroma of a sequence parameter set (7.3.2.2.1); empty if odd."""
    try:
        return read_sps_head(BitReader(unescape(nal)[2:]))
    except UnreadableBits:
        return ()


def read_sps_head(bits: BitReader) -> tuple[tuple[str, int], ...]:
    """The facts of an SPS, read up to its bit depth of luma; ``UnreadableBits`` when it ends early."""
    profile = _skip_sps_head(bits)
    bits.ue()  # sps_seq_parameter_set_id
    chroma = bits.ue()
    planes = bits.bits(1) if chroma == 3 else 0
    width, height = bits.ue(), bits.ue()
    left, right, top, bottom = [bits.ue() for _ in range(4)] if bits.bits(1) else [0] * 4
    depth = 8 + bits.ue()
    across = 2 if chroma in (1, 2) and not planes else 1
    down = 2 if chroma == 1 else 1
    return (
        ("width", width - across * (left + right)),
        ("height", height - down * (top + bottom)),
        ("profile", profile),
        ("bit_depth", depth),
        ("chroma", chroma),
    )
