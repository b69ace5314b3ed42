"""Sound encoded to fit a track: by codec, in time to the sample, and in slices as at once."""

import subprocess
from fractions import Fraction

import numpy as np
import pytest

from pipelines.media import Codec
from pipelines.mp4.fragments import FragmentReader, Header
from pipelines.rendition_layout import TrackLayout
from pipelines.sound_samples import SoundSamples, joined, movie_header
from pipelines.transcoding.conformed_sound import Surroundings, conformed_sound
from tests.media import run
from tests.packaging import never_cancelled

pytestmark = pytest.mark.ffmpeg

ENCODERS = {
    Codec.AAC: "aac", Codec.MP3: "libmp3lame", Codec.MP2: "mp2", Codec.AC3: "ac3",
    Codec.EAC3: "eac3", Codec.OPUS: "libopus", Codec.FLAC: "flac",
}  # fmt: skip
#: A clock far from zero, seconds.
START = 1000
RATE = 48_000


@pytest.fixture
def sound(media_tools):
    """Makes sound: noise that can be told at every place, samples/s and channels as asked."""

    def make(codec, rate=RATE, channels=2, seconds=4):
        options = ["-sample_fmt", "s16"] if codec is Codec.FLAC else ["-b:a", "192k"]
        written = run(
            media_tools.ffmpeg, "-v", "error", "-f", "lavfi", "-i",
            f"anoisesrc=r={rate}:a=0.3:d={seconds}:seed=7,lowpass=3000",
            "-ac", str(channels), "-c:a", ENCODERS[codec], *options, "-strict", "-2",
            "-use_editlist", "0", "-movflags", "+delay_moov+default_base_moof+frag_discont",
            "-frag_duration", "1000000", "-f", "mp4", "-",
        )  # fmt: skip
        times, sizes, payload = [], [], b""
        for event in FragmentReader().feed(written):
            if isinstance(event, Header):
                [header] = event.movie.tracks
                continue
            [track] = event.tracks
            times.append(track.base_decode_time + track.decode_offsets)
            sizes.append(track.sizes.astype(np.int64))
            payload += b"".join(event.payload[r.offset : r.offset + r.size] for r in track.runs)
            frame = int(track.durations[0])
        return SoundSamples(
            header.timescale,
            header.sample_entry,
            np.concatenate(times) + START * header.timescale + 777,
            np.concatenate(sizes),
            frame,
            payload,
        )

    return make


def heard(tools, samples):
    """What is heard from the first frame on, one channel at RATE, float32[n]."""
    done = subprocess.run(
        [tools.ffmpeg, "-v", "error", "-ignore_editlist", "1", "-i", "pipe:0", "-ac", "1",
         "-ar", str(RATE), "-f", "f32le", "-"],
        input=movie_header(samples) + samples.payload, capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stderr == b""
    return np.frombuffer(done.stdout, np.float32)


def lag(one, other):
    """Samples by which ``other`` comes late, by where both are most alike."""
    middle = slice(RATE, 2 * RATE)
    alike = {
        shift: float(np.dot(one[middle], other[RATE + shift : 2 * RATE + shift]))
        for shift in range(-480, 481)
    }
    return max(alike, key=alike.get)


@pytest.mark.parametrize("codec", [*ENCODERS])
def test_sound_keeps_its_time_in_every_codec(codec, sound, media_tools):
    source, main = sound(Codec.AAC, 44_100, 1), sound(codec, seconds=1)
    track = TrackLayout("audio", codec, main.timescale, main.sample_entry, "und")
    made = conformed_sound(source, Surroundings(), track, media_tools.ffmpeg, never_cancelled)
    frame = Fraction(made.frame, made.timescale)
    assert source.begin <= made.begin < source.begin + frame
    assert source.end <= made.end < source.end + frame
    assert set(np.diff(made.dts).tolist()) == {made.frame}
    late = round((made.begin - source.begin) * RATE)
    # ffmpeg leaves out what Opus begins with, its pre-skip of 312 samples.
    skipped = 312 if codec is Codec.OPUS else 0
    shifted = lag(heard(media_tools, source)[late + skipped :], heard(media_tools, made))
    assert abs(shifted) <= 2


@pytest.mark.parametrize("codec", [Codec.AAC, Codec.MP3, Codec.AC3])
def test_halves_that_are_made_apart_are_one_sound(codec, sound, media_tools):
    source, main = sound(Codec.AAC, 44_100, 1), sound(codec, seconds=1)
    track = TrackLayout("audio", codec, main.timescale, main.sample_entry, "und")
    half, rest = len(source) // 2, len(source)
    before, behind = source.part(0, half), source.part(half, rest)
    beside = Surroundings(behind=behind), Surroundings(before=before)
    whole, first, second = (
        conformed_sound(own, around, track, media_tools.ffmpeg, never_cancelled)
        for own, around in ((source, Surroundings()), (before, beside[0]), (behind, beside[1]))
    )
    both = joined([first, second])
    assert both.dts.tolist() == whole.dts.tolist()
    seam = int((second.begin - whole.begin) * RATE)
    around_it = slice(seam - RATE // 10, seam + RATE // 10)
    one, two = (heard(media_tools, each)[around_it] for each in (whole, both))
    assert np.sqrt(np.mean((one - two) ** 2)) < 0.2 * np.sqrt(np.mean(one**2))
