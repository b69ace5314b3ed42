"""Merging slices into one movie: tracks, periods, gaps, what is dropped, and what the proof expects."""

import dataclasses
from datetime import UTC, datetime
from fractions import Fraction

import numpy as np
import pytest

from pipelines.errors import ErrorCode, PermanentError, ToolError
from pipelines.media import TrackKind
from pipelines.movie_tables import MovieTables
from pipelines.segment_index import NO_TIME
from tests.unit.mp4_by_hand import audio_entry, avcc, esds, visual_entry
from tests.unit.tracks_by_hand import (
    FRAME,
    PICTURE,
    RATE,
    frames,
    packaged,
    picture_samples,
    sound_samples,
    track,
)

VIDEO, AUDIO = TrackKind.VIDEO, TrackKind.AUDIO
#: Pictures and frames of sound in 16 seconds: both end together.
PICTURES, SOUNDS = 480, 750
SECONDS = 16


def pictures(at=0, count=PICTURES, **options):
    """A track of pictures from ``at`` seconds of its clock on."""
    number, entry = options.pop("number", None), options.pop("entry", None)
    samples = picture_samples(round(at * 90_000), count, **options)
    return track(VIDEO, samples, number=number, entry=entry)


def sounds(at=0, count=SOUNDS, number=None, **options):
    """A track of sound from ``at`` seconds of its clock on, which lies behind the pictures."""
    samples = sound_samples(frames(round(at * RATE), count))
    return track(AUDIO, samples, number=number, offset=10**6, **options)


def merged(*slices, max_hole=Fraction(600)):
    tables = MovieTables(max_hole, datetime(2026, 1, 1, tzinfo=UTC))
    for number, each in enumerate(slices):
        tables.add(each, number * 10**7)
    return tables


def shown(tables, name):
    """Presentation times of all samples of a track in media seconds."""
    one = tables.tracks[name]
    made = one.movie_track(90_000, enabled=True)
    deltas = np.repeat(made.time_deltas, made.time_counts)
    dts = one.first_dts + np.concatenate(([0], np.cumsum(deltas)))[:-1]
    if made.composition_counts is not None:
        dts = dts + np.repeat(made.composition_offsets, made.composition_counts)
    return dts / one.timescale


def refused(*slices):
    with pytest.raises(PermanentError) as caught:
        merged(*slices)
    return caught.value.code


def test_slices_of_one_clock_make_one_period():
    tables = merged(
        packaged(0, pictures(100), sounds(100)), packaged(1, pictures(116), sounds(116))
    )
    assert [(p.number, p.start, p.tagged) for p in tables.periods] == [(0, 0.0, False)]
    assert tables.gaps == []
    assert tables.seams == [{}, {"video": PICTURES, "audio": SOUNDS}]
    assert shown(tables, "video") == pytest.approx(np.arange(2 * PICTURES) / 30)
    assert shown(tables, "audio") == pytest.approx(np.arange(2 * SOUNDS) * FRAME / RATE)


def test_the_movie_lists_pictures_first_and_enables_the_first_sound():
    slices = packaged(0, sounds(number=300), sounds(number=301), pictures())
    movie = merged(slices).movie()
    assert [(each.kind, each.enabled) for each in movie.tracks] == [
        (VIDEO, True), (AUDIO, True), (AUDIO, False),
    ]  # fmt: skip


def test_what_the_proof_expects_is_what_the_tables_say():
    tables = merged(
        packaged(0, pictures(50), sounds(50)),
        packaged(1, pictures(3), sounds(3), tagged=True),
    )
    for name in ("video", "audio"):
        expected = tables.expected[name]
        assert expected.pts / expected.timescale == pytest.approx(shown(tables, name), abs=1e-5)
        assert len(expected.sync) == tables.tracks[name].count


def test_units_without_a_time_stay_without_one():
    one = pictures(9)
    pts = one.expected.pts.copy()
    pts[5] = NO_TIME
    one = dataclasses.replace(one, expected=dataclasses.replace(one.expected, pts=pts))
    tables = merged(packaged(0, one))
    assert np.flatnonzero(tables.expected["video"].pts == NO_TIME).tolist() == [5]


def test_a_discontinuity_starts_a_period_where_the_last_one_ended():
    tables = merged(
        packaged(0, pictures(1000), sounds(1000)),
        packaged(1, pictures(5), sounds(5), tagged=True),
    )
    assert [(p.number, p.start, p.tagged) for p in tables.periods] == [
        (0, 0.0, False), (1, float(SECONDS), True),
    ]  # fmt: skip
    assert shown(tables, "video")[PICTURES] == SECONDS
    assert shown(tables, "audio")[SOUNDS] == SECONDS


def test_another_encoder_may_use_other_pids():
    tables = merged(
        packaged(0, pictures(), sounds()),
        packaged(1, pictures(number=500), sounds(number=501), tagged=True),
    )
    assert tables.ordered_names() == ["video", "audio"]
    assert len(shown(tables, "video")) == 2 * PICTURES


def test_an_encoder_with_other_pids_and_reordered_pictures_overlaps_nothing():
    second = pictures(20 - 2 / 30, number=500, delay=2 * PICTURE)
    tables = merged(
        packaged(0, pictures(), sounds()), packaged(1, second, sounds(20, number=501), tagged=True)
    )
    expected = tables.expected["video"]
    assert shown(tables, "video") * 90_000 == pytest.approx(expected.pts, abs=1)
    assert (shown(tables, "video")[PICTURES:] - shown(tables, "video")[PICTURES]) == pytest.approx(
        np.arange(PICTURES) / 30
    )
    assert shown(tables, "video")[PICTURES] == pytest.approx(shown(tables, "audio")[SOUNDS])


def test_an_untagged_jump_of_all_tracks_is_reported_and_held():
    tables = merged(packaged(0, pictures()), packaged(1, pictures(SECONDS + 5)))
    [gap] = tables.gaps
    assert (gap.at, gap.duration) == (SECONDS, 5.0)
    assert len(tables.periods) == 1
    assert shown(tables, "video")[PICTURES] == SECONDS + 5


def test_a_hole_in_the_sound_is_refused():
    first, later = packaged(0, pictures(), sounds()), packaged(1, pictures(21), sounds(21))
    assert refused(first, later) == ErrorCode.GAP_REFUSED


def test_pictures_before_the_first_key_frame_are_dropped_and_reported():
    tables = merged(packaged(0, pictures(keys=(30,)), sounds()))
    [dropped] = tables.dropped
    assert (dropped.track, dropped.samples, dropped.at) == ("video", 30, 0.0)
    assert tables.tracks["video"].count == PICTURES - 30
    assert len(tables.expected["video"].pts) == PICTURES - 30
    assert shown(tables, "video")[0] == pytest.approx(1.0)
    made = tables.movie().tracks[0]
    assert made.chunk_offsets[0] == 30 * 100
    assert made.chunk_samples.sum() == PICTURES - 30


def test_only_the_start_of_a_period_may_drop_pictures():
    tables = merged(packaged(0, pictures()), packaged(1, pictures(SECONDS, keys=())))
    assert tables.dropped == []
    assert tables.tracks["video"].count == 2 * PICTURES


def test_pictures_without_any_key_frame_are_damage():
    assert refused(packaged(0, pictures(keys=()))) == ErrorCode.SEGMENT_DAMAGED


def test_another_configuration_is_refused():
    other = pictures(SECONDS, entry=visual_entry(avcc(sps=b"\x67SPS")))
    slices = packaged(0, pictures()), packaged(1, other)
    assert refused(*slices) == ErrorCode.CONFIGURATION_CHANGED


def test_sounds_that_cannot_be_told_apart_are_refused():
    both = packaged(0, pictures(), sounds(number=300), sounds(number=301))
    one = packaged(1, pictures(number=400), sounds(number=402), tagged=True)
    assert refused(both, one) == ErrorCode.CONFIGURATION_CHANGED


def test_two_video_tracks_are_refused():
    two = packaged(0, pictures(), pictures(number=999))
    assert refused(two) == ErrorCode.RENDITION_UNSUPPORTED


def test_groups_keep_the_hashes_of_all_payload_that_was_uploaded():
    tables = merged(packaged(0, pictures(keys=(30,))))
    [groups] = tables.groups["video"]
    assert groups.offsets[0] == 0
    assert int(groups.sizes.sum()) == PICTURES * 100


def test_a_slice_without_samples_adds_nothing():
    tables = merged(packaged(0, pictures()), packaged(1), packaged(2, pictures(SECONDS)))
    assert tables.tracks["video"].count == 2 * PICTURES
    assert len(tables.periods) == 1


def told(tables):
    """The gaps as (track, at, duration)."""
    return [(gap.track, round(gap.at, 3), round(gap.duration, 3)) for gap in tables.gaps]


def test_a_sound_whose_pid_changes_without_a_tag_stays_one_track():
    tables = merged(
        packaged(0, pictures(), sounds(number=257)),
        packaged(1, pictures(SECONDS), sounds(SECONDS, number=258)),
        packaged(2, pictures(2 * SECONDS), sounds(2 * SECONDS, number=257)),
    )
    assert tables.ordered_names() == ["video", "audio"]
    assert tables.tracks["audio"].count == 3 * SOUNDS
    assert tables.gaps == []


def test_pictures_whose_pid_changes_without_a_tag_stay_one_track():
    tables = merged(
        packaged(0, pictures(), sounds()),
        packaged(1, pictures(SECONDS, number=300), sounds(SECONDS)),
    )
    assert tables.tracks["video"].count == 2 * PICTURES


def test_a_sound_that_goes_on_under_another_pid_and_configuration_is_refused():
    other = audio_entry(esds(b"\x12\x08"))
    slices = (
        packaged(0, pictures(), sounds(number=257)),
        packaged(1, pictures(SECONDS), sounds(SECONDS, number=258, entry=other)),
    )
    assert refused(*slices) == ErrorCode.CONFIGURATION_CHANGED


def test_a_sound_that_joins_another_is_a_track_of_its_own():
    tables = merged(
        packaged(0, pictures(), sounds(number=257)),
        packaged(1, pictures(SECONDS), sounds(SECONDS, number=257), sounds(SECONDS, number=258)),
    )
    assert tables.ordered_names() == ["video", "audio", "audio2"]
    assert told(tables) == [("audio2", 0.0, SECONDS)]


@pytest.mark.parametrize("numbers", [(257, 258), (500, 501)])
def test_languages_are_never_joined_crosswise(numbers):
    first, second = numbers
    english, spanish = {"language": "eng"}, {"language": "spa"}
    tables = merged(
        packaged(0, pictures(), sounds(number=257, **english), sounds(number=258, **spanish)),
        packaged(
            1, pictures(5), sounds(5, 375, number=first, **spanish),
            sounds(5, number=second, **english), tagged=True,
        ),
    )  # fmt: skip
    assert tables.tracks["audio"].count == 2 * SOUNDS
    assert tables.tracks["audio2"].count == SOUNDS + 375


def test_sounds_of_languages_that_were_not_there_before_are_refused():
    both = packaged(
        0, pictures(), sounds(number=300, language="eng"), sounds(number=301, language="spa")
    )
    others = packaged(
        1, pictures(), sounds(number=400, language="fra"), sounds(number=401, language="deu"),
        tagged=True,
    )  # fmt: skip
    assert refused(both, others) == ErrorCode.CONFIGURATION_CHANGED


def with_hole(at, seconds, count=PICTURES, step=1):
    """Pictures of which those from number ``at`` on come later."""
    one = pictures(count=count)
    first = np.arange(count) * PICTURE * step
    dts = first + np.where(np.arange(count) >= at, round(seconds * 90_000), 0)
    samples = dataclasses.replace(one.samples, dts=dts, last_duration=PICTURE * step)
    return track(VIDEO, samples)


def test_a_hole_in_the_pictures_alone_is_told_inside_a_run():
    tables = merged(packaged(0, with_hole(240, 3.0), sounds(count=SOUNDS + 141)))
    assert told(tables) == [("video", 8.0, 3.0)]
    assert tables.gaps[0].done == "the last picture is held"


def test_a_hole_in_the_pictures_alone_is_told_between_runs():
    tables = merged(
        packaged(0, pictures(), sounds(count=SOUNDS + 141)),
        packaged(1, pictures(SECONDS + 3), sounds(SECONDS + 3.008)),
    )
    assert told(tables) == [("video", SECONDS, 3.0)]


def test_slow_pictures_have_no_holes():
    tables = merged(packaged(0, with_hole(8, 1.5, count=16, step=30), sounds(count=820)))
    assert tables.gaps == []


def test_sound_that_goes_on_late_after_a_discontinuity_is_told():
    tables = merged(
        packaged(0, pictures(), sounds()),
        packaged(1, pictures(100), sounds(102, 656), tagged=True),
    )
    assert [gap[0] for gap in told(tables)] == ["audio"]
    assert told(tables)[0][1:] == (SECONDS, 2.0)


def test_sound_that_ends_before_the_pictures_is_told():
    tables = merged(packaged(0, pictures(), sounds(count=375)))
    assert told(tables) == [("audio", 8.0, 8.0)]
    assert tables.gaps[0].done == "nothing is heard"


def test_a_track_without_samples_of_which_the_source_has_units_is_refused():
    full = pictures()
    none = dataclasses.replace(pictures(count=1, keys=()), expected=full.expected)
    none = dataclasses.replace(
        none, samples=dataclasses.replace(none.samples, dts=none.samples.dts[:0])
    )
    with pytest.raises(ToolError) as caught:
        merged(packaged(0, none))
    assert caught.value.code == ErrorCode.VERIFICATION_FAILED


def test_a_slice_that_is_left_out_is_refused():
    with pytest.raises(ToolError) as caught:
        merged(packaged(0, pictures()), packaged(2, pictures(2 * SECONDS)))
    assert caught.value.code == ErrorCode.VERIFICATION_FAILED
