"""What slid out of a live window stays listed, whatever the window does, in one order for ever."""

from __future__ import annotations

import dataclasses
import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import ErrorCode, PermanentError
from pipelines.listing import (
    ListedSpan,
    joined,
    never_listed,
    shortest_window,
    with_listings,
)
from pipelines.location import Location
from pipelines.playlist import (
    AudioRendition,
    ByteRange,
    Encryption,
    InitSection,
    MediaPlaylist,
    PlaylistKind,
    Recording,
    Segment,
    Variant,
    recording,
)
from pipelines.slices import SliceLengths, cut
from pipelines.stored_listing import UnreadableListing, decode, encode

FOLDER = Location.parse("https://host/rec/")
INDEX = FOLDER.child("index.m3u8")
START = datetime(2026, 1, 1, tzinfo=UTC)


def segment(number, name=None, **fields):
    return Segment(number, FOLDER.child(name or f"{number}.ts"), 2.0, **fields)


def window(first, end, tags=(), told=True, ended=False, kind=PlaylistKind.LIVE, **fields):
    """Segments ``first`` up to ``end`` of a recording with discontinuities before ``tags``;
    ``told``: the origin counts (EXT-X-DISCONTINUITY-SEQUENCE) those that slid away."""
    before = sum(tag < first for tag in tags) if told else 0
    segments, count = [], before
    for number in range(first, end):
        count += number in tags
        segments.append(
            segment(
                number,
                discontinuity=number in tags,
                discontinuity_sequence=count,
                elapsed=2.0 * (number - first),
                **fields,
            )
        )
    return MediaPlaylist(INDEX, tuple(segments), ended, 2.0, kind)


def restarted(first, end, name="again", **fields):
    """The window of an origin that counts anew, under other names."""
    names = [segment(number, f"{name}{number}.ts", **fields) for number in range(first, end)]
    placed = [dataclasses.replace(each, elapsed=2.0 * at) for at, each in enumerate(names)]
    return MediaPlaylist(INDEX, tuple(placed), False, 2.0, PlaylistKind.LIVE)


def kept(listing):
    """A listing as it comes back from where it is kept."""
    data = encode({"x": listing.segments})
    return ListedSpan.of(listing).listing(INDEX, decode(data, [FOLDER])["x"])


def numbers(listing):
    return [each.sequence for each in listing.segments]


#: Where windows begin and end as an origin moves on, by steps that no look misses.
looks = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=12)
tags = st.sets(st.integers(0, 60), max_size=6)


def slide(steps, **fields):
    """The windows of a playlist at each look: the end moves, the beginning follows behind."""
    first, end = 0, 5
    for more, gone in steps:
        end += more
        first = min(first + gone, end - 5)
        yield window(first, end, **fields)


@settings(deadline=None)
@given(looks, tags, st.booleans())
def test_a_listing_is_what_a_playlist_that_never_slides_lists(steps, tagged, told):
    """Whether or not the origin counts the discontinuities that it forgets."""
    listing = window(0, 5, tags=tagged)
    for now in slide(steps, tags=tagged, told=told):
        listing = joined(kept(listing), now)
        whole = window(0, now.segments[-1].sequence + 1, tags=tagged)
        assert listing.segments == whole.segments
        assert [each.elapsed for each in listing.segments] == [
            each.elapsed for each in whole.segments
        ]
        assert listing.slid == listing.segments[: now.segments[0].sequence]
        assert listing.window == listing.segments[now.segments[0].sequence :]


@settings(deadline=None)
@given(looks, tags)
def test_joining_again_changes_nothing(steps, tagged):
    listing = window(0, 5, tags=tagged)
    for now in slide(steps, tags=tagged):
        once = joined(listing, now)
        assert joined(once, now) == joined(kept(once), now) == once
        assert joined(listing, now) == once
        listing = once


@settings(deadline=None)
@given(looks, tags)
def test_looks_in_the_wrong_order_lose_nothing(steps, tagged):
    """An older view of the playlist, out of a cache, takes nothing away."""
    windows = [*slide(steps, tags=tagged)]
    newest = joined(window(0, 5, tags=tagged), windows[0])
    for older, now in itertools.pairwise(windows):
        before, newest = newest, joined(newest, now)
        if older.segments[-1].sequence >= now.segments[0].sequence:
            assert joined(newest, older).segments == newest.segments
        assert newest.segments[: len(before.segments)] == before.segments


@settings(deadline=None)
@given(looks, tags)
def test_slices_stay_as_they_are_while_the_window_slides(steps, tagged):
    lengths = SliceLengths.all(7)
    listing = window(0, 5, tags=tagged)
    before = cut(listing, idle=False, lengths=lengths)
    for now in slide(steps, tags=tagged):
        listing = joined(listing, now)
        slices = cut(listing, idle=False, lengths=lengths)
        for early, late in zip(before, slices, strict=False):
            if early.settled:
                assert early == late
        before = slices


windows = st.tuples(st.integers(0, 30), st.integers(0, 8), st.sampled_from(["", "a", "b"]))


@settings(deadline=None, max_examples=400)
@given(st.lists(windows, min_size=1, max_size=8))
def test_whatever_an_origin_lists_is_in_order_and_joins_once(steps):
    """Any windows one after the other: jumps, restarts, older views, rewritten names."""
    listing = window(0, 0)
    for first, length, name in steps:
        now = restarted(first, first + length, name)
        before, listing = listing, joined(listing, now)
        found = numbers(listing)
        assert found == sorted(set(found))
        assert all(number >= 0 for number in found)
        if not listing.segments:
            continue
        assert joined(kept(listing), now) == listing
        locations = {str(each.location) for each in listing.segments}
        assert {str(each.location) for each in now.segments} <= locations
        gone = {str(each.location) for each in before.segments} - locations
        rewritten = {each.sequence for each in now.segments}
        names = {str(each.location): each.sequence for each in before.segments}
        assert all(names[each] in rewritten for each in gone if not listing.renumbered)


def test_what_nobody_saw_listed_is_a_hole_in_the_numbers():
    listing = joined(window(0, 5), window(8, 13))
    assert numbers(listing) == [0, 1, 2, 3, 4, 8, 9, 10, 11, 12]
    assert never_listed(listing.segments) == 3
    assert [each.discontinuity for each in listing.segments] == [False] * 10
    assert listing.segments[5].elapsed == 10.0


@pytest.mark.parametrize("end", [13, 14])
def test_a_discontinuity_in_a_hole_stands_before_what_follows(end):
    first = joined(window(0, 5), window(8, 13, tags={6}))
    listing = joined(kept(first), window(8 if end == 13 else 9, end, tags={6}))
    assert [each.sequence for each in listing.segments if each.discontinuity] == [8]
    assert {each.discontinuity_sequence for each in listing.window} == {1}


def test_slices_over_a_hole_know_their_periods():
    listing = joined(window(0, 4), window(8, 13, tags={10}))
    [only] = cut(listing, idle=True, lengths=SliceLengths.all(100))
    assert only.period_at(9).elapsed == 10.0
    assert [each.sequence for each in only.period_at(11).segments] == [10, 11, 12]
    _, rest = cut(listing, idle=True, lengths=SliceLengths.all(10))
    assert numbers(rest) == [9, 10, 11, 12]


def test_a_playlist_rewritten_in_place_is_what_it_says():
    other = window(0, 7, byte_range=ByteRange(0, 10))
    assert joined(window(0, 5), other).segments == other.segments


def test_an_origin_that_began_anew_goes_on_behind_a_discontinuity():
    key = Encryption("AES-128", FOLDER.child("key"))
    listing = joined(joined(window(0, 5), window(3, 8)), restarted(0, 2, encryption=key))
    assert numbers(listing) == [*range(10)]
    assert (listing.renumbered, listing.restarts) == (8, (8,))
    first, second = listing.segments[8:]
    assert (first.discontinuity, second.discontinuity) == (True, False)
    assert (first.discontinuity_sequence, second.discontinuity_sequence) == (1, 1)
    # The number was the vector (RFC 8216 section 5.2): it is spelled out, as it was listed.
    assert [each.encryption.iv for each in (first, second)] == [bytes(16), bytes(15) + b"\1"]
    later = joined(kept(listing), restarted(1, 5))
    assert numbers(later) == [*range(13)]
    assert [each.discontinuity for each in later.segments[8:]] == [True, False, False, False, False]
    assert later.restarts == (8,)
    assert joined(kept(later), restarted(1, 5)) == later
    twice = joined(kept(later), restarted(0, 3, name="third"))
    assert (twice.restarts, numbers(twice)[-3:]) == ((8, 13), [13, 14, 15])


def test_the_wall_clock_tells_an_origin_that_began_anew_under_the_same_names():
    def told(first, end, hours):
        at = START + timedelta(hours=hours)
        made = window(first, end).segments
        clocked = [
            dataclasses.replace(each, program_date_time=at + timedelta(seconds=2 * each.sequence))
            for each in made
        ]
        return dataclasses.replace(window(first, end), segments=tuple(clocked))

    listing = joined(told(0, 5, hours=0), told(0, 6, hours=1))
    assert (numbers(listing), listing.restarts) == ([*range(11)], (5,))
    assert joined(told(0, 5, hours=0), told(0, 6, hours=0)).restarts == ()


def test_a_playlist_that_is_numbered_anew_at_its_end_holds_everything_once():
    """As of origins that write the whole list at the end, counted from 0."""
    whole = [segment(number - 100, f"{number}.ts") for number in range(95, 112)]
    end = MediaPlaylist(INDEX, tuple(whole), True, 2.0, PlaylistKind.VOD)
    listing = joined(joined(window(100, 105), window(103, 110)), end)
    assert numbers(listing) == [*range(95, 112)]
    assert (listing.slid, listing.restarts, listing.kind) == ((), (), PlaylistKind.VOD)


def test_a_window_that_is_empty_forgets_nothing():
    listing = joined(window(0, 5), window(5, 5))
    assert (numbers(listing), len(listing.slid)) == ([*range(5)], 5)
    assert numbers(joined(kept(listing), window(5, 7))) == [*range(7)]


def test_signed_addresses_are_those_of_the_newest_look():
    def signed(first, end, by):
        made = window(first, end)
        return dataclasses.replace(
            made,
            segments=tuple(
                dataclasses.replace(each, location=dataclasses.replace(each.location, query=by))
                for each in made.segments
            ),
        )

    listing = joined(signed(0, 5, "s=1"), signed(3, 7, "s=2"))
    assert [each.location.query for each in listing.segments] == ["s=1"] * 3 + ["s=2"] * 4
    assert listing.restarts == ()


def test_what_is_kept_comes_back_as_it_was():
    key = Encryption("AES-128", dataclasses.replace(FOLDER.child("key"), query="s=1"), b"k" * 16)
    init = InitSection(FOLDER.child("in it.mp4"), ByteRange(3, 9), key)
    made = [
        segment(
            7,
            "a/b c.ts",
            byte_range=ByteRange(5, 6),
            init_section=init,
            encryption=key,
            discontinuity=True,
            discontinuity_sequence=3,
            program_date_time=START,
        ),
        segment(8, gap=True, init_section=init),
    ]
    assert decode(encode({"one": made, "two": []}), [FOLDER]) == {"one": made, "two": []}
    with pytest.raises(UnreadableListing):
        decode(encode({"one": made}), [Location.parse("https://host/other/")])
    for data in (b"", b"no zlib", encode({})[:-3]):
        with pytest.raises(UnreadableListing):
            decode(data, [FOLDER])


def test_a_listing_stays_small():
    day = window(0, 43_200, told=False)
    data = encode({"x": day.segments})
    assert len(data) < 16 * len(day.segments)


def test_all_playlists_of_a_recording_are_joined_each_by_itself():
    sound = AudioRendition("de", "de", True, FOLDER.child("de.m3u8"))

    def at(main, audio):
        heard = dataclasses.replace(window(*audio), location=FOLDER.child("de.m3u8"))
        listed = dataclasses.replace(sound, playlist=heard)
        return Recording(INDEX, (Variant("v", INDEX, audio=(listed,), playlists=(window(*main),)),))

    earlier = {str(each.location): each for each in at((0, 5), (0, 4)).media_playlists}
    found = with_listings(at((3, 8), (2, 7)), earlier)
    assert [numbers(each) for each in found.media_playlists] == [[*range(8)], [*range(7)]]
    assert shortest_window(found) == 10.0
    assert shortest_window(recording(window(0, 5, ended=True))) is None


def test_more_segments_than_a_recording_may_have_are_refused(monkeypatch):
    monkeypatch.setattr("pipelines.listing.MAX_SEGMENTS", 6)
    with pytest.raises(PermanentError) as refused:
        with_listings(recording(window(3, 8)), {str(INDEX): window(0, 5)})
    assert refused.value.code is ErrorCode.RECORDING_TOO_LONG


def test_a_span_tells_whether_anything_slid():
    span = ListedSpan.of(window(0, 5))
    assert span == ListedSpan(0, 0, 4)
    assert span.lies_in(window(0, 9))
    assert not span.lies_in(window(1, 9))
    assert not span.lies_in(window(0, 4))
    assert not span.lies_in(window(0, 0))
    assert not dataclasses.replace(span, renumbered=3).lies_in(window(0, 9))
