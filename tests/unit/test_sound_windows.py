"""Every segment of sound in a playlist of its own lies in one slice, beside its pictures."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.location import Location
from pipelines.playlist import AudioRendition, MediaPlaylist, PlaylistKind, Segment
from pipelines.slices import SliceLengths, cut
from pipelines.sound_windows import with_sound

FOLDER = Location.parse("https://host/rec/")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def listed(seconds, tags=(), *, name="v", first=0, ended=True, clocks=None):
    """A playlist of segments that last as given; ``clocks`` are seconds after noon by position."""
    segments, period = [], 0
    for at, duration in enumerate(seconds):
        period += at in tags
        wall = (clocks or {}).get(at)
        segments.append(
            Segment(
                first + at,
                FOLDER.child(f"{name}{first + at}.ts"),
                duration,
                discontinuity=at in tags,
                discontinuity_sequence=period,
                program_date_time=None if wall is None else NOON + timedelta(seconds=wall),
            )
        )
    where = FOLDER.child(f"{name}.m3u8")
    return MediaPlaylist(where, tuple(segments), ended, 4.0, PlaylistKind.EVENT)


def rendition(playlist, name="English", language="en", default=True):
    return AudioRendition(name, language, default, playlist.location, playlist)


def slices_of(main, *sound, seconds=10.0, idle=True):
    lengths = SliceLengths.all(seconds)
    return with_sound(cut(main, idle=idle, lengths=lengths), main, sound, idle=idle)


def windows(slices):
    """Media sequence numbers of the sound of each slice, by the position of its rendition."""
    return [
        {each.position: [s.sequence for s in each.work.segments] for each in piece.sound}
        for piece in slices
    ]


durations = st.lists(st.floats(0.5, 12).map(lambda s: round(s, 3)), min_size=1, max_size=40)
tags = st.sets(st.integers(0, 40))


@settings(deadline=None)
@given(durations, tags, durations, tags, st.floats(1, 40))
def test_every_segment_of_sound_is_in_one_slice_in_order(seconds, cuts, sound, others, limit):
    audio = listed(sound, others, name="a", first=7)
    slices = slices_of(listed(seconds, cuts), rendition(audio), seconds=limit)
    found = [s for each in slices for window in each.sound for s in window.work.segments]
    assert found == list(audio.segments)


@settings(deadline=None)
@given(durations, durations, st.integers(0, 39), st.integers(0, 39))
def test_settled_slices_stay_while_both_playlists_grow(seconds, sound, known, heard):
    def cut_of(main, audio, *, idle):
        return slices_of(listed(main, ended=False), rendition(listed(audio, ended=False, name="a")),
                         seconds=15.0, idle=idle)  # fmt: skip

    early = cut_of(seconds[: known + 1], sound[: heard + 1], idle=False)
    late = cut_of(seconds, sound, idle=True)
    for before, after in itertools.takewhile(
        lambda pair: pair[0].settled, zip(early, late, strict=False)
    ):
        assert before.identity == after.identity


def test_sound_goes_to_the_slice_in_whose_time_it_begins():
    audio = listed([4.0] * 5, name="a")
    assert windows(slices_of(listed([5.0] * 4), rendition(audio))) == [{0: [0, 1, 2]}, {0: [3, 4]}]


def test_what_lies_behind_the_last_picture_is_in_the_last_slice():
    audio = listed([5.0] * 8, name="a")
    assert windows(slices_of(listed([5.0] * 4), rendition(audio)))[-1] == {0: [2, 3, 4, 5, 6, 7]}


def test_tagged_periods_are_laid_side_by_side():
    """The sound of the first period is longer than its pictures, that of the second shorter."""
    main = listed([5.0] * 4, tags={2})
    audio = listed([5.0, 5.0, 1.0, 4.0], tags={3}, name="a")
    assert windows(slices_of(main, rendition(audio))) == [{0: [0, 1, 2]}, {0: [3]}]


def test_sound_without_tags_goes_on_by_its_own_length():
    audio = listed([5.0] * 8, name="a")
    found = windows(slices_of(listed([5.0] * 8, tags={4}), rendition(audio)))
    assert found == [{0: [0, 1]}, {0: [2, 3]}, {0: [4, 5]}, {0: [6, 7]}]


def test_wall_clocks_tell_more_than_lengths():
    """The playlist of the sound has lost its first twenty seconds."""
    main = listed([5.0] * 8, clocks={0: 0})
    audio = listed([5.0] * 4, name="a", first=4, clocks={0: 20})
    assert windows(slices_of(main, rendition(audio))) == [{}, {}, {0: [4, 5]}, {0: [6, 7]}]
    without = listed([5.0] * 4, name="a", first=4)
    assert windows(slices_of(main, rendition(without))) == [{0: [4, 5]}, {0: [6, 7]}, {}, {}]


def test_an_absurd_wall_clock_is_not_believed():
    main = listed([5.0] * 4, clocks={0: 0})
    audio = listed([5.0] * 4, name="a", clocks={0: 90_000, 1: -7200, 2: 86_400})
    assert windows(slices_of(main, rendition(audio))) == [{0: [0, 1]}, {0: [2, 3]}]


def test_each_rendition_has_windows_of_its_own():
    english = rendition(listed([5.0] * 4, name="en"))
    spanish = rendition(listed([10.0] * 2, name="es"), "Español", "es", default=False)
    slices = slices_of(listed([5.0] * 4), english, spanish)
    assert windows(slices) == [{0: [0, 1], 1: [0]}, {0: [2, 3], 1: [1]}]
    assert [(w.name, w.language, w.default) for w in slices[0].sound] == [
        ("English", "en", True),
        ("Español", "es", False),
    ]


def test_a_window_knows_what_stands_around_it():
    audio = listed([4.0] * 6, name="a")
    window = slices_of(listed([8.0] * 3), rendition(audio), seconds=8.0)[1].sound[0].work
    assert [s.sequence for s in window.lead_in] == [0, 1]
    assert [s.sequence for s in window.segments] == [2, 3]
    assert window.lead_out == audio.segments[4]


@pytest.mark.parametrize("heard", [1, 2])
def test_a_slice_is_settled_once_later_sound_is_listed(heard):
    main = listed([10.0] * 3, ended=False)
    audio = listed([10.0] * heard, name="a", ended=False)
    settled = [each.settled for each in slices_of(main, rendition(audio), idle=False)]
    assert settled == [heard == 2, False, False]


def test_another_sound_makes_another_slice():
    main = listed([10.0])
    english = rendition(listed([10.0], name="en"))
    plain, spoken = slices_of(main)[0], slices_of(main, english)[0]
    renamed = slices_of(main, rendition(listed([10.0], name="en"), language="fr"))[0]
    assert len({plain.identity, spoken.identity, renamed.identity}) == 3
    assert slices_of(main, english)[0].identity == spoken.identity
