"""What runs are like, and which of them must be conformed to the others."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from pipelines.census import Census, MainPictures
from pipelines.colours import Colours
from pipelines.errors import ErrorCode, PermanentError
from pipelines.media import Codec, TrackKind
from pipelines.packaged_slice import PackagedRun, TrackMade
from pipelines.picture_format import PictureFormat
from pipelines.profile import H264Profile
from pipelines.rendition_layout import OddRun, RenditionLayout
from pipelines.segment_index import Container
from pipelines.transcoding.conforming_encoding import conforming_encoding
from pipelines.transcoding.kit import EncoderKit
from tests.unit.mp4_by_hand import audio_entry, avcc, esds, visual_entry
from tests.unit.tracks_by_hand import (
    AUDIO,
    FRAME,
    PICTURES_PER_SECOND,
    RATE,
    VIDEO,
    frames,
    picture_samples,
    sound_samples,
    track,
)

LARGE = visual_entry(avcc(b"\x67large"), width=1280, height=720)
MONO = audio_entry(esds(bytes.fromhex("1188")), channels=1)  # AAC-LC, 48 kHz
NAMES = {VIDEO: "video", AUDIO: "audio", 258: "audio2"}
#: What the hand-made parameter sets tell.
TOLD = PictureFormat(sample_aspect=Fraction(1))
KIT = EncoderKit(frozenset({"libx264", "libx265", "libvpx-vp9"}), frozenset())


def pictures(seconds=2.0, *, entry=None, size=100, **fields):
    samples = picture_samples(0, round(seconds * PICTURES_PER_SECOND), size=size)
    return replace(track(TrackKind.VIDEO, samples, entry=entry), **fields)


def sound(seconds=2.0, *, entry=None, number=AUDIO, **fields):
    samples = sound_samples(frames(0, round(seconds * RATE / FRAME)))
    return replace(track(TrackKind.AUDIO, samples, entry=entry, number=number), **fields)


def census(*slices, names=None):
    """Notes the runs of slices, each a list of tracks; run ``r`` of slice ``n`` is segment 10n+r, of ten."""
    made = Census()
    for number, runs in enumerate(slices):
        for at, tracks in enumerate(runs):
            run = PackagedRun(Container.MPEGTS, False, True, 10 * number + at, tuple(tracks), at)
            made.note(number, run, names or NAMES)
        made.end_slice(number, 10 * number + 9)
    return made


def never(main):
    raise AssertionError("nothing has to be encoded")


def encoding(main):
    return conforming_encoding(main, KIT, "ultrafast")


@pytest.mark.parametrize(
    "slices",
    [
        [[[pictures(), sound()]], [[pictures(), sound()]]],
        [[[pictures()]], [[pictures()]]],
        [[[sound()]], [[pictures(), sound()]]],
        [[[pictures(), sound()], [pictures(0.5)]]],
        [[[]]],
        [[[pictures(), sound(entry=audio_entry(esds(bit_rate=64_000)))]], [[sound()]]],
    ],
    ids=["alike", "silent", "without pictures", "short silence", "empty", "another bit rate"],
)
def test_runs_that_fit_each_other_need_no_layout(slices):
    assert census(*slices).layout(never) is None
    assert census(*slices).reasons() == ()


def test_each_track_becomes_what_most_of_its_media_is_like():
    made = census(
        [[pictures(3, entry=LARGE), sound(2)]],
        [[pictures(2), sound(2, entry=MONO)], [pictures(2), sound(1, entry=MONO)]],
    )
    layout = made.layout(encoding)
    assert [each.name for each in layout.tracks] == ["video", "audio"]
    assert layout.track("video").sample_entry == pictures().sample_entry
    assert layout.track("audio").sample_entry == MONO
    assert layout.slices == {
        0: (OddRun(0, 0, {VIDEO: "video", AUDIO: "audio"}, ("video", "audio"), (), until=(10, 0)),)
    }
    assert made.reasons() == (
        "video is h264 1280x720 instead of h264 320x180 (first at segment 0)",
        "audio is aac 48000 Hz 2 channels instead of aac 48000 Hz 1 channel (first at segment 0)",
    )
    assert RenditionLayout.from_json(layout.to_json()) == layout


def test_of_equals_the_first_is_the_main_one():
    layout = census([[pictures(entry=LARGE)]], [[pictures()]]).layout(encoding)
    assert layout.track("video").sample_entry == LARGE
    assert [*layout.slices] == [1]


def test_sound_that_a_run_lacks_is_silent_there():
    second = sound(number=258)
    made = census(
        [[pictures(), sound(), second], [pictures(0.6), second]], [[pictures()], [sound(), second]]
    )
    layout = made.layout(never)
    assert layout.slices == {
        0: (OddRun(1, 1, {VIDEO: "video", 258: "audio2"}, (), ("audio",), until=(10, 0)),),
        1: (OddRun(10, 0, {VIDEO: "video"}, (), ("audio", "audio2"), until=(11, 1)),),
    }
    # What begins within an odd run is odd as well: a segment before it was given up since.
    rest = layout.run_at(7, 0)
    assert (rest.sequence, rest.piece, rest.absent) == (7, 0, ("audio",))
    assert [layout.run_at(*at) for at in ((0, 0), (1, 0), (11, 1), (12, 0))] == [None] * 4
    assert [each.video for each in layout.tracks] == [None, None, None]
    assert made.reasons() == (
        "audio is absent (first at segment 1)",
        "audio2 is absent (first at segment 10)",
    )


def test_tracks_are_told_by_name_whatever_their_pid():
    made = Census()
    names = ({VIDEO: "video"}, {300: "video"})
    for number, (pid, name) in enumerate(zip((VIDEO, 300), names, strict=True)):
        tracks = (pictures(track=pid),)
        made.note(number, PackagedRun(Container.MPEGTS, True, True, number, tracks), name)
    assert made.layout(never) is None


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"timescale": 9000}, "at 9000 ticks per second instead of"),
        ({"matrix": bytes(36)}, "that players turn otherwise"),
        ({"entry": visual_entry(avcc(b"\x67other"))}, "with other parameter sets than the rest"),
    ],
    ids=["ticks", "rotation", "parameter-sets"],
)
def test_what_looks_alike_and_is_not_is_told_apart(other, words):
    made = census([[pictures(5)]], [[pictures(0.2, **other)]])
    assert [*made.layout(encoding).slices] == [1]
    [reason] = made.reasons()
    assert words in reason


def test_pictures_whose_ticks_are_fine_enough_are_alike():
    """As MPEG-TS and fragmented MP4 of one encoder have them."""
    assert census([[pictures(5)]], [[pictures(2, timescale=15_360)]]).layout(never) is None


def test_pictures_of_a_transcode_are_alike_and_its_sound_need_not_be():
    made = [
        [[pictures(made=TrackMade.ENCODED), sound()]],
        [[pictures(entry=LARGE, made=TrackMade.ENCODED), sound(1)]],
    ]
    assert census(*made).layout(never) is None
    made[1][0][1] = sound(1, entry=MONO, made=TrackMade.ENCODED)
    layout = census(*made).layout(never)
    assert [each.odd for each in layout.slices[1]] == [("audio",)]


def test_a_track_in_several_pieces_is_odd_when_one_of_them_is():
    pieces = [sound(1), sound(1, entry=MONO)]
    layout = census([[pictures(), sound()]], [[pictures(), *pieces]]).layout(never)
    assert layout.slices[1][0].odd == ("audio",)


def test_odd_pictures_are_encoded_as_the_main_ones_are():
    told = []
    made = census(
        [[pictures(2, size=1000)], [pictures(4, size=4000)]], [[pictures(1, entry=LARGE)]]
    )
    layout = made.layout(lambda main: told.append(main) or encoding(main))
    assert told == [
        MainPictures(Codec.H264, 77, 320, 180, Fraction(30), 8 * 30 * 3000, format=TOLD)
    ]
    video = layout.track("video").video
    assert (video.width, video.height, video.implementation) == (320, 180, "libx264")
    assert (video.profile, video.nominal_rate, video.constant_rate) == (H264Profile.MAIN, 30, False)
    assert (video.bitrate, video.gop, video.preset) == (720_000, 2.0, "ultrafast")


@pytest.mark.parametrize(
    ("codec", "profile", "expected"),
    [
        (Codec.H264, 66, ("libx264", H264Profile.BASELINE)),
        (Codec.H264, 77, ("libx264", H264Profile.MAIN)),
        (Codec.H264, 110, ("libx264", H264Profile.HIGH)),
        (Codec.H264, None, ("libx264", H264Profile.HIGH)),
        (Codec.HEVC, 1, ("libx265", None)),
        (Codec.VP9, 0, ("libvpx-vp9", None)),
    ],
)
def test_the_encoder_is_the_software_of_the_main_codec_and_its_profile(codec, profile, expected):
    made = encoding(MainPictures(codec, profile, 640, 360, Fraction(25), 1_000_000))
    assert (made.implementation, made.profile) == expected


@pytest.mark.parametrize(
    ("measured", "bitrate"),
    [(1_234_567, 1_300_000), (0, 350_000), (10**10, 10**9)],
)
def test_the_bit_rate_is_about_the_main_one_and_enough_for_other_pictures(measured, bitrate):
    made = encoding(MainPictures(Codec.H264, 100, 640, 360, Fraction(30), measured))
    assert made.bitrate == bitrate


@pytest.mark.parametrize(
    ("codec", "told", "lacking"),
    [
        (Codec.MPEG2_VIDEO, TOLD, "mpeg2video"),
        (Codec.AV1, TOLD, "libsvtav1 or libaom-av1"),
        (Codec.H264, PictureFormat(chroma=2, bit_depth=10), "yuv422p10le"),
    ],
)
def test_a_format_that_no_encoder_at_hand_makes_is_refused(codec, told, lacking):
    with pytest.raises(PermanentError, match=lacking) as error:
        encoding(MainPictures(codec, None, 640, 360, Fraction(25), 1_000_000, told))
    assert error.value.code is ErrorCode.ENCODER_MISSING


def test_pictures_are_encoded_in_the_format_and_the_colours_of_the_main_ones():
    colours = Colours("bt2020", "smpte2084", "bt2020nc")
    told = PictureFormat(bit_depth=10, colours=colours)
    kit = replace(KIT, pixel_formats=lambda _: frozenset({"yuv420p10le"}))
    main = MainPictures(Codec.HEVC, 2, 640, 360, Fraction(25), 1_000_000, told)
    made = conforming_encoding(main, kit, "fast")
    assert (made.pixel_format, made.colours) == ("yuv420p10le", colours)


def test_a_rate_that_no_encoder_counts_in_is_told_as_the_nearest_that_they_do():
    samples = picture_samples(0, 60)
    uneven = replace(samples, dts=samples.dts + np.arange(60) // 7)
    made = census([[replace(pictures(), samples=uneven)]], [[pictures(1, entry=LARGE)]])
    rate = made.layout(encoding).track("video").video.nominal_rate
    assert abs(rate - 30) < Fraction(1, 10)
    assert rate.denominator <= 1001
