"""Where a clock is another one, and which of its time stamps are only astray."""

import numpy as np
import pytest

from pipelines.mpegts.clock_lines import FORWARD_LIMIT, Line, clock_lines, forward
from pipelines.segment_index import NO_TIME

STEP = 3000


def times(*values):
    return np.array(values, np.int64)


def steady(count, first=0):
    return first + STEP * np.arange(count, dtype=np.int64)


@pytest.mark.parametrize("hole", [STEP, 90_000, FORWARD_LIMIT])
def test_a_clock_that_goes_forward_is_one_line(hole):
    dts = np.append(steady(20), steady(20, 19 * STEP + hole))
    assert clock_lines(dts) == (Line(0, 40),)


@pytest.mark.parametrize("second", [-(10**9), -90_000, 90_000, 10**9])
def test_a_clock_that_starts_elsewhere_is_another_line(second):
    dts = np.append(steady(40), steady(40, second))
    assert clock_lines(dts) == (Line(0, 40), Line(40, 80))


def test_units_without_a_time_go_with_those_before_them():
    dts = np.concatenate((steady(10, 10**9), [NO_TIME] * 3, steady(10)))
    assert clock_lines(dts) == (Line(0, 13), Line(13, 23))
    assert clock_lines(times(NO_TIME, NO_TIME)) == (Line(0, 2),)
    assert clock_lines(times()) == ()


@pytest.mark.parametrize("stray", [-(10**9), 10**9, 0, 5 * STEP])
def test_a_few_stamps_that_are_astray_stay_in_their_line(stray):
    dts = steady(40)
    dts[20:23] = stray
    assert clock_lines(dts) == (Line(0, 40),)
    decoded, _, changed = forward(dts, dts.copy())
    assert (np.diff(decoded) > 0).all()
    assert changed in (2, 3)
    assert (decoded[:20] == steady(40)[:20]).all()
    assert (decoded[23:] == steady(40)[23:]).all()


def test_stamps_that_are_right_are_not_touched():
    dts = steady(10)
    decoded, shown, changed = forward(dts, dts + STEP)
    assert changed == 0
    assert (decoded == dts).all()
    assert (shown == dts + STEP).all()


def test_pictures_are_shown_when_they_were_and_never_before_they_are_decoded():
    dts = times(0, 3000, 6000, 6000, 6000, 15_000)
    pts = times(9000, 6000, 12_000, 15_000, 18_000, 21_000)
    decoded, shown, changed = forward(dts, pts)
    assert changed == 2
    assert (np.diff(decoded) > 0).all()
    assert (shown == pts).all()
    assert (decoded <= shown).all()


def test_a_picture_whose_times_are_both_astray_moves_as_a_whole():
    dts, pts = steady(20), steady(20) + STEP
    dts[10] += 10**8
    pts[10] += 10**8
    decoded, shown, _ = forward(dts, pts)
    assert (decoded == steady(20)).all()
    assert (shown == steady(20) + STEP).all()


def test_clocks_that_alternate_are_put_in_order_as_fast_as_any_other():
    dts = np.column_stack((steady(30_000), steady(30_000, 2**40))).ravel()
    decoded, shown, changed = forward(dts, dts)
    assert changed == 29_999
    assert (np.diff(decoded) > 0).all()
    assert (shown >= decoded).all()


def test_frames_of_sound_are_at_the_times_of_which_they_fell_out():
    steady = STEP * np.arange(20, dtype=np.int64)
    astray = steady.copy()
    astray[[5, 6, 12]] -= 3 * STEP
    decoded, shown, changed = forward(astray, astray)
    assert decoded.tolist() == shown.tolist() == steady.tolist()
    assert changed == 3
