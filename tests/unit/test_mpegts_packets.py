"""Packets: the grid of 188 bytes, and what their headers tell about damage."""

import pytest

from pipelines.mpegts.packets import PACKET, packet_findings, read_packets
from pipelines.segment_index import Damage
from tests.unit.mpegts_by_hand import VIDEO, Segment, packet


def video(count: int) -> bytes:
    return Segment().add(VIDEO, bytes(184 * count)).data


def test_every_packet_of_a_clean_segment_is_read():
    packets, findings = read_packets(video(5) + packet(0x1FFF, b"\xff"))
    assert packets.pids.tolist() == [VIDEO] * 5 + [0x1FFF]
    assert packets.offsets.tolist() == [PACKET * n for n in range(6)]
    assert findings == ()


def test_no_bytes_are_empty():
    packets, (finding,) = read_packets(b"")
    assert len(packets.rows) == 0
    assert finding.damage is Damage.EMPTY


@pytest.mark.parametrize("data", [b"<html>Gone</html>", b"G", b"\x00" * 1000, b"G" + bytes(600)])
def test_what_has_no_grid_is_not_media(data: bytes):
    packets, (finding,) = read_packets(data)
    assert len(packets.rows) == 0
    assert finding.damage is Damage.NOT_MEDIA


def test_a_cut_last_packet_is_truncation_at_its_offset():
    packets, (finding,) = read_packets(video(5)[:-60])
    assert len(packets.rows) == 4
    assert (finding.damage, finding.offset) == (Damage.TRUNCATED, 4 * PACKET)


def test_missing_bytes_cost_one_packet():
    data = video(20)
    packets, (finding,) = read_packets(data[: 5 * PACKET + 100] + data[5 * PACKET + 140 :])
    assert len(packets.rows) == 19
    assert (finding.damage, finding.offset) == (Damage.SYNC_LOST, 6 * PACKET)


def test_foreign_bytes_in_front_are_passed_over():
    packets, (finding,) = read_packets(b"\r\nGET /" + video(4))
    assert packets.offsets.tolist() == [7 + PACKET * n for n in range(4)]
    assert finding.damage is Damage.SYNC_LOST


def test_a_counter_that_jumps_means_lost_packets():
    data = Segment().add(VIDEO, bytes(400)).lose(VIDEO).add(VIDEO, bytes(400)).data
    packets, _ = read_packets(data)
    (finding,) = packet_findings(packets, VIDEO)
    assert (finding.damage, finding.offset) == (Damage.PACKETS_LOST, 3 * PACKET)


def test_counters_go_round():
    packets, _ = read_packets(video(40))
    assert packet_findings(packets, VIDEO) == ()


def test_a_repeated_packet_is_found_and_is_no_loss():
    first, second = packet(VIDEO, b"a" * 184), packet(VIDEO, b"b" * 184, counter=1)
    packets, _ = read_packets(first + second + second + packet(VIDEO, b"c" * 184, counter=2))
    [finding] = packet_findings(packets, VIDEO)
    assert finding.damage is Damage.REPEATED
    assert finding.offset == 2 * 188


def test_the_same_counter_on_another_packet_is_a_loss():
    packets, _ = read_packets(packet(VIDEO, b"a" * 184) + packet(VIDEO, b"b" * 184))
    assert [finding.damage for finding in packet_findings(packets, VIDEO)] == [Damage.PACKETS_LOST]


def test_packets_without_payload_do_not_count():
    first, clock = packet(VIDEO, b"a" * 184), packet(VIDEO)
    packets, _ = read_packets(first + clock + clock + packet(VIDEO, b"b" * 184, counter=1))
    assert packet_findings(packets, VIDEO) == ()


def test_an_announced_discontinuity_is_no_loss():
    jump = packet(VIDEO, b"b" * 100, counter=9, discontinuity=True)
    packets, _ = read_packets(packet(VIDEO, b"a" * 184) + jump)
    assert packet_findings(packets, VIDEO) == ()


def test_scrambled_packets_are_told():
    packets, _ = read_packets(
        packet(VIDEO, b"a" * 184) + packet(VIDEO, b"b" * 184, counter=1, scrambling=2)
    )
    (finding,) = packet_findings(packets, VIDEO)
    assert (finding.damage, finding.offset) == (Damage.SCRAMBLED, PACKET)
