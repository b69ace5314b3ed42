"""Samples are compared with the source unit by unit: their bytes, and what describes them."""

import numpy as np
import pytest

from pipelines.errors import ErrorCode, ToolError
from pipelines.location import Location
from pipelines.loss import Loss, LossCause
from pipelines.media import Codec, Configuration
from pipelines.packaged_slice import Expectation
from pipelines.payload_hash import UNKNOWN_HASH
from pipelines.playlist import Segment
from pipelines.repair import Repair, RepairKind
from pipelines.sample_proof import (
    as_left_out,
    compare_configuration,
    compare_hashes,
    compare_listed,
    compare_sizes,
)
from pipelines.segment_index import UNKNOWN_SIZE
from tests.unit.mp4_by_hand import audio_entry, avcc, esds, visual_entry
from tests.unit.tracks_by_hand import run_of


def refused(check, *arguments):
    with pytest.raises(ToolError) as caught:
        check(*arguments, "PID 0x100")
    assert caught.value.code == ErrorCode.VERIFICATION_FAILED
    return caught.value.message


def sets(*units):
    """H.264 parameter sets as the index has them: numbered by their own ids."""
    named = tuple((f"sps{7 * n}", unit) for n, unit in enumerate(units))
    return Configuration(Codec.H264, named, ())


def test_a_sample_cut_in_half_is_refused():
    told = refused(compare_sizes, np.array([667, 345]), np.array([667, 667]))
    assert "sample 1 has 345 bytes, its unit in the source 667" in told


def test_other_bytes_are_refused_and_unknown_ones_are_not_compared():
    source = np.array([11, UNKNOWN_HASH, 13], np.uint64)
    compare_hashes(np.array([11, 99, 13], np.uint64), source, "PID 0x100")
    compare_hashes(np.array([11, 12, 13], np.uint64), np.zeros(0, np.uint64), "PID 0x100")
    told = refused(compare_hashes, np.array([11, 12, 14], np.uint64), source)
    assert "sample 2 has other bytes" in told


def test_unknown_sizes_are_not_compared():
    compare_sizes(np.array([5, 6]), np.array([UNKNOWN_SIZE, 6]), "PID 0x100")
    compare_sizes(np.array([5, 6]), np.zeros(0, np.int64), "fMP4")


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([100, 52, 30], [100, 52, UNKNOWN_SIZE]),
        ([60, 52, 30], [60, 52, UNKNOWN_SIZE]),
        ([100, 50, 30], [100, 50, UNKNOWN_SIZE]),
        ([60, 50, 30], [60, 50, UNKNOWN_SIZE]),
        ([60, 51, 30], [100, 52, UNKNOWN_SIZE]),
        ([60, 50], [100, 52, UNKNOWN_SIZE]),
    ],
    ids=["nothing", "parameter-sets", "zeros", "both", "something-else", "a-sample"],
)
def test_what_muxers_leave_out_is_left_out_of_all_samples_or_of_none(sizes, expected):
    times, sync = np.arange(3), np.ones(3, np.bool_)
    source = Expectation(90_000, times, times, sync, np.array([100, 52, UNKNOWN_SIZE]))
    parameter_sets, zeros = np.array([40, 0, 0]), np.array([0, 2, 3])
    left = as_left_out(source, (parameter_sets, zeros), np.array(sizes))
    assert left.sizes.tolist() == expected


def test_parameter_sets_are_compared_by_content_whatever_their_numbers():
    entry = visual_entry(avcc(sps=b"\x67ONE"))
    compare_configuration(entry, sets(b"\x67TWO", b"\x67ONE"), "PID 0x100")
    compare_configuration(entry, None, "PID 0x100")
    assert "sps0" in refused(compare_configuration, entry, sets(b"\x67TWO"))


def test_another_codec_and_another_audio_configuration_are_refused():
    entry = audio_entry(esds(b"\x11\x90"))
    aac = Configuration(Codec.AAC, (("asc", b"\x11\x90"),), ())
    compare_configuration(entry, aac, "PID 0x101")
    other = Configuration(Codec.AAC, (("asc", b"\x12\x10"),), ())
    assert "asc" in refused(compare_configuration, entry, other)
    assert "codec" in refused(compare_configuration, entry, sets(b"\x67ONE"))


LISTED = [Segment(n, Location.parse(f"s3://recordings/one/{n}.ts"), 2.0) for n in range(4)]


def told(*, whole=True):
    """What is told of segments 2 and 3: one is lost, the other came twice."""
    loss = Loss(2, "two", LossCause.SEGMENT_DAMAGED, "", whole=whole)
    return [loss], [Repair(3, RepairKind.DUPLICATE, "", whole=whole)]


def test_a_listed_segment_is_in_a_run_or_told_as_a_whole():
    compare_listed(LISTED, [run_of(0, sequences=(0, 1))], *told())
    compare_listed(LISTED, [run_of(0, sequences=(0, 1, 2)), run_of(3, sequences=(3,))], [], [])


@pytest.mark.parametrize(
    ("sequences", "whole", "words"),
    [
        ((0,), True, r"segment 1 \(s3://recordings/one/1.ts\) is neither"),
        ((0, 1), False, r"segment 2 .* is neither"),
        ((0, 1, 4), True, "segment 4 is in a run, and is not listed"),
    ],
)
def test_a_segment_that_is_nowhere_or_from_elsewhere_is_refused(sequences, whole, words):
    with pytest.raises(ToolError, match=words) as caught:
        compare_listed(LISTED, [run_of(0, sequences=sequences)], *told(whole=whole))
    assert caught.value.code is ErrorCode.VERIFICATION_FAILED
