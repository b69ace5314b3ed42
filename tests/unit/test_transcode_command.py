"""The transcode command: what ffmpeg is told of a run, its window and each rendition."""

from dataclasses import replace
from fractions import Fraction

import pytest

from pipelines.media import Codec
from pipelines.profile import Encoder, H264Profile
from pipelines.segment_index import Container
from pipelines.transcoding.command import (
    DecodedInput,
    EncodedOutput,
    PictureTrack,
    SoundTrack,
    transcode_argv,
)
from pipelines.transcoding.encoder_options import allows_b_frames, encoder_options
from pipelines.transcoding.encoding import VideoEncoding
from pipelines.transcoding.filter_chain import PictureWindow, video_timescale

NTSC = Fraction(30_000, 1001)
ENCODING = VideoEncoding(
    encoder=Encoder.H264,
    implementation="libx264",
    preset="fast",
    width=640,
    height=360,
    bitrate=800_000,
    nominal_rate=Fraction(25),
    constant_rate=False,
    gop=2.0,
)
PICTURES = PictureTrack("i:0x100", Codec.H264, 90_000)
SOUND = (SoundTrack("i:0x101", Codec.AC3), SoundTrack("i:0x102", Codec.AAC))
EVERYTHING = PictureWindow(None, None)


def argv(
    *outputs: EncodedOutput,
    window: PictureWindow = EVERYTHING,
    container: Container = Container.MPEGTS,
    pictures: PictureTrack | None = PICTURES,
) -> list[str]:
    return transcode_argv("ffmpeg", DecodedInput(container, pictures, 2000), window, outputs)


def encoded(encoding: VideoEncoding, **changes: object) -> list[str]:
    return argv(EncodedOutput(3, replace(encoding, **changes)))  # type: ignore[arg-type]


def value(arguments: list[str], option: str) -> str:
    assert arguments.count(option) == 1, option
    return arguments[arguments.index(option) + 1]


def graph(arguments: list[str]) -> str:
    return value(arguments, "-filter_complex").replace("\\", "")


def test_ffmpeg_sees_pipes_only_and_is_told_what_they_hold():
    arguments = argv(EncodedOutput(3, ENCODING), EncodedOutput(7, ENCODING, SOUND))
    assert value(arguments, "-i") == "pipe:0"
    assert value(arguments, "-protocol_whitelist") == "pipe"
    assert {word for word in arguments if word.startswith("pipe:")} == {
        "pipe:0",
        "pipe:3",
        "pipe:7",
    }
    assert arguments.index("mpegts") < arguments.index("-i")
    fragmented = argv(EncodedOutput(3, ENCODING), container=Container.FMP4)
    assert value(fragmented, "-ignore_editlist") == "1"


def test_pictures_are_decoded_once_for_all_renditions():
    small = replace(ENCODING, width=320, height=180, constant_rate=True)
    arguments = argv(EncodedOutput(3, ENCODING), EncodedOutput(4, small))
    assert graph(arguments).count("[0:i:0x100]") == 1
    assert "split=2" in graph(arguments)
    assert "0:i:0x100" not in arguments


def test_sound_is_copied_to_every_rendition_and_aac_loses_its_adts_headers():
    arguments = argv(EncodedOutput(3, ENCODING, SOUND), EncodedOutput(4, ENCODING, SOUND))
    assert arguments.count("0:i:0x102") == 2
    assert arguments.count("-bsf:a:1") == 2
    assert "-bsf:a:0" not in arguments
    assert "-bsf:a:1" not in argv(EncodedOutput(3, ENCODING, SOUND), container=Container.FMP4)


def test_a_rendition_without_an_encoding_copies_the_pictures():
    pictures = replace(PICTURES, codec=Codec.HEVC)
    arguments = argv(EncodedOutput(3, None), EncodedOutput(4, ENCODING), pictures=pictures)
    assert value(arguments, "-tag:v") == "hvc1"
    assert arguments.count("0:i:0x100") == 1
    assert "split=1" in graph(arguments)


def test_a_run_without_pictures_yields_its_sound_alone():
    arguments = argv(EncodedOutput(3, ENCODING, SOUND), pictures=None)
    assert "-filter_complex" not in arguments
    assert "-c:v" not in arguments
    assert [word for word in arguments if word.startswith("0:")] == ["0:i:0x101", "0:i:0x102"]


@pytest.mark.parametrize(
    ("window", "condition"),
    [
        (PictureWindow(-3600, 90_000), "select=gte(pts,-3600)*lt(pts,90000)"),
        (PictureWindow(None, 90_000), "select=lt(pts,90000)"),
        (PictureWindow(90_000, None), "select=gte(pts,90000)"),
    ],
)
def test_the_window_is_cut_by_exact_times(window, condition):
    assert condition in graph(argv(EncodedOutput(3, ENCODING), window=window))


def test_no_window_selects_nothing():
    assert "select" not in graph(argv(EncodedOutput(3, ENCODING)))


def test_on_a_grid_the_window_is_cut_behind_fps_by_its_numbers():
    steady = replace(ENCODING, constant_rate=True, nominal_rate=NTSC)
    anchor = 700
    window = PictureWindow(anchor + 3003 * 10, anchor + 3003 * 20 + 1502, anchor)
    arguments = argv(EncodedOutput(3, steady), window=window)
    filters = graph(arguments)
    steps = [
        "settb=1/90000",
        "setpts=PTS-542[",  # a nineteenth of a step less than the anchor's 700
        "fps=30000/1001:round=near",
        "tpad=stop=11:",
        "gte(pts,10)*lt(pts,21)",
    ]
    places = [filters.index(step) for step in steps]
    assert places == sorted(places)
    assert value(arguments, "-enc_time_base:v") == "1001:30000"
    assert value(arguments, "-video_track_timescale") == "90000"


@pytest.mark.parametrize(
    ("rate", "timescale"),
    [(Fraction(25), 90_000), (NTSC, 90_000), (Fraction(24_000, 1001), 360_000)],
)
def test_a_track_on_a_grid_counts_so_that_its_points_are_exact(rate, timescale):
    steady = replace(ENCODING, constant_rate=True, nominal_rate=rate)
    assert video_timescale(steady, 90_000) == timescale
    assert video_timescale(replace(steady, constant_rate=False), 12_800) == 12_800


@pytest.mark.parametrize(
    ("profile", "name", "b_frames"),
    [
        (H264Profile.BASELINE, "baseline", "0"),
        (H264Profile.MAIN, "main", "3"),
        (H264Profile.HIGH, "high", "3"),
        (H264Profile.CONSTRAINED_HIGH, "high", "0"),
        (None, "high", "3"),
    ],
)
@pytest.mark.parametrize("implementation", ["libx264", "h264_nvenc", "h264_qsv"])
def test_each_h264_profile_has_b_frames_only_where_allowed(profile, name, b_frames, implementation):
    arguments = encoded(ENCODING, profile=profile, implementation=implementation)
    assert (value(arguments, "-profile:v"), value(arguments, "-bf")) == (name, b_frames)


def test_key_frames_come_by_time_alone():
    arguments = encoded(ENCODING, gop=2.0)
    assert value(arguments, "-force_key_frames").endswith("gte(t,prev_forced_t+1.998000))")
    assert value(arguments, "-sc_threshold") == "0"
    assert int(value(arguments, "-g")) > 3600 * 240
    chosen_by_encoder = encoded(ENCODING, gop=None)
    assert not {"-g", "-force_key_frames", "-sc_threshold"} & set(chosen_by_encoder)
    assert value(encoded(ENCODING, gop=0.0), "-g") == "1"
    assert not allows_b_frames(replace(ENCODING, gop=0.0))


@pytest.mark.parametrize(
    ("implementation", "expected"),
    [
        ("libx264", {"-crf": "23", "-maxrate": "800000"}),
        ("h264_nvenc", {"-cq": "23", "-b:v": "0", "-maxrate": "800000"}),
        ("h264_vaapi", {"-global_quality": "23", "-rc_mode": "QVBR", "-maxrate": "800000"}),
        ("h264_qsv", {"-global_quality": "23", "-maxrate": "800000"}),
    ],
)
def test_quality_decides_and_the_bit_rate_caps(implementation, expected):
    arguments = encoded(ENCODING, implementation=implementation, quality=23)
    assert {option: value(arguments, option) for option in expected} == expected


HEVC = replace(ENCODING, encoder=Encoder.HEVC, implementation="libx265")


@pytest.mark.parametrize("implementation", ["libx264", "libx265", "libvpx-vp9", "h264_nvenc"])
def test_no_rate_is_so_low_that_an_encoder_is_told_none(implementation):
    arguments = encoded(ENCODING, implementation=implementation, bitrate=400)
    assert (value(arguments, "-b:v"), value(arguments, "-maxrate")) == ("1000", "1000")
    assert int(value(arguments, "-bufsize")) > 0


def test_hevcs_key_frames_alone_come_by_force():
    arguments = encoded(HEVC, gop=0.0)
    assert value(arguments, "-force_key_frames") == "expr:1"
    assert int(value(arguments, "-g")) > 1


def test_hevc_is_tagged_for_apple_and_never_opens_a_gop():
    arguments = encoded(HEVC)
    assert value(arguments, "-tag:v") == "hvc1"
    assert {"open-gop=0", "scenecut=0", "fps=25/1"} <= set(
        value(arguments, "-x265-params").split(":")
    )


def test_the_presets_words_are_every_encoders():
    presets = [
        "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower",
        "veryslow",
    ]  # fmt: skip
    speeds = {
        implementation: [
            encoder_options(replace(ENCODING, implementation=implementation, preset=preset))[option]
            for preset in presets
        ]
        for implementation, option in (
            ("libx264", "preset"), ("libvpx-vp9", "cpu-used"),
            ("h264_nvenc", "preset"), ("h264_qsv", "preset"),
        )
    }  # fmt: skip
    assert speeds["libx264"] == presets
    assert speeds["libvpx-vp9"] == [8, 8, 7, 6, 5, 4, 3, 2, 1]
    deadlines = [
        encoder_options(replace(ENCODING, implementation="libvpx-vp9", preset=preset))["deadline"]
        for preset in presets
    ]
    assert deadlines == ["realtime"] * 4 + ["good"] * 5
    assert speeds["h264_nvenc"] == sorted(speeds["h264_nvenc"])
    assert speeds["h264_qsv"] == ["veryfast", "veryfast", *presets[2:]]


@pytest.mark.parametrize(
    ("implementation", "device", "upload"),
    [
        ("h264_vaapi", "vaapi=encoding", "hwupload["),
        ("hevc_qsv", "qsv=encoding", "hwupload=extra_hw_frames=64["),
    ],
)
def test_pictures_are_brought_to_a_device_that_is_opened(implementation, device, upload):
    arguments = encoded(ENCODING, implementation=implementation)
    assert value(arguments, "-init_hw_device") == device
    assert value(arguments, "-filter_hw_device") == "encoding"
    assert "format=nv12" in graph(arguments)
    assert upload in graph(arguments)


@pytest.mark.parametrize("implementation", ["libx264", "h264_nvenc"])
def test_encoders_that_take_pictures_from_memory_open_no_device(implementation):
    arguments = encoded(ENCODING, implementation=implementation)
    assert "-init_hw_device" not in arguments
    assert "hwupload" not in graph(arguments)


def test_fields_are_joined_before_all_else_and_brightness_is_mapped_after_scaling():
    filters = graph(encoded(ENCODING, deinterlace=True, tone_map=True))
    order = [
        "bwdif=", "split=", "settb=1/90000", "scale=", "tonemap=", "format=yuv420p", "pad=640:360",
    ]  # fmt: skip
    places = [filters.index(name) for name in order]
    assert places == sorted(places)


def test_parameter_sets_and_ticks_are_as_they_are_told():
    arguments = encoded(ENCODING, parameter_set_id=3, timescale=15_360)
    assert "sps-id=3" in value(arguments, "-x264-params")
    assert value(arguments, "-video_track_timescale") == "15360"
    assert value(arguments, "-enc_time_base:v") == "1:15360"
    assert graph(arguments).index("settb=1/90000") < graph(arguments).index("settb=1/15360")
