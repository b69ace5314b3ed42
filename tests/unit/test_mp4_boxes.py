"""Boxes are walked as ISO/IEC 14496-12 says, and nothing else is believed."""

import struct

import pytest

from pipelines.mp4.boxes import (
    MAX_CHILDREN,
    Fields,
    Mp4Error,
    box,
    container,
    find,
    full_box,
    read_header,
    require,
    walk,
)
from pipelines.mp4.movie_reader import top_level_boxes


def _walk(data: bytes):
    return [(found.name, bytes(found.body)) for found in walk(memoryview(data))]


def test_boxes_side_by_side_are_found_in_order():
    assert _walk(b"\0\0\0\x0afreeab\0\0\0\x08skip") == [(b"free", b"ab"), (b"skip", b"")]


def test_a_64_bit_size_is_read():
    data = struct.pack(">I4sQ", 1, b"mdat", 18) + b"xy"
    assert _walk(data) == [(b"mdat", b"xy")]


@pytest.mark.parametrize(
    "data",
    [
        b"\0\0\0\x00mdat",  # "to the end of the file"
        b"\0\0\0\x02mdat",
        b"\0\0\0\x07mdat",
        struct.pack(">I4sQ", 1, b"mdat", 15),
        b"\0\0\0\x09mdat",  # reaches beyond its parent
        struct.pack(">I4sQ", 1, b"mdat", 2**64 - 1),
        struct.pack(">I4s", 1, b"mdat"),  # the 64-bit size itself is cut off
        b"\0\0\0\x08fre",
    ],
)
def test_an_impossible_box_is_refused(data):
    with pytest.raises(Mp4Error):
        _walk(data)


def test_a_box_larger_than_its_parent_is_refused_inside_it():
    inner = struct.pack(">I4s", 100, b"mfhd")
    with pytest.raises(Mp4Error, match="claims 100 bytes"):
        require(memoryview(box(b"moof", inner)), b"moof", b"mfhd")


def test_a_header_that_has_not_all_arrived_is_no_error_yet():
    assert read_header(memoryview(b"\0\0\0\x08fre")) is None
    assert read_header(memoryview(struct.pack(">I4sI", 1, b"mdat", 0))) is None


def test_a_list_of_endlessly_many_boxes_is_refused():
    with pytest.raises(Mp4Error, match="more than"):
        _walk(box(b"free") * (MAX_CHILDREN + 1))


def test_a_box_is_found_by_its_path_and_missed_by_name():
    data = memoryview(box(b"moov", box(b"trak", box(b"mdia", b"."))))
    found = find(data, b"moov", b"trak", b"mdia")
    assert found is not None
    assert bytes(found.body) == b"."
    assert find(data, b"moov", b"mvex", b"trex") is None
    with pytest.raises(Mp4Error, match="'moov/udta' is missing"):
        require(data, b"moov", b"udta")


def test_fields_end_where_their_box_ends():
    fields = Fields(memoryview(b"\1\0\0\2\xff\xff\xff\xfe"), "'tfdt'")
    assert fields.version() == (1, 2)
    assert fields.signed(4) == -2
    with pytest.raises(Mp4Error, match="'tfdt' ends 1 bytes early"):
        fields.unsigned(1)


def test_a_table_that_claims_more_rows_than_bytes_allocates_nothing():
    fields = Fields(memoryview(bytes(64)), "'stsz'")
    with pytest.raises(Mp4Error, match="ends"):
        fields.table(2**32 - 1, ">u4")


def test_built_boxes_are_those_of_the_standard():
    assert box(b"free", b"ab", b"c") == b"\0\0\0\x0bfreeabc"
    assert full_box(b"trex", 1, 2, b"x") == b"\0\0\0\x0dtrex\1\0\0\2x"
    assert b"".join(container(b"moov", [box(b"free"), b""])) == b"\0\0\0\x10moov\0\0\0\x08free"


def test_the_first_bytes_of_an_object_tell_where_its_boxes_lie():
    ftyp, moov = box(b"ftyp", b"isom"), box(b"moov", bytes(5000))
    mdat = struct.pack(">I4sQ", 1, b"mdat", 10**12)

    (first, second) = top_level_boxes((ftyp + moov + mdat)[:100])
    assert (first.name, first.offset, first.end) == ("ftyp", 0, 12)
    assert (second.name, second.offset, second.end) == ("moov", 12, 12 + 5008)

    last = top_level_boxes(ftyp + moov + mdat)[-1]
    assert (last.name, last.header_size, last.end) == ("mdat", 16, 12 + 5008 + 10**12)
