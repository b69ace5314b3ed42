"""What is missing where a clock ends, which no clock tells: EXTINF does, and it is told and held."""

import numpy as np
import pytest

from pipelines.errors import ErrorCode, PermanentError
from pipelines.gap import GapCause, GapDone
from pipelines.gap_policy import GapPolicy
from scripts.ts_clocks import CLOCK, shift_clocks
from tests.media import run
from tests.sample_tables import movie_of

pytestmark = [pytest.mark.s3, pytest.mark.ffmpeg]

TAG = "#EXT-X-DISCONTINUITY"
PACKET = 188


def segments(path):
    return [each.read_bytes() for each in sorted(path.parent.glob("*.ts"))]


def begun(data, share):
    """The first part of a segment, in whole packets."""
    return data[: round(len(data) * share) // PACKET * PACKET]


def ended(data, share):
    """The last part of a segment, in whole packets."""
    return data[-(round(len(data) * share) // PACKET * PACKET) :]


def sound_first(tools, data, tmp_path):
    """The same media with the sound first in its program map, so that its PIDs are swapped."""
    source = tmp_path / "source.ts"
    source.write_bytes(data)
    return run(
        tools.ffmpeg, "-v", "error", "-copyts", "-i", str(source), "-map", "0:a", "-map", "0:v",
        "-c", "copy", "-copyinkf", "-muxdelay", "0", "-muxpreload", "0", "-f", "mpegts", "-",
    )  # fmt: skip


@pytest.mark.parametrize("tag", [TAG, ""], ids=["tagged", "untagged"])
@pytest.mark.parametrize("start", [0.0, 5004.0], ids=["reset", "same-clock"])
@pytest.mark.parametrize("seconds", [None, 1.0], ids=["one-slice", "many"])
def test_an_encoder_that_comes_back_with_its_sound_first_is_copied(
    seconds, start, tag, media, media_tools, finalizer, recording_of, tmp_path
):
    first = segments(media.recording(duration=4.0, b_frames=2, start=5000.0))
    again = segments(media.recording(duration=4.0, b_frames=2, start=start))
    second = [sound_first(media_tools, each, tmp_path) for each in again]
    tagged = [(second[0], tag), *((each, "") for each in second[1:])]
    made, proof = finalizer(slice_seconds=seconds).finalize(
        recording_of(*((each, "") for each in first), *tagged)
    )
    assert made.tables.ordered_names() == ["video", "audio"]
    assert {track.name: (track.encoded, track.copied > 180) for track in proof.tracks} == {
        "video": (0, True), "audio": (0, True),
    }  # fmt: skip
    assert made.tables.gaps == []
    assert proof.duration == pytest.approx(8.0, abs=0.15)


@pytest.fixture
def broken_off(media, recording_of):
    """A recording whose clock starts again behind its third segment, or ends there."""

    def make(tag, third, fourth=None, *, goes_on=True):
        data = segments(media.recording(start=5000.0))
        later = segments(media.recording()) if goes_on else []
        if fourth:
            later[0] = fourth(later[0])
        tags = [(each, tag if not number else "") for number, each in enumerate(later)]
        return recording_of((data[0], ""), (data[1], ""), (third(data[2]), ""), *tags)

    return make


def whole(data):
    return data


@pytest.mark.parametrize("tag", [TAG, ""], ids=["tagged", "untagged"])
@pytest.mark.parametrize("seconds", [None, 1.0], ids=["one-slice", "many"])
def test_the_missing_end_of_a_segment_before_another_clock_is_held(
    seconds, tag, broken_off, finalizer
):
    path = broken_off(tag, lambda data: begun(data, 0.3))
    made, proof = finalizer(slice_seconds=seconds).finalize(path)
    [gap] = made.tables.gaps
    assert (gap.track, gap.cause, gap.segments) == ("all", GapCause.SEGMENT_DAMAGED, (2,))
    assert gap.done is GapDone.HELD
    assert gap.at + gap.duration == pytest.approx(6.0, abs=0.1)
    assert proof.duration == pytest.approx(12.0, abs=0.15)


def test_the_missing_start_of_a_segment_behind_another_clock_is_held(broken_off, finalizer):
    made, proof = finalizer().finalize(broken_off(TAG, whole, lambda data: ended(data, 0.5)))
    assert made.tables.gaps[0].cause is GapCause.SEGMENT_DAMAGED
    assert made.tables.gaps[0].at == pytest.approx(6.0, abs=0.1)
    assert proof.duration == pytest.approx(12.0, abs=0.15)


def test_the_missing_end_of_the_last_segment_is_told(broken_off, finalizer):
    path = broken_off("", lambda data: begun(data, 0.3), goes_on=False)
    made, proof = finalizer().finalize(path)
    [gap] = made.tables.gaps
    assert (gap.track, gap.done, gap.segments) == ("all", GapDone.REPORTED, (2,))
    assert proof.duration + gap.duration == pytest.approx(6.0, abs=0.1)


@pytest.mark.parametrize("goes_on", [True, False], ids=["clock-break", "end"])
def test_the_missing_end_of_a_segment_is_refused_where_gaps_are(goes_on, broken_off, finalizer):
    path = broken_off("", lambda data: begun(data, 0.3), goes_on=goes_on)
    with pytest.raises(PermanentError, match="of media are missing") as caught:
        finalizer(gap_policy=GapPolicy.FAIL).finalize(path)
    assert caught.value.code is ErrorCode.GAP_REFUSED


def test_a_clock_that_runs_ahead_of_every_segment_is_told_by_segment_and_sound_keeps_up(
    media, finalizer, recording_of
):
    data = segments(media.recording(duration=8.0))
    ahead = [shift_clocks(each, round(0.12 * n * CLOCK), {}) for n, each in enumerate(data)]
    made, proof = finalizer().finalize(recording_of(*((each, "") for each in ahead)))
    whole_gaps = [gap for gap in made.tables.gaps if gap.track == "all"]
    assert [gap.detail.rpartition(" at ")[2] for gap in whole_gaps] == [
        f"segment {number}" for number in range(1, len(data))
    ]
    sound = movie_of(made.header).tracks[1]
    played = np.arange(len(sound)) * 1024 - (sound.pts - sound.pts[0])
    assert np.abs(played[sound.durations == 1024]).max() <= 1024 / 2 + 100
    assert proof.duration == pytest.approx(8.0 + 0.12 * (len(data) - 1), abs=0.1)
