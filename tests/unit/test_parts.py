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
from pipelines.part_scheme import (
    HEADROOM,
    LAST_PART,
    MAX_PART_BYTES,
    PARTS_PER_SLICE,
    VARYING_PARTS,
    PartScheme,
    uniform_scheme,
)
from pipelines.parts import (
    PREFERRED_PART_BYTES,
    PartUpload,
    PartWriter,
    estimated_part_bytes,
    refuse_too_large,
)
from pipelines.payload_hash import payload_hash
from pipelines.slices import COPY_LENGTHS, MAX_SLICES, SliceLengths

#: Stands for 1 MiB, so that thousands of payloads are tried in memory.
UNIT = 16


class Store(PartUpload):
    """Keeps what is uploaded, by part number."""

    def __init__(self, scheme=VARYING_PARTS):
        self.bodies = {}
        self.lock = threading.Lock()
        self.parts = scheme

    def scheme(self, payload_bytes):
        return self.parts

    def upload_part(self, number, body):
        with self.lock:
            assert number not in self.bodies
            self.bodies[number] = bytes(body)
        return UploadedPart(number, len(body), f'"{number}"', zlib.crc32(body))


class Refusing(PartUpload):
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
    with PartWriter(upload, number=number, payload_bytes=len(payload)) as writer:
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
    assert numbers == list(VARYING_PARTS.numbers(number))[: len(numbers)]
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
    assert [*VARYING_PARTS.numbers(0)] == [*range(100, 108)]
    assert VARYING_PARTS.numbers(1)[0] == 108
    assert VARYING_PARTS.numbers(MAX_SLICES - 1)[-1] <= LAST_PART


@given(st.integers(0, 7 * MAX_PART_BYTES))
def test_eight_parts_hold_any_slice_that_is_accepted(size):
    refuse_too_large(size)
    chosen = estimated_part_bytes(size)
    assert max(PREFERRED_PART_BYTES, MIN_PART_BYTES) <= chosen <= MAX_PART_BYTES
    assert chosen * (PARTS_PER_SLICE - 1) >= size


def test_a_slice_that_needs_larger_parts_is_refused():
    with pytest.raises(PermanentError) as caught:
        refuse_too_large(7 * MAX_PART_BYTES + 1)
    assert caught.value.code == ErrorCode.BITRATE_TOO_HIGH


def test_a_payload_larger_than_was_said_is_refused_not_cut(small):
    payload = memoryview(bytes(100 * UNIT))
    writer = PartWriter(Store(), number=0, payload_bytes=8 * UNIT)
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


#: Equal parts of 6 units, of which every slice owns 12.
EQUAL = PartScheme(((0, 12),), 6 * UNIT)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.integers(0, 70 * UNIT),
    cuts=st.lists(st.integers(0, 70 * UNIT), max_size=8),
    number=st.integers(0, 3),
)
@example(size=12 * UNIT - 1, cuts=[], number=1)
@example(size=12 * UNIT, cuts=[], number=0)
def test_equal_parts_hold_the_payload_and_zeros_behind_it(small, size, cuts, number):
    payload = np.random.default_rng(size).bytes(size)
    written, store = write(payload, cuts, number=number, upload=Store(EQUAL))
    uploaded = b"".join(store.bodies[part.number] for part in written.parts)
    made = written.staged + uploaded
    assert made == payload + bytes(len(made) - size)
    assert len(made) - size < 6 * UNIT
    assert {part.size for part in written.parts} <= {6 * UNIT}
    assert written.hash == payload_hash(payload)
    assert written.size == size
    assert [part.number for part in written.parts] == [*EQUAL.numbers(number)[: len(written.parts)]]
    if size < 12 * UNIT:
        assert not written.parts


def test_what_needs_more_equal_parts_than_its_slice_owns_is_the_uploads_to_tell():
    class Outgrown(Store):
        def outgrown(self):
            return TransientError("begun anew")

    scheme = PartScheme(((0, 3),), MIN_PART_BYTES)
    with pytest.raises(TransientError, match="begun anew"):
        write(bytes(3 * MIN_PART_BYTES + 1), [], upload=Outgrown(scheme))


@given(
    rate=st.floats(1e4, 2e6),
    slices=st.integers(1, MAX_SLICES),
    lengths=st.sampled_from([COPY_LENGTHS, SliceLengths.all(4.0), SliceLengths.all(180.0)]),
)
def test_equal_parts_have_numbers_for_every_slice_and_room_for_its_bytes(rate, slices, lengths):
    scheme = uniform_scheme(rate, lengths, slices)
    owned = [scheme.numbers(number) for number in range(slices)]
    assert owned[0][0] == 100
    assert all(one[-1] < two[0] for one, two in itertools.pairwise(owned))
    assert owned[-1][-1] <= LAST_PART
    assert all(
        scheme.holds(number, round(HEADROOM * rate * lengths.of(number)))
        for number in range(slices)
    )
    assert PartScheme.from_json(scheme.to_json()) == scheme


@pytest.mark.parametrize(
    ("mbits", "slices", "mebibytes"),
    [(6, 20, 5), (6, 480, 9), (12, 480, 17), (6, 1152, 68), (1, 480, 5)],
)
def test_equal_parts_are_as_small_as_the_numbers_allow(mbits, slices, mebibytes):
    scheme = uniform_scheme(mbits * 1e6 / 8, COPY_LENGTHS, slices)
    assert scheme.part_bytes == mebibytes << 20


def test_equal_parts_that_would_not_fit_into_memory_are_refused():
    with pytest.raises(PermanentError) as caught:
        uniform_scheme(1e8, COPY_LENGTHS, MAX_SLICES)
    assert caught.value.code == ErrorCode.BITRATE_TOO_HIGH
