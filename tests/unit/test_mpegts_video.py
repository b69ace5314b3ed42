"""Access units of pictures: where they begin, which are key, what configures them."""

import numpy as np
import pytest

from pipelines.media import Codec
from pipelines.mpegts.h264 import sps_facts
from pipelines.mpegts.index import index_segment
from pipelines.segment_index import NO_TIME, SegmentIndex, TrackIndex
from tests.unit.mpegts_by_hand import (
    DELIMITER,
    H264,
    HEVC,
    IDR,
    LATER_SLICE,
    PPS,
    RECOVERY_POINT,
    SLICE,
    SPS,
    USER_DATA,
    VIDEO,
    Segment,
    pes,
    unit,
)

HEVC_VPS = bytes.fromhex("40010c01ffff01600000030090000003000003003c959409")
HEVC_SPS = bytes.fromhex(
    "42010101600000030090000003000003003ca00a080c1f3e595952930bc05a020000030002000003003210"
)
HEVC_PPS = bytes.fromhex("4401c073c189")
HEVC_IDR, HEVC_CRA, HEVC_TRAIL = b"\x26\x01\xaf\x08", b"\x2a\x01\xaf\x08", b"\x02\x01\xd0\x08"
HEVC_LATER_SLICE = b"\x02\x01\x30\x08"


def index(*payloads: bytes, stream_type: int = H264) -> SegmentIndex:
    """A segment with one PES packet for each payload, stamped 0, 3000, 6000 …"""
    segment = Segment((stream_type, VIDEO))
    for number, payload in enumerate(payloads):
        segment.add(VIDEO, pes(payload, 3000 * number))
    return index_segment(segment.data)


def track(*payloads: bytes, stream_type: int = H264) -> TrackIndex:
    (only,) = index(*payloads, stream_type=stream_type).tracks
    return only


KEY = unit(DELIMITER, SPS, PPS, USER_DATA, IDR)
OTHER = unit(DELIMITER, SLICE)


def test_every_picture_is_a_unit_with_the_times_of_its_pes_packet():
    video = track(KEY, OTHER, OTHER)
    assert video.dts.tolist() == [0, 3000, 6000]
    assert video.sync.tolist() == [True, False, False]
    assert video.starts_clean
    assert not video.continues_previous
    assert not video.ends_unfinished


def test_slices_of_one_picture_are_one_unit():
    assert len(track(KEY + unit(LATER_SLICE), unit(DELIMITER, SLICE, LATER_SLICE))) == 2


def test_pictures_without_delimiters_are_told_apart_by_their_first_macroblock():
    assert len(track(unit(SPS, PPS, IDR, prefix=b"\0\0\1") + unit(SLICE, LATER_SLICE, SLICE))) == 3


def test_a_second_unit_in_a_pes_packet_has_no_time():
    video = track(KEY + OTHER, OTHER)
    assert video.dts.tolist() == [0, NO_TIME, 3000]
    assert video.pts.tolist() == [0, NO_TIME, 3000]


def test_the_rest_of_a_picture_in_front_belongs_to_the_segment_before():
    video = track(unit(LATER_SLICE) + OTHER, KEY)
    assert len(video) == 2
    assert video.continues_previous
    assert video.dts.tolist() == [0, 3000]


def test_payload_in_front_of_the_first_header_belongs_to_the_segment_before():
    segment = Segment((H264, VIDEO)).add(VIDEO, b"\x9a" * 400, start=False)
    segment.add(VIDEO, pes(KEY, 7))
    (video,) = index_segment(segment.data).tracks
    assert video.continues_previous
    assert (len(video), video.headless) == (1, 0)
    assert video.dts.tolist() == [7]


def test_a_unit_in_front_of_the_first_header_counts_as_headless():
    segment = Segment((H264, VIDEO)).add(VIDEO, b"\x9a" * 40 + OTHER, start=False)
    (video,) = index_segment(segment.add(VIDEO, pes(KEY, 7)).data).tracks
    assert (len(video), video.headless) == (2, 1)
    assert video.dts.tolist() == [NO_TIME, 7]


def test_a_recovery_point_is_a_key_frame_but_no_clean_start():
    video = track(unit(DELIMITER, SPS, PPS, USER_DATA, RECOVERY_POINT, SLICE), OTHER)
    assert video.sync.tolist() == [True, False]
    assert not video.starts_clean


@pytest.mark.parametrize("first", [unit(DELIMITER, IDR), unit(DELIMITER, SPS, IDR), OTHER])
def test_a_start_without_parameter_sets_or_key_frame_is_not_clean(first: bytes):
    assert not track(first, KEY).starts_clean


def test_parameter_sets_and_facts_are_kept_by_number():
    configuration = track(KEY, KEY).configuration
    assert configuration is not None
    assert configuration.parameter_sets == (("pps0", PPS), ("sps0", SPS))
    facts = {"width": 320, "height": 180, "profile": 100, "bit_depth": 8, "chroma": 1}
    assert dict(configuration.facts) == facts


def test_a_parameter_set_that_changes_inside_the_segment_is_told():
    assert track(KEY, KEY).configuration_change is None
    changed = track(KEY, unit(DELIMITER, SPS, PPS + b"\x80", IDR), OTHER)
    assert changed.configuration_change == "parameter set pps0 changed"


def test_a_stream_without_parameter_sets_has_no_configuration():
    assert track(OTHER, OTHER).configuration is None


def test_an_sps_that_ends_early_has_no_facts():
    assert all(isinstance(sps_facts(SPS[:size]), tuple) for size in range(len(SPS)))
    assert sps_facts(SPS[:6]) == ()


def test_a_header_without_its_picture_begins_an_unfinished_unit():
    video = track(KEY, unit(DELIMITER, SPS, PPS))
    assert len(video) == 2
    assert video.ends_unfinished
    assert video.sync.tolist() == [True, False]


def test_a_declared_length_that_is_not_reached_is_unfinished():
    segment = Segment((H264, VIDEO)).add(VIDEO, pes(KEY, 0, declared=len(KEY) + 1))
    (video,) = index_segment(segment.data).tracks
    assert video.ends_unfinished


def test_the_first_offset_is_where_the_first_unit_has_ended():
    segment = Segment((H264, VIDEO)).add(VIDEO, pes(KEY + bytes(500) + b"\x99", 0))
    end = len(segment.data)
    (video,) = index_segment(segment.add(VIDEO, pes(OTHER, 1)).data).tracks
    assert video.first_offset == end


def test_hevc_pictures_are_told_apart_by_their_first_slice():
    key = unit(HEVC_VPS, HEVC_SPS, HEVC_PPS, HEVC_IDR)
    later = unit(HEVC_TRAIL, HEVC_LATER_SLICE)
    video = track(key, later, later, unit(HEVC_CRA), stream_type=HEVC)
    assert video.codec is Codec.HEVC
    assert video.dts.tolist() == [0, 3000, 6000, 9000]
    assert video.sync.tolist() == [True, False, False, True]
    assert video.starts_clean
    assert video.configuration is not None
    assert [name for name, _ in video.configuration.parameter_sets] == ["pps0", "sps0", "vps0"]
    assert (video.configuration.fact("width"), video.configuration.fact("height")) == (320, 180)


def test_a_hevc_start_that_is_not_closed_is_not_clean():
    sets = unit(HEVC_VPS, HEVC_SPS, HEVC_PPS)
    assert not track(sets + unit(HEVC_CRA), stream_type=HEVC).starts_clean
    assert not track(unit(HEVC_IDR), sets + unit(HEVC_IDR), stream_type=HEVC).starts_clean


def bits(*fields: tuple[int, int]) -> bytes:
    """Fields of ``(value, size)``, size 0 for an unsigned Exp-Golomb code, and a stop bit."""
    text = ""
    for value, size in fields:
        code = f"{value:0{size}b}" if size else f"{value + 1:b}"
        text += code if size else "0" * (len(code) - 1) + code
    text += "1"
    return int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8), "big")


#: Main profile; frame_num has five bits, and pictures may be stored as fields.
FIELD_SPS = b"\x67" + bits(
    (77, 8), (0, 8), (30, 8), (0, 0), (1, 0), (2, 0), (1, 0), (0, 1), (19, 0), (7, 0), (0, 1),
    (0, 1), (1, 1), (0, 1), (0, 1),
)  # fmt: skip


def field(number: int, *, bottom: bool, key: bool = False) -> bytes:
    """A slice of one field of the frame with that number."""
    head = bits((0, 0), (7, 0), (0, 0), (number, 5), (1, 1), (bottom, 1), (0x7FFF, 15))
    return (b"\x65" if key else b"\x41") + head


def frame(number: int) -> bytes:
    return b"\x41" + bits((0, 0), (7, 0), (0, 0), (number, 5), (0, 1), (0x7FFF, 15))


def test_the_fields_of_a_pair_are_two_units_of_one_picture():
    video = track(
        unit(DELIMITER, FIELD_SPS, PPS, field(0, bottom=False, key=True)),
        unit(DELIMITER, field(0, bottom=True)),
        unit(DELIMITER, frame(1)),
        unit(DELIMITER, field(2, bottom=True)),
        unit(DELIMITER, field(2, bottom=False)),
        unit(DELIMITER, field(3, bottom=False)),
        unit(DELIMITER, field(4, bottom=True)),
        unit(DELIMITER, field(4, bottom=True)),
    )
    assert video.second_fields is not None
    assert np.flatnonzero(video.second_fields).tolist() == [1, 4]


def test_pictures_are_whole_where_fields_are_never_stored_apart():
    assert track(KEY, OTHER, OTHER).second_fields is None
    frames = [unit(DELIMITER, FIELD_SPS, PPS, frame(0)), unit(DELIMITER, frame(1))]
    assert track(*frames).second_fields is None
