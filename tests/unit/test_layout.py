"""Laying an object out: parts in an order and of sizes that stores take, offsets that follow them."""

import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipelines.errors import ErrorCode, PermanentError
from pipelines.layout import (
    HEADER_PART,
    JOINED_PART_BYTES,
    SINGLE_WRITE_BYTES,
    SlicePayload,
    StagedPart,
    lay_out,
)
from pipelines.object_store import MIN_PART_BYTES, UploadedPart
from pipelines.part_scheme import LAST_PART, VARYING_PARTS, PartScheme
from pipelines.parts import STAGED_SLICE_BYTES

MEBIBYTE = 1 << 20
#: Equal parts, of which every slice owns 12.
EQUAL = PartScheme(((0, 12),), 6 * MEBIBYTE)

staged = st.integers(0, STAGED_SLICE_BYTES - 1) | st.integers(0, 3000)
uploaded = st.lists(st.integers(MIN_PART_BYTES, 64 * MEBIBYTE), min_size=1, max_size=8)
equal = st.integers(1, 12).map(lambda count: [6 * MEBIBYTE] * count)
headers = st.integers(100, 10_000) | st.integers(100, 90 * MEBIBYTE)


def payload(number, staged_bytes, sizes=(), scheme=VARYING_PARTS):
    numbered = zip(scheme.numbers(number), sizes, strict=False)
    parts = tuple(UploadedPart(each, size, f"{each}", 0) for each, size in numbered)
    return SlicePayload(number, staged_bytes, parts)


@st.composite
def recordings(draw):
    """Payloads of slices as ``PartWriter`` makes them, for a scheme of parts, and a header."""
    scheme = draw(st.sampled_from([VARYING_PARTS, EQUAL]))
    sizes = equal if scheme.part_bytes else uploaded
    found = []
    for number in range(draw(st.integers(1, 40))):
        if draw(st.booleans()):
            begin = MIN_PART_BYTES if number == 0 else 0
            found.append(payload(number, begin, draw(sizes), scheme))
        else:
            found.append(payload(number, draw(staged)))
    header = draw(headers)
    layout = lay_out(found, scheme)
    return found, layout, header + layout.filling(header)


def made_parts(layout, header):
    return [part for part in layout.parts(header) if isinstance(part, StagedPart)]


@settings(deadline=None)
@given(recordings())
def test_offsets_say_where_the_parts_put_each_slice(recording):
    payloads, layout, header = recording
    at, begun = -header, {}
    for part in layout.parts(header):
        if isinstance(part, StagedPart):
            inside = at + part.header[1] - part.header[0]
            for number, begin, end in part.slices:
                assert layout.offsets[number] + begin == inside
                inside += end - begin
            assert inside + part.padding == at + part.size
        begun[part.number] = at
        at += part.size
    assert at == layout.payload_size
    for each in payloads:
        if each.parts:
            assert layout.offsets[each.number] + each.staged_bytes == begun[each.parts[0].number]


@settings(deadline=None)
@given(recordings())
def test_a_store_takes_the_parts(recording):
    _, layout, header = recording
    parts = layout.parts(header)
    numbers = [part.number for part in parts]
    assert numbers == sorted(set(numbers))
    assert numbers[0] == HEADER_PART
    assert numbers[-1] <= LAST_PART
    assert isinstance(parts[0], StagedPart)
    if layout.scheme.part_bytes:
        assert {part.size for part in parts[:-1]} <= {layout.scheme.part_bytes}
        assert parts[-1].size <= layout.scheme.part_bytes
    else:
        assert all(part.size >= MIN_PART_BYTES for part in parts[:-1])


@settings(deadline=None)
@given(recordings())
def test_no_byte_is_left_out_and_none_is_used_twice(recording):
    payloads, layout, header = recording
    made = made_parts(layout, header)
    pieces = [span for part in made for span in part.slices]
    for each in payloads:
        mine = [(begin, end) for number, begin, end in pieces if number == each.number]
        edges = [0, *(end for _, end in mine)]
        assert [begin for begin, _ in mine] == edges[:-1]
        assert edges[-1] == each.staged_bytes
    assert [span[0] for span in pieces] == sorted(span[0] for span in pieces)
    begins = [part.header for part in made if part.header[0] < part.header[1]]
    assert all(one[1] == two[0] for one, two in itertools.pairwise(begins))
    assert (begins[0][0], begins[-1][1]) == (0, header)
    kept = [part for part in layout.parts(header) if isinstance(part, UploadedPart)]
    assert kept == [part for each in payloads for part in each.parts]
    padding = sum(part.padding for part in made)
    assert layout.payload_size == sum(each.size for each in payloads) + padding


@settings(deadline=None)
@given(recordings())
def test_a_part_made_at_assembly_stays_small(recording):
    _, layout, header = recording
    limit = JOINED_PART_BYTES + MIN_PART_BYTES
    assert all(part.size <= limit for part in made_parts(layout, header))


@given(st.integers(100, 200 * MEBIBYTE))
@example(6 * MEBIBYTE - MIN_PART_BYTES)
@example(6 * MEBIBYTE - MIN_PART_BYTES - 1)
@example(6 * MEBIBYTE - MIN_PART_BYTES - 7)
def test_the_header_grows_by_nothing_or_by_a_box(header):
    scheme = EQUAL
    layout = lay_out([payload(0, MIN_PART_BYTES, [6 * MEBIBYTE], scheme)], scheme)
    filling = layout.filling(header)
    assert filling == 0 or 8 <= filling < 6 * MEBIBYTE + 8
    assert (header + filling + MIN_PART_BYTES) % (6 * MEBIBYTE) == 0


def test_a_header_that_needs_the_numbers_of_slices_is_refused():
    layout = lay_out([payload(0, MIN_PART_BYTES, [6 * MEBIBYTE], EQUAL)], EQUAL)
    with pytest.raises(PermanentError) as caught:
        layout.parts(100 * 6 * MEBIBYTE - MIN_PART_BYTES)
    assert caught.value.code is ErrorCode.RECORDING_TOO_LONG


def test_a_small_recording_is_one_write():
    layout = lay_out([payload(number, 3 * MEBIBYTE) for number in range(9)])
    assert layout.single
    assert layout.payload_size == 27 * MEBIBYTE


@pytest.mark.parametrize(
    "sizes",
    [[payload(0, MIN_PART_BYTES, [8 * MEBIBYTE])], [payload(n, 9 * MEBIBYTE) for n in range(8)]],
)
def test_a_large_one_or_one_with_parts_is_an_upload(sizes):
    assert not lay_out(sizes).single
    assert SINGLE_WRITE_BYTES < 72 * MEBIBYTE


def test_only_a_short_part_between_uploaded_ones_is_padded():
    layout = lay_out(
        [
            payload(0, MIN_PART_BYTES, [8 * MEBIBYTE]),
            payload(1, 1000),
            payload(2, 0, [9 * MEBIBYTE]),
            payload(3, 70),
        ]
    )
    made = made_parts(layout, 500)
    assert [(part.number, part.slices, part.padding) for part in made] == [
        (1, ((0, 0, MIN_PART_BYTES),), 0),
        (108, ((1, 0, 1000),), MIN_PART_BYTES - 1000),
        (124, ((3, 0, 70),), 0),
    ]
