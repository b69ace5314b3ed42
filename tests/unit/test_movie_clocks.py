"""Where a movie's clock and media time go side by side, and what of it was encoded anew."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import pytest

from pipelines.gap_policy import GapPolicy
from pipelines.media import Codec, TrackKind
from pipelines.movie_tables import MovieTables
from pipelines.packaged_slice import TrackMade
from pipelines.rendition_layout import OddRun, RenditionLayout, TrackLayout
from tests.unit.tracks_by_hand import (
    VIDEO,
    VIDEO_ENTRY,
    packaged,
    picture_samples,
    silence,
    track,
)

WRAP_S = 2**33 / 90_000


def pictures(at, made=TrackMade.COPIED):
    """Two seconds of pictures from ``at`` seconds of the clock on."""
    one = track(TrackKind.VIDEO, picture_samples(round(at * 90_000), 60))
    return dataclasses.replace(one, made=made)


def merged(*slices, policy=GapPolicy.HOLD, layout=None):
    tables = MovieTables(Fraction(600), None, policy, silence, layout)
    for number, each in enumerate(slices):
        tables.add(each, number * 10**6)
    tables.finish()
    return tables


def clocks(tables):
    return [
        (round(each.media, 3), round(each.clock, 3), each.sequence, each.piece)
        for each in tables.clocks
    ]


def test_one_clock_is_one_point_wherever_slices_and_held_gaps_are():
    tables = merged(packaged(0, pictures(50)), packaged(1, pictures(52)), packaged(2, pictures(60)))
    assert clocks(tables) == [(0.0, 50.0, 0, 0)]


def test_another_clock_is_another_point_and_knows_where_it_begins():
    tables = merged(packaged(0, pictures(50)), packaged(1, pictures(3), sequence=7, piece=1))
    assert clocks(tables) == [(0.0, 50.0, 0, 0), (2.0, 3.0, 7, 1)]
    assert [(each.sequence, each.piece) for each in tables.periods] == [(0, 0), (7, 1)]


def test_a_gap_that_is_closed_moves_the_clock():
    slices = packaged(0, pictures(50)), packaged(1, pictures(60))
    assert clocks(merged(*slices, policy=GapPolicy.COLLAPSE)) == [
        (0.0, 50.0, 0, 0),
        (2.0, 60.0, 1, 0),
    ]


def test_a_wrap_is_a_point_of_the_same_period():
    tables = merged(packaged(0, pictures(WRAP_S - 2)), packaged(1, pictures(0)))
    assert [each[0] for each in clocks(tables)] == [0.0, 2.0]
    assert len(tables.periods) == 1


def test_what_a_layout_has_had_encoded_is_told_with_its_place():
    odd = OddRun(1, 0, {VIDEO: "video"}, ("video",), (), {"video": "h264 640x360"})
    main = TrackLayout("video", Codec.H264, 90_000, VIDEO_ENTRY, "und", 320, 180)
    layout = RenditionLayout((main,), {1: (odd,)})
    slices = (
        packaged(0, pictures(50)),
        packaged(1, pictures(3, TrackMade.ENCODED), tagged=True),
        packaged(2, pictures(5)),
    )
    (told,) = merged(*slices, layout=layout).conformed
    assert (told.track, told.sequence, told.was) == ("video", 1, "h264 640x360")
    assert (told.at, told.seconds) == (pytest.approx(2.0), pytest.approx(2.0))
    assert merged(*slices).conformed == []
