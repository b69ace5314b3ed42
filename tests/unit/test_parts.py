"""Cutting a payload into parts: every byte once, in order, in parts that the store accepts."""

import itertools
import threading
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipelines import parts
from pipelines.errors import ErrorCode, PermanentError, TransientError
from pipelines.object_store import MIN_PART_BYTES, UploadedPart
from pipelines.parts import (
    MAX_PART_BYTES,
    PARTS_PER_SLICE,
    PREFERRED_PART_BYTES,
    PartWriter,
    estimated_part_bytes,
    first_part_number,
    part_bytes,
)

#: Stands for 1 MiB, so that thousands of payloads are tried in memory.
UNIT = 16


class Store:
    """Keeps what is uploaded, by part number."""

    def __init__(self):
        self.bodies = {}
        self.lock = threading.Lock()

    def upload_part(self, number, body):
        with self.lock:
            assert number not in self.bodies
            self.bodies[number] = bytes(body)
        return UploadedPart(number, len(body), f'"{number}"', zlib.crc32(body))


class Refusing:
    """A store that fails from the given part number on."""

    def __init__(self, number):
        self.number = number

    def upload_part(self, number, body):
        if number >= self.number:
            raise TransientError(f"part {number}")
        return UploadedPart(number, len(body), "", zlib.crc32(body))


@pytest.fixture
def small(monkeypatch):
    """S3's limits with ``UNIT`` instead of 1 MiB."""
    monkeypatch.setattr(parts, "MIN_PART_BYTES", 5 * UNIT)
    monkeypatch.setattr(parts, "STAGED_SLICE_BYTES", 10 * UNIT)
    monkeypatch.setattr(parts, "PREFERRED_PART_BYTES", 8 * UNIT)


def write(payload, cuts, *, number=1, upload=None):
    """Write a payload as slice ``number`` in pieces that end at ``cuts``."""
    upload = upload or Store()
    stage = parts.MIN_PART_BYTES if number == 0 else 0
    size = part_bytes(len(payload))
    first = first_part_number(number)
    with PartWriter(upload, first_number=first, part_bytes=size, stage_bytes=stage) as writer:
        edges = [0, *sorted(min(cut, len(payload)) for cut in cuts), len(payload)]
        for begin, end in itertools.pairwise(edges):
            assert writer.write(memoryview(payload)[begin:end]) == begin
        return writer.finish(), upload


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.integers(0, 200 * UNIT),
    cuts=st.lists(st.integers(0, 200 * UNIT), max_size=12),
    number=st.integers(0, 3),
)
@example(size=9 * UNIT, cuts=[], number=1)  # more than one part, less than a slice needs for one
@example(size=9 * UNIT, cuts=[8 * UNIT], number=0)
@example(size=10 * UNIT - 1, cuts=[], number=1)
@example(size=10 * UNIT, cuts=[], number=0)
@example(size=13 * UNIT, cuts=[], number=1)
def test_a_payload_comes_back_whole_in_parts_that_a_store_accepts(small, size, cuts, number):
    payload = np.random.default_rng(size).bytes(size)
    written, store = write(payload, cuts, number=number)
    uploaded = [store.bodies[part.number] for part in written.parts]
    assert written.staged + b"".join(uploaded) == payload
    assert written.size == size
    assert len(store.bodies) == len(uploaded)
    numbers = [part.number for part in written.parts]
    first = first_part_number(number)
    assert numbers == list(range(first, first + len(numbers)))
    assert len(numbers) <= PARTS_PER_SLICE
    assert all(len(body) >= 5 * UNIT for body in uploaded)
    assert [part.size for part in written.parts] == [len(body) for body in uploaded]
    assert [part.crc32 for part in written.parts] == [zlib.crc32(body) for body in uploaded]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(size=st.integers(0, 60 * UNIT), number=st.integers(0, 3))
def test_only_a_first_or_a_small_slice_is_staged(small, size, number):
    written, _ = write(bytes(size), [], number=number)
    if size < 10 * UNIT:
        assert (len(written.staged), written.parts) == (size, ())
    else:
        assert len(written.staged) == (5 * UNIT if number == 0 else 0)


def test_the_real_limits_make_the_real_parts():
    payload = np.random.default_rng(1).bytes(27 << 20)
    written, store = write(payload, range(0, 27 << 20, 300_001), number=2)
    assert [part.number for part in written.parts] == [116, 117, 118]
    assert [part.size >> 20 for part in written.parts] == [8, 8, 11]
    assert b"".join(store.bodies[part.number] for part in written.parts) == payload


def test_slices_never_share_part_numbers_and_the_last_ends_below_the_limit():
    assert first_part_number(0) == 100
    assert first_part_number(1236) + PARTS_PER_SLICE - 1 < 10_000


@given(st.integers(0, 7 * MAX_PART_BYTES))
def test_eight_parts_hold_any_slice_that_is_accepted(size):
    chosen = part_bytes(size)
    assert max(PREFERRED_PART_BYTES, MIN_PART_BYTES) <= chosen <= MAX_PART_BYTES
    assert chosen * (PARTS_PER_SLICE - 1) >= size


def test_a_slice_that_needs_larger_parts_is_refused():
    with pytest.raises(PermanentError) as caught:
        part_bytes(7 * MAX_PART_BYTES + 1)
    assert caught.value.code == ErrorCode.BITRATE_TOO_HIGH


def test_a_payload_larger_than_was_said_is_refused_not_cut(small):
    payload = memoryview(bytes(100 * UNIT))
    writer = PartWriter(Store(), first_number=100, part_bytes=8 * UNIT, stage_bytes=0)
    with pytest.raises(PermanentError) as caught, writer:
        writer.write(payload)
    assert caught.value.code == ErrorCode.BITRATE_TOO_HIGH


@pytest.mark.parametrize("number", range(108, 113))
def test_a_failed_upload_reaches_the_writer(small, number):
    with pytest.raises(TransientError):
        write(bytes(40 * UNIT), [20 * UNIT, 30 * UNIT], upload=Refusing(number))
    assert not any(t.name.startswith("upload-part") for t in threading.enumerate())


@given(st.integers(0, 1 << 40))
def test_parts_of_an_estimated_size_are_large_enough_or_the_largest(expected):
    size = estimated_part_bytes(expected)
    assert PREFERRED_PART_BYTES <= size <= MAX_PART_BYTES
    assert size * (PARTS_PER_SLICE - 1) >= expected or size == MAX_PART_BYTES
