"""The proof of inserted silence: it sounds where it was put in, nowhere else, and not over sound."""

from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction

import numpy as np
import pytest

from pipelines.errors import ErrorCode, ToolError
from pipelines.expected_track import ExpectedTrack
from pipelines.gap_policy import GapPolicy
from pipelines.media import TrackKind
from pipelines.movie_tables import MovieTables
from pipelines.mp4.movie import write_header
from pipelines.verify import check_samples, check_silence
from tests.sample_tables import movie_of
from tests.unit.tracks_by_hand import (
    FRAME,
    RATE,
    frames,
    packaged,
    silence,
    sound_samples,
    track,
)

SOUNDS = 100
#: Ticks of the rounding that is let pass.
STEADY = RATE // 500


@pytest.fixture
def holed():
    """Sound with a hole of two seconds, as its tables say and as it is read back."""
    dts = np.concatenate((frames(0, SOUNDS), frames(SOUNDS * FRAME + 2 * RATE, SOUNDS)))
    sound = track(TrackKind.AUDIO, sound_samples(dts))
    tables = MovieTables(Fraction(600), datetime(2026, 1, 1, tzinfo=UTC), GapPolicy.HOLD, silence)
    tables.add(packaged(0, sound), 0)
    tables.finish()
    size = 2 * SOUNDS * 10 + len(tables.silence)
    header = write_header(tables.movie(), size) + tables.silence
    [read] = movie_of(header).tracks
    return tables, read, len(header)


def proven(tables, read, header):
    check_samples("audio", read, 90_000, tables.expected["audio"])
    begin = header - len(tables.silence)
    check_silence("audio", read, tables.expected["audio"], begin, header)


def refused(tables, read, header):
    with pytest.raises(ToolError) as caught:
        proven(tables, read, header)
    assert caught.value.code is ErrorCode.VERIFICATION_FAILED
    return caught.value.message


def test_silence_in_a_hole_is_proven(holed):
    tables, read, header = holed
    proven(tables, read, header)
    assert tables.expected["audio"].silent == 94
    assert len(read) == 2 * SOUNDS + 94


def test_silence_in_the_place_of_sound_is_found(holed):
    tables, read, header = holed
    offsets = read.offsets.copy()
    offsets[3] = offsets[SOUNDS]
    assert "silence lies elsewhere" in refused(tables, replace(read, offsets=offsets), header)


def test_sound_in_the_place_of_silence_is_found(holed):
    tables, read, header = holed
    offsets = read.offsets.copy()
    offsets[SOUNDS + 5] = offsets[3]
    assert "silence lies elsewhere" in refused(tables, replace(read, offsets=offsets), header)


def test_a_last_frame_of_silence_that_lasts_shorter_excuses_no_sound(holed):
    tables, read, header = holed
    assert read.durations[SOUNDS + 93] == 2 * RATE - 93 * FRAME
    pts = tables.expected["audio"].pts.copy()
    pts[SOUNDS:] -= 200
    expected = ExpectedTrack(RATE)
    expected.append(track(TrackKind.AUDIO, sound_samples(pts[:SOUNDS])), Fraction(0))
    expected.insert(pts[SOUNDS : SOUNDS + 94], np.full(94, 6), 768)
    expected.append(track(TrackKind.AUDIO, sound_samples(pts[SOUNDS + 94 :])), Fraction(0))
    with pytest.raises(ToolError, match="where the source has sound"):
        check_silence("audio", read, expected, header - len(tables.silence), header)


@pytest.mark.parametrize("told", [FRAME, 500, 1], ids=["whole", "short", "hardly"])
def test_silence_begins_where_the_source_says_that_its_last_frame_ends(told, holed):
    sound = track(TrackKind.AUDIO, replace(sound_samples(frames(0, SOUNDS)), last_duration=told))
    for begin, proves in ((told, True), (told - STEADY - 2, False)):
        expected = ExpectedTrack(RATE)
        expected.append(sound, Fraction(0))
        expected.insert(np.array([(SOUNDS - 1) * FRAME + begin]), np.array([6]), FRAME)
        read = _as_expected(expected, holed)
        if proves:
            check_silence("audio", read, expected, 0, 1)
            continue
        with pytest.raises(ToolError, match="where the source has sound"):
            check_silence("audio", read, expected, 0, 1)


def test_silence_over_sound_is_found(holed):
    tables, _, _ = holed
    sound = track(TrackKind.AUDIO, sound_samples(frames(0, SOUNDS)))
    expected = tables.tracks["audio"].expected
    expected.append(sound, Fraction(0))
    beside = np.array([SOUNDS * FRAME - FRAME // 2])
    expected.insert(beside, np.array([6]), FRAME)
    read = _as_expected(expected, holed)
    with pytest.raises(ToolError, match="where the source has sound"):
        check_silence("audio", read, expected, 0, 1)


def _as_expected(expected, holed):
    """A track read back that is what the proof expects, its silence at byte 0."""
    _, read, _ = holed
    durations = np.full(len(expected.pts), FRAME)
    offsets = np.where(expected.inserted, 0, 1000)
    return replace(read, durations=durations, offsets=offsets, pts=expected.pts)
