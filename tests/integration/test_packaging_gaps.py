"""Recordings that lack media: every picture and sound that is left is at its time, and between them
the last picture stays and nothing is heard."""

import re
import shutil
from itertools import pairwise

import numpy as np
import pytest

from pipelines.errors import ErrorCode, PermanentError
from pipelines.gap import GapCause, GapDone
from pipelines.gap_policy import GapPolicy
from tests.media import SAMPLE_RATE, beep_times, flash_times, run
from tests.sample_tables import movie_of, sample_tables

pytestmark = [pytest.mark.s3, pytest.mark.ffmpeg]

PICTURE = 1 / 30
#: The PID of the sound in recordings made by ffmpeg.
SOUND_PID = 0x101


@pytest.fixture
def without(tmp_path):
    """A copy of a recording without some of its segments, which stay listed."""

    def make(path, *missing, name="holed"):
        folder = shutil.copytree(path.parent, tmp_path / name)
        listed = [line for line in path.read_text().splitlines() if line and line[0] != "#"]
        for number in missing:
            (folder / listed[number]).unlink()
        return folder / path.name

    return make


def segments(path):
    listed = [line for line in path.read_text().splitlines() if line and line[0] != "#"]
    return [(path.parent / name).read_bytes() for name in listed]


def loudness(tools, path):
    """The loudest sample of every tenth of a second, from media time 0 on."""
    raw = run(
        tools.ffmpeg, "-v", "error", "-i", str(path), "-map", "0:a:0", "-ac", "1",
        "-af", "aresample=async=0:first_pts=0", "-ar", str(SAMPLE_RATE), "-f", "f32le", "-",
    )  # fmt: skip
    samples = np.abs(np.frombuffer(raw, np.float32))
    window = SAMPLE_RATE // 10
    return samples[: len(samples) // window * window].reshape(-1, window).max(axis=1)


def decodes(tools, path):
    """Whether ffmpeg finds nothing to complain of."""
    said = run(
        tools.ffprobe, "-v", "warning", "-count_frames", "-show_entries", "stream=nb_read_frames",
        "-of", "csv=p=0", str(path),
    ).decode()  # fmt: skip
    return bool(re.fullmatch(r"(\d+,?\s*)+", said))


class Played:
    """A finished file, decoded."""

    def __init__(self, made, proof, tools, path):
        self.made, self.proof, self.tools, self.path = made, proof, tools, path

    @property
    def flashes(self):
        return flash_times(self.tools, self.path)

    @property
    def beeps(self):
        return beep_times(self.tools, self.path)

    @property
    def gaps(self):
        """The gaps as (track, at, duration)."""
        return [(gap.track, gap.at, gap.duration) for gap in self.made.tables.gaps]

    def track(self, name):
        return next(track for track in self.proof.tracks if track.name == name)


@pytest.fixture
def played(finalizer, media_tools, tmp_path):
    """Finalizes a recording; options as of ``Finalizer``."""

    def play(path, **options):
        one = finalizer(**options)
        made, proof = one.finalize(path)
        target = one.download(tmp_path / f"{one.name}.mp4")
        assert decodes(media_tools, target)
        return Played(made, proof, media_tools, target)

    return play


def about(track, at, duration):
    """A gap, to the frames by which pictures and sound of a segment begin and end apart."""
    return (track, pytest.approx(at, abs=0.1), pytest.approx(duration, abs=0.1))


def near(*expected):
    return [pytest.approx(each, abs=PICTURE) for each in expected]


@pytest.mark.parametrize("container", ["ts", "fmp4"])
def test_a_lost_segment_is_held_and_silent(container, media, played, without):
    path = without(media.recording(duration=8.0, container=container, b_frames=2), 1)
    noon = "#EXT-X-PROGRAM-DATE-TIME:1970-01-01T12:00:00Z\n#EXTINF"
    path.write_text(path.read_text().replace("#EXTINF", noon, 1))
    result = played(path)
    assert result.gaps == [about("all", 2.0, 2.0)]
    [gap] = result.made.tables.gaps
    assert gap.wall_clock == pytest.approx(12 * 3600 + 2, abs=0.1)
    assert (gap.cause, gap.done, gap.segments) == (GapCause.SEGMENT_LOST, GapDone.HELD, (1,))
    assert result.flashes == near(0, 1, 4, 5, 6, 7)
    assert result.beeps == near(0, 1, 4, 5, 6, 7)
    assert loudness(result.tools, result.path)[22:39].max() < 0.001
    assert result.track("audio").inserted == pytest.approx(2 * SAMPLE_RATE / 1024, abs=1.5)
    assert result.track("video").copied == 180
    assert result.proof.duration == pytest.approx(8.0, abs=0.1)


def test_one_slice_and_many_agree_about_a_gap(media, finalizer, without):
    path = without(media.recording(duration=8.0, b_frames=2), 1, 2)
    whole, _ = finalizer().finalize(path)
    many, _ = finalizer(slice_seconds=1.0).finalize(path)
    assert sample_tables(many.header) == sample_tables(whole.header)
    assert many.tables.gaps == whole.tables.gaps


def test_collapsing_closes_a_gap(media, played, without):
    path = without(media.recording(duration=8.0, b_frames=2), 1)
    result = played(path, gap_policy=GapPolicy.COLLAPSE)
    assert result.gaps == [about("all", 2.0, 2.0)]
    assert result.made.tables.gaps[0].done is GapDone.COLLAPSED
    assert result.flashes == near(0, 1, 2, 3, 4, 5)
    assert result.beeps == near(0, 1, 2, 3, 4, 5)
    assert result.proof.duration == pytest.approx(6.0, abs=0.1)


def test_a_gap_is_refused_where_the_operator_wants_none(media, finalizer, without):
    path = without(media.recording(duration=8.0), 1)
    with pytest.raises(PermanentError, match=r"s of media are missing at 2\.\d+ s") as caught:
        finalizer(gap_policy=GapPolicy.FAIL).finalize(path)
    assert caught.value.code is ErrorCode.GAP_REFUSED
    whole = media.recording(duration=8.0)
    assert finalizer(gap_policy=GapPolicy.FAIL).finalize(whole)[0].tables.gaps == []


def test_a_lost_segment_before_another_clock_is_as_long_as_it_was_listed(
    media, played, recording_of
):
    first, second = (segments(media.recording(start=start)) for start in (5000.0, 0.0))
    path = recording_of(*((data, "") for data in (*first[:2], first[2], *second)))
    (path.parent / "00002.ts").unlink()
    result = played(path)
    assert result.gaps == [about("all", 4.0, 2.0)]
    # No track of the second period begins before the first ended, and there the sound did last.
    start = result.made.tables.periods[1].start
    assert start == pytest.approx(6.0, abs=0.1)
    assert result.flashes == near(0, 1, 2, 3, *(start + at for at in range(6)))
    away = [beep for beep in result.beeps if not 3.9 < beep < 4.1]
    assert away == near(0, 1, 2, 3, *(start + at for at in range(6)))


def test_segments_lost_at_both_ends_are_told_and_not_filled(media, played, without):
    result = played(without(media.recording(duration=8.0), 0, 3))
    assert result.gaps == [about("all", 0.0, 2.0), about("all", 4.0, 2.0)]
    assert {gap.done for gap in result.made.tables.gaps} == {GapDone.REPORTED}
    assert result.flashes == near(0, 1, 2, 3)
    assert result.track("audio").inserted == 0


@pytest.mark.parametrize("seconds", [None, 1.0], ids=["one-slice", "many"])
def test_segments_that_were_never_listed_leave_a_gap_of_their_length(
    seconds, media, played, recording_of
):
    data = segments(media.recording(duration=8.0, b_frames=2))
    path = recording_of(*((each, "") for each in (data[0], *data[2:])))
    result = played(path, slice_seconds=seconds)
    assert result.gaps == [about("all", 2.0, 2.0)]
    assert result.made.tables.gaps[0].cause is GapCause.NOT_IN_SOURCE
    assert result.flashes == near(0, 1, 4, 5, 6, 7)
    assert result.beeps == near(0, 1, 4, 5, 6, 7)


def test_a_segment_that_is_listed_twice_is_kept_once(media, played, recording_of):
    data = segments(media.recording(duration=6.0, b_frames=2))
    result = played(recording_of(*((each, "") for each in (data[0], data[1], data[1], data[2]))))
    assert result.gaps == []
    assert len(result.made.repairs) == 1
    assert result.flashes == near(0, 1, 2, 3, 4, 5)
    assert result.beeps == near(0, 1, 2, 3, 4, 5)
    assert (result.track("video").copied, result.track("video").repeated) == (180, 60)


def without_sound(data, begin, end):
    """MPEG-TS without the packets of sound that lie between two parts (0 … 1) of its bytes."""
    packets = [data[at : at + 188] for at in range(0, len(data), 188)]
    kept = [
        packet
        for number, packet in enumerate(packets)
        if int.from_bytes(packet[1:3], "big") & 0x1FFF != SOUND_PID
        or not begin <= number / len(packets) < end
    ]
    return b"".join(kept)


def test_a_hole_in_the_sound_alone_is_silent(media, played, recording_of):
    data = segments(media.recording(duration=6.0, b_frames=2))
    data[1] = without_sound(data[1], 0.3, 0.9)
    result = played(recording_of(*((each, "") for each in data)))
    [gap] = result.made.tables.gaps
    assert (gap.track, gap.done) == ("audio", GapDone.SILENCE)
    assert result.flashes == near(0, 1, 2, 3, 4, 5)
    [*kept] = (each for each in range(6) if not gap.at - 0.1 < each < gap.at + gap.duration)
    assert result.beeps == near(*kept)
    levels = loudness(result.tools, result.path)
    quiet = levels[round(gap.at * 10) + 1 : round((gap.at + gap.duration) * 10) - 1]
    assert len(quiet) > 2
    assert quiet.max() < 0.001


def test_sound_that_ends_before_the_pictures_is_silent_to_the_end(media, played, recording_of):
    data = segments(media.recording(duration=6.0, b_frames=2))
    data[2] = without_sound(data[2], 0.3, 1.0)
    result = played(recording_of(*((each, "") for each in data)))
    [gap] = result.made.tables.gaps
    assert (gap.track, gap.done) == ("audio", GapDone.SILENCE)
    assert gap.at + gap.duration == pytest.approx(6.0, abs=0.1)
    assert abs(result.proof.end_skew) < 0.1


def test_silence_follows_a_last_frame_that_is_told_shorter(media, played, tmp_path):
    """Encoders tell of the last frame before a reconnect only what of it is sound."""
    options = ("-filter:a", "atrim=end=1.65")
    path = media.recording(duration=2.0, container="fmp4", encoder_options=options)
    folder = shutil.copytree(path.parent, tmp_path / "twice")
    head, entry = re.split(r"(?=#EXTINF)", path.read_text().replace("#EXT-X-ENDLIST", "").strip())
    (folder / path.name).write_text(
        f"{head}{entry}\n#EXT-X-DISCONTINUITY\n{entry}\n#EXT-X-ENDLIST\n"
    )
    result = played(folder / path.name)
    sound = movie_of(result.made.header).tracks[1]
    assert 0 < min(sound.durations) < 512
    assert result.track("audio").inserted == pytest.approx(0.35 * SAMPLE_RATE / 1024, abs=2)
    assert result.flashes == near(0, 1, 2, 3)


@pytest.mark.parametrize("codec", ["mp3", "ac3"])
def test_silence_is_in_the_codec_of_the_sound(codec, media, played, without):
    result = played(without(media.recording(duration=6.0, audio=codec), 1))
    away = [beep for beep in result.beeps if not 1.9 < beep < 4.1]  # those frames are cut apart
    assert away == near(0, 1, 5)
    assert loudness(result.tools, result.path)[22:39].max() < 0.001
    assert result.track("audio").codec == codec


@pytest.mark.parametrize("container", ["ts", "fmp4"])
def test_pictures_that_refer_to_a_lost_segment_are_left_out(container, media, played, without):
    spec = {"duration": 8.0, "gop": 90, "split_by_time": True, "segment": 1.0}
    result = played(without(media.recording(container=container, **spec), 1))
    # Of MPEG-TS the parameter sets are lost with the segment, so that they are no pictures at all.
    left_out = sum(each.samples for each in result.made.tables.dropped)
    assert left_out + sum(loss.units for loss in result.made.losses) == 30
    assert result.gaps == [about("all", 1.0, 1.0), about("video", 2.0, 1.0)]
    assert result.flashes == near(0, 3, 4, 5, 6, 7)
    assert result.beeps[-6:] == near(2, 3, 4, 5, 6, 7)


def test_times_never_go_back_and_silence_lies_at_the_start(media, finalizer, without):
    made, proof = finalizer().finalize(without(media.recording(duration=8.0), 1))
    for track in movie_of(made.header).tracks:
        assert all(after > before for before, after in pairwise(track.dts.tolist()))
    sound = next(t for t in movie_of(made.header).tracks if t.header.kind == "audio")
    silent = sound.offsets < len(made.header)
    assert int(silent.sum()) == next(t.inserted for t in proof.tracks if t.name == "audio")
