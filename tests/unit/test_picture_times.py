"""Which pictures a slice owns, and when encoded ones are shown: decided on times alone."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import ErrorCode, ToolError
from pipelines.location import Location
from pipelines.packaged_slice import Samples
from pipelines.playlist import Segment
from pipelines.segment_index import NO_TIME
from pipelines.transcoding.filter_chain import PictureWindow
from pipelines.transcoding.ownership import (
    EndMisjudged,
    NextPictures,
    Ownership,
    ownership,
)
from pipelines.transcoding.picture_times import (
    OwnPictures,
    PictureLog,
    expectation,
    in_presentation_order,
    usual_duration,
)
from tests.packaging import small_encoding

FRAME = 3000
ANYWHERE = PictureWindow(None, None)
#: I P B B in decode order, as numbers in presentation order.
REORDERED = [0, 3, 1, 2, 6, 4, 5]


def log_of(*numbers, keys=(0,)):
    """Pictures in decode order by their numbers in presentation order; None has no time."""
    log = PictureLog()
    pts = [NO_TIME if number is None else number * FRAME for number in numbers]
    sync = np.isin(np.arange(len(numbers)), keys)
    log.add(np.array(pts, np.int64), sync)
    return log


def numbers(own):
    return (own.times // FRAME).tolist()


def samples_of(*numbers, keys=(0,), delay=2):
    """Encoded pictures as encoders give them: decode times begin ``delay`` frames early."""
    count = len(numbers)
    pts = np.array(numbers, np.int64) * FRAME
    dts = (np.arange(count) - delay + min(numbers)) * FRAME
    sync = np.isin(np.arange(count), keys)
    composition = (pts - dts).astype(np.int32)
    return Samples(dts, composition, np.ones(count, np.uint32), sync, FRAME)


def refused(call, *arguments):
    with pytest.raises(ToolError) as caught:
        call(*arguments)
    assert caught.value.code == ErrorCode.VERIFICATION_FAILED


@given(st.integers(1, 5))
def test_windows_that_meet_share_the_pictures_out(seam):
    log = log_of(*REORDERED)
    before = log.inside(PictureWindow(None, seam * FRAME))
    behind = log.inside(PictureWindow(seam * FRAME, None))
    assert numbers(before) + numbers(behind) == list(range(7))


def test_pictures_before_the_first_key_frame_are_nobodys():
    assert numbers(log_of(3, 1, 2, 6, 4, 5, keys=(3,)).inside(ANYWHERE)) == [6]
    assert numbers(log_of(3, 1, 2, keys=()).inside(ANYWHERE)) == []


def test_pictures_without_a_time_are_counted_beside_the_one_before_them():
    own = log_of(0, 1, None, 3, None).inside(PictureWindow(None, 3 * FRAME))
    assert (numbers(own), own.untimed, len(own)) == ([0, 1], 1, 3)


def test_one_of_two_pictures_with_the_same_time_has_none_of_its_own():
    own = log_of(0, 1, 1, 2).inside(ANYWHERE)
    assert (numbers(own), own.untimed) == ([0, 1, 2], 1)


@given(st.permutations(range(1, 9)))
def test_decode_times_are_presentation_times_in_order(order):
    samples = samples_of(0, *order)
    made = in_presentation_order(samples, FRAME, "v")
    assert made.pts.tolist() == samples.pts.tolist()
    assert made.dts.tolist() == [FRAME * number for number in range(9)]


def test_pictures_that_do_not_begin_with_a_key_frame_are_refused():
    refused(in_presentation_order, samples_of(0, 1, 2, keys=(1,)), FRAME, "v")
    refused(in_presentation_order, samples_of(1, 0, 2), FRAME, "v")
    refused(in_presentation_order, samples_of(0, 1, 1), FRAME, "v")


def expected_of(shown, own, **options):
    pts = np.array(shown, np.int64)
    sync = np.zeros(len(pts), np.bool_)
    return expectation(pts, sync, own, small_encoding(**options), 90_000, "v").pts.tolist()


def own_of(*times, untimed=0, end=None):
    return OwnPictures(np.array(times, np.int64), untimed, end)


def test_the_expectation_lies_in_the_encoders_order():
    own = own_of(0, 3000, 6000, 9000)
    assert expected_of([1, 9000, 2999, 6002], own) == [0, 9000, 3000, 6000]


@pytest.mark.parametrize(
    "shown",
    [[0, 3000, 6000], [0, 3000, 6000, 9000, 12_000], [0, 3000, 6000, 9003], [0, 3000, 3000, 6000]],
    ids=["lost", "more", "moved", "doubled"],
)
def test_other_pictures_than_the_sources_are_refused(shown):
    refused(expected_of, shown, own_of(0, 3000, 6000, 9000))


def test_a_picture_without_a_time_may_be_anywhere_but_must_be_there():
    own = own_of(0, 6000, untimed=1)
    assert expected_of([0, 3000, 6000], own) == [0, NO_TIME, 6000]
    refused(expected_of, [0, 6000], own)
    refused(expected_of, [0, 3000, 9000], own)


def test_a_constant_rate_covers_the_window_to_its_end():
    at_25 = {"constant_rate": True, "nominal_rate": Fraction(25)}
    own = own_of(*range(0, 90_000, 3000), end=90_000)
    grid = [number * 3600 for number in range(25)]
    assert expected_of(grid, own, **at_25) == grid
    later = [7 * 3600 + time for time in grid]
    assert expected_of(later, own.moved(7 * 3600 + 200), **at_25) == later
    with pytest.raises(ToolError):
        expected_of(grid[:-1], own, **at_25)
    open_end = own_of(*range(0, 90_000, 3000))
    assert expected_of(grid, open_end, **at_25) == grid
    with pytest.raises(ToolError):
        expected_of([number * 3600 for number in range(40)], open_end, **at_25)


def test_the_usual_duration_is_that_of_most_pictures():
    assert usual_duration(np.array([0, 9000, 3000, 6000, 90_000]), 1) == FRAME
    assert usual_duration(np.array([7]), 3600) == 3600


def segments(*seconds, tagged=()):
    folder = Location.parse("s3://recordings/x/")
    return [
        Segment(
            sequence=number,
            location=folder,
            duration=duration,
            discontinuity=number in tagged,
        )
        for number, duration in enumerate(seconds)
    ]


@pytest.mark.parametrize(
    ("begin", "tagged", "reaches"),
    [(12, (), True), (12, (0,), True), (12, (1,), False), (-1, (), False), (900, (), False)],
    ids=["next", "tag-before", "tag-inside", "clock-back", "far-ahead"],
)
def test_whether_a_run_reaches_the_end_is_judged_by_the_clock(begin, tagged, reaches):
    following = NextPictures(begin * 90_000, starts_clean=True)
    coming = segments(4, 4, 4, tagged=tagged)
    judged = ownership(0, following, 90_000, coming, Fraction(600), None)
    assert judged.reaches is reaches
    assert judged.window.end == (begin * 90_000 if reaches else None)


def own_pictures(*, reaches, reached, next_number, clean=True, held=False):
    following = NextPictures(next_number * FRAME, clean)
    run = Ownership(7, 0, following, reaches)
    return run.pictures(log_of(*REORDERED), reached=reached, held=held)


def test_a_wrong_judgement_is_told_when_it_matters():
    assert numbers(own_pictures(reaches=True, reached=False, next_number=7)) == list(range(7))
    for case in ({"next_number": 5}, {"next_number": 7, "held": True}):
        for reached in (True, False):
            with pytest.raises(EndMisjudged) as caught:
                own_pictures(reaches=not reached, reached=reached, **case)
            assert (caught.value.sequence, caught.value.reaches) == (7, reached)


def test_pictures_that_are_shown_behind_those_of_the_next_slice_are_its_own():
    own = own_pictures(reaches=True, reached=True, next_number=5, clean=False)
    assert numbers(own) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("next_number", "clean", "reached", "units"),
    [(5, True, True, 2), (5, False, True, 0), (5, True, False, 0), (7, True, True, 0)],
    ids=["closed", "open", "other-clock", "behind"],
)
def test_pictures_that_no_slice_can_show_are_lost(next_number, clean, reached, units):
    run = Ownership(7, 0, NextPictures(next_number * FRAME, clean), reached)
    [last] = segments(4)
    found = run.unshown(log_of(*REORDERED), last, reached=reached)
    assert (found.units if found else 0) == units
    assert found is None or (found.sequence, found.whole) == (last.sequence, False)


@pytest.mark.parametrize(
    ("keys", "segments_before", "units"),
    [((), 64, 5), ((4,), 64, 4), ((0,), 64, 0), ((4,), 3, 0)],
    ids=["none", "later", "in-time", "period-start"],
)
def test_pictures_whose_key_frame_is_too_far_away_are_lost(keys, segments_before, units):
    run = Ownership(7, 2 * FRAME, None, reaches=True)
    [first] = segments(4)
    log = log_of(*REORDERED, keys=keys)
    found = run.undecoded(log, [1000] * segments_before, first)
    assert (found.units if found else 0) == units
    assert found is None or (found.sequence, found.whole) == (first.sequence, False)
