"""Run-length encoding is exact, and does not depend on how the values were cut into slices."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipelines.mp4.samples import RunLengths, SampleTable, concatenate, run_lengths, starts

VALUES = st.lists(st.integers(-2, 2) | st.integers(-(2**40), 2**40), max_size=60)


def _array(values):
    return np.array(values, np.int64)


@given(VALUES)
def test_run_lengths_expand_to_the_values_and_have_no_equal_neighbours(values):
    counts, distinct = run_lengths(_array(values))
    assert distinct.repeat(counts).tolist() == values
    assert (counts > 0).all()
    assert (distinct[1:] != distinct[:-1]).all()


@given(VALUES, st.lists(st.integers(0, 60), max_size=6))
def test_a_builder_fed_in_slices_equals_the_encoding_of_all_at_once(values, cuts):
    builder = RunLengths()
    for part in np.split(_array(values), sorted(cuts)):
        builder.append(part)
    for found, expected in zip(builder.encoded(), run_lengths(_array(values)), strict=True):
        assert found.tolist() == expected.tolist()


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=30), st.integers(0, 30))
def test_runs_that_are_split_or_empty_merge_like_values(runs, cut):
    builder = RunLengths()
    for part in (runs[:cut], runs[cut:]):
        builder.append_runs(_array([count for count, _ in part]), _array([v for _, v in part]))
    expected = run_lengths(_array([value for count, value in runs for _ in range(count)]))
    for found, wanted in zip(builder.encoded(), expected, strict=True):
        assert found.tolist() == wanted.tolist()


def test_a_builder_never_writes_to_what_it_was_given():
    counts = _array([2])
    builder = RunLengths()
    builder.append_runs(counts, _array([7]))
    builder.append_runs(_array([3]), _array([7]))
    assert counts.tolist() == [2]
    assert [part.tolist() for part in builder.encoded()] == [[5], [7]]


def test_encoded_runs_stay_as_they_are_when_the_builder_goes_on():
    builder = RunLengths()
    builder.append(_array([1, 1]))
    counts, _ = builder.encoded()
    builder.append(_array([1]))
    assert counts.tolist() == [2]


def test_a_sample_table_sums_beyond_32_bits():
    count = 4
    table = SampleTable(
        np.full(count, 2**31, np.int64),
        np.zeros(count, np.int32),
        np.full(count, 2**31, np.uint32),
        np.array([True, False, False, True]),
    )
    assert table.byte_count == table.duration == 2**33
    assert table.decode_offsets.tolist() == [0, 2**31, 2**32, 3 * 2**31]
    assert table.sync_numbers.tolist() == [1, 4]
    both = concatenate([table, table])
    assert (len(both), both.byte_count) == (8, 2**34)
    assert len(concatenate([])) == 0


def test_starts_of_nothing_are_nothing():
    assert starts(np.zeros(0, np.uint32)).tolist() == []
    assert starts(np.array([2**32 - 1, 5], np.uint32)).tolist() == [0, 2**32 - 1]
