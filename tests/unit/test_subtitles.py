"""Subtitles on the timeline of the MP4: clocks that reset, wrap and contradict their tags."""

from __future__ import annotations

import dataclasses

import pytest

from pipelines.clock_point import ClockPoint
from pipelines.location import Location
from pipelines.playlist import Segment
from pipelines.subtitles import SubtitleText, clock_stretches, retimed, vod_texts
from pipelines.timeline import WRAP
from pipelines.webvtt import Cue, WebVtt, parse

FOLDER = Location.parse("https://cdn.example/rec/")
ROUND = float(WRAP)


def segments(*durations, tags=()):
    """Segments of these lengths; before those at ``tags`` stands a discontinuity."""
    made, tagged = [], 0
    for number, duration in enumerate(durations):
        tagged += number in tags
        made.append(
            Segment(
                number,
                FOLDER.child(f"{number}.vtt"),
                duration,
                discontinuity=number in tags,
                discontinuity_sequence=tagged,
            )
        )
    return tuple(made)


def text(segment, at, *cues, clock=0.0):
    return SubtitleText(segment, at, WebVtt(tuple(cues), clock))


def test_cues_of_two_clocks_lie_where_their_pictures_do():
    main = segments(2, 2, 1.583, 0.917, 2, tags=[3])
    points = [ClockPoint(0.0, 140.04, 0, 0), ClockPoint(5.583, 3.0, 3, 0)]
    own = segments(2, 2, 0.917, 2, 2, tags=[2])
    stretches = clock_stretches(points, main, 8.5)
    found = retimed(
        [
            text(own[0], 0, Cue(140, 142, "jerk")),
            text(own[1], 2, Cue(142, 144, "jealous")),
            text(own[4], 6.917, Cue(3.5, 5.5, "after")),
        ],
        stretches,
    )
    times = [(round(cue.start, 3), round(cue.end, 3), cue.text) for cue in found.cues]
    assert times == [(0.0, 1.96, "jerk"), (1.96, 3.96, "jealous"), (6.083, 8.083, "after")]
    assert found.left_out == 0


def test_tags_tell_periods_of_the_same_clock_apart():
    main = segments(4, 4, tags=[1])
    stretches = clock_stretches([ClockPoint(0, 1.4, 0, 0), ClockPoint(4, 1.4, 1, 0)], main, 8)
    own = segments(4, 4, tags=[1])
    found = retimed([text(own[1], 4, Cue(2.4, 3.4, "second"))], stretches)
    assert found.cues == (Cue(5.0, 6.0, "second"),)


def test_untagged_resets_are_told_apart_by_the_place_in_the_playlist():
    main = segments(4, 4, 4)
    points = [ClockPoint(0, 10, 0, 0), ClockPoint(4, 10, 1, 0), ClockPoint(8, 10, 2, 0)]
    own = segments(4, 4, 4)
    texts = [text(each, 4.0 * n, Cue(11, 12, str(n))) for n, each in enumerate(own)]
    found = retimed(texts, clock_stretches(points, main, 12))
    assert [(cue.start, cue.text) for cue in found.cues] == [(1, "0"), (5, "1"), (9, "2")]


def test_a_wrap_of_the_clock_moves_nothing():
    stretches = clock_stretches([ClockPoint(0, ROUND - 1, 0, 0)], segments(4), 4)
    found = retimed([text(segments(4)[0], 0, Cue(0.5, 1.5, "after the wrap"))], stretches)
    assert [round(cue.start, 6) for cue in found.cues] == [1.5]


def test_cues_outside_the_recording_are_left_out_and_those_across_its_edge_are_cut():
    stretches = clock_stretches([ClockPoint(0, 10, 0, 0)], segments(4), 4)
    cues = [Cue(5, 6, "before"), Cue(9, 11, "over"), Cue(13, 20, "end"), Cue(15, 16, "behind")]
    found = retimed([text(segments(4)[0], 0, *cues)], stretches)
    assert found.cues == (Cue(0, 1, "over"), Cue(3, 4, "end"))
    assert found.left_out == 2


def test_without_a_map_times_that_fit_no_clock_count_media_time():
    stretches = clock_stretches([ClockPoint(0, 7000, 0, 0)], segments(4), 4)
    found = retimed([text(segments(4)[0], 0, Cue(1, 2, "x"), clock=None)], stretches)
    assert found.cues == (Cue(1, 2, "x"),)
    assert retimed([text(segments(4)[0], 0, Cue(1, 2, "x"))], stretches).left_out == 1


def test_hostile_numbers_of_periods_and_cues_take_no_time():
    main = segments(*[1.0] * 5000)
    points = [ClockPoint(n, 0.0, n, 0) for n in range(5000)]
    stretches = clock_stretches(points, main, 5000)
    cues = [Cue(70_000 + n / 1000, 70_001 + n / 1000, "nowhere") for n in range(20_000)]
    found = retimed([text(main[2500], 2500, *cues)], stretches)
    assert (found.cues, found.left_out) == ((), 20_000)
    assert len(vod_texts([], stretches, main)) == 1


def on_the_clock(texts):
    """The cues of VOD texts on the source's clock."""
    for each in texts:
        read = parse(each.text.encode())
        for cue in read.cues:
            yield round(read.clock + cue.start, 3), cue.text


def test_each_text_of_the_vod_says_what_clock_its_cues_are_on():
    main = segments(2, 2, 2, tags=[2])
    points = [ClockPoint(0, 140, 0, 0), ClockPoint(4, 3, 2, 0)]
    stretches = clock_stretches(points, main, 6)
    cues = [Cue(1, 2, "a"), Cue(4.5, 5, "b")]
    texts = vod_texts(cues, stretches, main)
    assert [each.seconds for each in texts] == [4, 2]
    assert list(on_the_clock(texts)) == [(141, "a"), (3.5, "b")]


def test_a_reset_inside_a_segment_and_a_wrap_keep_their_cues_in_the_vod():
    listed = segments(2, 2, 2)
    points = [ClockPoint(0, ROUND - 1, 0, 0), ClockPoint(1, 0, 0, 0), ClockPoint(3, 50, 1, 1)]
    stretches = clock_stretches(points, listed, 6)
    marked = [*listed[:2], dataclasses.replace(listed[2], discontinuity_sequence=1)]
    texts = vod_texts([Cue(2, 2.5, "x"), Cue(4, 5, "y")], stretches, marked)
    assert list(on_the_clock(texts)) == [(pytest.approx(ROUND + 1, abs=0.01), "x"), (51, "y")]


def test_cues_lie_behind_the_discontinuity_that_they_are_shown_behind_though_the_clock_goes_on():
    listed = segments(2, 2, 2, tags=[1, 2])
    texts = vod_texts(
        [Cue(0.5, 1, "a"), Cue(2.5, 3, "b"), Cue(4.5, 5, "c")],
        clock_stretches([ClockPoint(0, 100, 0, 0)], listed, 6),
        listed,
    )
    assert [[*on_the_clock([each])] for each in texts] == [
        [(100.5, "a")], [(102.5, "b")], [(104.5, "c")],
    ]  # fmt: skip
    assert [each.discontinuity_sequence for each in texts] == [0, 1, 2]


def test_a_period_without_media_has_an_empty_text():
    listed = segments(2, 2, tags=[1])
    texts = vod_texts([], clock_stretches([ClockPoint(0, 1, 0, 0)], listed, 2), listed)
    assert [each.text.splitlines()[0] for each in texts] == ["WEBVTT", "WEBVTT"]
