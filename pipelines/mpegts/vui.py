"""Video usability information: the shape of pixels and their colours, in sequence parameter sets."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING

from pipelines.colours import UNTOLD, Colours
from pipelines.mpegts.h264 import read_sps_head as read_h264_head
from pipelines.mpegts.hevc import read_sps_head as read_hevc_head
from pipelines.mpegts.nal import BitReader, UnreadableBits, unescape

if TYPE_CHECKING:
    from collections.abc import Callable

#: sample_aspect_ratio by aspect_ratio_idc (ITU-T H.273, table 9), and the idc of one in full.
_ASPECTS = tuple(
    Fraction(*sides)
    for sides in ((1, 1), (1, 1), (12, 11), (10, 11), (16, 11), (40, 33), (24, 11), (20, 11),
                  (32, 11), (80, 33), (18, 11), (15, 11), (64, 33), (160, 99), (4, 3), (3, 2),
                  (2, 1))
)  # fmt: skip
_EXTENDED_ASPECT = 255
#: Most short-term reference picture sets of an SPS, and pictures in one (ITU-T H.265, 7.4.3.2.1).
_MOST_SETS, _MOST_PICTURES = 64, 16


@dataclass(frozen=True)
class Vui:
    """What it tells of how pictures are to be shown."""

    sample_aspect: Fraction = Fraction(1)  #: width of a pixel by its height
    colours: Colours = UNTOLD


def h264_vui(nal: bytes) -> Vui:
    """That of an H.264 SPS (ITU-T H.264, E.1.1); nothing is told where it cannot be read."""
    return _read(unescape(nal)[1:], read_h264_head)


def hevc_vui(nal: bytes) -> Vui:
    """That of an HEVC SPS (ITU-T H.265, E.2.1); nothing is told where it cannot be read."""
    payload = unescape(nal)[2:]
    sub_layers = payload[0] >> 1 & 7 if payload else 0
    return _read(payload, partial(_read_to_hevc_vui, sub_layers=sub_layers))


def _read(payload: bytes, skip: Callable[[BitReader], object]) -> Vui:
    bits = BitReader(payload)
    try:
        skip(bits)
        if not bits.bits(1):  # vui_parameters_present_flag
            return Vui()
        return Vui(_aspect(bits), _colours(bits))
    except UnreadableBits:
        return Vui()


def _aspect(bits: BitReader) -> Fraction:
    if not bits.bits(1):
        return Fraction(1)
    number = bits.bits(8)
    if number == _EXTENDED_ASPECT:
        width, height = bits.bits(16), bits.bits(16)
        return Fraction(width, height) if width and height else Fraction(1)
    return _ASPECTS[number] if number < len(_ASPECTS) else Fraction(1)


def _colours(bits: BitReader) -> Colours:
    if bits.bits(1):  # overscan_info_present_flag
        bits.bits(1)
    if not bits.bits(1):  # video_signal_type_present_flag
        return UNTOLD
    bits.bits(3)  # video_format
    full_range = bool(bits.bits(1))
    if not bits.bits(1):
        return Colours(full_range=full_range)
    codes = bits.bits(8), bits.bits(8), bits.bits(8)
    return Colours.of_codes(codes, full_range=full_range)


def _read_to_hevc_vui(bits: BitReader, sub_layers: int) -> None:
    """Read an HEVC SPS up to its VUI (7.3.2.2.1)."""
    read_hevc_head(bits)
    bits.ue()  # bit_depth_chroma_minus8
    order_bits = bits.ue() + 4
    told = sub_layers + 1 if bits.bits(1) else 1
    for _ in range(3 * told + 6):
        bits.ue()  # pictures that are held and reordered; then sizes of blocks, and depths
    if bits.bits(1) and bits.bits(1):
        _skip_scaling_lists(bits)
    bits.bits(2)  # amp_enabled_flag, sample_adaptive_offset_enabled_flag
    if bits.bits(1):  # pcm_enabled_flag
        bits.bits(8)
        bits.ue()
        bits.ue()
        bits.bits(1)
    _skip_reference_sets(bits)
    if bits.bits(1):  # long_term_ref_pics_present_flag
        bits.bits(bits.ue() * (order_bits + 1))
    bits.bits(2)  # sps_temporal_mvp_enabled_flag, strong_intra_smoothing_enabled_flag


def _skip_scaling_lists(bits: BitReader) -> None:
    """Read over scaling_list_data (7.3.4)."""
    for size in range(4):
        for _ in range(2 if size == 3 else 6):
            if not bits.bits(1):
                bits.ue()
                continue
            if size > 1:
                bits.se()
            for _ in range(min(64, 1 << (4 + 2 * size))):
                bits.se()


def _skip_reference_sets(bits: BitReader) -> None:
    """Read over the short-term reference picture sets; one may be told by that before (7.3.7)."""
    count = bits.ue()
    if count > _MOST_SETS:
        raise UnreadableBits("more than 64 reference picture sets")
    before: tuple[list[int], list[int]] = [], []
    for number in range(count):
        before = _predicted(bits, before) if number and bits.bits(1) else _listed(bits)


def _listed(bits: BitReader) -> tuple[list[int], list[int]]:
    earlier, later = bits.ue(), bits.ue()
    if max(earlier, later) > _MOST_PICTURES:
        raise UnreadableBits("more than 16 reference pictures")
    return _distances(bits, earlier, -1), _distances(bits, later, 1)


def _distances(bits: BitReader, count: int, sign: int) -> list[int]:
    distances: list[int] = []
    for _ in range(count):
        distances.append((distances[-1] if distances else 0) + sign * (bits.ue() + 1))
        bits.bits(1)
    return distances


def _predicted(bits: BitReader, before: tuple[list[int], list[int]]) -> tuple[list[int], list[int]]:
    """A set told as that before it, moved (7-61, 7-62); its order does not matter but for counts."""
    sign = bits.bits(1)
    moved = (1 - 2 * sign) * (bits.ue() + 1)
    used = []
    for _ in range(len(before[0]) + len(before[1]) + 1):
        used.append(bool(bits.bits(1)) or bool(bits.bits(1)))
    distances = [each + moved for each in (*before[0], *before[1], 0)]
    kept = [each for each, is_used in zip(distances, used, strict=True) if is_used and each]
    return (
        sorted((each for each in kept if each < 0), reverse=True),
        sorted(each for each in kept if each > 0),
    )
