"""Which encoding fits a track of sound, and what its frames become in memory."""

import struct
from fractions import Fraction

import numpy as np
import pytest

from pipelines.media import Codec
from pipelines.mp4.boxes import box, full_box
from pipelines.mp4.fragments import read_header_section
from pipelines.payload_hash import payload_hash
from pipelines.sound_samples import SoundSamples, joined, movie_header, placed
from pipelines.transcoding.conformed_sound import conforming_argv
from pipelines.transcoding.sound_encoding import UnencodableError, encoding_for


def audio_entry(name, rate, channels, *boxes):
    fixed = struct.pack(">6xH8xHH4xI", 1, channels, 16, rate << 16)
    return box(name, fixed, *boxes)


def aac(config, rate=48_000):
    specific = b"\x05" + bytes([len(config)]) + config
    decoder = b"\x04" + bytes([13 + len(specific), 0x40]) + bytes(12) + specific
    stream = b"\x03" + bytes([3 + len(decoder)]) + bytes(3) + decoder
    return audio_entry(b"mp4a", rate, 2, full_box(b"esds", 0, 0, stream))


STEREO = aac(bytes.fromhex("1190"))
MONO_44100 = aac(bytes.fromhex("1208"))


def test_a_decoder_of_the_track_is_given_what_it_was_set_up_for():
    stereo = encoding_for(Codec.AAC, STEREO)
    assert (stereo.rate, stereo.frame, stereo.layout) == (48_000, 1024, "stereo")
    mono = encoding_for(Codec.AAC, MONO_44100)
    assert (mono.rate, mono.layout) == (44_100, "mono")
    assert ("b:a", 64_000) in mono.options


def test_frames_of_mp3_need_none_before_them():
    made = encoding_for(Codec.MP3, audio_entry(b".mp3", 22_050, 2))
    assert ("reservoir", 0) in made.options
    assert made.frame == 576


def test_what_no_encoder_makes_is_refused():
    xhe = aac(bytes.fromhex("f9468000"))
    with pytest.raises(UnencodableError, match="object type is 42"):
        encoding_for(Codec.AAC, xhe)


def test_ac3_keeps_the_bit_rate_and_the_channels_of_the_track():
    entry = audio_entry(b"ac-3", 48_000, 2, box(b"dac3", bytes.fromhex("103dc0")))
    made = encoding_for(Codec.AC3, entry)
    assert (made.layout, made.frame) == ("5.1(side)", 1536)
    assert ("b:a", 384_000) in made.options


def test_encoding_begins_with_a_whole_frame_of_the_clock():
    made = encoding_for(Codec.AAC, STEREO)
    argv = conforming_argv("ffmpeg", made, 1000, Fraction(1000 * 1024 + 480, 48_000))
    graph = argv[argv.index("-filter_complex") + 1]
    assert f"PTS+round({16 * 1024 / 48_000 + 0.01:.12f}/TB)" in graph
    assert f"first_pts={16 * 1024}" in graph
    assert "pipe" in argv[argv.index("-protocol_whitelist") + 1]


def samples(count, size=4, first=0):
    return SoundSamples(
        48_000, STEREO, first + 1024 * np.arange(count), np.full(count, size), 1024,
        bytes(range(256))[: count * size],
    )  # fmt: skip


def test_sound_is_cut_and_joined_by_the_frame():
    whole = samples(10)
    halves = joined([whole.part(0, 4), whole.part(4, 10)])
    assert halves.dts.tolist() == whole.dts.tolist()
    assert halves.payload == whole.payload
    assert whole.part(2, 3).payload == whole.payload[8:12]
    assert (whole.begin, whole.end) == (0, Fraction(10 * 1024, 48_000))
    assert whole.moved(48_000).begin == 1


def test_groups_of_about_a_second_are_placed_one_behind_the_other():
    sound = SoundSamples(
        1024, STEREO, 1024 * np.arange(3), np.array([1, 2, 3]), 1024, b"abbccc"
    )  # a frame lasts a second
    where = placed(sound, 100)
    assert where.offsets.tolist() == [100, 101, 103]
    assert where.counts.tolist() == [1, 1, 1]
    assert where.hashes[2] == payload_hash(b"ccc")


def test_the_movie_that_ffmpeg_is_fed_tells_every_time():
    sound = SoundSamples(
        48_000, STEREO, np.array([500, 1524, 9000]), np.array([4, 4, 4]), 1024, bytes(12)
    )
    header = movie_header(sound)
    movie = read_header_section(header)
    assert [track.timescale for track in movie.tracks] == [48_000]
    assert header.endswith(struct.pack(">I4sQ", 1, b"mdat", 16 + 12))
