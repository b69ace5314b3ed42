"""Runs cut where nothing of any track lies, tracks cut sample by sample, and what is placed twice."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.media import TrackKind
from pipelines.packaged_slice import TrackMade
from pipelines.placed_tail import PlacedTail
from pipelines.stretches import stretches
from pipelines.track_cut import cut
from tests.unit.tracks_by_hand import (
    FRAME,
    PICTURE,
    RATE,
    frames,
    hashed,
    picture_samples,
    run_of,
    sound_samples,
    track,
)

VIDEO, AUDIO = TrackKind.VIDEO, TrackKind.AUDIO


def pictures(*parts, step=PICTURE):
    """Pictures of parts (first second, number), one behind the other."""
    times = [round(at * 90_000) + step * np.arange(count, dtype=np.int64) for at, count in parts]
    dts = np.concatenate(times)
    return track(VIDEO, replace(picture_samples(0, len(dts)), dts=dts, last_duration=step))


def sounds(*parts, **options):
    times = [frames(round(at * RATE), count) for at, count in parts]
    return track(AUDIO, sound_samples(np.concatenate(times)), **options)


def lengths(run):
    return [[len(each.samples) for each in piece.tracks] for piece in stretches(run)]


def test_a_run_is_cut_where_no_track_has_anything():
    run = run_of(4, pictures((0, 60), (5, 30)), sounds((0, 94), (5, 47)), tagged=True, broken=True)
    assert lengths(run) == [[60, 94], [30, 47]]
    assert [(each.tagged, each.broken) for each in stretches(run)] == [(True, True), (False, False)]


def test_a_run_is_not_cut_where_one_track_goes_on():
    assert lengths(run_of(0, pictures((0, 60), (5, 30)), sounds((0, 280)))) == [[90, 280]]


def test_a_stretch_may_lack_a_track():
    assert lengths(run_of(0, pictures((0, 60)), sounds((0, 94), (5, 47)))) == [[60, 94], [47]]


def test_slow_pictures_have_no_holes():
    assert lengths(run_of(0, pictures((0, 5), step=60 * PICTURE))) == [[5]]


def test_silence_that_was_laid_in_covers_no_hole_and_is_cut_with_the_others():
    silent = replace(sounds((0, 280)), made=TrackMade.SILENCE)
    [[first, quiet], [second, rest]] = lengths(run_of(0, pictures((0, 60), (5, 30)), silent))
    assert (first, second, quiet + rest) == (60, 30, 280)


@given(st.integers(1, 60), st.lists(st.integers(0, 60), min_size=2, max_size=2), st.integers(1, 9))
def test_a_cut_track_has_the_bytes_of_its_samples(count, places, group):
    begin, end = sorted(min(place, count) for place in places)
    sizes = np.arange(1, count + 1, dtype=np.uint32)
    samples = replace(picture_samples(0, count), sizes=sizes)
    whole = track(VIDEO, samples, offset=1000, group=group)
    part = cut(whole, begin, end)
    assert part.samples.sizes.tolist() == sizes[begin:end].tolist()
    assert part.expected.dts.tolist() == samples.dts[begin:end].tolist()
    assert int(part.placement.counts.sum()) == end - begin
    bytes_of = [
        at
        for offset, number, first in zip(
            part.placement.offsets.tolist(),
            part.placement.counts.tolist(),
            np.cumsum([0, *part.placement.counts.tolist()]).tolist(),
            strict=False,
        )
        for at in range(offset, offset + int(part.samples.sizes[first : first + number].sum()))
    ]
    ends = 1000 + np.cumsum(sizes.astype(np.int64))
    starts_at = ends - sizes
    wanted = [at for n in range(begin, end) for at in range(starts_at[n], ends[n])]
    assert bytes_of == wanted


NAMES = {256: "video", 257: "audio"}


def repeated(first, second, unwrap=Fraction(0)):
    tail = PlacedTail()
    for each in first:
        tail.note(NAMES[each.track], each, Fraction(0))
    return tail.repeated(run_of(1, *second), NAMES, unwrap)


def test_samples_of_other_bytes_are_another_take_though_times_and_sizes_are_the_same():
    first = hashed(pictures((0, 90))), hashed(sounds((0, 141)))
    again = hashed(pictures((1, 90)), 30), hashed(sounds((48128 / RATE, 141)), 47)
    assert repeated(first, again) == {256: 60, 257: 94}
    other = hashed(pictures((1, 90)), 1000), hashed(sounds((48128 / RATE, 141)), 1000)
    assert repeated(first, (again[0], other[1])) == repeated(first, (other[0], again[1])) == {}
    assert repeated(first[1:], other[1:]) == {}


@pytest.mark.parametrize(("kinds", "found"), [(None, {256: 60, 257: 94}), (1, {}), (2, {})])
def test_silence_does_not_tell_that_pictures_made_anew_come_again(kinds, found):
    """Takes of the same time agree in silence, and in the times of pictures that were encoded."""
    encoded = replace(pictures((0, 90)), made=TrackMade.ENCODED)
    second = picture_samples(90_000, 90, keys=(0, 60))
    again = replace(track(VIDEO, second), made=TrackMade.ENCODED)
    sound = hashed(sounds((0, 141)), kinds=kinds)
    more = hashed(sounds((48128 / RATE, 141)), 47, kinds=kinds)
    assert repeated((encoded, sound), (again, more)) == found
    assert repeated((sound,), (more,)) == {257: 94}


def test_what_comes_again_from_the_middle_is_known_too():
    first = pictures((0, 90)), sounds((0, 141))
    again = pictures((1, 30), (4, 30)), sounds((48128 / RATE, 40), (4, 40))
    assert repeated(first, again) == {256: 30, 257: 40}


def test_other_sizes_or_times_are_other_media():
    first = pictures((0, 90)), sounds((0, 141))
    larger = replace(picture_samples(90_000, 90), sizes=np.full(90, 101, np.uint32))
    assert repeated(first, (track(VIDEO, larger), sounds((48128 / RATE, 141)))) == {}
    assert repeated(first, (pictures((1.01, 90)), sounds((48128 / RATE, 141)))) == {}


def test_media_that_goes_on_is_not_repeated():
    first = pictures((0, 90)), sounds((0, 141))
    assert repeated(first, (pictures((3, 90)), sounds((141 * FRAME / RATE, 141)))) == {}
