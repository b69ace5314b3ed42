"""Slices: every segment once and in order, and what was cut once stays cut that way."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import ErrorCode, PermanentError
from pipelines.location import Location
from pipelines.playlist import (
    ByteRange,
    Encryption,
    InitSection,
    MediaPlaylist,
    PlaylistKind,
    Segment,
)
from pipelines.slices import (
    COPY_LENGTHS,
    MAX_BEYOND,
    MAX_LEAD_IN,
    MAX_PERIOD_START,
    MAX_SEGMENTS,
    MAX_SLICES,
    TRANSCODE_LENGTHS,
    SliceLengths,
    cut,
)

FOLDER = Location.parse("https://host/rec/")


def listed(durations, tags=(), first=0, ended=False):
    """A playlist of segments that last as given; ``tags`` are positions of discontinuities."""
    segments = tuple(
        Segment(first + i, FOLDER.child(f"{first + i}.ts"), seconds, discontinuity=i in tags)
        for i, seconds in enumerate(durations)
    )
    return MediaPlaylist(FOLDER.child("index.m3u8"), segments, ended, 4.0, PlaylistKind.EVENT)


def sequences(segments):
    return [segment.sequence for segment in segments]


durations = st.lists(st.floats(0, 250).map(lambda s: round(s, 3)), max_size=120)
limits = st.sampled_from([COPY_LENGTHS, TRANSCODE_LENGTHS]) | st.floats(1, 400).map(
    SliceLengths.all
)


@settings(deadline=None)
@given(durations, st.sets(st.integers(0, 120)), limits, st.integers(0, 10**6))
def test_every_segment_is_in_exactly_one_slice_and_in_order(seconds, tags, limit, first):
    playlist = listed(seconds, tags, first)
    slices = cut(playlist, idle=True, lengths=limit)
    assert tuple(s for piece in slices for s in piece.segments) == playlist.segments
    assert [piece.number for piece in slices] == list(range(len(slices)))
    assert all(piece.segments for piece in slices)
    for before, after in itertools.pairwise(slices):
        assert after.start == pytest.approx(before.start + before.duration)


@settings(deadline=None)
@given(durations, durations, st.sets(st.integers(0, 240)), limits)
def test_slices_stay_as_they_are_while_the_playlist_grows(seconds, more, tags, limit):
    early = cut(listed(seconds, tags), idle=False, lengths=limit)
    late = cut(listed(seconds + more, tags), idle=False, lengths=limit)
    for before, after in zip(early, late, strict=False):
        if before.settled:
            assert before == after
        else:
            assert before is early[-1]
            assert after.segments[: len(before.segments)] == before.segments
            assert after.lead_in == before.lead_in
    assert [piece.settled for piece in early] == [True] * (len(early) - 1) + [False] * bool(early)


@settings(deadline=None)
@given(durations, st.sets(st.integers(0, 120)), limits)
def test_neighbours_never_reach_over_a_tagged_discontinuity(seconds, tags, limit):
    playlist = listed(seconds, tags)
    for piece in cut(playlist, idle=True, lengths=limit):
        around = [*piece.lead_in, *piece.segments[:1]]
        begin = piece.segments[0].sequence
        assert sequences(around) == list(range(begin - len(piece.lead_in), begin + 1))
        assert not any(segment.discontinuity for segment in around[1:])
        assert len(piece.lead_in) <= MAX_LEAD_IN
        if piece.lead_out:
            assert piece.lead_out.sequence == piece.segments[-1].sequence + 1
            assert not piece.lead_out.discontinuity
            behind = (piece.segments[-1], piece.lead_out, *piece.beyond)
            assert [b.sequence - a.sequence for a, b in itertools.pairwise(behind)] == [1] * (
                len(behind) - 1
            )
        assert len(piece.beyond) <= MAX_BEYOND * (piece.lead_out is not None)
        assert not any(segment.discontinuity for segment in piece.beyond)


def test_lead_in_goes_back_to_the_tag_and_no_further():
    playlist = listed([10.0] * 40, tags={20, 36})
    second = cut(playlist, idle=True)[1]
    assert sequences(second.segments) == list(range(18, 36))
    assert sequences(second.lead_in) == list(range(18))
    assert second.lead_out is None
    third = cut(playlist, idle=True)[2]
    assert (third.lead_in, third.segments[0].discontinuity) == ((), True)


def test_lead_in_begins_with_the_tagged_segment():
    second = cut(listed([10.0] * 40, tags={5}), idle=True)[1]
    assert sequences(second.lead_in) == list(range(5, 18))
    assert second.lead_out.sequence == 36


@settings(deadline=None)
@given(durations, st.sets(st.integers(0, 120)), limits)
def test_every_segment_knows_how_its_period_begins(seconds, tags, limit):
    playlist = listed(seconds, tags)
    begin, elapsed = 0, 0.0
    known = {}
    for segment in playlist.segments:
        if segment.discontinuity:
            begin, elapsed = segment.sequence, 0.0
        known[segment.sequence] = begin, elapsed
        elapsed += segment.duration
    for piece in cut(playlist, idle=True, lengths=limit):
        assert piece.period == piece.period_at(piece.segments[0].sequence)
        for segment in piece.segments:
            begin, elapsed = known[segment.sequence]
            period = piece.period_at(segment.sequence)
            assert period.elapsed == pytest.approx(elapsed)
            found = sequences(period.segments)
            assert found == list(range(begin, begin + len(found)))
            last = piece.segments[-1].sequence
            assert len(found) == MAX_PERIOD_START or found[-1] == last or found[-1] + 1 in tags
            assert not any(other.discontinuity for other in period.segments[1:])
            assert found[-1] <= last


@pytest.mark.parametrize("tags", [(), (2,)])
def test_a_slice_that_was_the_last_is_another_once_more_is_listed(tags):
    limit = SliceLengths.all(8)
    last = cut(listed([4, 4], ended=True), idle=False, lengths=limit)[0]
    later = cut(listed([4, 4, 4], tags), idle=False, lengths=limit)[0]
    much_later = cut(listed([4, 4, 4, 4], tags, ended=True), idle=True, lengths=limit)[0]
    assert last.settled
    assert later.settled
    assert last.identity != later.identity
    assert later.identity == much_later.identity


def counts(slices):
    return [len(piece.segments) for piece in slices]


def test_a_slice_closes_at_three_minutes_or_400_segments():
    assert counts(cut(listed([2.0] * 100), idle=True)) == [90, 10]
    assert counts(cut(listed([0.1] * 500), idle=True)) == [MAX_SEGMENTS, 100]
    assert counts(cut(listed([500.0] * 2), idle=True)) == [1, 1]
    assert counts(cut(listed([4.0] * 9), idle=True, lengths=SliceLengths.all(10))) == [3] * 3
    assert counts(cut(listed([4.0] * 300), idle=False, lengths=SliceLengths.all(1e9))) == [300]


@pytest.mark.parametrize(("ended", "idle"), [(True, False), (False, True)])
def test_what_is_left_at_the_end_is_cut_into_pieces_of_about_90_seconds(ended, idle):
    def tail(*seconds):
        return counts(cut(listed(seconds, ended=ended), idle=idle))

    assert tail(*[2.0] * 90) == [45, 45]
    assert tail(*[2.0] * 165) == [90, 38, 37]
    assert tail(*[2.0] * 66) == [66]
    assert tail(*[0.0] * 9) == [9]
    assert tail(10.0, 150.0, 10.0) == [2, 1]
    assert counts(cut(listed([2.0] * 90), idle=False)) == [90]


@settings(deadline=None)
@given(durations, limits)
def test_slices_that_were_settled_stay_when_the_end_is_cut_short(seconds, limit):
    while_live = cut(listed(seconds), idle=False, lengths=limit)
    at_the_end = cut(listed(seconds), idle=True, lengths=limit)
    assert at_the_end[: len(while_live) - 1] == while_live[:-1]


def test_slices_grow_long_after_thirty_hours():
    slices = cut(listed([180.0] * 611), idle=True)
    assert {len(piece.segments) for piece in slices[:600]} == {1}
    assert [len(piece.segments) for piece in slices[600:]] == [5, 5, 1]


def test_transcodes_are_cut_shorter_and_grow_in_two_steps():
    slices = cut(listed([60.0] * (300 + 300 * 3 + 30)), idle=True, lengths=TRANSCODE_LENGTHS)
    assert counts(slices) == [1] * 300 + [3] * 300 + [15, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1]


def test_the_slices_of_a_transcode_last_for_more_than_a_week():
    assert sum(map(TRANSCODE_LENGTHS.of, range(MAX_SLICES))) > 7 * 86_400


def test_a_recording_that_is_too_long_is_refused_whole():
    longest = listed([1000.0] * MAX_SLICES)
    assert len(cut(longest, idle=True)) == MAX_SLICES
    with pytest.raises(PermanentError) as refused:
        cut(listed([1000.0] * (MAX_SLICES + 1)), idle=True)
    assert refused.value.code is ErrorCode.RECORDING_TOO_LONG


@pytest.mark.parametrize(("ended", "idle"), [(False, False), (True, False), (False, True)])
def test_the_last_slice_settles_when_nothing_more_can_come(ended, idle):
    slices = cut(listed([2.0] * 30, ended=ended), idle=idle)
    assert [piece.settled for piece in slices] == [ended or idle]


def test_nothing_is_cut_from_nothing():
    assert cut(listed([]), idle=True) == ()
    assert cut(listed([]), idle=False) == ()


SEGMENT = Segment(
    sequence=7,
    location=FOLDER.resolve("a.m4s?signature=1"),
    duration=2.0,
    byte_range=ByteRange(10, 20),
    init_section=InitSection(FOLDER.child("i.mp4"), ByteRange(0, 10)),
    encryption=Encryption("AES-128", FOLDER.child("k"), bytes(16)),
)


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"location": FOLDER.resolve("a.m4s?signature=2")}, True),
        ({"duration": 2.5}, True),
        ({"discontinuity_sequence": 3}, True),
        ({"sequence": 8}, False),
        ({"location": FOLDER.child("b.m4s")}, False),
        ({"byte_range": ByteRange(10, 21)}, False),
        ({"byte_range": None}, False),
        ({"init_section": InitSection(FOLDER.child("i.mp4"))}, False),
        ({"init_section": None}, False),
        ({"encryption": Encryption("AES-128", FOLDER.child("k2"), bytes(16))}, False),
        ({"encryption": Encryption("AES-128", FOLDER.child("k"), None)}, False),
        ({"encryption": None}, False),
        ({"discontinuity": True}, False),
        ({"gap": True}, False),
    ],
)
def test_the_identity_changes_exactly_when_what_is_listed_does(changes, same):
    def identity(segment):
        playlist = dataclasses.replace(listed([]), segments=(segment,))
        return cut(playlist, idle=True)[0].identity

    assert (identity(SEGMENT) == identity(dataclasses.replace(SEGMENT, **changes))) is same
    assert len(identity(SEGMENT)) == 64
