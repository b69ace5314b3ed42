"""The one timeline: clocks that wrap, reset, jump and go on, and runs that never overlap."""

import dataclasses
import itertools
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.timeline import GAP, SAME_CLOCK, WRAP, Relation, Span, Timeline, step

FRAME = Fraction(1, 30)
SOUND = Fraction(1024, 48_000)
MAX_HOLE = Fraction(600)


def span(start, seconds, *, frame=FRAME, delay=Fraction(0)):
    """Samples of ``frame`` seconds from ``start`` on; pictures are shown ``delay`` after decoding."""
    start, end = Fraction(start), Fraction(start) + seconds
    return Span(start, end - frame, end, start + delay, end + delay)


def run(start, seconds=2, *, delay=2 * FRAME):
    """A picture and a sound track of one clock."""
    picture = span(Fraction(start) - delay, Fraction(seconds), delay=delay)
    return {1: picture, 2: span(start, Fraction(seconds), frame=SOUND)}


def relate(before, after, *, wraps=True, max_hole=MAX_HOLE):
    return step(before, after, wraps=wraps, max_hole=max_hole)


def placed(*runs, tags=(), max_hole=MAX_HOLE):
    """The runs placed one after the other, and where their tracks come to lie."""
    timeline = Timeline(max_hole)
    found = []
    for number, each in enumerate(runs):
        related = timeline.relate(each, wraps=True)
        where = timeline.place(each, related, tagged=number in tags)
        found.append((where, {track: one.moved(where.shift) for track, one in each.items()}))
    return found


clocks = st.fractions(0, WRAP - 3, max_denominator=90_000)


@given(clocks)
def test_the_next_run_of_the_same_clock_continues(start):
    related = relate(run(start), run(start + 2))
    assert (related.relation, related.unwrap, related.jump) == (Relation.CONTINUES, 0, 0)


@given(st.fractions(-2, 2, max_denominator=90_000), st.integers(1, 5))
def test_a_clock_that_wraps_goes_on(before, rounds):
    earlier = run(rounds * WRAP - 2 + before)
    later = run((rounds * WRAP + before) % WRAP)
    related = relate(earlier, later)
    assert related.relation is Relation.CONTINUES
    assert later[2].moved(related.unwrap).first_dts == earlier[2].end_dts


def test_only_the_clock_of_mpeg_ts_wraps():
    assert relate(run(WRAP - 2), run(0), wraps=False).relation is Relation.RESET


def test_pictures_may_wrap_before_the_sound_does():
    later = run(WRAP)
    later[2] = later[2].moved(-WRAP)
    earlier = run(WRAP - 2)
    related = relate({2: earlier[2]}, {2: later[2]})
    assert (related.relation, related.unwrap) == (Relation.CONTINUES, WRAP)


@given(st.fractions(FRAME, 10_000, max_denominator=90_000))
def test_a_clock_that_steps_back_is_another_one(back):
    assert relate(run(20_000), run(20_002 - back)).relation is Relation.RESET


@pytest.mark.parametrize("track", [1, 2])
def test_one_track_that_steps_back_is_enough(track):
    later = run(2)
    later[track] = later[track].moved(-FRAME)
    assert relate(run(0), later).relation is Relation.RESET


def test_a_rounding_backwards_is_no_step_back():
    later = {track: one.moved(Fraction(-1, 1000)) for track, one in run(2).items()}
    assert relate(run(0), later).relation is Relation.CONTINUES


@given(st.fractions(GAP + Fraction(1, 90_000), MAX_HOLE, max_denominator=90_000))
def test_a_jump_of_every_track_is_a_gap_of_that_length(hole):
    related = relate(run(0), run(2 + hole))
    assert (related.relation, related.jump) == (Relation.GAP, hole)


def test_a_jump_of_one_track_alone_is_none():
    later = run(2)
    later[2] = later[2].moved(Fraction(5))
    assert relate(run(0), later).relation is Relation.CONTINUES


@pytest.mark.parametrize(
    ("jump", "known", "relation"),
    [
        (Fraction(14, 10), True, Relation.CONTINUES),
        (2, True, Relation.GAP),
        (Fraction(14, 10), False, Relation.GAP),
    ],
    ids=["listed", "longer", "not-slow"],
)
def test_slow_pictures_may_pause_for_as_long_as_their_segment_is_listed(jump, known, relation):
    pause = jump + FRAME if relation is Relation.CONTINUES else Fraction(1)
    before = dataclasses.replace(span(0, Fraction(2)), pause=pause)
    after = dataclasses.replace(span(2 + jump, Fraction(2)), pause=pause if known else None)
    assert relate({1: before}, {1: after}).relation is relation
    sounding = {1: before, 2: span(0, Fraction(2), frame=SOUND)}
    later = {1: after, 2: span(2 + jump, Fraction(2), frame=SOUND)}
    assert relate(sounding, later).relation is Relation.GAP


@pytest.mark.parametrize(
    ("hole", "relation"), [(600, Relation.GAP), (Fraction(600001, 1000), Relation.RESET)]
)
def test_a_jump_beyond_the_longest_hole_is_another_clock(hole, relation):
    assert relate(run(0), run(2 + Fraction(hole))).relation is relation


def test_tracks_that_have_nothing_in_common_are_related_by_their_ends():
    sound = {7: span(2, Fraction(2), frame=SOUND)}
    assert relate({1: run(0, delay=Fraction(0))[1]}, sound).relation is Relation.CONTINUES
    assert relate({1: run(9)[1]}, sound).relation is Relation.RESET


@given(clocks)
def test_the_recording_starts_at_its_first_picture_or_sound(start):
    [(where, tracks)] = placed(run(start))
    assert min(one.first_pts for one in tracks.values()) == 0
    assert (where.period, where.starts_period, where.step) == (0, True, None)


@given(st.integers(0, 3), st.lists(st.integers(1, 9000), min_size=1, max_size=8))
def test_runs_of_one_clock_keep_their_distance_across_every_wrap(rounds, lengths):
    start = WRAP * (rounds + 1) - 3
    runs, at = [], start
    for length in lengths:
        runs.append({t: one.moved(-WRAP * (at // WRAP)) for t, one in run(at, length).items()})
        at += length
    found = placed(*runs)
    assert {where.period for where, _ in found} == {0}
    expected = Fraction(0)
    for (_, tracks), length in zip(found, lengths, strict=True):
        assert tracks[2].first_pts == expected
        expected += length


@given(
    st.fractions(0, 90_000, max_denominator=90_000),
    st.fractions(0, 90_000, max_denominator=90_000),
    st.booleans(),
)
def test_a_reset_clock_starts_a_period_where_the_last_one_ended(first, second, tagged):
    before, after = placed(run(first), run(second), tags={1} if tagged else set())
    related = relate(run(first), run(second))
    if related.relation is Relation.RESET:
        assert (after[0].period, after[0].starts_period) == (1, True)
        assert all(after[1][track].first_pts >= before[1][track].end_pts for track in (1, 2))
        assert any(after[1][track].first_pts == before[1][track].end_pts for track in (1, 2))


@given(st.lists(st.tuples(clocks, st.integers(1, 20), st.booleans()), min_size=2, max_size=8))
def test_no_track_ever_overlaps_and_its_sounds_stay_with_its_pictures(found):
    runs = [run(start, seconds) for start, seconds, _ in found]
    tags = {number for number, (_, _, tagged) in enumerate(found) if tagged}
    results = placed(*runs, tags=tags)
    for (_, before), (_, after) in itertools.pairwise(results):
        assert all(after[track].first_pts >= before[track].end_pts for track in after)
    for (_, tracks), source in zip(results, runs, strict=True):
        assert (
            tracks[1].first_pts - tracks[2].first_pts == source[1].first_pts - source[2].first_pts
        )


@given(st.fractions(-Fraction(1, 60), SAME_CLOCK, max_denominator=90_000))
def test_a_tagged_discontinuity_whose_clock_goes_on_shifts_nothing(jump):
    before, after = placed(run(5), run(7 + jump), tags={1})
    assert after[0].shift == before[0].shift
    assert (after[0].period, after[0].starts_period) == (1, True)


@given(st.fractions(SAME_CLOCK + Fraction(1, 90_000), 900, max_denominator=90_000))
def test_a_tagged_discontinuity_closes_a_jump_of_the_clock(jump):
    before, after = placed(run(5), run(7 + jump), tags={1})
    assert after[1][2].first_pts == before[1][2].end_pts


@pytest.mark.parametrize("delays", [(0, 2), (2, 0), (0, 2, 0, 2, 0, 2, 0, 2)])
def test_encoders_that_look_ahead_unlike_each_other_follow_without_a_pause(delays):
    runs = [run(100 * number, delay=delay * FRAME) for number, delay in enumerate(delays)]
    results = placed(*runs[::-1], tags=range(1, len(runs)))
    assert [tracks[1].first_pts for _, tracks in results] == [2 * n for n in range(len(runs))]


def test_samples_that_an_edit_list_hides_overlap_nothing():
    primed = {2: dataclasses.replace(run(50)[2], hidden=SOUND, first_dts=50 - SOUND)}
    before, after = placed({2: run(0)[2]}, primed, tags={1})
    assert after[1][2].first_dts == before[1][2].end_dts


@pytest.mark.parametrize(
    ("samples", "least"),
    [
        ((FRAME, SOUND), 2 * FRAME),
        ((None, SOUND), SAME_CLOCK),
        ((None,), GAP),
        ((Fraction(1, 24), Fraction(2)), GAP),
    ],
)
def test_a_gap_is_longer_than_two_samples_of_the_slowest(samples, least):
    before = {n: dataclasses.replace(run(0)[1], sample=each) for n, each in enumerate(samples)}

    def relation(jump):
        return relate(before, {n: one.moved(2 + jump) for n, one in before.items()}).relation

    assert relation(least) is Relation.CONTINUES
    assert relation(least + Fraction(1, 90_000)) is Relation.GAP


def test_an_untagged_gap_stays_open_in_its_period():
    before, after = placed(run(0), run(7))
    assert after[0].step.relation is Relation.GAP
    assert (after[0].period, after[0].starts_period) == (0, False)
    assert after[1][2].first_pts - before[1][2].end_pts == 5


def test_a_period_without_sound_is_followed_by_one_with_sound():
    silent = {1: run(100)[1]}
    results = placed(run(0), silent, run(500), tags={1, 2})
    assert results[2][1][1].first_pts >= results[1][1][1].end_pts
    assert results[2][1][2].first_dts >= results[0][1][2].end_dts


def test_a_period_that_shares_no_track_starts_after_the_last_picture_and_sound():
    other = {track + 10: one for track, one in run(3).items()}
    before, after = placed(run(50), other, tags={1})
    end = max(one.end_pts for one in before[1].values())
    assert min(one.first_pts for one in after[1].values()) == end


def test_a_span_moves_as_a_whole():
    moved = run(0)[1].moved(Fraction(9))
    original = run(0)[1]
    for name in ("first_dts", "last_dts", "end_dts", "first_pts", "end_pts"):
        assert getattr(moved, name) - getattr(original, name) == 9
    assert (moved.hidden, moved.sample) == (original.hidden, original.sample)
