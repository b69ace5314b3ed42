"""H.264 in a byte stream: access units, key frames and parameter sets (ITU-T H.264)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

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

SLICE, PARTITION_A, IDR, SEI, SPS, PPS, DELIMITER = 1, 2, 5, 6, 7, 8, 9
#: NAL units that end the picture before them (7.4.1.2.3).
SEPARATORS = (SEI, SPS, PPS, DELIMITER)
PICTURE = (SLICE, PARTITION_A, IDR)
#: SEI payloadType of a recovery point (D.1.8), and the largest recovery_frame_cnt.
RECOVERY_POINT, RECOVERY_MAXIMUM = 6, (1 << 16) - 1
#: Bytes of SEI that are searched for a recovery point.
SEI_LIMIT = 1 << 16
#: Bytes of a slice that hold its header up to the field flags.
SLICE_HEADER_LIMIT = 24
#: profile_idc whose SPS has chroma and bit depth fields (7.3.2.1.1).
HIGH_PROFILES = (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135)


def index_h264(stream: ElementaryStream) -> Units:
    """Find the access units as ffmpeg's parser does: one per frame, or per field of a field pair."""
    nals = find_nal_units(stream.data)
    types = (nals.first & 0x1F).astype(np.int64)
    events = np.flatnonzero(np.isin(types, PICTURE + SEPARATORS))
    kinds = types[events]
    picture = np.isin(kinds, PICTURE)
    first_mb = _first_macroblocks(nals, events, picture)
    starts = unit_starts(picture, _separates(picture, first_mb))
    lead = _continuation(nals, events, kinds, first_mb, starts, stream.headless)
    events, kinds, starts = events[lead:], kinds[lead:], starts[lead:]
    if not len(events):
        return no_units(Codec.H264)
    unit = np.cumsum(starts) - 1
    sets = _parameter_sets(nals, events, kinds, unit)
    begins = events[starts]
    sync = _sync(nals, events, kinds, unit)
    head = set(kinds[unit == 0].tolist())
    bytes_of = sample_sizes(nals, begins, np.empty(0, np.int64))
    return Units(
        codec=Codec.H264,
        starts=code_starts(nals)[begins],
        stamped_at=nals.codes[begins] + 3,
        sync=sync,
        sizes=bytes_of.sizes,
        hashes=picture_hashes(nals, begins, bytes_of),
        padding=bytes_of.padding,
        carried=bytes_of.carried,
        second_fields=_second_fields(nals, events, kinds, unit, sets),
        configuration=_configuration(sets),
        configuration_change=sets.change,
        unconfigured=sets.before_all(("sps", "pps"), len(begins)),
        starts_clean={SPS, PPS, IDR} <= head,
        ends_unfinished=stream.unfinished or bool(kinds[-1] in SEPARATORS),
        limited=nals.limited,
    )


def _first_macroblocks(nals: NalUnits, events: Offsets, picture: Flags) -> Offsets:
    """first_mb_in_slice of every slice; 0 elsewhere."""
    numbers = np.zeros(len(events), np.int64)
    later = np.flatnonzero(picture & (nals.second[events] & 0x80 == 0))
    for event in later.tolist():
        start = int(nals.codes[events[event]]) + 4
        try:
            numbers[event] = BitReader(nals.data[start : start + 8]).ue()
        except UnreadableBits:
            continue
    return numbers


def _separates(picture: Flags, first_mb: Offsets) -> Flags:
    """A slice begins a new picture when it does not come behind the one before it."""
    separates = ~picture
    separates[1:] |= first_mb[1:] <= first_mb[:-1]
    return separates


def _continuation(
    nals: NalUnits, events: Offsets, kinds: Offsets, first_mb: Offsets, starts: Flags, headless: int
) -> int:
    """How many of the first NAL units that matter belong to a unit of the segment before.

    A later slice of a picture does; before the first PES header everything does that is not
    behind an access unit delimiter or another picture.
    """
    if not len(events):
        return 0
    inside = int(nals.codes[events[0]]) < headless and int(kinds[0]) != DELIMITER
    if not inside and not (int(kinds[0]) in PICTURE and int(first_mb[0]) > 0):
        return 0
    later = np.flatnonzero(starts[1:])
    pictures = np.flatnonzero(np.isin(kinds, PICTURE))
    if int(kinds[0]) in SEPARATORS and len(pictures):
        later = later[later >= pictures[0]]
    return int(later[0]) + 1 if len(later) else len(events)


def _sync(nals: NalUnits, events: Offsets, kinds: Offsets, unit: Offsets) -> Flags:
    """IDR pictures, and pictures at a recovery point: what ffmpeg marks as key frames."""
    sync = np.zeros(int(unit[-1]) + 1, np.bool_)
    coded = np.flatnonzero(np.isin(kinds, (SLICE, IDR)))
    numbers, firsts = np.unique(unit[coded], return_index=True)
    sync[numbers] = kinds[coded[firsts]] == IDR
    has_picture = np.isin(np.arange(len(sync)), numbers)
    for event in np.flatnonzero(kinds == SEI).tolist():
        number = int(unit[event])
        if has_picture[number] and not sync[number]:
            sync[number] = _is_recovery_point(nals.payload(int(events[event]), SEI_LIMIT))
    return sync


def _is_recovery_point(nal: bytes) -> bool:
    """Whether an SEI unit holds a recovery point message (7.3.2.3.1)."""
    payload = unescape(nal)
    at = 1
    while at + 2 < len(payload):
        kind, at = _sei_number(payload, at)
        size, at = _sei_number(payload, at)
        if at + size > len(payload):
            return False
        if kind == RECOVERY_POINT:
            try:
                return BitReader(payload[at : at + size]).ue() <= RECOVERY_MAXIMUM
            except UnreadableBits:
                return False
        at += size
    return False


def _sei_number(payload: bytes, at: int) -> tuple[int, int]:
    """A payloadType or payloadSize: as many 255 as there are, and the byte behind them."""
    number = 0
    while at < len(payload):
        byte = payload[at]
        at += 1
        number += byte
        if byte != 0xFF:
            break
    return number, at


class _FieldSyntax(NamedTuple):
    """What must be known of a slice header up to its field flags (7.3.3)."""

    frame_number_bits: int
    colour_planes: bool

    def field(self, slice_nal: bytes) -> tuple[int, int] | None:
        """``(frame_num, bottom_field_flag)`` of a slice of a field; None for one of a frame."""
        bits = BitReader(unescape(slice_nal)[1:])
        for _ in range(3):
            bits.ue()  # first_mb_in_slice, slice_type, pic_parameter_set_id
        if self.colour_planes:
            bits.bits(2)
        number = bits.bits(self.frame_number_bits)
        return (number, bits.bits(1)) if bits.bits(1) else None


def _second_fields(
    nals: NalUnits, events: Offsets, kinds: Offsets, unit: Offsets, sets: ParameterSets
) -> Flags | None:
    """Units that are the second field of a picture: of the other parity than the unit before, with
    the same frame_num (7.4.1.2.4). None where fields are not stored apart."""
    sps = sets.first("sps")
    syntax = _field_syntax(sps) if sps else None
    if syntax is None:
        return None
    coded = np.flatnonzero(np.isin(kinds, (SLICE, IDR)))
    second = np.zeros(int(unit[-1]) + 1, np.bool_)
    open_field: tuple[int, int, int] | None = None  # unit, frame_num, parity
    for number, first in zip(*np.unique(unit[coded], return_index=True), strict=True):
        try:
            field = syntax.field(nals.payload(int(events[coded[first]]), SLICE_HEADER_LIMIT))
        except UnreadableBits:
            field = None
        if field is None:
            open_field = None
        elif open_field == (int(number) - 1, field[0], 1 - field[1]):
            second[number], open_field = True, None
        else:
            open_field = (int(number), *field)
    return second if second.any() else None


def _field_syntax(sps: bytes) -> _FieldSyntax | None:
    """How fields are told in slice headers; None where all pictures are frames."""
    try:
        bits = BitReader(unescape(sps)[1:])
        profile = bits.bits(8)
        bits.bits(16)  # constraint flags, level_idc
        bits.ue()  # seq_parameter_set_id
        _, planes, _ = _read_chroma(bits) if profile in HIGH_PROFILES else (1, 0, 8)
        frame_number_bits = bits.ue() + 4
        _skip_picture_order(bits)
        bits.ue()  # max_num_ref_frames
        bits.bits(1)  # gaps_in_frame_num_value_allowed_flag
        bits.ue()  # pic_width_in_mbs_minus1
        bits.ue()  # pic_height_in_map_units_minus1
        frames_only = bits.bits(1)
    except UnreadableBits:
        return None
    return None if frames_only else _FieldSyntax(frame_number_bits, bool(planes))


def _parameter_sets(
    nals: NalUnits, events: Offsets, kinds: Offsets, unit: Offsets
) -> ParameterSets:
    sets = ParameterSets()
    seen: set[bytes] = set()
    for event in np.flatnonzero((kinds == SPS) | (kinds == PPS)).tolist():
        index = int(events[event])
        nal = nals.payload(index)
        # The last unit may be cut off by the end of the segment.
        if nal in seen or index + 1 >= len(nals.codes):
            continue
        seen.add(nal)
        is_sps = int(kinds[event]) == SPS
        try:
            number = BitReader(unescape(nal[4 if is_sps else 1 :])[:8]).ue()
        except UnreadableBits:
            continue
        sets.add(f"{'sps' if is_sps else 'pps'}{number}", nal, int(unit[event]))
    return sets


def _configuration(sets: ParameterSets) -> Configuration | None:
    if not (named := sets.sorted()):
        return None
    sps = sets.first("sps")
    return Configuration(Codec.H264, named, sps_facts(sps) if sps else ())


def sps_facts(nal: bytes) -> tuple[tuple[str, int], ...]:
    """Size, profile, bit depth and chroma of a sequence parameter set (7.3.2.1.1); empty if odd."""
    try:
        return read_sps_head(BitReader(unescape(nal)[1:]))
    except UnreadableBits:
        return ()


def read_sps_head(bits: BitReader) -> tuple[tuple[str, int], ...]:
    """The facts of an SPS, read up to its VUI; ``UnreadableBits`` when it ends early."""
    profile = bits.bits(8)
    bits.bits(16)  # constraint flags, level_idc
    bits.ue()  # seq_parameter_set_id
    chroma, planes, depth = _read_chroma(bits) if profile in HIGH_PROFILES else (1, 0, 8)
    bits.ue()  # log2_max_frame_num_minus4
    _skip_picture_order(bits)
    bits.ue()  # max_num_ref_frames
    bits.bits(1)  # gaps_in_frame_num_value_allowed_flag
    columns, rows = bits.ue() + 1, bits.ue() + 1
    frames_only = bits.bits(1)
    if not frames_only:
        bits.bits(1)  # mb_adaptive_frame_field_flag
    bits.bits(1)  # direct_8x8_inference_flag
    left, right, top, bottom = [bits.ue() for _ in range(4)] if bits.bits(1) else [0] * 4
    across = 2 if chroma in (1, 2) and not planes else 1
    down = (2 - frames_only) * (2 if chroma == 1 else 1)
    width = 16 * columns - across * (left + right)
    height = 16 * rows * (2 - frames_only) - down * (top + bottom)
    return (
        ("width", width),
        ("height", height),
        ("profile", profile),
        ("bit_depth", depth),
        ("chroma", chroma),
    )


def _read_chroma(bits: BitReader) -> tuple[int, int, int]:
    """chroma_format_idc, separate_colour_plane_flag and the bit depth of luma."""
    chroma = bits.ue()
    planes = bits.bits(1) if chroma == 3 else 0
    depth = 8 + bits.ue()
    bits.ue()  # bit_depth_chroma_minus8
    bits.bits(1)  # qpprime_y_zero_transform_bypass_flag
    if bits.bits(1):
        _skip_scaling_lists(bits, 12 if chroma == 3 else 8)
    return chroma, planes, depth


def _skip_scaling_lists(bits: BitReader, count: int) -> None:
    for number in range(count):
        if not bits.bits(1):
            continue
        last = following = 8
        for _ in range(16 if number < 6 else 64):
            if following:
                following = (last + bits.se()) % 256
            last = following or last


def _skip_picture_order(bits: BitReader) -> None:
    kind = bits.ue()
    if kind == 0:
        bits.ue()  # log2_max_pic_order_cnt_lsb_minus4
    elif kind == 1:
        bits.bits(1)
        bits.se()
        bits.se()
        cycle = bits.ue()
        if cycle > 255:
            raise UnreadableBits("more than 255 frames in a picture order cycle")
        for _ in range(cycle):
            bits.se()
