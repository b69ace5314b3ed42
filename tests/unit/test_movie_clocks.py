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
from pipelines.repair import RepairKind
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


def merged(*slices, policy=GapPolicy.HOLD, layout=None, detours=None):
    tables = MovieTables(Fraction(600), None, policy, silence, layout, detours)
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
    (told,) = merged(*slices, layout=layout).conformance.conformed
    assert (told.track, told.sequence, told.was) == ("video", 1, "h264 640x360")
    assert (told.at, told.seconds) == (pytest.approx(2.0), pytest.approx(2.0))
    assert merged(*slices).conformance.conformed == []


def settled(*clocks, walls=(), policy=GapPolicy.HOLD, tags=()):
    """Two seconds of pictures at each of these clock times: the tables of the last attempt."""
    slices = [
        packaged(
            number, pictures(at), sequence=number, tagged=number in tags,
            wall_clock=walls[number] if walls else None,
        )
        for number, at in enumerate(clocks)
    ]  # fmt: skip
    first = merged(*slices, policy=policy)
    return merged(*slices, policy=policy, detours=first.detours) if first.detours else first


BACK_AND_FORTH = {
    "two-counters": [at for n in range(10) for at in (10 + 2 * n, 500 + 2 * n)],
    "one-counter": [10 + 2 * n + 488 * (n % 2) for n in range(20)],
    "the-same-times": [10 + 4 * (n // 2) + 2 * (n % 2) + 300 * (n % 2) for n in range(20)],
}


@pytest.mark.parametrize("clocks", BACK_AND_FORTH.values(), ids=BACK_AND_FORTH)
@pytest.mark.parametrize("policy", [GapPolicy.HOLD, GapPolicy.COLLAPSE])
def test_a_clock_that_goes_back_and_forth_loses_no_time(clocks, policy):
    tables = settled(*clocks, policy=policy)
    assert tables.gaps == []
    assert tables.tracks["video"].end == 2 * len(clocks)
    assert [each.kind for each in tables.repairs] == [RepairKind.TIMESTAMPS] * 10
    assert "taken back later" in tables.repairs[0].detail


def repairs(*clocks):
    """What is said of a recording of these clock times that loses no time, from segment 1 on."""
    tables = settled(*clocks)
    assert tables.gaps == []
    assert tables.tracks["video"].end == 2 * len(clocks)
    return [(each.sequence, each.detail) for each in tables.repairs]


def test_a_clock_that_steps_back_and_forth_again_loses_no_time():
    forth = "s to where it was before it stepped back"
    jump = f"the clock jumps by 100.000 {forth}"
    assert repairs(1000, 1002, 904, 906, 1008, 1010) == [(4, jump)]
    jump = f"the clock jumps by 98.000 {forth}"
    assert repairs(1000, 1002, 902, 904, 1004, 1006) == [(4, jump)]


def test_segments_whose_clocks_tell_that_they_are_swapped_are_told():
    swapped = "by the clock, segment 2 goes before segment 1; both are kept as listed"
    [first, second] = repairs(10, 14, 12, 16, 18)
    assert first == (1, f"the clock jumps by 2.000 s and is taken back: {swapped}")
    assert second[0] == 3
    assert "goes before" not in repairs(10, 500, 12, 14)[0][1]


def test_a_jump_that_is_not_taken_back_is_lost_time():
    held = [gap.duration for gap in settled(10, 500, 502).gaps]
    assert held == [488.0]
    # Another encoder begins at a time of its own, or says that it is another one.
    assert [gap.duration for gap in settled(1000, 1488, 3).gaps] == [486.0]
    assert [gap.duration for gap in settled(10, 500, 12, tags=(2,)).gaps] == [488.0]
    # What it did in between would be neither all of the time nor none.
    assert [gap.duration for gap in settled(100, 80, 82, 84, 91, 93, 107).gaps] == [5.0, 12.0]


def test_a_jump_that_the_clock_on_the_wall_confirms_is_lost_time():
    clocks = 10, 500, 14
    real = settled(*clocks, walls=(1000.0, 1490.0, 1492.0))
    assert next(gap.duration for gap in real.gaps if gap.track == "all") == 488.0
    assert settled(*clocks, walls=(1000.0, 1002.0, 1004.0)).gaps == []
