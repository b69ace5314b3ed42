"""Merging slices into one movie: tracks, periods, gaps, what is dropped, and what the proof expects."""

import dataclasses
from datetime import UTC, datetime
from fractions import Fraction

import numpy as np
import pytest

from pipelines.errors import ErrorCode, PermanentError, ToolError
from pipelines.gap import GapCause, GapDone
from pipelines.gap_policy import GapPolicy
from pipelines.loss import LossCause
from pipelines.media import TrackKind
from pipelines.missing_media import missing_media
from pipelines.movie_tables import MovieTables
from pipelines.packaged_slice import Expectation, TrackMade
from pipelines.repair import RepairKind
from pipelines.segment_index import NO_TIME, Container
from tests.unit.mp4_by_hand import avcc, visual_entry
from tests.unit.tracks_by_hand import (
    FRAME,
    PICTURE,
    RATE,
    frames,
    hashed,
    lost,
    packaged,
    picture_samples,
    run_of,
    silence,
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


def merged(*slices, max_hole=Fraction(600), policy=GapPolicy.HOLD, layout=None):
    tables = MovieTables(max_hole, datetime(2026, 1, 1, tzinfo=UTC), policy, silence, layout)
    for number, each in enumerate(slices):
        tables.add(each, number * 10**7)
    tables.finish()
    return tables


def shown(tables, name):
    """Presentation times of all samples of a track in media seconds."""
    one = tables.tracks[name]
    made = one.movie_track(90_000, enabled=True)
    deltas = np.repeat(made.time_deltas, made.time_counts)
    dts = one.columns.first_dts + np.concatenate(([0], np.cumsum(deltas)))[:-1]
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
    sound = np.delete(shown(tables, "audio"), np.flatnonzero(tables.expected["audio"].inserted))
    assert shown(tables, "video")[PICTURES] == pytest.approx(sound[SOUNDS])


def test_an_untagged_jump_of_all_tracks_is_reported_and_held():
    tables = merged(packaged(0, pictures()), packaged(1, pictures(SECONDS + 5)))
    [gap] = tables.gaps
    assert (gap.at, gap.duration) == (SECONDS, 5.0)
    assert len(tables.periods) == 1
    assert shown(tables, "video")[PICTURES] == SECONDS + 5


def test_a_jump_of_all_tracks_is_one_gap_held_and_silent():
    first = packaged(0, pictures(), sounds())
    tables = merged(first, packaged(1, pictures(21), sounds(21), sequence=8))
    [gap] = tables.gaps
    assert (gap.track, gap.at, gap.duration) == ("all", SECONDS, 5.0)
    assert (gap.cause, gap.done) == (GapCause.NOT_IN_SOURCE, GapDone.HELD)
    assert gap.detail == "the clock jumps forward by 5.000 s at segment 8"
    expected = tables.expected["audio"]
    assert expected.silent == 5 * RATE // FRAME
    assert np.flatnonzero(expected.inserted)[[0, -1]].tolist() == [SOUNDS, SOUNDS + 233]
    assert shown(tables, "audio")[SOUNDS + 234] == shown(tables, "video")[PICTURES] == 21
    assert expected.pts / RATE == pytest.approx(shown(tables, "audio"), abs=1e-4)


def jumping(seconds, *, sound=True, inside=False, damage=()):
    """Two runs of 16 s, or one, in whose middle the clock jumps forward."""
    later = SECONDS + seconds
    if not inside:
        first = (pictures(), sounds())[: 1 + sound]
        second = (pictures(later), sounds(later))[: 1 + sound]
        return merged(packaged(0, *first), packaged(1, *second, sequence=8))
    tracks = [with_hole(PICTURES, seconds, count=2 * PICTURES)]
    if sound:
        dts = np.concatenate((frames(0, SOUNDS), frames(round(later * RATE), SOUNDS)))
        tracks.append(track(AUDIO, sound_samples(dts), offset=10**6))
    return merged(packaged(0, *tracks, losses=damage))


@pytest.mark.parametrize(
    ("begins", "named"),
    [(((8, 0.0), (9, 14.0), (10, 16.3)), 10), (((8, 0.0), (9, 14.0), (10, 18.3)), 9), ((), 8)],
    ids=["at-its-start", "inside", "unknown"],
)
def test_a_jump_inside_a_run_names_the_segment_that_begins_with_it_or_has_it(begins, named):
    dts = np.concatenate((frames(0, SOUNDS), frames(round(16.3 * RATE), SOUNDS)))
    sound = track(AUDIO, sound_samples(dts), offset=10**6)
    holed = with_hole(PICTURES, 0.3, count=2 * PICTURES)
    [gap] = merged(packaged(0, holed, sound, sequence=8, begins=begins)).gaps
    assert gap.detail == f"the clock jumps forward by 0.300 s at segment {named}"


@pytest.mark.parametrize("inside", [False, True], ids=["between", "inside"])
@pytest.mark.parametrize("seconds", [0.1, 0.2, 0.4])
@pytest.mark.parametrize("sound", [False, True], ids=["alone", "with-sound"])
def test_a_short_jump_of_all_tracks_is_one_gap_too(seconds, sound, inside):
    tables = jumping(seconds, sound=sound, inside=inside)
    [gap] = tables.gaps
    assert (gap.track, gap.done, gap.cause) == ("all", GapDone.HELD, GapCause.NOT_IN_SOURCE)
    assert (gap.at, gap.duration) == (SECONDS, pytest.approx(seconds, abs=1e-4))
    assert shown(tables, "video")[PICTURES] == pytest.approx(SECONDS + seconds)


@pytest.mark.parametrize("inside", [False, True], ids=["between", "inside"])
@pytest.mark.parametrize("sound", [False, True], ids=["alone", "with-sound"])
def test_two_frames_of_jitter_are_no_gap_of_all_tracks(sound, inside):
    gaps = jumping(2 / 30, sound=sound, inside=inside).gaps
    assert [gap for gap in gaps if gap.track == "all"] == []


def test_pictures_that_come_as_something_changes_have_no_short_holes():
    steps = np.resize([3000, 6000, 27_000, 3000, 18_000], PICTURES)
    samples = dataclasses.replace(picture_samples(0, PICTURES), dts=np.cumsum(steps))
    assert merged(packaged(0, track(VIDEO, samples))).gaps == []


def test_a_few_pictures_that_a_damaged_segment_lacks_are_a_gap():
    damaged = lost(0, whole=False, cause=LossCause.SEGMENT_DAMAGED)
    holed = with_hole(240, 0.3)
    tables = merged(packaged(0, holed, sounds(count=SOUNDS + 14), losses=(damaged,)))
    [gap] = tables.gaps
    assert (gap.track, gap.at, gap.duration) == ("video", 8.0, pytest.approx(0.3))
    assert (gap.cause, gap.segments) == (GapCause.SEGMENT_DAMAGED, (0,))
    assert merged(packaged(0, holed, sounds(count=SOUNDS + 14))).gaps == []


def test_what_is_missing_is_said_where_there_is_no_gap_too():
    first, later = pictures(keys=(3,)), pictures(SECONDS)
    tables = merged(
        packaged(0, first, sounds()),
        packaged(1, later, sounds(SECONDS), losses=(lost(1),), sequence=2),
    )
    assert tables.gaps == []
    missing = [*missing_media(tables)]
    assert missing[0].startswith("segment 1 (")
    assert missing[1].startswith("3 samples of video at 0.000 s of the recording are left out: ")
    assert [*missing_media(merged(packaged(0, pictures(), sounds())))] == []


def test_collapsing_closes_short_jumps_too():
    later = packaged(1, pictures(SECONDS + 0.3), sounds(SECONDS + 0.3))
    tables = merged(packaged(0, pictures(), sounds()), later, policy=GapPolicy.COLLAPSE)
    [gap] = tables.gaps
    assert (gap.duration, gap.done) == (pytest.approx(0.3), GapDone.COLLAPSED)
    assert shown(tables, "video")[PICTURES] == SECONDS


def test_a_gap_inside_a_run_is_one_gap_too():
    jump = 5 * RATE
    dts = np.concatenate((frames(0, SOUNDS), frames(SOUNDS * FRAME + jump, SOUNDS)))
    sound = track(AUDIO, sound_samples(dts), offset=10**6)
    tables = merged(packaged(0, with_hole(PICTURES, 5.0, count=2 * PICTURES), sound))
    assert told(tables) == [("all", SECONDS, 5.0)]
    assert len(tables.periods) == 1


def test_silence_lies_before_all_other_payload():
    tables = merged(packaged(0, pictures(), sounds()), packaged(1, pictures(21), sounds(21)))
    size = len(tables.silence)
    movie = tables.movie()
    assert movie.tracks[0].chunk_offsets[0] == size
    silent = movie.tracks[1].chunk_offsets < size
    assert set(movie.tracks[1].chunk_offsets[silent].tolist()) == {0}
    group = tables.groups["audio"][-1]
    assert (group.offsets[0], group.sizes[0]) == (-size, size)


def test_pictures_before_the_first_key_frame_are_dropped_and_reported():
    tables = merged(packaged(0, pictures(keys=(30,)), sounds()))
    [dropped] = tables.dropped
    assert (dropped.track, dropped.samples, dropped.at) == ("video", 30, 0.0)
    assert tables.tracks["video"].count == PICTURES - 30
    assert len(tables.expected["video"].pts) == PICTURES - 30
    assert (tables.expected["video"].copied, tables.expected["video"].dropped) == (450, 30)
    assert shown(tables, "video")[0] == pytest.approx(1.0)
    made = tables.movie().tracks[0]
    assert made.chunk_offsets[0] == 30 * 100
    assert made.chunk_samples.sum() == PICTURES - 30


def test_only_the_start_of_a_period_may_drop_pictures():
    tables = merged(packaged(0, pictures()), packaged(1, pictures(SECONDS, keys=())))
    assert tables.dropped == []
    assert tables.tracks["video"].count == 2 * PICTURES


def test_of_pictures_without_any_key_frame_the_sound_is_kept():
    tables = merged(packaged(0, pictures(keys=()), sounds()))
    assert tables.ordered_names() == ["audio"]
    assert [(each.track, each.samples) for each in tables.dropped] == [("video", PICTURES)]
    assert merged(packaged(0, pictures(keys=()))).tracks == {}


def test_behind_a_loss_pictures_are_dropped_until_a_key_frame_over_runs_and_slices():
    none, late = pictures(18, keys=()), pictures(34, keys=(45,))
    tables = merged(
        packaged(0, pictures(), sounds()),
        packaged(1, none, sounds(18), losses=(lost(1),), sequence=2, broken=True),
        packaged(2, late, sounds(34), sequence=3),
    )
    dropped = [(each.samples, each.at) for each in tables.dropped]
    assert dropped == [(PICTURES, 18.0), (45, 34.0)]
    assert tables.tracks["video"].count == 2 * PICTURES - 45
    assert shown(tables, "video")[PICTURES] == pytest.approx(35.5)
    assert told(tables) == [("all", SECONDS, 2.0), ("video", 18.0, 17.5)]
    assert tables.gaps[0].segments == (1,)


@pytest.mark.parametrize(("clean", "left"), [(True, 0), (False, 2)])
def test_pictures_of_an_open_group_whose_last_one_is_lost_are_dropped(clean, left):
    samples = picture_samples(18 * 90_000, 60, delay=2 * PICTURE)
    composition = samples.composition.copy()
    composition[:3] = (4 * PICTURE, 0, 0)  # the key frame is shown behind the two that follow it
    first = packaged(0, pictures(), sounds())
    later = track(VIDEO, dataclasses.replace(samples, composition=composition))
    run = run_of(2, later, sounds(18, 94), broken=True)
    run = dataclasses.replace(run, starts_clean=clean)
    tables = merged(first, packaged(1, [run], losses=(lost(1),)))
    assert sum(each.samples for each in tables.dropped) == left
    assert tables.tracks["video"].count == PICTURES + 60 - left
    expected = tables.expected["video"]
    assert shown(tables, "video") * 90_000 == pytest.approx(expected.pts, abs=1)


def test_another_configuration_needs_a_layout_or_is_refused():
    other = pictures(SECONDS, entry=visual_entry(avcc(sps=b"\x67SPS")))
    tables = merged(packaged(0, pictures()), packaged(1, other))
    assert [*tables.conformance.census.layout(lambda main: None).slices] == [1]
    with pytest.raises(PermanentError) as caught:
        tables.conformance.refuse_odd()
    assert caught.value.code == ErrorCode.CONFIGURATION_CHANGED


@pytest.mark.parametrize("jump", [1.5, 2.0, 3.9])
@pytest.mark.parametrize("tagged", [False, True])
def test_the_clock_tells_how_long_lost_segments_are(tagged, jump):
    later = packaged(
        1, pictures(SECONDS + jump), sounds(SECONDS + jump), losses=(lost(1),), sequence=2,
        tagged=tagged, broken=True,
    )  # fmt: skip
    [gap] = merged(packaged(0, pictures(), sounds()), later).gaps
    assert (gap.track, gap.at, gap.duration) == ("all", SECONDS, pytest.approx(jump, abs=1e-4))
    assert (gap.cause, gap.segments) == (GapCause.SEGMENT_LOST, (1,))
    assert gap.detail == "segment 1 is lost (segment_missing)"


@pytest.mark.parametrize(("tagged", "clock"), [(False, 3.0), (True, 3.0), (True, 900.0)])
def test_extinf_tells_how_long_lost_segments_are_where_the_clock_does_not(tagged, clock):
    losses = lost(1, 2.0), lost(2, 1.5)
    later = packaged(
        1, pictures(clock), sounds(clock), losses=losses, sequence=3, tagged=tagged, broken=True
    )
    tables = merged(packaged(0, pictures(), sounds()), later)
    [gap] = tables.gaps
    assert (gap.at, gap.duration, gap.segments) == (SECONDS, 3.5, (1, 2))
    assert [period.start for period in tables.periods] == [0, SECONDS + 3.5]
    assert shown(tables, "video")[PICTURES] == SECONDS + 3.5


def test_a_lost_segment_that_the_clock_does_not_miss_leaves_no_gap():
    later = packaged(1, pictures(SECONDS), sounds(SECONDS), losses=(lost(1),), sequence=2)
    tables = merged(packaged(0, pictures(), sounds()), later)
    assert tables.gaps == []
    assert tables.losses == [lost(1)]


@pytest.mark.parametrize("clock", [SECONDS + 50_000, 7])
def test_lost_hours_are_told_and_not_held(clock):
    losses = tuple(lost(number, 10.0) for number in range(1, 5001))
    later = packaged(1, pictures(clock), sounds(clock), losses=losses, sequence=5001, tagged=True)
    tables = merged(packaged(0, pictures(), sounds()), later)
    assert told(tables) == [("all", SECONDS, 50_000.0)]
    assert tables.gaps[0].done is GapDone.COLLAPSED
    assert tables.gaps[0].detail == "segments 1, 2, 3, 4 and 4996 more are lost (segment_missing)"
    assert [each.start for each in tables.periods] == [0.0, pytest.approx(SECONDS, abs=0.1)]
    assert max(track.time_deltas.max() for track in tables.movie().tracks) < 90_000


def test_a_pause_of_one_track_that_no_sample_can_last_for_is_refused_in_words():
    hours = 14 * 3600  # the sound goes on, a run every five minutes
    between = [packaged(number, sounds(300 * number)) for number in range(1, hours // 300)]
    last = packaged(len(between) + 1, pictures(hours), sounds(hours))
    tables = merged(packaged(0, pictures(), sounds()), *between, last)
    with pytest.raises(PermanentError, match="no video for 50384 s") as refusal:
        tables.movie()
    assert refusal.value.code is ErrorCode.RECORDING_TOO_LONG


def test_segments_lost_at_the_start_and_the_end_are_reported_and_not_filled():
    only = packaged(0, pictures(), sounds(), losses=(lost(0), lost(2, 4.0)), sequence=1)
    tables = merged(only)
    assert told(tables) == [("all", 0.0, 2.0), ("all", SECONDS, 4.0)]
    assert {gap.done for gap in tables.gaps} == {GapDone.REPORTED}
    assert tables.expected["audio"].silent == 0


def test_losses_of_a_playlist_of_sound_are_none_of_the_pictures():
    later = packaged(
        1, pictures(3), sounds(3), losses=(lost(1, rendition="english"),), tagged=True, sequence=2
    )
    assert merged(packaged(0, pictures(), sounds()), later).gaps == []


def test_holes_of_a_damaged_segment_say_so():
    damaged = lost(0, whole=False, cause=LossCause.SEGMENT_DAMAGED)
    tables = merged(packaged(0, with_hole(240, 3.0), sounds(count=SOUNDS + 141), losses=(damaged,)))
    [gap] = tables.gaps
    assert (gap.cause, gap.segments) == (GapCause.SEGMENT_DAMAGED, (0,))


@pytest.mark.parametrize("clock", [21.0, 3.0])
def test_collapsing_moves_up_what_follows(clock):
    later = packaged(1, pictures(clock), sounds(clock), losses=(lost(1, 5.0),), sequence=2)
    first = packaged(0, pictures(), sounds())
    tables = merged(first, later, policy=GapPolicy.COLLAPSE)
    [gap] = tables.gaps
    assert (gap.track, gap.at, gap.duration, gap.done) == ("all", SECONDS, 5.0, GapDone.COLLAPSED)
    assert shown(tables, "video")[PICTURES] == shown(tables, "audio")[SOUNDS] == SECONDS
    assert [period.start for period in tables.periods] == [0, SECONDS]
    assert tables.expected["audio"].silent == 0


def test_collapsing_keeps_holes_that_the_sound_alone_has():
    dts = np.concatenate((frames(0, 375), frames(465 * FRAME, 285)))
    only = packaged(0, pictures(), track(AUDIO, sound_samples(dts), offset=10**6))
    tables = merged(only, policy=GapPolicy.COLLAPSE)
    assert told(tables) == [("audio", 8.0, 1.92)]
    assert tables.expected["audio"].silent == 90


def test_hours_that_nobody_recorded_are_reported_by_the_clock_on_the_wall():
    tables = merged(
        packaged(0, pictures(), sounds(), wall_clock=1000.0),
        packaged(1, pictures(5), sounds(5), wall_clock=1000.0 + SECONDS + 60, tagged=True),
        packaged(2, pictures(5), sounds(5), wall_clock=1000.4 + 2 * SECONDS + 60, tagged=True),
    )
    [gap] = tables.gaps
    assert (gap.track, gap.at, gap.duration) == ("all", SECONDS, 60.0)
    assert (gap.cause, gap.done) == (GapCause.WALL_CLOCK, GapDone.REPORTED)
    assert gap.wall_clock == 1000.0 + SECONDS


def test_gaps_say_when_they_were_by_the_clock_on_the_wall():
    first = packaged(0, pictures(), sounds(), wall_clock=5000.0)
    [gap] = merged(first, packaged(1, pictures(21), sounds(21))).gaps
    assert gap.wall_clock == 5000.0 + SECONDS
    assert merged(packaged(0, pictures(), sounds(count=375))).gaps[0].wall_clock is None


def twice(first, second, losses=(), **options):
    """Two slices of which the second begins with media of the first."""
    clock = {"wall_clock": 1000.0} if options else {}
    again = packaged(1, *second, losses=losses, sequence=4, sequences=(4, 5), **options)
    return merged(packaged(0, *first, **clock), again)


def test_media_that_comes_twice_is_kept_once():
    tables = twice((pictures(), sounds()), (pictures(8, count=480), sounds(8, 750)))
    assert tables.tracks["video"].count == PICTURES + 240
    assert tables.tracks["audio"].count == SOUNDS + 375
    assert (tables.gaps, len(tables.periods)) == ([], 1)
    [repair] = tables.repairs
    assert (repair.kind, repair.sequence, repair.units) == (RepairKind.DUPLICATE, 4, 240 + 375)
    assert tables.expected["video"].repeated == 240
    assert shown(tables, "video") == pytest.approx(np.arange(PICTURES + 240) / 30)


def test_encoded_pictures_that_came_twice_are_left_out_up_to_a_key_frame_alone():
    """Those behind it would refer to pictures that are not theirs."""
    for keys, kept in (((0, 240), 240), ((0, 60), 480)):
        made = pictures(8, count=480)
        made = dataclasses.replace(made, made=TrackMade.ENCODED)
        made.samples.sync[:] = False
        made.samples.sync[list(keys)] = True
        sound, again = hashed(sounds()), hashed(sounds(8, 750), 375)
        tables = twice((pictures(), sound), (made, again))
        assert tables.tracks["video"].count == PICTURES + kept


@pytest.mark.parametrize(("later", "periods"), [(8, 1), (16, 2)])
def test_what_the_clock_on_the_wall_tells_to_be_new_is_no_repeat(later, periods):
    """A loop: its clock and all of its bytes are those of before, at another time of day."""
    again = pictures(8, count=240), sounds(8, 375)
    tables = twice((pictures(), sounds()), again, wall_clock=1000.0 + later)
    assert len(tables.periods) == periods
    assert tables.tracks["video"].count == PICTURES + 240 * (periods - 1)
    assert bool(tables.repairs) == (periods == 1)


def test_a_segment_that_comes_again_as_a_whole_adds_nothing():
    cut_off = dataclasses.replace(lost(5, whole=False), seconds=1.0)
    tables = twice((pictures(), sounds()), (pictures(8, count=120), sounds(8, 187)), [cut_off])
    assert tables.tracks["video"].count == PICTURES
    assert (len(tables.periods), tables.losses, tables.breaks) == (1, [], [])
    told = [(each.sequence, each.units, each.whole) for each in tables.repairs]
    assert told == [(4, 120 + 187, True), (5, 0, True)]


def test_the_end_of_a_segment_that_comes_again_and_goes_on_is_not_lost():
    """An upload that broke off, then the whole: its pictures refer to those that came before."""
    cut_off = dataclasses.replace(lost(3, whole=False), seconds=8.0)
    inside = dataclasses.replace(lost(3, whole=False), units=1)
    again = pictures(8, count=480), sounds(8, 750)
    again[0].samples.sync[1:] = False
    tables = twice((pictures(), sounds()), again, [cut_off, inside], broken=True)
    assert (tables.losses, tables.gaps, tables.dropped) == ([inside], [], [])
    assert tables.tracks["video"].count == PICTURES + 240


def test_other_media_of_the_same_time_is_another_period():
    other = pictures(8, count=240, size=90)
    tables = twice((pictures(), sounds()), (other, sounds(8, 375)))
    assert tables.tracks["video"].count == PICTURES + 240
    assert [period.start for period in tables.periods] == [0, SECONDS]
    assert tables.repairs == []


def test_a_track_of_sound_that_a_run_lacks_is_laid_in_as_silence():
    slices = packaged(0, pictures(), sounds()), packaged(1, pictures(SECONDS), sequence=8)
    layout = merged(*slices).conformance.census.layout(lambda main: None)
    samples = sound_samples(frames(SECONDS * RATE, SOUNDS), size=6)
    silent = dataclasses.replace(
        track(AUDIO, samples, number=-1, offset=10**6), made=TrackMade.SILENCE
    )
    conformed = packaged(1, pictures(SECONDS), silent, sequence=8)
    tables = merged(slices[0], conformed, layout=layout)
    tables.conformance.refuse_odd()
    assert tables.tracks["audio"].count == 2 * SOUNDS
    assert (tables.expected["audio"].copied, tables.expected["audio"].silent) == (SOUNDS, SOUNDS)
    assert told(tables) == [("audio", SECONDS, SECONDS)]
    assert tables.gaps[0].done is GapDone.SILENCE


def test_pictures_in_another_timescale_are_brought_into_the_track_s():
    samples = picture_samples(0, 30)
    coarse = dataclasses.replace(
        samples, dts=300 + np.arange(30, dtype=np.int64) * 10, last_duration=10
    )
    other = dataclasses.replace(
        track(VIDEO, coarse, offset=0), timescale=300,
        expected=Expectation(300, coarse.dts, coarse.pts, coarse.sync),
    )  # fmt: skip
    first = packaged(0, pictures(count=30), container=Container.FMP4)
    tables = merged(first, packaged(1, other, container=Container.FMP4))
    assert shown(tables, "video") == pytest.approx(np.arange(60) / 30)


def test_sounds_that_cannot_be_told_apart_go_on_in_their_order():
    tables = merged(
        packaged(0, pictures(), sounds(number=300), sounds(number=301)),
        packaged(1, pictures(), sounds(number=400), tagged=True),
        packaged(2, pictures(), *(sounds(number=n) for n in (500, 501, 502)), tagged=True),
    )
    assert tables.ordered_names() == ["video", "audio", "audio2", "audio3"]
    counts = {name: tables.expected[name].copied for name in tables.ordered_names()[1:]}
    assert counts == {"audio": 3 * SOUNDS, "audio2": 2 * SOUNDS, "audio3": SOUNDS}
    assert {each.count for name, each in tables.tracks.items() if name != "video"} == {3 * SOUNDS}


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
    assert tables.expected["audio"].copied == 2 * SOUNDS
    assert tables.expected["audio2"].copied == SOUNDS + 375


def test_sounds_of_languages_that_were_not_there_before_go_on_in_their_order():
    both = packaged(
        0, pictures(), sounds(number=300, language="eng"), sounds(number=301, language="spa")
    )
    others = packaged(
        1, pictures(), sounds(number=400, language="fra"), sounds(number=401, language="eng"),
        sounds(number=402, language="deu"), tagged=True,
    )  # fmt: skip
    tables = merged(both, others)
    languages = {name: each.first.language for name, each in tables.tracks.items()}
    assert languages == {"video": "und", "audio": "eng", "audio2": "spa", "audio3": "deu"}
    assert tables.expected["audio"].copied == tables.expected["audio2"].copied == 2 * SOUNDS


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
    assert tables.gaps[0].done is GapDone.HELD


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
    assert tables.gaps[0].done is GapDone.SILENCE


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
