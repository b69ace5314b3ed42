"""The staged result of a slice: what is written comes back equal, what is not ours is known as such."""

import struct
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.loss import Loss, LossCause
from pipelines.media import Codec
from pipelines.object_store import UploadedPart
from pipelines.packaged_slice import (
    FORMAT_VERSION,
    Expectation,
    PackagedRun,
    PackagedSlice,
    PackagedTrack,
    Placement,
    Samples,
    TrackMade,
    UnknownFormat,
    decode,
    encode,
)
from pipelines.repair import Repair, RepairKind
from pipelines.segment_index import NO_TIME, Container

times = st.integers(-(2**40), 2**40)


def arrays(values, kind, size):
    return st.lists(values, min_size=size, max_size=size).map(lambda v: np.array(v, kind))


@st.composite
def tracks(draw):
    count = draw(st.integers(0, 12))
    groups = draw(st.integers(0, 3))
    return PackagedTrack(
        track=draw(st.integers(0, 0x1FFF)),
        codec=draw(st.sampled_from(Codec)),
        timescale=draw(st.integers(1, 10**6)),
        sample_entry=draw(st.binary(max_size=30)),
        language="und",
        width=640,
        height=360,
        edit_start=draw(st.none() | times),
        samples=Samples(
            draw(arrays(times, np.int64, count)),
            draw(arrays(st.integers(-(2**31), 2**31 - 1), np.int32, count)),
            draw(arrays(st.integers(0, 2**32 - 1), np.uint32, count)),
            draw(arrays(st.booleans(), np.bool_, count)),
            draw(st.integers(0, 10**6)),
        ),
        placement=Placement(
            draw(arrays(st.integers(0, 2**50), np.int64, groups)),
            draw(arrays(st.integers(0, 2**32 - 1), np.uint32, groups)),
            draw(arrays(st.integers(0, 2**64 - 1), np.uint64, groups)),
        ),
        expected=Expectation(
            90_000,
            draw(arrays(times | st.just(NO_TIME), np.int64, count)),
            draw(arrays(times | st.just(NO_TIME), np.int64, count)),
            draw(arrays(st.booleans(), np.bool_, count)),
            draw(arrays(st.integers(-1, 2**32 - 1), np.int64, count)),
        ),
        matrix=draw(st.binary(min_size=36, max_size=36)),
        made=draw(st.sampled_from(TrackMade)),
    )


losses = st.builds(
    Loss,
    sequence=st.integers(0, 2**40),
    location=st.text(max_size=40),
    cause=st.sampled_from(LossCause),
    detail=st.text(max_size=40),
    whole=st.booleans(),
    seconds=st.floats(0, 1e6),
    units=st.integers(0, 2**40),
    rendition=st.text(max_size=10),
)
repairs = st.builds(
    Repair,
    sequence=st.integers(0, 2**40),
    kind=st.sampled_from(RepairKind),
    detail=st.text(max_size=40),
    units=st.integers(0, 2**40),
    rendition=st.text(max_size=10),
    whole=st.booleans(),
    by_track=st.lists(st.tuples(st.integers(0, 2**33), st.integers(0, 99)), max_size=2).map(tuple),
)
runs = st.builds(
    PackagedRun,
    container=st.sampled_from(Container),
    tagged=st.booleans(),
    starts_clean=st.booleans(),
    first_sequence=st.integers(0, 2**40),
    tracks=st.lists(tracks(), max_size=2).map(tuple),
    piece=st.integers(-3, 2**20),
    broken=st.booleans(),
    wall_clock=st.none() | st.floats(-1e10, 1e10),
    sequences=st.lists(st.integers(0, 2**40), max_size=3).map(tuple),
    begins=st.lists(st.tuples(st.integers(0, 2**40), st.floats(-1e6, 1e6)), max_size=3).map(tuple),
)
slices = st.builds(
    PackagedSlice,
    number=st.integers(0, 1236),
    identity=st.text(max_size=64),
    runs=st.lists(runs, max_size=2).map(tuple),
    payload_bytes=st.integers(0, 2**40),
    staged_bytes=st.integers(0, 2**24),
    parts=st.lists(
        st.builds(
            UploadedPart,
            number=st.integers(1, 10_000),
            size=st.integers(0, 2**30),
            etag=st.text(max_size=40),
            crc32=st.integers(0, 2**32 - 1),
        ),
        max_size=8,
    ).map(tuple),
    source_bytes=st.integers(0, 2**40),
    source_segments=st.integers(0, 400),
    listed_seconds=st.floats(0, 1e6),
    losses=st.lists(losses, max_size=2).map(tuple),
    repairs=st.lists(repairs, max_size=2).map(tuple),
)


def plain(value):
    """Nested tuples of plain values, so that slices can be compared."""
    if isinstance(value, np.ndarray):
        return (value.dtype.kind, value.tolist())
    if hasattr(value, "__dataclass_fields__"):
        return tuple((name, plain(getattr(value, name))) for name in value.__dataclass_fields__)
    return tuple(map(plain, value)) if isinstance(value, tuple) else value


@settings(deadline=None, max_examples=40)
@given(slices)
def test_a_result_comes_back_as_it_was(packaged):
    assert plain(decode(encode(packaged))) == plain(packaged)


def empty(**changes):
    fields = {
        "number": 3, "identity": "i", "runs": (), "payload_bytes": 0, "staged_bytes": 0,
        "parts": (), "source_bytes": 1, "source_segments": 1, "listed_seconds": 2.0,
    }  # fmt: skip
    return PackagedSlice(**{**fields, **changes})


@pytest.mark.parametrize("version", [0, FORMAT_VERSION + 1, 65_535])
def test_another_version_is_told_apart(version):
    data = bytearray(encode(empty()))
    struct.pack_into(">H", data, 4, version)
    with pytest.raises(UnknownFormat, match=f"format version {version}"):
        decode(bytes(data))


@settings(deadline=None, max_examples=40)
@given(slices.filter(lambda each: each.runs), st.floats(0, 1, exclude_max=True))
def test_a_result_cut_short_is_unknown_never_a_shorter_result(packaged, share):
    data = encode(packaged)
    cut = data[: int(len(data) * share)]
    with pytest.raises(UnknownFormat):
        decode(cut)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_noise_is_unknown(noise):
    with pytest.raises(UnknownFormat):
        decode(noise)


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_noise_behind_a_true_prefix_is_unknown(noise):
    with pytest.raises(UnknownFormat):
        decode(struct.pack(">4sHI", b"RFSL", FORMAT_VERSION, len(noise)) + noise)


def test_a_steady_clock_takes_next_to_no_room():
    count = 100_000
    dts = np.arange(count, dtype=np.int64) * 3000 + 2**33
    ones, none = np.ones(count, np.uint32), np.zeros(0, np.int64)
    sync = np.zeros(count, np.bool_)
    track = PackagedTrack(
        256, Codec.H264, 90_000, b"", "und", 1, 1, None,
        Samples(dts, np.zeros(count, np.int32), ones, sync, 3000),
        Placement(none, none.astype(np.uint32), none.astype(np.uint64)),
        Expectation(90_000, dts, dts, sync),
    )  # fmt: skip
    run = PackagedRun(Container.MPEGTS, False, True, 0, (track,))
    assert len(encode(empty(runs=(run,)))) < 32_000


def test_what_has_no_time_has_none_in_another_round_of_the_clock():
    dts, pts = np.array([0, NO_TIME, 6000]), np.array([NO_TIME, 3000, 6000])
    moved = Expectation(90_000, dts, pts, np.ones(3, np.bool_)).moved(Fraction(1, 2))
    assert moved.dts.tolist() == [45_000, NO_TIME, 51_000]
    assert moved.pts.tolist() == [NO_TIME, 48_000, 51_000]
