"""Parameter sets of two encoders in one sample entry, and the ids that keep them apart."""

import struct

import pytest

from pipelines.errors import ErrorCode, ToolError
from pipelines.mp4.boxes import Mp4Error, box
from pipelines.mp4.parameter_sets import AvcRecord, free_sps_id, merged_entry, pps_id, sps_id
from pipelines.mp4.sample_entry import inner_box, read_sample_entry
from tests.unit.mp4_by_hand import audio_entry, esds, visual_entry

HIGH_TAIL = bytes([0xFD, 0xF8, 0xF8, 0])


def code(number: int) -> str:
    """An Exp-Golomb code, as bits."""
    bits = f"{number + 1:b}"
    return "0" * (len(bits) - 1) + bits


def unit(head: bytes, *numbers: int, tail: bytes = b"") -> bytes:
    bits = "".join(map(code, numbers)) + "1"
    bits += "0" * (-len(bits) % 8)
    return head + int(bits, 2).to_bytes(len(bits) // 8, "big") + tail


def sps(number: int, level: int = 30, flags: int = 0, tail: bytes = b"\x80") -> bytes:
    return unit(bytes([0x67, 100, flags, level]), number, tail=tail)


def pps(number: int, of: int, tail: bytes = b"\x80") -> bytes:
    return unit(b"\x68", number, of, tail=tail)


def record(*sets: bytes, level: int = 30, flags: int = 0, length_size: int = 4) -> AvcRecord:
    found = tuple(each for each in sets if each[0] == 0x67)
    others = tuple(each for each in sets if each[0] == 0x68)
    return AvcRecord(100, flags, level, length_size, found, others, HIGH_TAIL)


def entry(*sets: bytes, name: bytes = b"avc1", **told: int) -> bytes:
    shape = box(b"pasp", struct.pack(">II", 4, 3))
    return visual_entry(box(b"avcC", record(*sets, **told).to_bytes()), shape, name=name)


def merged_sets(main: bytes, *others: bytes) -> AvcRecord:
    return AvcRecord.parse(inner_box(merged_entry(main, others), b"avcC"))


MAIN = entry(sps(0), pps(0, 0))
ODD = entry(sps(1), pps(1, 1))


def test_a_record_is_written_as_it_was_read():
    made = record(sps(0), sps(31), pps(0, 0), pps(255, 31), length_size=2)
    assert AvcRecord.parse(made.to_bytes()) == made
    assert made.ids == {0, 31, 255}


@pytest.mark.parametrize("number", [0, 1, 2, 7, 30, 31])
def test_ids_are_read_behind_emulation_prevention_too(number):
    assert sps_id(sps(number)) == pps_id(pps(number, 0)) == number
    escaped = bytes([0x67, 100, 0, 0, 3]) + sps(number)[4:]
    assert sps_id(escaped) == number


def test_an_id_is_free_that_neither_kind_of_set_has():
    assert free_sps_id(MAIN) == 1
    assert free_sps_id(entry(sps(0), sps(1), pps(0, 0), pps(2, 1))) == 3
    with pytest.raises(ToolError) as error:
        free_sps_id(entry(sps(0), *(pps(number, 0) for number in range(32))))
    assert error.value.code is ErrorCode.CONFIGURATION_CHANGED


def test_one_entry_lists_every_set_once_and_keeps_the_rest_of_the_main_one():
    made = merged_entry(MAIN, [ODD, MAIN, ODD])
    assert merged_sets(MAIN, ODD, ODD) == record(sps(0), sps(1), pps(0, 0), pps(1, 1))
    assert inner_box(made, b"pasp") == inner_box(MAIN, b"pasp")
    assert made[8:86] == MAIN[8:86]
    facts = dict(read_sample_entry(made).configuration.facts)
    assert facts == dict(read_sample_entry(MAIN).configuration.facts)


def test_an_entry_promises_no_more_than_holds_for_all():
    main = entry(sps(0, level=30, flags=0xC0), pps(0, 0), level=30, flags=0xC0)
    odd = entry(sps(1, level=41, flags=0x40), pps(1, 1), level=41, flags=0x40)
    assert (merged_sets(main, odd).level, merged_sets(main, odd).constraints) == (41, 0x40)


def test_sets_that_only_one_of_them_spells_out_are_no_conflict():
    more = entry(sps(0), pps(0, 0), pps(1, 0), name=b"avc3")
    assert merged_sets(MAIN, more).pps == (pps(0, 0), pps(1, 0))


@pytest.mark.parametrize(
    "odd",
    [
        entry(sps(0, level=31), pps(1, 0)),
        entry(sps(1), pps(0, 1)),
        entry(sps(1), pps(1, 1), length_size=2),
        visual_entry(box(b"avcC", record(b"\x67\x64", pps(1, 1)).to_bytes())),
        audio_entry(esds()),
    ],
)
def test_what_one_entry_cannot_serve_is_refused(odd):
    with pytest.raises(ToolError) as error:
        merged_entry(MAIN, [odd])
    assert error.value.code is ErrorCode.VERIFICATION_FAILED


def test_more_sets_than_can_be_listed_are_refused():
    every = [sps(number) for number in range(32)]
    assert len(merged_sets(entry(*every[:30]), entry(every[30])).sps) == 31
    with pytest.raises(ToolError):
        merged_entry(entry(*every[:31]), [entry(every[31])])


def test_entries_of_other_codecs_must_be_the_same():
    sound = audio_entry(esds())
    louder = audio_entry(esds(bit_rate=256_000))
    assert merged_entry(sound, [louder, sound]) == sound
    with pytest.raises(ToolError):
        merged_entry(sound, [audio_entry(esds(bytes.fromhex("1188")))])


def test_a_box_that_is_not_there_is_told():
    with pytest.raises(Mp4Error, match="avcC"):
        inner_box(visual_entry(), b"avcC")
