"""Clocks are moved on modulo 2^33, and nothing else in a packet changes."""

import pytest

from scripts.ts_clocks import WRAP, shift_clocks


def stamp(mark, ticks):
    """A PTS or DTS as ISO/IEC 13818-1 table 2-21 writes it."""
    bits = f"{mark:04b}{ticks:033b}"
    word = bits[:7] + "1" + bits[7:22] + "1" + bits[22:] + "1"
    return int(word, 2).to_bytes(5, "big")


def packet(pid=256, counter=0, pts=None, dts=None, pcr=None, start=True):
    """One packet with a PES header, or with plain payload when ``start`` is False."""
    flags = (2 if pts is not None else 0) | (1 if dts is not None else 0)
    times = (stamp(flags, pts) if flags else b"") + (stamp(1, dts) if dts is not None else b"")
    header = b"\x00\x00\x01\xe0\x00\x00\x80" + bytes([flags << 6, len(times)]) + times
    payload = header if start else b"\x00\x00\x01\xe0" + b"\xff" * 20
    field = b""
    if pcr is not None:
        base, extension = pcr
        field = b"\x07\x10" + ((base << 15) | (0x3F << 9) | extension).to_bytes(6, "big")
    head = bytes([0x47, (0x40 if start else 0) | pid >> 8, pid & 0xFF])
    head += bytes([(0x30 if field else 0x10) | counter])
    return (head + field + payload).ljust(188, b"\xaa")


@pytest.mark.parametrize("start", [0, 1, 0x155555555, WRAP - 1])
@pytest.mark.parametrize("ticks", [0, 1, 90_000, 0x0AAAAAAAA, WRAP - 1])
def test_every_clock_moves_by_the_same_ticks_modulo_33_bits(start, ticks):
    moved = (start + ticks) % WRAP
    before = packet(pts=start, dts=start ^ 1, pcr=(start, 299))
    after = packet(pts=moved, dts=((start ^ 1) + ticks) % WRAP, pcr=(moved, 299))
    assert shift_clocks(before, ticks, {}) == after


def test_a_header_with_a_pts_alone_is_moved_and_one_without_any_is_left():
    before = packet(pts=90_000) + packet()
    assert shift_clocks(before, 5, {}) == packet(pts=90_005) + packet()


def test_payload_that_looks_like_a_header_is_left():
    plain = packet(start=False)
    assert shift_clocks(plain, 90_000, {}) == plain


def test_continuity_counters_move_modulo_16_for_their_pid_only():
    before = packet(pid=256, counter=14) + packet(pid=257, counter=14)
    after = packet(pid=256, counter=1) + packet(pid=257, counter=14)
    assert shift_clocks(before, 0, {256: 3}) == after


@pytest.mark.parametrize("segment", [b"", b"\x47" * 187, b"\x00" * 188, packet() + b"\x47"])
def test_what_is_no_transport_stream_is_refused(segment):
    with pytest.raises(ValueError, match="MPEG-TS"):
        shift_clocks(segment, 1, {})


def test_a_header_that_a_packet_cuts_is_refused():
    stuffing = b"\xa5" + b"\x00" + b"\xff" * 164  # leaves 18 bytes: header and half a DTS
    head = packet(pts=1, dts=1)
    cut = head[:3] + b"\x30" + stuffing + head[4:22]
    assert len(cut) == 188
    with pytest.raises(ValueError, match="second packet"):
        shift_clocks(cut, 1, {})
