"""Where players of the segments themselves are told to begin anew."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import pytest

from pipelines.media import TrackKind
from pipelines.player_breaks import PlayerBreaks
from pipelines.rendition_layout import OddRun, RenditionLayout
from pipelines.segment_index import Container
from pipelines.timeline import NOTHING_LOST, Lost
from tests.unit.mp4_by_hand import avcc, visual_entry
from tests.unit.tracks_by_hand import (
    AUDIO,
    VIDEO,
    frames,
    picture_samples,
    run_of,
    sound_samples,
    track,
)

OTHER = visual_entry(avcc(profile=100))
BESIDE = (1 << 32) + 257
NAMES = {VIDEO: "video", AUDIO: "audio", 300: "video", 301: "audio", BESIDE: "audio2"}
TEN = Lost(Fraction(10), Fraction(2))


def pictures(at, number=VIDEO, entry=None):
    """Two seconds of pictures from ``at`` seconds of their clock on."""
    return track(TrackKind.VIDEO, picture_samples(at * 90_000, 60), number=number, entry=entry)


def sounds(at, number=AUDIO):
    return track(TrackKind.AUDIO, sound_samples(frames(at * 48_000, 94)), number=number)


def breaks(*runs, away=NOTHING_LOST, layout=None):
    """Before which runs there is a break."""
    found = PlayerBreaks(Fraction(600), layout)
    return [found.is_before(run, NAMES, away) for run in runs]


FIRST = run_of(0, pictures(100), sounds(100))


@pytest.mark.parametrize(
    ("following", "due"),
    [
        (run_of(1, pictures(102), sounds(102)), False),
        (run_of(1, pictures(102), sounds(102), tagged=True), True),
        (run_of(1, pictures(50), sounds(50)), True),
        (run_of(1, pictures(100), sounds(100)), True),
        (run_of(1, pictures(900), sounds(900)), True),
        (run_of(1, pictures(112), sounds(112)), True),
        (run_of(1, pictures(102, entry=OTHER), sounds(102)), True),
        (run_of(1, pictures(102, number=300), sounds(102)), True),
        (run_of(1, pictures(102, number=300), sounds(102, number=301)), True),
        (run_of(1, pictures(102)), True),
        (run_of(1, pictures(102), sounds(102), container=Container.FMP4), True),
        (run_of(1, pictures(102), sounds(102), sounds(102, number=BESIDE)), False),
    ],
    ids=[
        "goes-on", "tag", "other-clock", "came-before", "jump", "never-listed", "configuration",
        "pid", "pids", "track-went", "format", "sound-of-another-playlist-came",
    ],
)  # fmt: skip
def test_a_break_is_where_format_tracks_configuration_or_times_change(following, due):
    assert breaks(FIRST, following) == [False, due]


def test_a_jump_over_segments_that_are_listed_as_gaps_is_none():
    assert breaks(FIRST, run_of(6, pictures(112), sounds(112)), away=TEN) == [False, False]
    assert breaks(FIRST, run_of(6, pictures(132), sounds(132)), away=TEN) == [False, True]


def test_what_comes_again_breaks_off_twice():
    again = run_of(2, pictures(100), sounds(100))
    third = run_of(3, pictures(104), sounds(104))
    second = run_of(1, pictures(102), sounds(102))
    assert breaks(FIRST, second, again, third) == [False, False, True, True]


def test_runs_that_were_conformed_are_told_apart_by_what_they_were():
    odd = [OddRun(at, 0, {VIDEO: "video"}, ("video",), (), {"video": was}, (at + 1, 0))
           for at, was in ((1, "h264 160x90"), (2, "h264 160x90"), (3, "hevc 160x90"))]  # fmt: skip
    runs = [run_of(at, pictures(100 + 2 * at), sounds(100 + 2 * at)) for at in range(5)]
    layout = RenditionLayout((), {0: tuple(odd)})
    assert breaks(*runs, layout=layout) == [False, True, False, True, True]


def test_runs_of_sound_alone_beside_lost_pictures_say_nothing():
    alone = run_of(1, sounds(3, number=BESIDE))
    assert breaks(FIRST, alone, dataclasses.replace(FIRST, tagged=True)) == [False, False, True]
