"""Program tables: found wherever they are, believed only when their CRC is right."""

from pipelines.media import Codec
from pipelines.mpegts.packets import read_packets
from pipelines.mpegts.tables import Stream, announced_streams, crc32_mpeg
from tests.unit.mpegts_by_hand import (
    AAC,
    AUDIO,
    H264,
    HEVC,
    ID3,
    PMT_PID,
    VIDEO,
    Segment,
    pat,
    pmt,
)


def streams(data: bytes) -> tuple[Stream, ...]:
    return announced_streams(read_packets(data)[0])


def test_the_crc_is_the_one_of_the_standard():
    assert crc32_mpeg(b"123456789") == 0x0376E6E7


def test_streams_come_in_the_order_of_the_table():
    data = Segment((ID3, 0x102), (AAC, AUDIO), (H264, VIDEO)).data
    assert streams(data) == (
        Stream(0x102, ID3, None),
        Stream(AUDIO, AAC, Codec.AAC),
        Stream(VIDEO, H264, Codec.H264),
    )


def test_tables_in_the_middle_are_found():
    segment = Segment().add(VIDEO, bytes(900)).tables((H264, VIDEO)).add(VIDEO, bytes(900))
    assert [stream.pid for stream in streams(segment.data)] == [VIDEO]


def test_a_table_may_span_packets():
    table = pmt([(H264, VIDEO), (AAC, AUDIO)], descriptors=b"\x0a\xfa" + bytes(250))
    assert len(table) > 2 * 184
    data = Segment().add(0, pat()).add(PMT_PID, table).data
    assert [stream.pid for stream in streams(data)] == [VIDEO, AUDIO]


def test_a_damaged_table_is_not_believed():
    table = bytearray(pmt([(H264, VIDEO)]))
    table[13] ^= 0x10
    assert streams(Segment().add(0, pat()).add(PMT_PID, bytes(table)).data) == ()


def test_a_new_version_adds_its_streams():
    later = pmt([(H264, VIDEO), (AAC, AUDIO)], version=1)
    data = Segment((H264, VIDEO)).add(PMT_PID, later).data
    assert [stream.pid for stream in streams(data)] == [VIDEO, AUDIO]


def test_a_pid_that_changes_its_type_is_seen_twice():
    data = Segment((H264, VIDEO)).add(PMT_PID, pmt([(HEVC, VIDEO)], version=1)).data
    assert [stream.codec for stream in streams(data)] == [Codec.H264, Codec.HEVC]


def test_private_data_is_what_its_descriptor_says():
    def codec(descriptors: bytes) -> Codec | None:
        data = Segment().add(0, pat()).add(PMT_PID, pmt([(6, AUDIO)], descriptors=descriptors)).data
        return streams(data)[0].codec

    assert codec(b"\x05\x04AC-3") is Codec.AC3
    assert codec(b"\x05\x04EAC3") is Codec.EAC3
    assert codec(b"\x52\x01\x07\x7a\x01\x00") is Codec.EAC3
    assert codec(b"\x05\x04Opus\x7f\x02\x80\x02") is None
    assert codec(b"") is None
