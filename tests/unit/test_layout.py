"""Laying an object out: parts in an order and of sizes that S3 takes, offsets that follow them."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.layout import (
    HEADER_PART,
    JOINED_PART_BYTES,
    SINGLE_WRITE_BYTES,
    SlicePayload,
    StagedPart,
    lay_out,
)
from pipelines.object_store import MIN_PART_BYTES, UploadedPart
from pipelines.parts import PARTS_PER_SLICE, STAGED_SLICE_BYTES, first_part_number

MEBIBYTE = 1 << 20

staged = st.integers(0, STAGED_SLICE_BYTES - 1) | st.integers(0, 3000)
uploaded = st.lists(st.integers(MIN_PART_BYTES, 64 * MEBIBYTE), min_size=1, max_size=8)


def payload(number, staged_bytes, sizes=()):
    first = first_part_number(number)
    parts = (UploadedPart(first + i, size, f"{first + i}", 0) for i, size in enumerate(sizes))
    return SlicePayload(number, staged_bytes, tuple(parts))


@st.composite
def recordings(draw):
    """Payloads of slices as ``PartWriter`` makes them."""
    found = []
    for number in range(draw(st.integers(1, 40))):
        if draw(st.booleans()):
            found.append(payload(number, MIN_PART_BYTES if number == 0 else 0, draw(uploaded)))
        else:
            found.append(payload(number, draw(staged)))
    return found


def part_size(part):
    return part.size + part.padding if isinstance(part, StagedPart) else part.size


def placed(payloads):
    """Where the bytes of each slice lie when the parts are put one after the other."""
    layout = lay_out(payloads)
    by_number = {each.number: each for each in payloads}
    starts, at = {}, 0
    for part in layout.parts:
        if isinstance(part, StagedPart):
            inside = at
            for number in part.slices:
                starts[number] = inside
                inside += by_number[number].staged_bytes
            assert inside == at + part.size
        at += part_size(part)
    return layout, starts, at


@settings(deadline=None)
@given(recordings())
def test_offsets_say_where_the_parts_put_each_slice(payloads):
    layout, starts, size = placed(payloads)
    assert size == layout.payload_size
    begins = list(itertools.accumulate((part_size(part) for part in layout.parts), initial=0))
    where = dict(zip((part.number for part in layout.parts), begins, strict=False))
    for each in payloads:
        if each.staged_bytes:
            assert layout.offsets[each.number] == starts[each.number]
        if each.parts:
            assert layout.offsets[each.number] + each.staged_bytes == where[each.parts[0].number]


@settings(deadline=None)
@given(recordings())
def test_a_store_takes_the_parts(payloads):
    layout, _, _ = placed(payloads)
    numbers = [part.number for part in layout.parts]
    assert numbers == sorted(set(numbers))
    assert numbers[0] == HEADER_PART
    assert numbers[-1] <= 10_000
    assert isinstance(layout.parts[0], StagedPart)
    assert all(part_size(part) >= MIN_PART_BYTES for part in layout.parts[:-1])


@settings(deadline=None)
@given(recordings())
def test_no_byte_is_left_out_and_none_is_used_twice(payloads):
    layout, _, _ = placed(payloads)
    made = [part for part in layout.parts if isinstance(part, StagedPart)]
    joined = [number for part in made for number in part.slices]
    assert joined == sorted(set(joined))
    with_bytes = {each.number for each in payloads if each.staged_bytes}
    assert with_bytes <= set(joined)
    kept = [part for part in layout.parts if isinstance(part, UploadedPart)]
    assert kept == [part for each in payloads for part in each.parts]
    padding = sum(part.padding for part in made)
    assert layout.payload_size == sum(each.size for each in payloads) + padding


@settings(deadline=None)
@given(recordings())
def test_a_part_made_at_assembly_stays_small(payloads):
    limit = JOINED_PART_BYTES + STAGED_SLICE_BYTES + MIN_PART_BYTES
    layout, _, _ = placed(payloads)
    assert all(part.size <= limit for part in layout.parts if isinstance(part, StagedPart))


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
    made = [part for part in layout.parts if isinstance(part, StagedPart)]
    assert [(part.number, part.slices, part.padding) for part in made] == [
        (1, (0,), 0),
        (108, (1,), MIN_PART_BYTES - 1000),
        (100 + 3 * PARTS_PER_SLICE, (3,), 0),
    ]
