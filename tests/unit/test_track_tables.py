"""The tables of one track: steady sound whatever the slicing, honest holes, one configuration."""

import itertools
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.gap import GapDone
from pipelines.media import TrackKind
from pipelines.packaged_slice import TrackMade
from pipelines.placed_samples import PlacedSamples
from pipelines.silent_blocks import SilentBlock
from pipelines.track_tables import TrackTables
from tests.unit.tracks_by_hand import (
    FRAME,
    PICTURE,
    RATE,
    SILENT_FRAMES,
    frames,
    picture_samples,
    silence,
    sound_samples,
    track,
)

MOVIE_TIMESCALE = 90_000
#: Two milliseconds of sound: less than this is rounding.
STEADY = RATE // 500


def tables_of(kind, *pieces, steady=True, periods=(0,)):
    """The tables after the samples of several runs; ``periods`` are the runs that start one."""
    first = track(kind, pieces[0])
    block = SilentBlock(-1000, silence(first.codec, first.sample_entry, first.timescale))
    tables = TrackTables(first, lambda: block, str(kind))
    at = 0
    for number, samples in enumerate(pieces):
        placed = PlacedSamples(track(kind, samples), Fraction(0), at, steady, number in periods)
        tables.append(placed)
        at += int(samples.sizes.sum())
    tables.settle()
    return tables


def sounds(*pieces, **options):
    return tables_of(TrackKind.AUDIO, *(sound_samples(piece) for piece in pieces), **options)


def described(tables):
    """Everything that the finished track says, in plain values."""
    movie = tables.movie_track(MOVIE_TIMESCALE, enabled=True)
    fields = {name: getattr(movie, name) for name in movie.__dataclass_fields__}
    return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in fields.items()}


def times(tables):
    """Decode times of all samples, media ticks."""
    movie = tables.movie_track(MOVIE_TIMESCALE, enabled=True)
    deltas = np.repeat(movie.time_deltas, movie.time_counts)
    return tables.columns.first_dts + np.concatenate(([0], np.cumsum(deltas)))[:-1]


def cut(values, places):
    edges = [0, *sorted({place % len(values) for place in places} - {0}), len(values)]
    return [values[begin:end] for begin, end in itertools.pairwise(edges)]


cuts = st.lists(st.integers(0, 10_000), max_size=12)


@given(
    st.lists(st.integers(-STEADY, STEADY), min_size=2, max_size=120),
    cuts,
    st.integers(0, RATE // 2),
)
def test_jitter_and_slicing_leave_no_trace_in_steady_sound(jitter, places, first):
    # The first frame is the anchor: what follows is steady when it stays near that.
    exact = frames(first, len(jitter))
    dts = exact + np.array([0, *jitter[1:]])
    tables = sounds(*cut(dts, places))
    assert described(tables)["time_deltas"] == [FRAME]
    assert times(tables).tolist() == exact.tolist()
    assert tables.audio_steps == []


@given(
    st.lists(
        st.tuples(st.integers(1, 40), st.integers(-FRAME // 2, RATE // 3)), min_size=1, max_size=8
    ),
    cuts,
)
def test_where_sound_steps_does_not_depend_on_slicing_either(stretches, places):
    pieces, at = [], 0
    for count, jump in stretches:
        pieces.append(frames(at, count))
        at += count * FRAME + jump
    dts = np.concatenate(pieces)
    whole, sliced = sounds(dts), sounds(*cut(dts, places))
    assert times(sliced).tolist() == times(whole).tolist()
    assert sliced.audio_steps == whole.audio_steps
    assert np.abs(np.delete(times(whole), filled(whole)) - dts).max() <= STEADY


@pytest.mark.parametrize(("jump", "reported"), [(STEADY + 1, 0), (-960, 0), (927, 0), (-961, 1)])
def test_a_step_of_the_clock_takes_a_new_anchor_and_a_large_one_is_told(jump, reported):
    tables = sounds(np.concatenate((frames(0, 50), frames(50 * FRAME + jump, 50))))
    assert times(tables)[50:].tolist() == frames(50 * FRAME + jump, 50).tolist()
    assert len(tables.audio_steps) == reported
    if reported:
        assert tables.audio_steps[0].at == (50 * FRAME + jump) / RATE
        assert tables.audio_steps[0].by == jump / RATE


def test_a_slow_drift_is_followed():
    dts = frames(0, 4000) + np.arange(4000) // 10
    tables = sounds(dts[:1234], dts[1234:])
    assert np.abs(times(tables) - dts).max() <= STEADY
    assert tables.audio_steps == []


def test_times_that_were_never_rounded_are_kept_as_they_are():
    dts = frames(0, 40) + np.arange(40) % 3
    assert times(sounds(dts, steady=False)).tolist() == dts.tolist()


def filled(tables):
    """The samples that are silence, by number."""
    return np.flatnonzero(tables.expected.inserted).tolist()


def told(tables):
    return [(float(each.begin), float(each.end), each.done) for each in tables.holes.found]


@pytest.mark.parametrize("sliced", [False, True])
@pytest.mark.parametrize("missing", [FRAME - 90, FRAME, FRAME + 90, 2 * FRAME - 200, 40 * FRAME])
def test_a_frame_that_is_missing_is_silent(missing, sliced):
    dts = np.concatenate((frames(0, 20), frames(20 * FRAME + missing, 20)))
    tables = sounds(*(cut(dts, [20]) if sliced else [dts]))
    count = round(missing / FRAME)
    assert filled(tables) == list(range(20, 20 + count))
    assert times(tables)[20 : 20 + count].tolist() == frames(20 * FRAME, count).tolist()
    assert times(tables)[20 + count :].tolist() == frames(20 * FRAME + missing, 20).tolist()
    assert told(tables) == [(20 * FRAME / RATE, (20 * FRAME + missing) / RATE, GapDone.SILENCE)]
    assert tables.audio_steps == []
    assert tables.edges == [20 + count]


@settings(deadline=None)
@given(st.lists(st.integers(FRAME, 9 * FRAME), min_size=1, max_size=40))
def test_holes_add_up_for_players_that_play_sound_frame_by_frame(holes):
    firsts = np.cumsum([0, *(20 * FRAME + hole for hole in holes)])
    dts = np.concatenate([frames(first, 20) for first in firsts])
    tables = sounds(*cut(dts, range(20, len(dts), 20)))
    decoded = times(tables)
    assert np.diff(decoded).min() > 0
    assert np.delete(decoded, filled(tables)).tolist() == dts.tolist()
    played = FRAME * np.arange(len(decoded))
    assert np.abs(np.delete(played, filled(tables)) - dts).max() <= FRAME / 2


def test_silence_of_any_length_is_the_same_block_over_and_over():
    later = 3600 * RATE
    tables = sounds(frames(0, 20), frames(later, 20))
    movie = described(tables)
    count = sum(movie["chunk_samples"]) - 40
    assert count == round((later - 20 * FRAME) / FRAME)
    silent = [at for at, offset in enumerate(movie["chunk_offsets"]) if offset == -1000]
    assert sum(movie["chunk_samples"][at] for at in silent) == count
    assert max(movie["chunk_samples"][at] for at in silent) == SILENT_FRAMES


def test_without_silence_a_hole_is_reported_and_stays_open():
    first = track(TrackKind.AUDIO, sound_samples(frames(0, 20)))
    tables = TrackTables(first, lambda: None, "audio")
    for at in (0, 9 * RATE):
        samples = sound_samples(frames(at, 20))
        placed = track(TrackKind.AUDIO, samples)
        tables.append(PlacedSamples(placed, Fraction(0), 0, True, False))
    assert [done for *_, done in told(tables)] == [GapDone.REPORTED]
    assert times(tables)[20] == 9 * RATE


def test_sound_that_begins_late_is_silent_from_the_start():
    tables = sounds(frames(5 * RATE, 20))
    assert filled(tables) == list(range(5 * RATE // FRAME))
    assert 0 <= times(tables)[0] < FRAME
    assert times(tables)[-20] == 5 * RATE
    assert told(tables) == [(0.0, 5.0, GapDone.SILENCE)]


def test_sound_that_ends_early_is_silent_to_the_end():
    tables = sounds(frames(0, 20))
    tables.finish(Fraction(10))
    assert len(times(tables)) == round(10 * RATE / FRAME)
    assert tables.columns.end_dts == 10 * RATE
    assert told(tables) == [(20 * FRAME / RATE, 10.0, GapDone.SILENCE)]


def test_pictures_that_end_early_are_held_to_the_end():
    tables = tables_of(TrackKind.VIDEO, picture_samples(0, 30))
    tables.finish(Fraction(10))
    assert described(tables)["duration"] == 10 * 90_000
    assert told(tables) == [(1.0, 10.0, GapDone.HELD)]


def silent_run(first, count):
    samples = sound_samples(frames(first, count), size=6)
    placed = replace(track(TrackKind.AUDIO, samples), made=TrackMade.SILENCE)
    return PlacedSamples(placed, Fraction(0), 0, True, False)


def test_silence_that_was_laid_in_gives_way_to_the_sound_around_it():
    tables = sounds(frames(0, 20))
    tables.append(silent_run(18 * FRAME + 7, 30))
    samples = sound_samples(frames(40 * FRAME, 20))
    tables.append(PlacedSamples(track(TrackKind.AUDIO, samples), Fraction(0), 0, True, False))
    assert times(tables).tolist() == frames(0, 60).tolist()
    assert told(tables) == [(20 * FRAME / RATE, 40 * FRAME / RATE, GapDone.SILENCE)]
    assert (tables.expected.copied, tables.expected.silent) == (40, 20)
    assert filled(tables) == []  # it lies in the slice's payload


def test_a_new_period_counts_from_its_own_first_frame():
    later = 20 * FRAME + STEADY // 2
    tables = sounds(frames(0, 20), frames(later, 20), periods=(0, 1))
    assert times(tables)[20] == later


def test_sound_that_ends_just_before_its_period_is_filled_up_and_told_apart_from_holes():
    later = 30 * FRAME
    tables = sounds(frames(0, 20), frames(later, 20), periods=(0, 1))
    assert filled(tables) == list(range(20, 30))
    begin, seconds = 20 * FRAME / RATE, 10 * FRAME / RATE
    [told_of] = tables.holes.filled
    assert (told_of.at, told_of.samples, told_of.done) == (begin, 10, GapDone.SILENCE)
    assert told_of.seconds == pytest.approx(seconds)
    assert told(tables) == []
    # Inside a period the very same is a hole.
    within = sounds(frames(0, 20), frames(later, 20))
    assert (told(within), within.holes.filled) == ([(begin, later / RATE, GapDone.SILENCE)], [])


@settings(deadline=None)
@given(st.integers(1, 90), cuts, st.integers(0, 6), st.integers(0, 10**10))
def test_tables_of_pictures_do_not_depend_on_slicing(count, places, delay, first):
    whole = picture_samples(first, count, keys=range(0, count, 12), delay=delay * PICTURE)
    pieces = [
        picture_samples(
            first + PICTURE * numbers[0], len(numbers), delay=delay * PICTURE,
            keys=[n for n in range(len(numbers)) if numbers[n] % 12 == 0],
        )
        for numbers in cut(list(range(count)), places)
    ]  # fmt: skip
    one, many = (described(tables_of(TrackKind.VIDEO, *each)) for each in ([whole], pieces))
    for name in ("chunk_offsets", "chunk_samples"):  # these say how the payload was written
        one.pop(name), many.pop(name)
    assert one == many
    assert one["duration"] == count * PICTURE


def test_the_last_picture_before_a_hole_lasts_until_the_next():
    tables = tables_of(TrackKind.VIDEO, picture_samples(0, 3), picture_samples(90_000, 3))
    assert np.diff(times(tables)).tolist() == [
        PICTURE,
        PICTURE,
        90_000 - 2 * PICTURE,
        *[PICTURE] * 2,
    ]


def test_a_track_that_starts_late_is_shown_late():
    tables = tables_of(TrackKind.VIDEO, picture_samples(9000, 30, delay=2 * PICTURE))
    pause, shown = described(tables)["edits"]
    assert (pause.duration, pause.media_time) == (9000 + 2 * PICTURE, -1)
    assert (shown.duration, shown.media_time) == (30 * PICTURE, 2 * PICTURE)


def test_a_track_that_starts_at_once_needs_no_pause():
    tables = tables_of(TrackKind.VIDEO, picture_samples(-2 * PICTURE, 30, delay=2 * PICTURE))
    [shown] = described(tables)["edits"]
    assert (shown.duration, shown.media_time) == (30 * PICTURE, 2 * PICTURE)


def test_offsets_count_from_the_start_of_all_payload_and_neighbours_are_one_chunk():
    tables = sounds(frames(0, 10), frames(10 * FRAME, 10))
    movie = described(tables)
    assert movie["chunk_offsets"] == [0, 100]
    assert movie["chunk_samples"] == [10, 10]


def pictures_in_order(*numbers, first=0):
    """Pictures in decode order, shown at these numbers, decoded when the n-th is shown."""
    pts = first + PICTURE * np.array(numbers, np.int64)
    dts = np.sort(pts)
    samples = picture_samples(first, len(numbers))
    return replace(samples, dts=dts, composition=(pts - dts).astype(np.int32))


@pytest.mark.parametrize("first", [0, 7 * PICTURE], ids=["start", "late"])
def test_pictures_that_are_shown_before_they_are_decoded_are_decoded_earlier(first):
    samples = pictures_in_order(0, 3, 1, 2, 6, 4, 5, first=first)
    assert samples.composition.min() < 0
    movie = tables_of(TrackKind.VIDEO, samples).movie_track(MOVIE_TIMESCALE, enabled=True)
    offsets = np.repeat(movie.composition_offsets, movie.composition_counts)
    assert offsets.min() == 0
    decoded = np.cumsum(np.repeat(movie.time_deltas, movie.time_counts)) - PICTURE
    *pause, shown = movie.edits
    skipped = shown.media_time
    assert (decoded + offsets - skipped).tolist() == (samples.pts - first).tolist()
    assert [edit.duration for edit in pause] == ([first] if first else [])
    assert (shown.duration, movie.duration) == (7 * PICTURE, 7 * PICTURE)


def test_tracks_without_negative_offsets_stay_as_they_are():
    samples = picture_samples(0, 5, delay=PICTURE)
    movie = tables_of(TrackKind.VIDEO, samples).movie_track(MOVIE_TIMESCALE, enabled=True)
    assert movie.composition_offsets.tolist() == [PICTURE]
    assert movie.edits[-1].media_time == PICTURE


def shown(tables):
    """Media ticks at which all samples are shown, by the edit list, from the track's start on."""
    movie = tables.movie_track(MOVIE_TIMESCALE, enabled=True)
    deltas = np.repeat(movie.time_deltas, movie.time_counts)
    offsets = np.zeros(len(deltas), np.int64)
    if movie.composition_counts is not None:
        offsets = np.repeat(movie.composition_offsets, movie.composition_counts)
    assert deltas.min() > 0
    assert 0 <= offsets.min() <= offsets.max() <= 3 * PICTURE
    return np.cumsum(deltas) - deltas + offsets - movie.edits[-1].media_time


@pytest.mark.parametrize("delays", [(0, 2), (2, 0), (2, 0, 2, 0), (0, 2) * 4, (1, 3, 0, 2)])
def test_encoders_that_look_ahead_unlike_each_other_keep_the_times_of_their_pictures(delays):
    pieces = [
        picture_samples((30 * number - delay) * PICTURE, 30, delay=delay * PICTURE)
        for number, delay in enumerate(delays)
    ]
    tables = tables_of(TrackKind.VIDEO, *pieces, periods=range(len(pieces)))
    assert shown(tables).tolist() == (PICTURE * np.arange(30 * len(pieces))).tolist()
    assert tables.holes.found == []


def test_a_pause_makes_up_for_pictures_that_are_decoded_later():
    before, after = picture_samples(0, 30), picture_samples(28 * PICTURE, 60, delay=2 * PICTURE)
    late = replace(after, dts=after.dts + PICTURE * np.repeat([0, 10], [30, 30]))
    tables = tables_of(TrackKind.VIDEO, before, late)
    assert shown(tables)[30:].tolist() == late.pts.tolist()
    assert tables.columns.end_dts == late.dts[-1] + PICTURE


def test_pictures_are_missing_where_none_is_shown_not_where_none_is_decoded():
    """The key behind a hole may be decoded before the pictures that are shown before the hole."""
    samples = pictures_in_order(0, 3, 1, 2, 33, 4, 5, 34, 35, 36)
    late = replace(samples, dts=PICTURE * np.array([-1, 0, 1, 2, 3, 31, 32, 33, 34, 35]))
    composition = (samples.pts - late.dts).astype(np.int32)
    [hole] = tables_of(TrackKind.VIDEO, replace(late, composition=composition)).holes.found
    assert (hole.begin, hole.end) == (Fraction(6, 30), Fraction(33, 30))
