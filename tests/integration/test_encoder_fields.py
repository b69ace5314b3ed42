"""Every field of a VideoEncoding has its exact effect: one unsliced run of the command, probed."""

import itertools
import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from pipelines.colours import BT709, Colours
from pipelines.media import Codec
from pipelines.profile import Encoder, H264Profile
from pipelines.segment_index import Container
from pipelines.tools import MediaTools
from pipelines.transcoding.command import (
    DecodedInput,
    EncodedOutput,
    PictureTrack,
    SoundTrack,
    transcode_argv,
)
from pipelines.transcoding.encoding import VideoEncoding
from pipelines.transcoding.filter_chain import PictureWindow
from pipelines.transcoding.picture_grid import PictureGrid

pytestmark = pytest.mark.ffmpeg
LONG = pytest.mark.long

RUN_TIMEOUT_S = 120
TS_TIMESCALE = 90_000
#: Just below the wrap of the 33-bit clock, so that ffmpeg counts from below zero.
NEAR_WRAP = 95_443.7
IMPLEMENTATIONS = {Encoder.H264: "libx264", Encoder.HEVC: "libx265", Encoder.VP9: "libvpx-vp9"}
ENCODERS = list(Encoder)
NTSC = Fraction(30_000, 1001)
NTSC_60 = Fraction(60_000, 1001)
#: Each picture leaves a hole behind it that differs from the last one's.
UNEVEN = "select='not(eq(mod(n,7),3))*(lt(t,1)+eq(mod(n,3),0))'"


def encoding(encoder: Encoder = Encoder.H264, **changes: object) -> VideoEncoding:
    base = VideoEncoding(
        encoder=encoder,
        implementation=IMPLEMENTATIONS[encoder],
        preset="ultrafast",
        width=320,
        height=180,
        bitrate=500_000,
        nominal_rate=Fraction(25),
        constant_rate=False,
        gop=2.0,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Source:
    """A stream that is to be encoded."""

    path: Path
    codec: Codec = Codec.H264
    container: Container = Container.MPEGTS
    timescale: int = TS_TIMESCALE


@dataclass(frozen=True)
class Probed:
    """What ffprobe says of the pictures of a file."""

    path: Path
    stream: dict
    packets: list[dict]

    @property
    def times(self) -> list[int]:
        """Presentation times in order, ticks."""
        return sorted(packet["pts"] for packet in self.packets)

    @property
    def key_times(self) -> list[int]:
        """Presentation times of the key frames."""
        return sorted(packet["pts"] for packet in self.packets if "K" in packet["flags"])

    @property
    def bits(self) -> int:
        return 8 * sum(int(packet["size"]) for packet in self.packets)


Make = Callable[..., Source]
Encode = Callable[..., Probed]


@pytest.fixture(scope="module")
def make(media_tools, tmp_path_factory) -> Make:
    """Makes a stream out of a lavfi source, once for the same words."""
    folder = tmp_path_factory.mktemp("sources")
    made: dict[tuple, Source] = {}

    def make_source(
        lavfi: str, *options: str, seconds: float = 3, codec: Codec = Codec.H264, suffix: str = "ts"
    ) -> Source:
        words = (lavfi, options, seconds, codec, suffix)
        if words not in made:
            path = folder / f"{len(made)}.{suffix}"
            implementation = {Codec.H264: "libx264", Codec.HEVC: "libx265"}.get(codec, codec.value)
            quick = [] if codec is Codec.MPEG2_VIDEO else ["-preset", "ultrafast"]
            subprocess.run(
                [
                    media_tools.ffmpeg, "-v", "error", "-f", "lavfi", "-i", lavfi,
                    "-t", str(seconds), "-c:v", implementation, *quick, "-g", "50", *options, path,
                ],
                check=True, timeout=RUN_TIMEOUT_S,
            )  # fmt: skip
            made[words] = Source(path, codec)
        return made[words]

    return make_source


@pytest.fixture
def encode(media_tools, tmp_path) -> Encode:
    """Runs the real command over a source and probes what comes out of the pipe."""
    numbers = itertools.count()

    def run(
        source: Source,
        video: VideoEncoding,
        window: PictureWindow | None = None,
        sound: tuple[SoundTrack, ...] = (),
    ) -> Probed:
        path = tmp_path / f"{next(numbers)}.mp4"
        argv = transcode_argv(
            media_tools.ffmpeg,
            DecodedInput(
                source.container, PictureTrack("v:0", source.codec, source.timescale), 1 << 20
            ),
            window or PictureWindow(None, None),
            [EncodedOutput(1, video, sound)],
        )
        with source.path.open("rb") as stdin, path.open("wb") as stdout:
            subprocess.run(argv, stdin=stdin, stdout=stdout, check=True, timeout=RUN_TIMEOUT_S)
        return probe(media_tools, path)

    return run


def probe(tools: MediaTools, path: Path) -> Probed:
    entries = "stream:packet=pts,size,flags"
    found = json.loads(_ffprobe(tools, "-select_streams", "v", "-show_entries", entries, path))
    return Probed(path, found["streams"][0], found["packets"])


def picture_types(tools: MediaTools, path: Path) -> list[str]:
    entries = ("-select_streams", "v", "-show_entries", "frame=pict_type")
    return [frame["pict_type"] for frame in json.loads(_ffprobe(tools, *entries, path))["frames"]]


def _ffprobe(tools: MediaTools, *words: str | Path) -> bytes:
    command = [tools.ffprobe, "-v", "error", "-ignore_editlist", "1", "-of", "json"]
    if Path(words[-1]).suffix != ".mp4":
        command = [tools.ffprobe, "-v", "error", "-of", "json"]
    return subprocess.run(
        [*command, *words], capture_output=True, check=True, timeout=RUN_TIMEOUT_S
    ).stdout


def luma(tools: MediaTools, path: Path, filters: str = "null") -> np.ndarray:
    """The first 20 pictures' brightness as coded, uint8[n, height, width]."""
    size = probe(tools, path).stream
    command = [tools.ffmpeg, "-v", "error", "-i", path, "-frames:v", "20"]
    raw = subprocess.run(
        [*command, "-vf", f"{filters},extractplanes=y", "-f", "rawvideo", "-"],
        capture_output=True, check=True, timeout=RUN_TIMEOUT_S,
    ).stdout  # fmt: skip
    return np.frombuffer(raw, np.uint8).reshape(-1, size["height"], size["width"])


PLAIN = "testsrc2=s=320x180:r=25"
NOISE = "testsrc2=s=320x180:r=25,noise=alls=60:allf=t"


@pytest.mark.parametrize(
    ("encoder", "codec", "tag", "profile"),
    [
        (Encoder.H264, "h264", "avc1", "High"),
        (Encoder.HEVC, "hevc", "hvc1", "Main"),
        (Encoder.VP9, "vp9", "vp09", "Profile 0"),
    ],
)
def test_encoder_decides_codec_and_tag(make, encode, encoder, codec, tag, profile):
    stream = encode(make(PLAIN), encoding(encoder)).stream
    found = (stream["codec_name"], stream["codec_tag_string"], stream["profile"])
    assert found == (codec, tag, profile)
    assert stream["pix_fmt"] == "yuv420p"


@pytest.mark.parametrize("preset", ["ultrafast", "medium"])
@pytest.mark.parametrize(
    ("profile", "named", "b_frames"),
    [
        (H264Profile.BASELINE, "Constrained Baseline", False),
        (H264Profile.MAIN, "Main", True),
        (H264Profile.HIGH, "High", True),
        (H264Profile.CONSTRAINED_HIGH, "High", False),
    ],
)
@pytest.mark.alike(2)
def test_profile_decides_the_tools(make, encode, media_tools, profile, named, b_frames, preset):
    result = encode(make(PLAIN), encoding(profile=profile, preset=preset))
    assert result.stream["profile"] == named
    assert ("B" in picture_types(media_tools, result.path)) == b_frames


@pytest.mark.parametrize("encoder", ENCODERS)
def test_size_is_exact_with_square_pixels(make, encode, encoder):
    anamorphic = make("testsrc2=s=352x288:r=25,setsar=16/11", seconds=1)
    stream = encode(anamorphic, encoding(encoder, width=426, height=240)).stream
    assert (stream["width"], stream["height"]) == (426, 240)
    assert stream.get("sample_aspect_ratio", "1:1") == "1:1"


def test_a_turned_source_comes_out_upright_and_says_no_more_of_it(make, encode, media_tools):
    lying = make("color=black:s=320x180:r=25,drawbox=w=160:c=white:t=fill", seconds=1, suffix="mp4")
    turned = lying.path.with_name("turned.mp4")
    subprocess.run(
        [
            media_tools.ffmpeg, "-v", "error", "-display_rotation", "90", "-i", lying.path,
            "-c", "copy", "-movflags", "+frag_keyframe+empty_moov", turned,
        ],
        check=True, timeout=RUN_TIMEOUT_S,
    )  # fmt: skip
    source = Source(turned, container=Container.FMP4, timescale=12_800)
    result = encode(source, encoding(width=180, height=320))
    assert "side_data_list" not in result.stream
    picture = luma(media_tools, result.path)[0].astype(int)
    # Counter-clockwise by a quarter: what was at the left is at the bottom.
    assert picture[240:].mean() > 200
    assert picture[:80].mean() < 50


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize(
    ("lavfi", "options"),
    [
        (PLAIN, ("-bf", "2")),
        ("testsrc2=s=320x180:r=30000/1001", ()),
        (f"testsrc2=s=320x180:r=30,{UNEVEN}", ("-fps_mode", "passthrough", "-bf", "2")),
        (PLAIN, ("-bf", "2", "-output_ts_offset", str(NEAR_WRAP))),
    ],
    ids=["25", "ntsc", "vfr", "near-wrap"],
)
@pytest.mark.alike(3)
def test_the_sources_times_are_kept_exactly(make, encode, media_tools, encoder, lavfi, options):
    source = make(lavfi, *options)
    result = encode(source, encoding(encoder))
    assert result.times == probe(media_tools, source.path).times
    assert result.stream["time_base"] == "1/90000"


def test_an_fmp4s_times_are_kept_in_its_own_ticks(make, encode, media_tools):
    fragmented = ("-bf", "2", "-movflags", "+frag_keyframe+empty_moov+default_base_moof")
    made = make(PLAIN, *fragmented, "-video_track_timescale", "15360", suffix="mp4")
    source = replace(made, container=Container.FMP4, timescale=15_360)
    result = encode(source, encoding())
    assert result.times == probe(media_tools, source.path).times
    assert result.stream["time_base"] == "1/15360"


@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_window_keeps_exactly_its_own_pictures(make, encode, media_tools, encoder):
    source = make(PLAIN, "-bf", "2")
    times = probe(media_tools, source.path).times
    result = encode(source, encoding(encoder), PictureWindow(times[20], times[45]))
    assert result.times == times[20:45]
    assert result.key_times[0] == times[20]


@pytest.mark.parametrize("rate", [Fraction(25), NTSC, Fraction(50), NTSC_60, Fraction(15, 2)])
@pytest.mark.parametrize(
    "lavfi", [PLAIN, f"testsrc2=s=320x180:r=30,{UNEVEN}", "testsrc2=s=320x180:r=60"]
)
@pytest.mark.alike(2)
def test_a_constant_rate_is_a_grid_from_its_anchor(make, encode, media_tools, rate, lavfi):
    source = make(lavfi, "-fps_mode", "passthrough")
    steady = encoding(nominal_rate=rate, constant_rate=True)
    times = probe(media_tools, source.path).times
    grid = PictureGrid(rate, TS_TIMESCALE, times[3])
    points = _points(encode(source, steady, PictureWindow(None, None, times[3])), grid)
    assert points == list(range(points[0], points[0] + len(points)))
    assert points[0] == grid.number(times[0])
    # How long the last picture lasts is ffmpeg's guess: the grid is filled up to its end.
    shortest, longest = min(np.diff(times)), max(np.diff(times))
    assert (
        grid.number(int(times[-1] + shortest))
        <= points[-1] + 1
        <= grid.number(int(times[-1] + longest))
    )
    first, end = times[5], times[15]
    cut = _points(encode(source, steady, PictureWindow(first, end, times[3])), grid)
    assert cut == list(range(grid.number(first), grid.number(end)))


def _points(result: Probed, grid: PictureGrid) -> list[int]:
    assert result.stream["time_base"] == f"1/{grid.timescale}"
    assert all(time % grid.step == 0 for time in result.times)
    return [time // grid.step for time in result.times]


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize(
    "rate", ["24", pytest.param("25", marks=LONG), "30000/1001", pytest.param("50", marks=LONG),
             pytest.param("60000/1001", marks=LONG)],
)  # fmt: skip
@pytest.mark.alike(2)
def test_key_frames_lie_at_the_asked_distance(make, encode, encoder, rate):
    source = make(f"testsrc2=s=192x108:r={rate}", seconds=5)
    result = encode(source, encoding(encoder, gop=2.0, nominal_rate=Fraction(rate)))
    picture = 1 / Fraction(rate)
    distances = [
        Fraction(after - before, TS_TIMESCALE)
        for before, after in itertools.pairwise(result.key_times)
    ]
    assert result.key_times[0] == result.times[0]
    assert len(distances) == 2
    # The first picture at or behind two seconds; times are whole ticks.
    assert all(2 - Fraction(2, 1000) <= distance < 2 + picture for distance in distances)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_picture_or_the_encoders_choice_may_be_key(make, encode, encoder):
    intra = encode(make(PLAIN), encoding(encoder, gop=0.0))
    assert intra.key_times == intra.times
    assert intra.stream["profile"] in {"High", "Main", "Profile 0"}
    by_encoder = encode(make(PLAIN), encoding(encoder, gop=None))
    assert by_encoder.key_times == by_encoder.times[:1]


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize(
    "changes",
    [{}, pytest.param({"quality": 10}, marks=LONG), pytest.param({"gop": 0.0}, marks=LONG)],
    ids=["bitrate", "quality", "intra"],
)
@pytest.mark.alike(2)
def test_noise_takes_the_bit_rate_and_no_more(make, encode, encoder, changes):
    source = make(NOISE.replace("320x180", "128x72"), "-crf", "30", "-bf", "0", seconds=60)
    result = encode(source, encoding(encoder, bitrate=200_000, width=128, height=72, **changes))
    assert result.bits / 60 == pytest.approx(200_000, rel=0.1)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize(
    "changes", [{}, {"quality": 10}, {"gop": 0.0}], ids=["bitrate", "quality", "intra"]
)
@pytest.mark.alike(2)
def test_a_short_slice_of_noise_is_never_far_above_the_bit_rate(make, encode, encoder, changes):
    source = make(NOISE, "-crf", "30", "-bf", "0", seconds=6)
    result = encode(source, encoding(encoder, bitrate=800_000, **changes))
    assert result.bits / 6 <= 1.1 * 800_000


@pytest.mark.parametrize("preset", ["ultrafast", pytest.param("superfast", marks=LONG), "fast"])
@pytest.mark.parametrize("seconds", [1, pytest.param(3, marks=LONG)])
@pytest.mark.parametrize(
    "changes", [{}, {"quality": 20}, {"gop": 0.0}], ids=["bitrate", "quality", "intra"]
)
@pytest.mark.parametrize("encoder", [Encoder.H264, Encoder.HEVC])
@pytest.mark.alike(2)
def test_seconds_of_noise_are_never_far_above_the_bit_rate(
    make, encode, encoder, changes, seconds, preset
):
    source = make(NOISE, "-crf", "30", "-bf", "0", seconds=seconds)
    result = encode(source, encoding(encoder, preset=preset, **changes))
    assert result.bits / seconds <= 1.1 * 500_000


@pytest.mark.parametrize(
    "changes",
    [
        {},
        pytest.param({"quality": 20}, marks=LONG),
        pytest.param({"gop": 0.5}, marks=LONG),
        pytest.param({"preset": "medium", "bitrate": 150_000}, marks=LONG),
    ],
    ids=["bitrate", "quality", "short-gop", "good"],
)
def test_a_slice_of_noise_takes_the_bit_rate_in_vp9_too(make, encode, changes):
    source = make(NOISE, "-crf", "30", "-bf", "0", seconds=4)
    settings = encoding(Encoder.VP9, **({"preset": "fast"} | changes))
    assert encode(source, settings).bits / 4 == pytest.approx(settings.bitrate, rel=0.1)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_rate_below_all_that_is_possible_gives_the_least_that_is(make, encode, encoder):
    lowest, low = (encode(make(PLAIN), encoding(encoder, bitrate=rate)) for rate in (400, 500_000))
    assert lowest.times == low.times
    assert lowest.bits < low.bits / 2


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_lower_quality_number_is_a_larger_file_below_the_cap(make, encode, encoder):
    sizes = [
        encode(make(PLAIN), encoding(encoder, quality=quality, bitrate=4_000_000)).bits
        for quality in (20, 30, 40)
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 1.3 * sizes[2]


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("pixel_format", ["yuv422p", "yuv444p10le", "yuv420p10le", "yuvj420p"])
@pytest.mark.alike(3)
def test_all_kinds_of_pixels_come_out_as_browsers_play_them(
    make, encode, media_tools, encoder, pixel_format
):
    white = make("color=white:s=320x180:r=25,drawbox=w=160:c=black:t=fill", "-pix_fmt", pixel_format, seconds=1)  # fmt: skip
    result = encode(white, encoding(encoder))
    assert result.stream["pix_fmt"] == "yuv420p"
    assert result.stream.get("color_range", "tv") == "tv"
    picture = luma(media_tools, result.path)[0].astype(int)
    assert picture[:, :140].mean() == pytest.approx(16, abs=3)
    assert picture[:, 180:].mean() == pytest.approx(235, abs=3)


def test_odd_sizes_are_scaled_to_even_ones(make, encode):
    odd = make("testsrc2=s=321x181:r=25", "-pix_fmt", "yuv444p", seconds=1)
    assert encode(odd, encoding(width=320, height=180)).stream["width"] == 320


def test_the_colour_matrix_of_the_source_is_kept(make, encode):
    source = make(f"{PLAIN},setparams=colorspace=smpte170m", seconds=1)
    kept = encoding(colours=Colours(matrix="smpte170m"))
    assert encode(source, kept).stream["color_space"] == "smpte170m"


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("transfer", ["smpte2084", "arib-std-b67"])
@pytest.mark.alike(2)
def test_hdr_is_brought_down_to_bt709(make, encode, media_tools, encoder, transfer):
    source = make(
        "gradients=s=320x180:r=25:c0=0x404040:c1=0xC0C0C0:n=2:x0=0:y0=0:x1=320:y1=180,format=yuv420p10le", "-x265-params",
        f"log-level=error:transfer={transfer}", seconds=1, codec=Codec.HEVC,
    )  # fmt: skip
    result = encode(source, encoding(encoder, tone_map=True, colours=BT709))
    tags = [result.stream[f"color_{name}"] for name in ("space", "transfer", "primaries")]
    assert tags == ["bt709"] * 3
    assert result.stream["pix_fmt"] == "yuv420p"
    picture = luma(media_tools, result.path)[0]
    assert 60 < picture.mean() < 235
    assert int(picture.max()) - int(picture.min()) > 15


@pytest.mark.parametrize(
    ("codec", "options"),
    [
        (Codec.H264, ("-flags", "+ilme+ildct", "-x264-params", "tff=1")),
        (Codec.MPEG2_VIDEO, ("-flags", "+ilme+ildct", "-b:v", "4M")),
    ],
)
def test_interlaced_pictures_lose_their_comb_and_keep_their_times(
    make, encode, media_tools, codec, options
):
    moving = "color=black:s=320x180:r=50,drawgrid=w=64:h=1000:t=24:c=white,scroll=h=0.02"
    source = make(f"{moving},interlace=scan=tff:lowpass=off", *options, codec=codec)
    result = encode(source, encoding(deinterlace=True))
    assert result.stream["field_order"] == "progressive"
    assert result.times == probe(media_tools, source.path).times
    assert _comb(luma(media_tools, source.path)) > 4 * _comb(luma(media_tools, result.path))
    combed = encode(source, encoding())
    assert _comb(luma(media_tools, combed.path)) > 4 * _comb(luma(media_tools, result.path))


def test_progressive_pictures_pass_the_deinterlacer_untouched(make, encode, media_tools):
    source = make(PLAIN, "-bf", "2")
    result = encode(source, encoding(deinterlace=True, quality=1, bitrate=20_000_000))
    before, after = (luma(media_tools, path).astype(int) for path in (source.path, result.path))
    assert np.abs(before - after).mean() < 0.5
    assert result.times == probe(media_tools, source.path).times


def _comb(pictures: np.ndarray) -> float:
    """How much lines differ from both neighbours: large where two fields show two moments."""
    lines = pictures.astype(int)
    middle = 2 * lines[:, 1:-1] - lines[:, :-2] - lines[:, 2:]
    return float(np.abs(middle).mean())


def test_sound_is_copied_beside_encoded_pictures(make, encode, media_tools):
    source = make(f"{PLAIN}[out0];sine=r=48000[out1]", "-c:a", "aac")
    result = encode(source, encoding(), sound=(SoundTrack("a:0", Codec.AAC),))
    hashes = [
        subprocess.run(
            [
                media_tools.ffmpeg, "-v", "error", "-i", path, "-map", "0:a", "-c", "copy",
                "-bsf:a", bitstream, "-f", "md5", "-",
            ],
            capture_output=True, check=True, timeout=RUN_TIMEOUT_S,
        ).stdout
        for path, bitstream in ((source.path, "aac_adtstoasc"), (result.path, "null"))
    ]  # fmt: skip
    assert hashes[0] == hashes[1]
