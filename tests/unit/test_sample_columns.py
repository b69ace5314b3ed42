"""Chunks: groups of samples that lie one behind the other."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipelines.media import Codec
from pipelines.packaged_slice import Samples
from pipelines.sample_columns import CHUNK_BYTES, SampleColumns

groups = st.lists(
    st.tuples(
        st.lists(st.integers(0, CHUNK_BYTES // 3), min_size=1, max_size=4),
        st.sampled_from([0, 0, 0, 1, -5, CHUNK_BYTES]),
    ),
    min_size=1,
    max_size=30,
)


def appended(placed):
    """The columns of groups of samples, and where each sample lies: ``placed`` are the sizes of each
    group's samples, and how far it lies from the end of the group before."""
    at, offsets, places = 1000, [], []
    for sizes, apart in placed:
        at += apart
        offsets.append(at)
        for size in sizes:
            places.append(at)
            at += size
    sizes = np.array([size for group, _ in placed for size in group], np.uint32)
    count = len(sizes)
    samples = Samples(
        np.arange(count, dtype=np.int64), np.zeros(count, np.int32), sizes,
        np.ones(count, np.bool_), 1,
    )  # fmt: skip
    columns = SampleColumns(Codec.AAC, 48_000)
    counts = np.array([len(group) for group, _ in placed], np.uint32)
    columns.append(samples, np.array(offsets, np.int64), counts)
    return columns, places, sizes.tolist()


@given(groups)
def test_every_sample_lies_where_its_group_does(placed):
    columns, places, sizes = appended(placed)
    offsets, counts = columns.chunks()
    assert int(counts.sum()) == len(places)
    found, number = [], 0
    for offset, count in zip(offsets.tolist(), counts.tolist(), strict=True):
        for _ in range(count):
            found.append(offset)
            offset += sizes[number]
            number += 1
    assert found == places


@given(groups)
def test_a_chunk_ends_where_the_next_group_lies_elsewhere_or_it_would_be_large(placed):
    columns, _, sizes = appended(placed)
    _, counts = columns.chunks()
    assert len(counts) <= len(placed)
    assert len(counts) >= 1 + sum(apart != 0 for _, apart in placed[1:])
    ends = np.cumsum(counts).tolist()
    largest = max(sum(group) for group, _ in placed)
    for begin, end in zip([0, *ends], ends, strict=False):
        assert sum(sizes[begin:end]) <= CHUNK_BYTES + largest
