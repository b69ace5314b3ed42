"""The time of day of media times, and the hours that nobody recorded."""

import dataclasses
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest

from pipelines.gap import GapCause
from pipelines.gap_policy import GapPolicy
from pipelines.location import Location
from pipelines.media import TrackKind
from pipelines.movie_tables import MovieTables
from pipelines.playlist import Segment
from pipelines.wall_clock import ListedClock, WallClock
from tests.unit.tracks_by_hand import packaged, picture_samples, run_of, silence, track


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


def listed(*walls, duration=2.0):
    """Segments of two seconds, made at these seconds of the wall's clock; None: not told."""
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    place = Location.parse("s3://recordings/s1/0.ts")
    return [
        Segment(
            number,
            place,
            duration,
            program_date_time=None if wall is None else noon + timedelta(seconds=wall),
        )
        for number, wall in enumerate(walls)
    ]


@pytest.mark.parametrize(
    ("walls", "due"),
    [
        ((0, 2, 4, 6), []),
        ((0, 2.9, 4, 6.5), []),
        ((0, 2, 304, 306), [(2, 4.0, 300.0)]),
        ((0, None, 5.9, 8), []),  # two EXTINF that may be rounded
        ((0, None, 14, 16), [(2, 4.0, 10.0)]),
        ((100, 2, 4), []),
        ((None, None), []),
    ],
)
def test_jumps_between_listed_segments_are_those_that_extinf_does_not_explain(walls, due):
    clock = ListedClock(listed(*walls))
    assert [(jump.sequence, jump.elapsed, jump.seconds) for jump in clock.jumps(0, 99)] == due
    assert clock.jumps(3, 99) == []
    assert clock.elapsed(len(walls)) == 2.0 * len(walls)


def pictures(at, count=60):
    return track(TrackKind.VIDEO, picture_samples(round(at * 90_000), count))


@pytest.mark.parametrize(
    ("runs", "gaps"),
    [
        ([(0, 10, 120)], [(2.0, 300.0, GapCause.WALL_CLOCK)]),
        ([(0, 10, 60), (1, 12, 60)], [(2.0, 300.0, GapCause.WALL_CLOCK)]),
        # The clock jumps as well: that is one hole, and told as one.
        ([(0, 10, 60), (1, 312, 60)], [(2.0, 300.0, GapCause.NOT_IN_SOURCE)]),
    ],
    ids=["inside-a-run", "between-runs", "the-clock-too"],
)
@pytest.mark.parametrize("slices", [False, True], ids=["one-slice", "many"])
def test_hours_that_nobody_recorded_are_told_though_the_clock_goes_on(runs, gaps, slices):
    segments = listed(0, 302)
    noon = segments[0].program_date_time.timestamp()
    made = [
        run_of(number, pictures(at, count), wall_clock=noon + (0, 302)[number])
        for number, at, count in runs
    ]
    tables = MovieTables(Fraction(600), None, GapPolicy.HOLD, silence, listed=ListedClock(segments))
    parts = [[run] for run in made] if slices else [made]
    for number, part in enumerate(parts):
        last = 1 if part is parts[-1] else 0
        tables.add(dataclasses.replace(packaged(number, part), last_sequence=last), 10**7 * number)
    tables.finish()
    assert [(gap.at, gap.duration, gap.cause) for gap in tables.gaps] == gaps
    assert tables.gaps[0].wall_clock == noon + 2
