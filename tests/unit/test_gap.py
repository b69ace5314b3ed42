"""Holes of tracks, told as gaps: what all tracks lack once, what one lacks besides by its name."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from pipelines.gap import ALL_TRACKS, TOLD, GapCause, GapDone, GapReason, Hole, gaps_of

LOST = GapReason(GapCause.SEGMENT_LOST, "segment 3 is lost", (3,))
ABSENT = GapReason(GapCause.TRACK_ABSENT, "the source has none")


def hole(begin, end, reason=ABSENT, done=GapDone.SILENCE):
    return Hole(Fraction(begin), Fraction(end), reason, done)


def told(**holes):
    return [(name, float(each.begin), float(each.end)) for name, each in gaps_of(holes)]


def test_a_hole_of_every_track_is_told_once_for_the_reason_that_names_segments():
    video, audio = hole(2, 4, ABSENT, GapDone.HELD), hole(2, "4.1", LOST)
    [(track, gap)] = gaps_of({"video": [video], "audio": [audio]})
    assert (track, gap.begin, gap.end) == (ALL_TRACKS, 2, 4)
    assert (gap.reason, gap.done) == (LOST, GapDone.HELD)


def test_a_hole_of_one_track_alone_is_told_by_its_name():
    assert told(video=[], audio=[hole(1, "1.03")]) == [("audio", 1.0, 1.03)]


def test_what_a_track_lacks_besides_is_told_when_it_is_long():
    video, audio = [hole(2, 4)], [hole("1.9", 5)]
    assert told(video=video, audio=audio) == [("all", 2, 4), ("audio", 4, 5)]


def test_a_hole_may_be_common_in_several_places():
    video, audio = [hole(0, 20)], [hole(2, 4), hole(8, 9)]
    assert told(video=video, audio=audio) == [
        ("video", 0, 2), ("all", 2, 4), ("video", 4, 8), ("all", 8, 9), ("video", 9, 20),
    ]  # fmt: skip


def test_the_holes_of_a_lone_track_are_those_of_all():
    assert told(video=[hole(1, 3)]) == [("all", 1, 3)]
    assert gaps_of({}) == []


def _holes():
    edges = st.lists(st.integers(0, 400), min_size=0, max_size=12, unique=True).map(sorted)
    return edges.map(
        lambda at: [hole(Fraction(a, 10), Fraction(b, 10)) for a, b in zip(at[::2], at[1::2])]  # noqa: B905
    )


@given(_holes(), _holes())
def test_no_second_of_a_hole_goes_untold_but_what_is_short_beside_a_common_one(video, audio):
    gaps = gaps_of({"video": video, "audio": audio})
    common = [each for name, each in gaps if name == ALL_TRACKS]
    for name, own in (("video", video), ("audio", audio)):
        mine = [*common, *(each for track, each in gaps if track == name)]
        for each in own:
            inside = [gap for gap in mine if gap.begin < each.end and gap.end > each.begin]
            length = sum(min(gap.end, each.end) - max(gap.begin, each.begin) for gap in inside)
            pieces = len(inside) + 1
            assert each.end - each.begin - length <= pieces * TOLD
            assert inside
