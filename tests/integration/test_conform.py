"""Reconnects that change the media: odd runs are conformed to the main configuration, in time."""

import struct
import subprocess
from dataclasses import dataclass, replace

import numpy as np
import pytest

from pipelines.colours import Colours
from pipelines.media import TrackKind
from pipelines.mp4.movie_header import UNITY_MATRIX
from pipelines.mp4.parameter_sets import AvcRecord
from pipelines.mp4.sample_entry import inner_box, read_sample_entry
from pipelines.packaged_slice import TrackMade
from tests.media import SAMPLE_RATE, beep_times, flash_times, run
from tests.packaging import small_encoding
from tests.sample_tables import movie_of

pytestmark = [pytest.mark.s3, pytest.mark.ffmpeg]

TAG = "#EXT-X-DISCONTINUITY"
#: Seconds that a frame of sound lasts, and one picture at 25 frames/s.
FRAME = 1024 / 48_000
PICTURE = 0.04


#: How the encoders are told to be quick.
SPEEDS = {
    "libx264": ("-preset", "ultrafast", "-bf", "2"),
    "libx265": ("-preset", "ultrafast", "-bf", "2"),
    "libvpx-vp9": ("-deadline", "realtime", "-cpu-used", "8"),
    "libaom-av1": ("-usage", "realtime", "-cpu-used", "8"),
    "mpeg2video": ("-b:v", "2M"),
}


@dataclass(frozen=True)
class Part:
    """What one connection of an encoder sends: flashes and beeps at the start of every second."""

    seconds: int = 4
    size: str | None = "480x270"
    fps: int = 30
    video: str = "libx264"
    sound: str | None = "aac"
    rate: int = 48_000
    channels: int = 2
    start: float = 10.0  #: of its clock
    tag: str = TAG
    options: tuple[str, ...] = ()
    filters: str = "null"
    format: str = "yuv420p"


def connection(tools, part, folder, number, container="mpegts"):
    """The part's segments of two seconds, files in ``folder``; names in order."""
    arguments = ["-hide_banner", "-nostdin", "-loglevel", "error", "-y"]
    if part.size:
        flash = f"drawbox=color=white:t=fill:enable='lt(mod(t+0.0001,1),1/{part.fps})'"
        source = f"testsrc2=size={part.size}:rate={part.fps}:duration={part.seconds},{flash}"
        arguments += ["-f", "lavfi", "-i", f"{source},{part.filters}"]
    if part.sound:
        tone = "if(lt(mod(t,1),0.1),0.5*sin(2*PI*1000*t),0)"
        channels = "|".join([tone] * part.channels)
        source = f"aevalsrc='{channels}':s={part.rate}:d={part.seconds}"
        arguments += ["-f", "lavfi", "-i", source, "-c:a", part.sound, "-b:a", "96k"]
    if part.size:
        arguments += [
            "-c:v", part.video, *SPEEDS.get(part.video, ()), "-pix_fmt", part.format,
            "-g", str(2 * part.fps), "-force_key_frames", "expr:gte(t,n_forced*2)",
            *(["-x265-params", "log-level=error:open-gop=0"] if part.video == "libx265" else []),
        ]  # fmt: skip
    kind = "fmp4" if container == "fmp4" else "mpegts"
    suffix = "m4s" if container == "fmp4" else "ts"
    if container == "fmp4" and part.video == "libx265":
        arguments += ["-tag:v", "hvc1"]
    run(
        tools.ffmpeg, *arguments, *part.options, "-muxdelay", "0", "-muxpreload", "0",
        "-output_ts_offset", str(part.start), "-f", "hls", "-hls_time", "2", "-hls_list_size", "0",
        "-hls_segment_type", kind, "-hls_fmp4_init_filename", f"init{number}.mp4",
        "-hls_segment_filename", f"part{number}-%03d.{suffix}", f"part{number}.m3u8", cwd=folder,
    )  # fmt: skip
    lines = (folder / f"part{number}.m3u8").read_text().splitlines()
    return [line for line in lines if line and not line.startswith(("#EXT-X-", "#EXTM3U"))]


@pytest.fixture
def reconnected(media_tools, tmp_path):
    """Makes a recording of several connections."""

    def make(*parts, container="mpegts"):
        folder = tmp_path / "recording"
        folder.mkdir()
        lines = ["#EXTM3U", "#EXT-X-VERSION:7", "#EXT-X-TARGETDURATION:4"]
        for number, part in enumerate(parts):
            listed = connection(media_tools, part, folder, number, container)
            if number and part.tag:
                lines.append(part.tag)
            if container == "fmp4":
                lines.append(f'#EXT-X-MAP:URI="init{number}.mp4"')
            lines += listed
        for each in folder.glob("part*.m3u8"):
            each.unlink()
        (folder / "index.m3u8").write_text("\n".join([*lines, "#EXT-X-ENDLIST", ""]))
        return folder / "index.m3u8"

    return make


def media_playlist(path, listed, tags):
    """Write a media playlist of several connections' listed segments."""
    lines = ["#EXTM3U", "#EXT-X-VERSION:7", "#EXT-X-TARGETDURATION:4"]
    for tag, each in zip(tags, listed, strict=True):
        lines += [*filter(None, [tag]), *each]
    path.write_text("\n".join([*lines, "#EXT-X-ENDLIST", ""]))


@pytest.fixture
def finalized(finalizer, tmp_path):
    """Packages, conforms, assembles and proves; the object, its proof, and its file."""

    def make(path, **options):
        one = finalizer(**options)
        made, _ = one.finalize(path)
        assert one.layout is not None
        return one, made, one.download(tmp_path / "made.mp4")

    return make


def decodes(tools, path):
    """Whether all of it decodes without a word."""
    done = subprocess.run(
        [tools.ffmpeg, "-v", "error", "-xerror", "-i", path, "-f", "null", "-"],
        capture_output=True, check=False, timeout=120,
    )  # fmt: skip
    return (done.returncode, done.stderr.decode()) == (0, "")


def heard(tools, path):
    """The first sound of a file, one channel, float32[n], at SAMPLE_RATE from the clock's zero."""
    raw = run(
        tools.ffmpeg, "-v", "error", "-i", str(path), "-map", "0:a:0", "-af",
        "aresample=async=1:first_pts=0", "-ac", "1", "-ar", str(SAMPLE_RATE), "-f", "f32le", "-",
    )  # fmt: skip
    return np.frombuffer(raw, np.float32)


def pitch(sound, at):
    """Hertz of the loudest tone in the beep at a time."""
    begin = int((at + 0.02) * SAMPLE_RATE)
    beep = sound[begin : begin + SAMPLE_RATE // 20]
    spectrum = np.abs(np.fft.rfft(beep * np.hanning(len(beep)), 1 << 16))
    return float(spectrum.argmax()) * SAMPLE_RATE / (1 << 16)


def in_time(times, count, parts=1):
    """Whether one comes with every second: within a picture, and what each seam may cost."""
    return times == pytest.approx([float(n) for n in range(count)], abs=PICTURE + parts * FRAME)


def check_sync(tools, file, count, parts):
    """Flashes, beeps, their pitch, all of them together, and that everything decodes."""
    flashes, beeps = flash_times(tools, file), beep_times(tools, file)
    assert in_time(flashes, count, parts)
    assert in_time(beeps, count, parts)
    assert flashes == pytest.approx(beeps, abs=PICTURE)
    sound = heard(tools, file)
    assert [pitch(sound, at) for at in beeps] == pytest.approx([1000.0] * count, abs=3)
    assert decodes(tools, file)


def made_of(one, number=0):
    """How the tracks of each run of a slice came to be."""
    tables = one.staging.tables(one.receipts[number])
    return [{track.kind: track.made for track in run.tracks} for run in tables.runs]


def entry_of(made, kind=TrackKind.VIDEO):
    """The one sample entry of a track of the movie."""
    return next(
        track.header.sample_entry
        for track in movie_of(made.header).tracks
        if track.header.kind is kind
    )


COPIED = {TrackKind.VIDEO: TrackMade.COPIED, TrackKind.AUDIO: TrackMade.COPIED}
ENCODED = {TrackKind.VIDEO: TrackMade.ENCODED, TrackKind.AUDIO: TrackMade.ENCODED}
MAIN = Part(seconds=6)
CAMERA = Part(size="640x360", fps=25, rate=44_100, channels=1, start=500.0)
PHONE = Part(video="libx265", start=0.0)


@pytest.mark.parametrize("container", ["mpegts", "fmp4"])
@pytest.mark.alike(2)
def test_reconnects_of_another_kind_are_brought_to_the_main_one(
    container, reconnected, finalized, media_tools
):
    path = reconnected(MAIN, CAMERA, PHONE, container=container)
    one, made, file = finalized(path)
    check_sync(media_tools, file, 14, 3)
    seen = made_of(one)
    assert seen == [COPIED, ENCODED, {**COPIED, TrackKind.VIDEO: TrackMade.ENCODED}]
    record = AvcRecord.parse(inner_box(entry_of(made), b"avcC"))
    assert len(record.sps) == len(record.pps) == 2
    assert {(p["width"], p["height"]) for p in sizes_of(media_tools, file)} == {(480, 270)}


def sizes_of(tools, file):
    """Width and height of every decoded picture."""
    told = run(
        tools.ffprobe, "-v", "error", "-select_streams", "v:0", "-show_entries",
        "frame=width,height", "-of", "csv=p=0", str(file),
    ).decode()  # fmt: skip
    return [
        dict(zip(("width", "height"), map(int, line.strip(",").split(",")), strict=True))
        for line in told.split()
    ]


def test_hevc_has_parameter_sets_of_two_encoders(reconnected, finalized, media_tools):
    path = reconnected(Part(seconds=6, video="libx265"), CAMERA, Part(video="libx265", start=70.0))
    one, made, file = finalized(path)
    check_sync(media_tools, file, 14, 3)
    assert made_of(one) == [COPIED, ENCODED, COPIED]
    assert read_sample_entry(entry_of(made)).four_cc == "hvc1"


@pytest.mark.parametrize(
    ("container", "tag"),
    [("mpegts", TAG), ("mpegts", ""), ("fmp4", TAG)],
    ids=["tagged", "untagged", "fmp4"],
)
def test_sound_that_is_absent_is_silent(container, tag, reconnected, finalized, media_tools):
    path = reconnected(
        MAIN,
        Part(sound=None, start=16.0, tag=tag),
        Part(start=20.0, tag=tag),
        container=container,
    )
    one, _, file = finalized(path)
    assert in_time(flash_times(media_tools, file), 14)
    beeps = beep_times(media_tools, file)
    assert beeps == pytest.approx([*range(6), *range(10, 14)], abs=PICTURE + FRAME)
    assert made_of(one)[1] == {
        TrackKind.VIDEO: TrackMade.COPIED, TrackKind.AUDIO: TrackMade.SILENCE
    }  # fmt: skip
    sound = heard(media_tools, file)
    assert np.abs(sound[int(6.2 * SAMPLE_RATE) : int(9.8 * SAMPLE_RATE)]).max() < 0.001
    assert decodes(media_tools, file)


@pytest.mark.parametrize("main", ["libmp3lame", "ac3"])
@pytest.mark.alike(2)
def test_sound_is_brought_to_every_codec(main, reconnected, finalized, media_tools):
    path = reconnected(
        Part(seconds=6, sound=main), Part(rate=44_100, channels=1, start=300.0), Part(sound=None)
    )
    one, _, file = finalized(path)
    assert in_time(flash_times(media_tools, file), 14, 3)
    beeps = beep_times(media_tools, file)
    assert in_time(beeps, 10, 3)
    sound = heard(media_tools, file)
    assert [pitch(sound, at) for at in beeps] == pytest.approx([1000.0] * 10, abs=3)
    assert decodes(media_tools, file)
    assert [run.get(TrackKind.AUDIO) for run in made_of(one)] == [
        TrackMade.COPIED, TrackMade.ENCODED, TrackMade.SILENCE
    ]  # fmt: skip


def test_slices_of_one_odd_period_join(reconnected, finalizer, media_tools, tmp_path):
    """No frame is lost or doubled at a seam, and what is heard is what one encoder makes."""
    path = reconnected(Part(seconds=10), Part(seconds=8, rate=44_100, channels=1, start=16.0))
    found = []
    for seconds in (None, 2.0):
        one = finalizer(slice_seconds=seconds)
        made, _ = one.finalize(path)
        file = one.download(tmp_path / f"{seconds}.mp4")
        found.append((movie_of(made.header).tracks[1], heard(media_tools, file)))
        assert decodes(media_tools, file)
    (whole, all_at_once), (sliced, in_slices) = found
    assert sliced.dts.tolist() == whole.dts.tolist()
    assert len(in_slices) == len(all_at_once)
    assert np.sqrt(np.mean((in_slices - all_at_once) ** 2)) < 0.02
    assert np.abs(in_slices - all_at_once).max() < 0.25


def test_silence_of_several_slices_is_laid_without_a_seam(reconnected, finalizer, media_tools):
    path = reconnected(Part(seconds=10), Part(seconds=8, sound=None, start=16.0))
    times = []
    for seconds in (None, 2.0):
        made, _ = finalizer(slice_seconds=seconds).finalize(path)
        times.append(movie_of(made.header).tracks[1].dts.tolist())
    assert times[0] == times[1]


def test_pictures_of_another_shape_have_black_beside_them(reconnected, finalized, media_tools):
    path = reconnected(MAIN, Part(size="360x270", start=300.0))
    _, _, file = finalized(path)
    columns = run(
        media_tools.ffmpeg, "-v", "error", "-ss", "7.5", "-i", str(file), "-map", "0:v:0",
        "-frames:v", "1", "-vf", "scale=480:1:flags=area,format=gray", "-f", "rawvideo", "-",
    )  # fmt: skip
    luma = np.frombuffer(columns, np.uint8)
    assert luma[:56].max() < 24
    assert luma[-56:].max() < 24
    assert luma[64:-64].mean() > 60


def test_a_transcode_of_runs_that_differ(reconnected, transcoded, media_tools):
    path = reconnected(MAIN, CAMERA, replace(PHONE, sound=None))
    [(_, file)] = transcoded(path, v=small_encoding()).values()
    assert in_time(flash_times(media_tools, file), 14, 3)
    beeps = beep_times(media_tools, file)
    assert in_time(beeps, 10, 3)
    assert decodes(media_tools, file)


def test_sound_of_a_playlist_of_its_own_is_brought_to_the_main_one(
    finalizer, media_tools, tmp_path
):
    folder = tmp_path / "demuxed"
    folder.mkdir()
    parts = [Part(seconds=6), Part(rate=44_100, channels=1, start=16.0)]
    for name, silent, first in (("video", True, 0), ("audio", False, 10)):
        shown = [replace(p, **({"sound": None} if silent else {"size": None})) for p in parts]
        listed = [
            connection(media_tools, each, folder, first + number)
            for number, each in enumerate(shown)
        ]
        media_playlist(folder / f"{name}.m3u8", listed, ("", TAG))
    (folder / "index.m3u8").write_text(
        "#EXTM3U\n"
        '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="main",DEFAULT=YES,URI="audio.m3u8"\n'
        '#EXT-X-STREAM-INF:BANDWIDTH=1000000,AUDIO="a"\nvideo.m3u8\n'
    )
    for seconds in (None, 2.0):
        one = finalizer(slice_seconds=seconds)
        one.finalize(folder / "index.m3u8")
        assert one.layout is not None
        check_sync(media_tools, one.download(tmp_path / f"{seconds}.mp4"), 10, 2)


def test_pixels_keep_the_shape_of_the_main_ones(reconnected, finalized, media_tools):
    """Main pictures of 16:9 in oblong pixels; others come in square ones."""
    oblong = ("-vf", "setsar=4/3")
    path = reconnected(
        Part(seconds=6, size="360x270", options=oblong), Part(size="480x270", start=300.0)
    )
    _, _, file = finalized(path)
    told = run(
        media_tools.ffprobe, "-v", "error", "-select_streams", "v:0", "-show_entries",
        "frame=width,height,sample_aspect_ratio", "-of", "csv=p=0", str(file),
    ).decode()  # fmt: skip
    assert {line.strip(",") for line in told.split()} == {"360,270,4:3"}
    assert decodes(media_tools, file)


#: What encoders say of themselves differently though their pictures are alike.
TOLD = (
    Part(video="libx265", start=100.0, filters="setparams=color_primaries=bt709:color_trc=bt709:"
         "colorspace=bt709"),
    Part(fps=25, start=200.0, filters="setsar=12/11,format=yuv420p"),
    Part(start=300.0, filters="setparams=range=pc:colorspace=smpte170m:color_primaries=smpte170m"),
    Part(start=400.0, options=("-chroma_sample_location", "topleft")),
    Part(start=500.0, options=("-x264-params", "tff=1")),
    Part(video="mpeg2video", start=600.0, fps=25),
)  # fmt: skip


@pytest.mark.parametrize(
    "video", ["libx264", "libx265", pytest.param("mpeg2video", marks=pytest.mark.long)]
)
@pytest.mark.alike(2)
def test_what_odd_runs_say_of_themselves_makes_no_second_description(
    video, reconnected, finalized, media_tools
):
    odd = [replace(part, size="320x180", seconds=2) for part in TOLD]
    path = reconnected(Part(seconds=14, video=video), *odd)
    _, _, file = finalized(path)
    seconds = 14 + 2 * len(odd)
    assert in_time(flash_times(media_tools, file), seconds, 2 + len(odd))
    assert decodes(media_tools, file)
    told = frames(media_tools, file, "color_range,color_space,color_primaries,color_transfer")
    assert len(told - {"tv,unknown,unknown,unknown", "tv,unknown"}) <= 1, told


def test_a_transcode_tells_one_thing_of_all_its_runs(reconnected, transcoded, media_tools):
    odd = [replace(part, size="320x180", seconds=2) for part in TOLD]
    colours = Colours("bt709", "bt709", "bt709")
    path = reconnected(Part(seconds=2), *odd)
    [(_, file)] = transcoded(path, v=small_encoding(colours=colours)).values()
    assert decodes(media_tools, file)
    assert frames(media_tools, file, "color_range,color_space") == {"tv,bt709"}


def frames(tools, file, fields):
    """What is told of the decoded pictures of a file, every answer once."""
    told = run(
        tools.ffprobe, "-v", "error", "-select_streams", "v:0", "-show_entries",
        f"frame={fields}", "-of", "csv=p=0", str(file),
    ).decode()  # fmt: skip
    return {line.strip(",") for line in told.split()}


@pytest.mark.parametrize(
    ("video", "format", "container"),
    [
        ("libx264", "yuv420p10le", "mpegts"),
        ("libx264", "yuv422p10le", "mpegts"),
        ("libx265", "yuv420p10le", "fmp4"),
        ("libvpx-vp9", "yuv420p", "fmp4"),
        ("libvpx-vp9", "yuv420p10le", "fmp4"),
        ("libaom-av1", "yuv420p", "fmp4"),
        ("mpeg2video", "yuv420p", "mpegts"),
        ("mpeg2video", "yuv422p", "mpegts"),
    ],
)
@pytest.mark.alike(2)
def test_main_pictures_of_every_codec_and_format(
    video, format, container, reconnected, finalized, media_tools
):
    path = reconnected(
        Part(seconds=6, video=video, format=format, sound=None),
        Part(size="640x360", fps=25, start=300.0, sound=None),
        container=container,
    )
    one, made, file = finalized(path)
    assert made_of(one) == [
        {TrackKind.VIDEO: TrackMade.COPIED}, {TrackKind.VIDEO: TrackMade.ENCODED}
    ]  # fmt: skip
    assert decodes(media_tools, file)
    [track] = movie_of(made.header).tracks
    assert len(track.dts) == 6 * 30 + 4 * 25
    if video != "libaom-av1":  # which not every ffprobe decodes
        assert in_time(flash_times(media_tools, file), 10, 3)
        assert frames(media_tools, file, "pix_fmt,width,height") == {f"480,270,{format}"}


WHITE = "drawbox=color=white:t=fill"
PQ = "drawbox=color=0xBFBFBF:t=fill,setparams=color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc"


@pytest.mark.parametrize(
    ("main", "odd", "brightness"),
    [
        (Part(seconds=6), Part(video="libx265", format="yuv420p10le", filters=PQ), (200, 256)),
        (Part(seconds=6, format="yuv420p10le", filters=PQ), Part(filters=WHITE), (540, 600)),
    ],
    ids=["hdr-among-sdr", "sdr-among-hdr"],
)
def test_brightness_is_that_of_the_main_pictures(
    main, odd, brightness, reconnected, finalized, media_tools
):
    """1000 cd/m2 are 75 % of PQ, and white; white of an SDR screen is 203 cd/m2 among HDR pictures,
    58 % of PQ (ITU-R BT.2408)."""
    path = reconnected(main, replace(odd, size="640x360", start=300.0))
    _, _, file = finalized(path)
    assert decodes(media_tools, file)
    assert len(frames(media_tools, file, "pix_fmt,color_transfer")) == 1
    white = luma_at(media_tools, file, 7.0, main.format)
    assert brightness[0] < np.median(white) < brightness[1]


def luma_at(tools, file, at, pixel_format="gray"):
    """The luma of the picture that is shown at a time, upright, rows of samples."""
    picture = run(
        tools.ffmpeg, "-v", "error", "-ss", str(at), "-i", str(file), "-map", "0:v:0",
        "-frames:v", "1", "-pix_fmt", pixel_format, "-f", "rawvideo", "-",
    )  # fmt: skip
    told = run(
        tools.ffmpeg, "-v", "error", "-ss", str(at), "-i", str(file), "-map", "0:v:0",
        "-frames:v", "1", "-c:v", "pgm", "-f", "image2pipe", "-",
    ).split(maxsplit=3)  # fmt: skip
    width, height = int(told[1]), int(told[2])
    kind = np.dtype("<u2") if pixel_format.endswith("le") else np.dtype("u1")
    return np.frombuffer(picture, kind)[: width * height].reshape(height, width)


#: The upper half of a picture is white, the lower black.
WHITE_ABOVE = "drawbox=h=ih/2:color=white:t=fill,drawbox=y=ih/2:h=ih/2:color=black:t=fill"


@pytest.mark.parametrize("degrees", [90, 270, 180])
@pytest.mark.alike(3)
def test_pictures_among_turned_ones_are_turned_back(
    degrees, reconnected, finalized, media_tools, tmp_path
):
    """The main ones lie on their side or their head as they are stored; the others stand."""
    stored = {90: "transpose=cclock", 270: "transpose=clock", 180: "hflip,vflip"}[degrees]
    upright = "270x480" if degrees != 180 else "480x270"
    path = reconnected(
        Part(seconds=6, size=upright, filters=f"{WHITE_ABOVE},{stored}"),
        Part(size="360x640", filters=WHITE_ABOVE, start=300.0),
        container="fmp4",
    )
    header = path.parent / "init0.mp4"
    header.write_bytes(turned(header.read_bytes(), degrees))
    _, _, file = finalized(path)
    assert decodes(media_tools, file)
    for at in (1.5, 7.5):
        picture = luma_at(media_tools, file, at)
        assert picture.shape == tuple(map(int, upright.split("x")))[::-1]
        middle = picture[:, picture.shape[1] // 2]
        assert middle[: len(middle) // 2 - 8].min() > 200
        assert middle[len(middle) // 2 + 8 :].max() < 60


def turned(header, degrees):
    """An init section whose pictures are turned clockwise by players."""
    turn = {90: (0, 1, -1, 0), 270: (0, -1, 1, 0), 180: (-1, 0, 0, -1)}[degrees]
    a, b, c, d = (each << 16 for each in turn)
    assert header.count(UNITY_MATRIX) >= 2  # that of the movie, and of each track
    at = header.index(UNITY_MATRIX, header.index(b"tkhd"))
    matrix = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    return header[:at] + matrix + header[at + len(matrix) :]


def test_a_transcode_whose_clock_counts_otherwise_from_a_header_on(
    reconnected, transcoded, media_tools
):
    slow = Part(fps=25, start=300.0, options=("-video_track_timescale", "12800"))
    path = reconnected(
        Part(seconds=6, options=("-video_track_timescale", "30000")), slow, container="fmp4"
    )
    [(_, file)] = transcoded(path, v=small_encoding()).values()
    assert in_time(flash_times(media_tools, file), 10, 2)
    assert decodes(media_tools, file)


def test_another_container_is_no_reason_to_encode_pictures(finalizer, media_tools, tmp_path):
    folder = tmp_path / "recording"
    folder.mkdir()
    parts = [
        connection(media_tools, Part(seconds=4, start=start), folder, number, container)
        for number, (container, start) in enumerate((("mpegts", 10.0), ("fmp4", 500.0)))
    ]
    for each in folder.glob("part*.m3u8"):
        each.unlink()
    media_playlist(folder / "index.m3u8", parts, ["", f'{TAG}\n#EXT-X-MAP:URI="init1.mp4"'])
    one = finalizer()
    _, proof = one.finalize(folder / "index.m3u8")
    assert [(each.copied > 0, each.encoded > 0) for each in proof.tracks] == [
        (True, False),
        (True, True),  # the decoder's configuration is written down in more bytes
    ]
    check_sync(media_tools, one.download(tmp_path / "made.mp4"), 8, 2)
