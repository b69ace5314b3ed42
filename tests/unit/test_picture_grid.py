"""The grid of a constant rate: its points, which of them a time goes to, and where it is anchored."""

from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pipelines.segment_index import TS_TIMESCALE, TS_WRAP
from pipelines.transcoding.anchor import TsAnchor
from pipelines.transcoding.picture_grid import MOST_TICKS_PER_SECOND, PictureGrid

NTSC = Fraction(30_000, 1001)
rates = st.sampled_from(
    [*map(Fraction, (15, 24, 25, 30, 50, 60)), NTSC, Fraction(24_000, 1001), Fraction(60_000, 1001),
     Fraction(15, 2)]
)  # fmt: skip
times = st.integers(-(2**40), 2**40)


def shown(grid, time):
    """When a picture of that time is shown, seconds."""
    return Fraction(grid.number(time) * grid.step + grid.phase, grid.timescale)


@given(rates, times)
def test_the_anchor_is_a_point(rate, anchor):
    grid = PictureGrid(rate, TS_TIMESCALE, anchor)
    assert shown(grid, anchor) == Fraction(anchor, TS_TIMESCALE)
    assert 0 <= grid.phase < grid.step


@given(rates, times, times)
def test_a_time_goes_to_one_of_the_points_beside_it(rate, anchor, time):
    grid = PictureGrid(rate, TS_TIMESCALE, anchor)
    assert abs(shown(grid, time) - Fraction(time, TS_TIMESCALE)) < 1 / rate * Fraction(9, 16)


@given(rates, times, st.integers(0, 2**22))
def test_pictures_at_the_rate_itself_keep_their_times(rate, anchor, number):
    grid = PictureGrid(rate, TS_TIMESCALE, anchor)
    exact = anchor + number * TS_TIMESCALE / rate
    assert abs(shown(grid, round(exact)) - exact / TS_TIMESCALE) < Fraction(1, 10**9)


@given(rates, times, st.integers(0, 2**22))
def test_pictures_half_way_all_go_the_same_way(rate, anchor, number):
    """However their times were rounded: the next point's picture takes their place."""
    grid = PictureGrid(rate, TS_TIMESCALE, anchor)
    half = anchor + (number + Fraction(1, 2)) * TS_TIMESCALE / rate
    reached = {grid.number(int(half) + off) for off in (-20, -1, 0, 1, 20)}
    assert reached == {grid.number(anchor) + number + 1}


@given(rates, times, times)
def test_the_grid_goes_on_over_a_wrap_of_the_clock(rate, anchor, time):
    grid = PictureGrid(rate, TS_TIMESCALE, anchor)
    behind = PictureGrid(rate, TS_TIMESCALE, anchor - TS_WRAP)
    ticks = Fraction(time * grid.timescale, TS_TIMESCALE) - grid.subtracted
    assume(ticks / grid.step % 1 != Fraction(1, 2))  # halves go away from zero, which has moved
    assert shown(grid, time) - shown(behind, time - TS_WRAP) == Fraction(TS_WRAP, TS_TIMESCALE)


@pytest.mark.parametrize(
    ("rate", "source", "timescale"),
    [
        (Fraction(25), 90_000, 90_000),
        (NTSC, 90_000, 90_000),
        (Fraction(24_000, 1001), 90_000, 360_000),
        (Fraction(15, 2), 600, 7800),
        (NTSC, 10_000_000, 30_000_000),
        (Fraction(2997, 100), 10_000_000, 29_970),
        (Fraction(30), 2**32 - 1, 30_000),
    ],
)
def test_times_of_source_and_grid_are_exact_as_far_as_can_be(rate, source, timescale):
    grid = PictureGrid(rate, source, 0)
    assert grid.timescale == timescale <= MOST_TICKS_PER_SECOND
    assert (timescale / rate).denominator == 1
    assert grid.step >= 1000


@pytest.mark.parametrize(
    ("begin", "elapsed", "rounds"),
    [
        (1000, 0.0, 0),
        (1000 - TS_WRAP, 0.0, 1),
        (1000 + 60 * 90_000, 60.0, 0),
        (500 - TS_WRAP + 3600 * 90_000, 3600.0, 1),
        (7, 95_443.7, 1),
        (7, 2 * 95_443.7, 2),
    ],
    ids=["itself", "counted-below", "later", "later-counted-below", "wrapped", "wrapped-twice"],
)
def test_an_anchor_moves_to_the_round_of_the_run(begin, elapsed, rounds):
    assert TsAnchor(1000, elapsed).on_clock(begin) == 1000 - rounds * TS_WRAP
