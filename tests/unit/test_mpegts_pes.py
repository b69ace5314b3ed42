"""PES packets: time stamps, spread headers, declared lengths, and times beyond 33 bits."""

import numpy as np
import pytest

from pipelines.mpegts.clock import count_frames, near
from pipelines.mpegts.packets import read_packets
from pipelines.mpegts.pes import ElementaryStream, gather
from pipelines.segment_index import NO_TIME, TS_WRAP
from tests.unit.mpegts_by_hand import VIDEO, Segment, packet, pes


def stream(data: bytes) -> ElementaryStream:
    return gather(read_packets(data)[0], VIDEO)


@pytest.mark.parametrize("ticks", [0, 1, 90_000, 1 << 15, 1 << 30, TS_WRAP - 1, 0x155555555])
def test_all_33_bits_of_both_stamps_are_read(ticks: int):
    read = stream(Segment().add(VIDEO, pes(b"x", ticks, TS_WRAP - 1 - ticks)).data)
    assert read.pts.tolist() == [ticks]
    assert read.dts.tolist() == [TS_WRAP - 1 - ticks]


def test_without_a_dts_the_pts_is_both():
    read = stream(Segment().add(VIDEO, pes(b"x", 123)).data)
    assert read.dts.tolist() == read.pts.tolist() == [123]


def test_without_stamps_there_is_no_time():
    read = stream(Segment().add(VIDEO, pes(b"x")).data)
    assert read.dts.tolist() == read.pts.tolist() == [NO_TIME]


def test_payload_is_joined_without_headers_and_stuffing():
    payloads = [bytes([n]) * size for n, size in enumerate((1, 184, 700, 165, 5000))]
    segment = Segment()
    for payload in payloads:
        segment.add(VIDEO, pes(payload, 0)).add(0x1FFF, bytes(50))
    read = stream(segment.data)
    assert bytes(read.data) == b"".join(payloads)
    assert read.pes_starts.tolist() == [0, 1, 185, 885, 1050]


def test_a_header_may_go_on_in_the_next_packets():
    whole = pes(b"payload" * 40, 5, 4)
    data = packet(VIDEO, whole[:7], start=True)
    data += packet(VIDEO, whole[7:15], counter=1) + packet(VIDEO, whole[15:190], counter=2)
    data += packet(VIDEO, whole[190:], counter=3)
    read = stream(data)
    assert bytes(read.data) == b"payload" * 40
    assert (read.pts.tolist(), read.dts.tolist()) == ([5], [4])


def test_what_is_no_pes_packet_is_left_out():
    junk = Segment().add(VIDEO, pes(b"one", 1)).add(VIDEO, b"\1" * 300).add(VIDEO, pes(b"two", 2))
    read = stream(junk.data)
    assert bytes(read.data) == b"onetwo"
    assert read.pts.tolist() == [1, 2]


def test_payload_in_front_of_the_first_header_is_headless():
    segment = Segment().add(VIDEO, b"tail" * 50, start=False).add(VIDEO, pes(b"x", 1))
    read = stream(segment.data)
    assert read.headless == 200
    assert bytes(read.data) == b"tail" * 50 + b"x"


def test_a_declared_length_that_is_not_reached_is_unfinished():
    assert stream(Segment().add(VIDEO, pes(b"abc", 1, declared=4)).data).unfinished
    assert not stream(Segment().add(VIDEO, pes(b"abc", 1, declared=3)).data).unfinished
    assert not stream(Segment().add(VIDEO, pes(b"abc", 1)).data).unfinished


def test_padding_behind_a_declared_length_is_dropped():
    padded = pes(b"abc" + b"\xff" * 50, 1, declared=3)
    read = stream(Segment().add(VIDEO, padded).add(VIDEO, pes(b"def", 2)).data)
    assert bytes(read.data) == b"abcdef"


def test_packets_behind_a_declared_end_are_dropped():
    first = pes(b"a" * 170, 1, declared=170)
    segment = Segment().add(VIDEO, first).add(VIDEO, b"b" * 100, start=False)
    assert bytes(stream(segment.add(VIDEO, pes(b"c", 2)).data).data) == b"a" * 170 + b"c"


def test_an_offset_in_the_stream_maps_to_the_packet_that_ends_it():
    read = stream(Segment().add(VIDEO, pes(bytes(400), 1)).data)
    assert [read.segment_offset(end) for end in (1, 170, 171, 400)] == [188, 188, 376, 564]


def test_times_run_on_over_the_wrap():
    values = np.array([TS_WRAP - 3000, 0, 3000, NO_TIME], np.int64)
    assert near(values, TS_WRAP - 3000).tolist() == [
        TS_WRAP - 3000,
        TS_WRAP,
        TS_WRAP + 3000,
        NO_TIME,
    ]


def test_times_run_below_zero_rather_than_jump():
    values = np.array([0, TS_WRAP - 3000], np.int64)
    assert near(values, 0).tolist() == [0, -3000]


def test_a_true_jump_stays():
    values = np.array([90_000, 90_000 * 3600], np.int64)
    assert near(values, 90_000).tolist() == values.tolist()


def test_frames_are_counted_from_the_last_stamp_without_drift():
    times = np.full(1000, NO_TIME, np.int64)
    times[1] = 50
    counted = count_frames(times, 1024, 44_100)
    assert counted[0] == NO_TIME
    assert counted[999] == 50 + round(998 * 1024 * 90_000 / 44_100)
    times[500] = 7
    assert count_frames(times, 1024, 44_100)[500:502].tolist() == [7, 7 + 2090]
