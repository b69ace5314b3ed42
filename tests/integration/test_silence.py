"""Silence in the configuration of real tracks: decoders take it for more of the same, and hear none."""

import subprocess

import numpy as np
import pytest

from pipelines.errors import ErrorCode, PermanentError
from pipelines.media import Codec, TrackKind
from pipelines.mp4.fragments import FragmentReader, Header
from pipelines.mp4.movie import Movie, MovieTrack, write_header
from pipelines.silence import silent_sound
from tests.media import run
from tests.packaging import never_cancelled

pytestmark = pytest.mark.ffmpeg

CASES = [
    (Codec.AAC, "aac", 48000, "stereo"),
    (Codec.AAC, "aac", 22050, "mono"),
    (Codec.AAC, "aac", 48000, "5.1"),
    (Codec.MP3, "libmp3lame", 44100, "stereo"),
    (Codec.MP3, "libmp3lame", 22050, "mono"),
    (Codec.MP2, "mp2", 48000, "stereo"),
    (Codec.AC3, "ac3", 48000, "5.1(side)"),
    (Codec.AC3, "ac3", 44100, "stereo"),
    (Codec.EAC3, "eac3", 48000, "stereo"),
    (Codec.OPUS, "libopus", 48000, "stereo"),
    (Codec.FLAC, "flac", 44100, "mono"),
]


def header_of(tools, encoder, rate, channels):
    """How a second of sound in that configuration is described."""
    tone = f"sine=f=440:r={rate}:d=1"
    made = run(
        tools.ffmpeg, "-v", "error", "-f", "lavfi", "-i", tone, "-af",
        f"aformat=channel_layouts={channels}", "-c:a", encoder, "-strict", "-2",
        "-movflags", "+delay_moov+default_base_moof", "-frag_duration", "2000000",
        "-f", "mp4", "pipe:1",
    )  # fmt: skip
    events = FragmentReader().feed(made)
    return next(event for event in events if isinstance(event, Header)).movie.tracks[0]


def movie_of(entry, timescale, silence, repeats):
    """A movie of nothing but that silence, several times over."""
    count = repeats * len(silence.sizes)
    dts = silence.times(0, count + 1)
    deltas = np.diff(dts)
    track = MovieTrack(
        kind=TrackKind.AUDIO,
        timescale=timescale,
        sample_entry=entry,
        language="und",
        enabled=True,
        width=0,
        height=0,
        duration=int(deltas.sum()),
        time_counts=np.ones(count, np.int64),
        time_deltas=deltas,
        composition_counts=None,
        composition_offsets=None,
        sync_samples=None,
        sizes=silence.repeated_sizes(count),
        chunk_offsets=np.zeros(repeats, np.int64),
        chunk_samples=np.full(repeats, len(silence.sizes)),
        edits=(),
    )
    return write_header(Movie((track,), timescale, None), len(silence.payload)) + silence.payload


@pytest.mark.parametrize(("codec", "encoder", "rate", "channels"), CASES)
def test_silence_decodes_as_silence_of_its_length(codec, encoder, rate, channels, media_tools):
    header = header_of(media_tools, encoder, rate, channels)
    silence = silent_sound(
        codec, header.sample_entry, header.timescale, media_tools.ffmpeg, never_cancelled
    )
    assert len(silence.payload) == silence.sizes.sum()
    seconds = float(silence.frame_ticks * len(silence.sizes) / header.timescale)
    assert seconds == pytest.approx(1, abs=0.1)
    movie = movie_of(header.sample_entry, header.timescale, silence, 3)
    decoded = subprocess.run(
        [media_tools.ffmpeg, "-v", "warning", "-i", "pipe:0", "-f", "f32le", "-ac", "1", "pipe:1"],
        input=movie, capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    assert decoded.stderr == b""
    heard = np.frombuffer(decoded.stdout, np.float32)
    assert len(heard) / rate == pytest.approx(3 * seconds, abs=0.1)
    assert np.abs(heard).max() < 1e-4


def test_silence_is_the_same_every_time(media_tools):
    header = header_of(media_tools, "aac", 48000, "stereo")
    one, two = (
        silent_sound(Codec.AAC, header.sample_entry, scale, media_tools.ffmpeg, never_cancelled)
        for scale in (48000, 90000)
    )
    assert one.payload == two.payload
    assert (one.frame_ticks, two.frame_ticks) == (1024, 1920)


def test_a_configuration_that_no_encoder_makes_is_refused(media_tools):
    header = header_of(media_tools, "aac", 48000, "7.1")
    with pytest.raises(PermanentError) as caught:
        silent_sound(
            Codec.AAC, header.sample_entry, header.timescale, media_tools.ffmpeg, never_cancelled
        )
    assert caught.value.code is ErrorCode.CODEC_UNSUPPORTED
