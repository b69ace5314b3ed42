"""Renditions made in slices: rates, sound, clocks, several at once; and what is refused."""

import itertools
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from pipelines.errors import ErrorCode, ToolError
from pipelines.media import TrackKind
from pipelines.packaged_slice import encode
from pipelines.profile import Encoder, H264Profile
from pipelines.transcoding.transcode import HardwareFailed, RenditionOutput, transcode_slice
from tests.framehash import packets
from tests.media import beep_times, flash_times, picture_numbers, run
from tests.packaging import Transcoder, never_cancelled, nobody, small_encoding
from tests.sample_tables import movie_of

pytestmark = [pytest.mark.s3, pytest.mark.ffmpeg]

TAG = "#EXT-X-DISCONTINUITY"
UNEVEN = "select='mod(n,5)*mod(n,7)'"


def track_of(made, kind):
    return next(t for t in movie_of(made.header).tracks if t.header.kind is kind)


def shown(made, kind=TrackKind.VIDEO):
    """When the samples of a track are shown, seconds of the movie, ascending."""
    track, movie = track_of(made, kind), movie_of(made.header)
    pause = sum(edit.duration for edit in track.header.edits if edit.media_time < 0)
    skipped = next(edit.media_time for edit in track.header.edits if edit.media_time >= 0)
    times = (np.sort(track.pts) - skipped) / track.header.timescale
    return times + pause / movie.header.timescale


@pytest.mark.parametrize(
    ("spec", "rate"),
    [
        ({"fps": "30"}, Fraction(25)),
        ({"fps": "24000/1001", "b_frames": 2}, Fraction(30000, 1001)),
        ({"fps": "60"}, Fraction(30)),
        ({"filters": UNEVEN, "encoder_options": ("-fps_mode", "vfr")}, Fraction(30)),
        ({"fps": "24", "container": "fmp4", "start": 5.0123}, Fraction(25)),
        ({"fps": "30", "b_frames": 2, "start": 95_441.717}, Fraction(25)),
        ({"fps": "30000/1001", "start": 95_441.717}, Fraction(24_000, 1001)),
    ],
    ids=["30-25", "23.98-29.97", "60-30", "vfr-30", "fmp4-24-25", "wrap-30-25", "wrap-29.97-23.98"],
)
def test_a_constant_rate_is_one_grid_over_all_slices(spec, rate, media, media_tools, transcoded):
    path = media.recording(duration=4.0, segment=1.0, gop=24, numbered=True, **spec)
    asked = small_encoding(nominal_rate=rate, constant_rate=True)
    [(whole, whole_file)] = transcoded(path, v=asked).values()
    [(sliced, sliced_file)] = transcoded(path, 1.0, v=asked).values()
    times = shown(sliced)
    assert times.tolist() == shown(whole).tolist()
    assert np.diff(times) == pytest.approx(float(1 / rate), abs=1e-9)
    assert times[-1] + 1 / rate == pytest.approx(4.0, abs=0.1)
    numbers = picture_numbers(media_tools, sliced_file)
    assert numbers == picture_numbers(media_tools, whole_file)
    assert numbers == sorted(numbers)


#: Recordings whose first picture is not on the grid that begins at the clock's zero.
OFF_GRID = {
    "30-30": ({"fps": "30", "start": 50.0123}, Fraction(30), 1),
    "29.97-29.97": (
        {"fps": "30000/1001", "start": 7.0123, "b_frames": 2}, Fraction(30_000, 1001), 1
    ),
    "60-30": ({"fps": "60", "start": 3.0077}, Fraction(30), 2),
    "59.94-29.97": ({"fps": "60000/1001", "start": 3.0077}, Fraction(30_000, 1001), 2),
    "wrap": ({"fps": "30", "start": 95_441.717 + 0.0023}, Fraction(30), 1),
    "23.98-wrap": (
        {"fps": "24000/1001", "start": 95_441.717, "b_frames": 2}, Fraction(24_000, 1001), 1
    ),
    "fmp4": ({"fps": "30", "container": "fmp4", "start": 5.0123}, Fraction(30), 1),
    "fmp4-29.97": (
        {"fps": "30000/1001", "container": "fmp4", "b_frames": 2, "start": 5.0123},
        Fraction(30_000, 1001), 1,
    ),
}  # fmt: skip
#: Of each kind there is another one.
MORE = ("30-30", "59.94-29.97", "23.98-wrap", "fmp4")


@pytest.mark.parametrize(
    ("spec", "rate", "every"),
    [
        pytest.param(*case, id=name, marks=pytest.mark.long if name in MORE else ())
        for name, case in OFF_GRID.items()
    ],
)
def test_pictures_that_have_the_rate_keep_their_times(
    spec, rate, every, media, media_tools, transcoded, finalizer
):
    """Down to a tick, whatever the first one's time is: so sound and pictures stay together."""
    path = media.recording(duration=4.0, segment=1.0, gop=24, numbered=True, **spec)
    copied, _ = finalizer().finalize(path)
    asked = small_encoding(nominal_rate=rate, constant_rate=True)
    [(whole, _)] = transcoded(path, v=asked).values()
    [(sliced, file)] = transcoded(path, 1.0, v=asked).values()
    assert shown(sliced).tolist() == shown(whole).tolist()
    wanted = shown(copied)[::every]
    assert shown(sliced)[: len(wanted)] == pytest.approx(wanted, abs=1 / 90_000)
    assert picture_numbers(media_tools, file)[: len(wanted)] == [
        *range(0, every * len(wanted), every)
    ]
    sound = shown(copied, TrackKind.AUDIO)
    assert shown(sliced, TrackKind.AUDIO) == pytest.approx(sound, abs=1 / 48_000)


@pytest.mark.parametrize(
    "spec",
    [{"start": 50.0123}, {"start": 95_441.717}, {"container": "fmp4", "start": 5.0123}],
    ids=["ts", "wrap", "fmp4"],
)
def test_flashes_and_beeps_stay_together_at_a_constant_rate(
    spec, media, media_tools, transcoded, finalizer, tmp_path
):
    path = media.recording(duration=4.0, segment=1.0, gop=30, **spec)
    one = finalizer()
    one.finalize(path)
    copied = one.download(tmp_path / "copied.mp4")
    asked = small_encoding(nominal_rate=Fraction(30), constant_rate=True)
    [(_, file)] = transcoded(path, 1.0, v=asked).values()
    assert beep_times(media_tools, file) == pytest.approx(beep_times(media_tools, copied), abs=1e-9)
    flashes = flash_times(media_tools, copied)
    assert len(flashes) == 4
    assert flash_times(media_tools, file) == pytest.approx(flashes, abs=0.001)


@pytest.mark.parametrize(
    ("encoder", "implementation"),
    [
        (Encoder.H264, "libx264"),
        (Encoder.HEVC, "libx265"),
        (Encoder.VP9, "libvpx-vp9"),
    ],
)
def test_a_slice_that_is_transcoded_again_is_the_same(encoder, implementation, media, finalizer):
    """Bytes in parts and tables: it may be made anew after others were sent."""
    path = media.recording(duration=4.0, b_frames=2)
    asked = small_encoding(
        encoder=encoder, implementation=implementation, preset="fast", bitrate=100_000
    )
    one = finalizer(slice_seconds=2.0)
    outputs = [RenditionOutput("v", asked, False, one.upload)]
    work = one.slices(one.playlist(path))[1]
    first, again = (
        dict(transcode_slice(work, one.packager, outputs, None, never_cancelled, nobody))["v"]
        for _ in range(2)
    )
    assert len(first.staged) == first.tables.payload_bytes > 20_000
    assert first.staged == again.staged
    assert encode(first.tables) == encode(again.tables)


def test_pictures_at_uneven_times_keep_them(media, media_tools, transcoded, finalizer):
    path = media.recording(
        duration=4.0, segment=1.0, gop=30, numbered=True, filters=UNEVEN,
        encoder_options=("-fps_mode", "vfr"),
    )  # fmt: skip
    copied, _ = finalizer().finalize(path)
    [(sliced, file)] = transcoded(path, 1.0, v=small_encoding()).values()
    assert shown(sliced) == pytest.approx(shown(copied), abs=1e-9)
    assert picture_numbers(media_tools, file) == [n for n in range(120) if n % 5 and n % 7]


@pytest.mark.parametrize(
    ("select", "audio"),
    [("not(mod(n,23))*not(eq(n,46))", "aac"), ("not(mod(n,40))+not(mod(n,57))", None)],
    ids=["far-behind-the-sound", "alone"],
)
def test_slow_pictures_last_until_the_next_and_lack_nothing(
    select, audio, media, transcoded, finalizer
):
    """Encoders look many pictures ahead, while the sound goes on; alone, they pause at seams."""
    path = media.recording(
        duration=18.4, fps="25", gop=1, audio=audio, filters=f"select='{select}'",
        encoder_options=("-fps_mode", "vfr"),
    )  # fmt: skip
    copied, _ = finalizer().finalize(path)
    even = small_encoding(constant_rate=True, nominal_rate=Fraction(25))
    (made, _), (steady, _) = transcoded(path, v=small_encoding(), even=even).values()
    assert shown(made) == pytest.approx(shown(copied), abs=1e-9)
    assert [gap for each in (copied, made, steady) for gap in each.tables.gaps] == []
    assert (made.losses, steady.losses) == ((), ())
    first, second = (track_of(each, TrackKind.VIDEO).header.edits for each in (copied, made))
    assert [edit.duration for edit in first] == [edit.duration for edit in second]


@pytest.mark.parametrize(
    "spec", [{}, {"container": "fmp4"}, {"audio": "ac3", "start": 50.0}], ids=["ts", "fmp4", "ac3"]
)
def test_sound_is_that_of_the_copy_and_in_time(
    spec, media, media_tools, transcoded, finalizer, tmp_path
):
    path = media.recording(b_frames=2, duration=4.0, **spec)
    one = finalizer()
    copied, _ = one.finalize(path)
    original = one.download(tmp_path / "copied.mp4")
    [(sliced, file)] = transcoded(path, 1.0, v=small_encoding()).values()
    assert packets(media_tools, file, "a:0") == packets(media_tools, original, "a:0")
    for kind in (TrackKind.VIDEO, TrackKind.AUDIO):
        assert shown(sliced, kind) == pytest.approx(shown(copied, kind), abs=0.001)


def test_several_renditions_come_out_of_one_run(media, media_tools, transcoded):
    path = media.recording(b_frames=2, numbered=True, duration=4.0)
    made = transcoded(
        path,
        2.0,
        main=small_encoding(bitrate=900_000),
        baseline=small_encoding(profile=H264Profile.BASELINE, width=128, height=72),
        hevc=small_encoding(encoder=Encoder.HEVC, implementation="libx265", profile=None),
        vp9=small_encoding(encoder=Encoder.VP9, implementation="libvpx-vp9", profile=None),
        slow=small_encoding(constant_rate=True, nominal_rate=Fraction(15)),
        intra=small_encoding(gop=0.0),
    )
    for name, (tables, file) in made.items():
        video = track_of(tables, TrackKind.VIDEO)
        numbers = picture_numbers(media_tools, file)
        assert len(numbers) == (60 if name == "slow" else 120)
        if name != "slow":
            assert numbers == list(range(120))
        assert video.header.width == (128 if name == "baseline" else 160)
        assert (video.pts >= video.durations.cumsum() - video.durations).all()
    reordered = {
        name for name, (tables, _) in made.items()
        if (np.diff(track_of(tables, TrackKind.VIDEO).pts) < 0).any()
    }  # fmt: skip
    assert reordered == {"main", "hevc", "slow"}
    assert track_of(made["intra"][0], TrackKind.VIDEO).sync.all()


def test_every_slice_begins_with_a_key_frame(media, transcoded):
    path = media.recording(gop=150, b_frames=2, segment=1.0, split_by_time=True)
    [(sliced, _)] = transcoded(path, 1.0, v=small_encoding(gop=None)).values()
    video = track_of(sliced, TrackKind.VIDEO)
    for seam in sliced.tables.seams[1:]:
        assert video.sync[seam["video"]]


def joined(*recordings):
    """Segments of several recordings, a tag between them."""
    found = []
    for number, path in enumerate(recordings):
        data = [each.read_bytes() for each in sorted(path.parent.glob("*.ts"))]
        found += [(data[0], TAG if number else ""), *((each, "") for each in data[1:])]
    return found


@pytest.mark.parametrize("tagged", [True, False], ids=["tagged", "untagged"])
@pytest.mark.parametrize("rate", [None, Fraction(25)], ids=["source", "25"])
@pytest.mark.alike(2)
def test_a_clock_that_starts_again_loses_nothing(
    tagged, rate, media, media_tools, transcoded, recording_of
):
    """Untagged, the end of the first run looks as if it lay behind its slice: a second attempt."""
    pieces = joined(
        media.recording(b_frames=2, numbered=True, segment=1.0, gop=30, duration=4.0),
        media.recording(  # other bytes: else it would be the same media twice, and kept once
            b_frames=2, numbered=True, segment=1.0, gop=30, duration=3.0,
            encoder_options=("-qp", "18", "-b:a", "64k"),
        ),
    )  # fmt: skip
    path = recording_of(*((data, tag if tagged else "") for data, tag in pieces), seconds=1.0)
    asked = small_encoding(**({"constant_rate": True, "nominal_rate": rate} if rate else {}))
    [(whole, _)] = transcoded(path, v=asked).values()
    [(sliced, file)] = transcoded(path, 2.0 if tagged else 6.0, v=asked).values()
    assert shown(sliced).tolist() == shown(whole).tolist()
    numbers = picture_numbers(media_tools, file)
    if rate is None:
        assert numbers == [*range(120), *range(90)]
    else:
        assert [n for n, _ in itertools.groupby(numbers)].count(0) == 2
        assert len(numbers) == 175


def test_a_hardware_encoder_that_is_not_there_is_told_apart(media, transcoded):
    path = media.recording(duration=2.0)
    with pytest.raises(HardwareFailed, match="h264_nvenc"):
        transcoded(path, v=small_encoding(implementation="h264_nvenc", preset="fast"))


@pytest.fixture
def stand_in(media_tools, tmp_path):
    """Tools whose ffmpeg is a script: ``{ffmpeg}`` in it is the real one."""

    def make(script):
        path = tmp_path / "ffmpeg"
        path.write_text("#!/bin/sh\n" + script.format(ffmpeg=media_tools.ffmpeg))
        path.chmod(0o755)
        return replace(media_tools, ffmpeg=str(path))

    return make


#: Encodes in software what hardware was asked for, and fails at its end.
FAILS_LATE = """
for one; do
  [ "$one" = h264_nvenc ] && one=mpeg4
  set -- "$@" "$one"; shift
done
"{ffmpeg}" "$@"
echo "[h264_nvenc @ 0x1] [error] the GPU fell off the bus" >&2
exit 1
"""


def test_hardware_that_fails_after_its_first_pictures_gives_way_to_software(
    media, s3, stand_in, media_tools
):
    path = media.recording(duration=4.0)
    asked = small_encoding(implementation="h264_nvenc", preset="fast")
    with pytest.raises(HardwareFailed) as caught:
        Transcoder(s3, stand_in(FAILS_LATE), {"v": asked}).transcode(path)
    assert caught.value.code == ErrorCode.FFMPEG_FAILED
    for word in ("h264_nvenc", "slice 0 of v", "fell off the bus"):
        assert word in caught.value.message


def test_an_ffmpeg_that_fails_in_software_names_slice_and_renditions(media, s3, stand_in):
    path = media.recording(duration=4.0)
    tools = stand_in('echo "[error] no memory" >&2; echo over >&2; exit 9\n')
    with pytest.raises(ToolError) as caught:
        Transcoder(s3, tools, {"a": small_encoding(), "b": small_encoding()}, 2.0).transcode(path)
    assert not isinstance(caught.value, HardwareFailed)
    message = "slice 0 of a, b: ffmpeg exited with 9: no memory … over"
    assert caught.value.message == message


@pytest.mark.parametrize("container", ["ts", "fmp4"])
def test_more_renditions_than_one_ffmpeg_makes_come_out_of_several_as_they_would_of_one(
    container, media, finalizer
):
    path = media.recording(duration=4.0, b_frames=2, container=container)
    one = finalizer()
    [work] = one.slices(one.playlist(path))
    asked = small_encoding(width=64, height=36, bitrate=50_000)
    outputs = [RenditionOutput(f"v{n}", asked, False, one.upload) for n in range(9)]
    done = []
    made = dict(transcode_slice(work, one.packager, outputs, None, never_cancelled, done.append))
    assert list(made) == [out.name for out in outputs]
    assert len({each.staged for each in made.values()}) == 1
    assert len({encode(each.tables) for each in made.values()}) == 1
    assert done == sorted(set(done))
    assert done[-1] == work.duration
    assert work.duration / 2 in done


def quality(tools, one, other):
    """PSNR of the luma of two files' pictures, dB, on average."""
    log = run(
        tools.ffmpeg, "-v", "error", "-i", str(one), "-i", str(other), "-lavfi",
        "[0:v]scale=320:180,setpts=N[a];[1:v]setpts=N[b];[a][b]psnr=stats_file=-", "-f", "null", "-",
    ).decode()  # fmt: skip
    values = [float(line.split("psnr_y:")[1].split()[0]) for line in log.splitlines()]
    return np.mean([value for value in values if np.isfinite(value)])


def test_slices_look_as_good_as_the_whole(media, media_tools, transcoded):
    path = media.recording(duration=8.0, segment=2.0)
    source = path.parent / "index.m3u8"
    asked = small_encoding(preset="fast", bitrate=150_000)
    [(_, whole)] = transcoded(path, v=asked).values()
    [(_, sliced)] = transcoded(path, 4.0, v=asked).values()
    assert quality(media_tools, sliced, source) > quality(media_tools, whole, source) - 0.2


ODD_SOUND = ("-c:a", "mp2", "-b:a", "128k")


@pytest.mark.parametrize("start", [0.0, 95_440.5], ids=["start", "wrap"])
def test_sound_that_was_encoded_before_lies_between_pictures(
    start, media, media_tools, transcoded, finalizer, tmp_path
):
    """Pictures that are copied keep every byte; those that are encoded are in time as well."""
    path = media.recording(
        b_frames=2, numbered=True, duration=4.0, start=start, encoder_options=ODD_SOUND
    )
    one = finalizer()
    copied, _ = one.finalize(path)
    original = one.download(tmp_path / "copied.mp4")
    made = transcoded(path, 2.0, encodes_audio=True, web=None, small=small_encoding())
    assert packets(media_tools, made["web"][1], "v:0") == packets(media_tools, original, "v:0")
    assert picture_numbers(media_tools, made["small"][1]) == list(range(120))
    for tables, file in made.values():
        assert track_of(tables, TrackKind.AUDIO).header.four_cc == "mp4a"
        assert beep_times(media_tools, file) == pytest.approx([0, 1, 2, 3], abs=0.03)
        offsets = track_of(tables, TrackKind.AUDIO).offsets
        between = track_of(tables, TrackKind.VIDEO).offsets
        assert between.min() < offsets.max()
        assert offsets.min() < between.max()
        assert shown(tables) == pytest.approx(shown(copied), abs=0.001)
    sounds = [packets(media_tools, file, "a:0") for _, file in made.values()]
    assert sounds[0] == sounds[1]


#: Closed captions of a picture: cc_data of one pair (CEA-608, ANSI/SCTE 128-1, 8.1), as an SEI
#: message of H.264 (user_data_registered_itu_t_t35), behind the access unit delimiter.
CAPTIONS = b"\0\0\0\1\x06\x04\x0e\xb5\0\x31GA94\x03\x41\xff\xfc\x94\x2c\xff\x80"
DELIMITER = b"\0\0\0\1\x09"


@pytest.mark.parametrize("encoder", [(Encoder.H264, "libx264"), (Encoder.HEVC, "libx265")])
def test_captions_in_the_pictures_are_kept(encoder, media_tools, transcoded, tmp_path):
    raw = run(
        media_tools.ffmpeg, "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=160x90:duration=1",
        "-c:v", "libx264", "-preset", "ultrafast", "-bsf:v", "h264_metadata=aud=insert",
        "-f", "h264", "-",
    )  # fmt: skip
    first, *units = raw.split(DELIMITER)
    pictures = [DELIMITER + unit[:1] + CAPTIONS + unit[1:] for unit in units]
    (tmp_path / "raw.h264").write_bytes(first + b"".join(pictures))
    run(
        media_tools.ffmpeg, "-v", "error", "-i", "raw.h264", "-c", "copy", "-f", "hls",
        "-hls_list_size", "0", "index.m3u8", cwd=tmp_path,
    )  # fmt: skip
    (tmp_path / "raw.h264").unlink()
    kind, implementation = encoder
    asked = small_encoding(encoder=kind, implementation=implementation)
    [(_, file)] = transcoded(tmp_path / "index.m3u8", v=asked).values()
    told = run(
        media_tools.ffprobe, "-v", "error", "-select_streams", "v:0", "-show_entries",
        "frame_side_data=side_data_type", "-of", "csv=p=0", str(file),
    ).decode()  # fmt: skip
    assert told.count("A53") == len(pictures) == 25


@pytest.mark.parametrize("seconds", [None, 2.0], ids=["one-slice", "sliced"])
def test_a_constant_rate_tells_where_the_source_has_no_pictures(
    seconds, media, transcoded, finalizer
):
    """The last one is shown again and again there, as in a copy it lasts."""
    holed = ("-fps_mode", "vfr", "-force_key_frames", "expr:gte(t,n_forced*2)")
    lacking = "select='not(between(n,45,90))'"
    path = media.recording(duration=6.0, filters=lacking, encoder_options=holed)
    copied, _ = finalizer().finalize(path)
    asked = small_encoding(constant_rate=True)
    [(made, _)] = transcoded(path, seconds, v=asked).values()
    [gap] = copied.tables.gaps
    assert (gap.track, gap.at) == ("video", pytest.approx(1.5, abs=0.03))
    assert gap.duration == pytest.approx(46 / 30, abs=0.001)
    told = [(each.track, each.at, each.duration, each.done) for each in made.tables.gaps]
    near = [pytest.approx(each, abs=0.001) for each in (gap.at, gap.duration)]
    assert told == [(gap.track, *near, gap.done)]
    assert np.diff(shown(made)) == pytest.approx(1 / 30, abs=1e-4)
