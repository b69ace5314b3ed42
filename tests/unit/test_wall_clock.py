"""The time of day of media times, and the hours that nobody recorded."""

from fractions import Fraction

from pipelines.wall_clock import WallClock


def seconds(number):
    return Fraction(number)


def test_media_that_follows_has_no_hole_however_the_tags_are_rounded():
    wall = WallClock()
    assert wall.note(seconds(0), 1000.0, starts_period=True) == 0
    assert wall.note(seconds(10), 1010.9, starts_period=True) == 0
    assert wall.note(seconds(20), 1900.0, starts_period=False) == 0


def test_a_period_that_starts_later_by_the_clock_on_the_wall_has_a_hole_before_it():
    wall = WallClock()
    wall.note(seconds(0), 1000.0, starts_period=True)
    assert wall.note(seconds(10), 1070.0, starts_period=True) == 60
    assert wall.note(seconds(20), 1080.0, starts_period=True) == 0
    assert (wall.at(seconds(10)), wall.at(seconds(15))) == (1010.0, 1075.0)


def test_a_clock_on_the_wall_that_goes_back_is_no_hole():
    wall = WallClock()
    wall.note(seconds(0), 1000.0, starts_period=True)
    assert wall.note(seconds(10), 500.0, starts_period=True) == 0


def test_a_period_that_tells_no_time_has_none_and_those_around_it_are_compared():
    wall = WallClock()
    assert wall.at(seconds(3)) is None
    wall.note(seconds(0), 1000.0, starts_period=True)
    wall.note(seconds(10), None, starts_period=True)
    assert wall.at(seconds(12)) is None
    assert wall.note(seconds(20), 1050.0, starts_period=True) == 30


def test_what_moved_up_is_no_hole_and_keeps_its_time():
    wall = WallClock()
    wall.note(seconds(0), 1000.0, starts_period=True)
    wall.move_up(seconds(10), seconds(5))
    assert wall.note(seconds(10), 1015.0, starts_period=True) == 0
    assert (wall.at(seconds(10)), wall.at(seconds(12))) == (1010.0, 1017.0)
