"""The survey tells what a recording's first segments hold, from any container, and trusts none."""

import dataclasses
import json
import stat
from fractions import Fraction

import pytest

from pipelines.colours import BT709, Colours
from pipelines.errors import ErrorCode, PermanentError, ToolError
from pipelines.media import Codec
from pipelines.playlist import Encryption, Variant
from pipelines.segment_index import Container
from pipelines.transcoding.source_media import SourceMedia, SourceVideo
from pipelines.transcoding.survey import MOST_SEGMENTS, SEGMENTS, survey
from tests.media import run

pytestmark = [pytest.mark.s3, pytest.mark.ffmpeg]


@pytest.fixture
def surveyed(finalizer, media_tools):
    """The survey of the recording at a path, once it lies in the store."""

    def look(path, ffprobe=media_tools.ffprobe):
        one = finalizer()
        return survey(one.reader, variant_of(one.playlist(path)), ffprobe)

    return look


def variant_of(playlist):
    return Variant("source", playlist.location, playlists=(playlist,))


#: What one encoder of the corpus tells.
MIXED = Colours("smpte170m", "bt709", "smpte170m")


def pictures(width, height, rate, *, codec="h264", pixel_format="yuv420p", **known):
    return SourceVideo(codec, width, height, pixel_format, Fraction(rate), **known)


@pytest.mark.parametrize(
    ("case", "entry", "video", "audio"),
    [
        ("ts-basic-3seg", "tiny.m3u8", pictures(480, 270, 30, colours=MIXED), (Codec.AAC,)),
        ("ts-pts-wrap-33bit", "playlist.m3u8", pictures(640, 360, 24), (Codec.AAC,)),
        (
            "fmp4-muxed-single",
            "output.m3u8",
            pictures(480, 270, Fraction(30720, 1229), colours=MIXED),
            (Codec.AAC,),
        ),
        (
            "fmp4-byterange-map",
            "output.m3u8",
            pictures(480, 270, Fraction(30720, 1229), colours=MIXED),
            (),
        ),
        (
            "fmp4-late-start-chunk",
            "hls.m3u8",
            pictures(1280, 720, Fraction(60000, 1001)),
            (Codec.AAC,),
        ),
        (
            "ts-mp3-bframes-id3",
            "index.m3u8",
            pictures(1280, 720, Fraction(30000, 1001)),
            (Codec.MP3,),
        ),
        ("cmaf-av1", "v.m3u8", pictures(1280, 720, 25, codec="av1"), ()),
        ("cmaf-av1", "a.m3u8", None, (Codec.AAC,)),
        (
            "ts-hevc-main10",
            "index.m3u8",
            pictures(640, 360, 30, codec="hevc", pixel_format="yuv420p10le", colours=BT709),
            (),
        ),
        (
            "ts-audio-only-head-then-av",
            "index.m3u8",
            pictures(480, 270, 30, colours=MIXED),
            (Codec.AAC, Codec.AAC),
        ),
    ],
)
def test_a_found_recording_is_told(case, entry, video, audio, corpus, surveyed):
    [path] = (corpus / case).rglob(entry)
    container = Container.MPEGTS if case.startswith("ts-") else Container.FMP4
    assert surveyed(path) == SourceMedia(video, audio, container)


@pytest.mark.parametrize(
    ("case", "video", "audio"),
    [
        ("ts-odd-size-16x4000", pictures(16, 4000, 30), ()),
        ("ts-portrait-720x1280", pictures(720, 1280, 30), ()),
        ("ts-missing-dts", pictures(1920, 1080, 60), ()),
        (
            "ts-internal-holes-422",
            pictures(1280, 720, Fraction(30000, 1001), pixel_format="yuv422p"),
            (Codec.AAC,),
        ),
        (
            "ts-no-initial-keyframe",
            pictures(640, 352, Fraction(30000, 1001), sample_aspect=Fraction(44, 45)),
            (Codec.AAC,),
        ),
        (
            "ts-mid-pat-pmt",
            pictures(864, 480, Fraction(30000, 1001), sample_aspect=Fraction(80, 81)),
            (Codec.AAC,),
        ),
        (
            "ts-pmt-audio-but-no-packets",
            pictures(388, 300, 15, sample_aspect=Fraction(237, 235)),
            (),
        ),
        ("ts-zero-frame-video", None, (Codec.AAC,)),
        ("ts-non-existing-pps-truncated", None, (Codec.AAC,)),
    ],
)
def test_a_found_segment_is_told(case, video, audio, corpus, surveyed, recording_of):
    [segment] = (corpus / case).glob("*.ts")
    assert surveyed(recording_of((segment.read_bytes(), ""))) == SourceMedia(video, audio)


HLG = "transfer=arib-std-b67:colorprim=bt2020:colormatrix=bt2020nc"


@pytest.mark.parametrize("container", ["ts", "fmp4"])
@pytest.mark.parametrize(
    ("options", "known"),
    [
        (("-vf", "setsar=64/45"), {"sample_aspect": Fraction(64, 45)}),
        (("-x264-params", "tff=1"), {"interlaced": True}),
        (
            ("-pix_fmt", "yuv420p10le", "-x264-params", HLG),
            {
                "pixel_format": "yuv420p10le",
                "colours": Colours("bt2020", "arib-std-b67", "bt2020nc"),
            },
        ),
        (("-pix_fmt", "yuv444p"), {"pixel_format": "yuv444p"}),
    ],
    ids=["aspect", "interlaced", "hlg", "444"],
)
def test_what_a_plan_must_know_of_pictures_is_told(options, known, container, media, surveyed):
    recording = media.recording(
        duration=2.0, container=container, encoder_options=options, audio=None
    )
    seen = surveyed(recording)
    wrapped = Container.FMP4 if container == "fmp4" else Container.MPEGTS
    assert seen == SourceMedia(pictures(320, 180, 30, **known), (), wrapped)
    assert seen.video.hdr is ("colours" in known)


def test_mpeg_2_and_its_sound_are_told(media, surveyed):
    fields = ("-c:v", "mpeg2video", "-flags", "+ildct+ilme", "-r", "25")
    seen = surveyed(media.recording(duration=2.0, encoder_options=(*fields, "-c:a", "mp2")))
    assert (seen.video.codec, seen.video.interlaced, seen.video.frame_rate) == (
        "mpeg2video", True, 25,
    )  # fmt: skip
    assert seen.audio == (Codec.MP2,)


def test_pictures_that_become_interlaced_are_told(media, surveyed, recording_of):
    progressive = media.recording(duration=0.5, audio=None)
    interlaced = media.recording(
        duration=1.0, audio=None, start=0.5, encoder_options=("-x264-params", "tff=1")
    )
    [first], [second] = (path.parent.glob("*.ts") for path in (progressive, interlaced))
    whole = recording_of((first.read_bytes() + second.read_bytes(), ""))
    assert surveyed(whole).video.interlaced is True
    assert surveyed(progressive).video.interlaced is False


@pytest.mark.parametrize(("counter_clockwise", "clockwise"), [(-90, 90), (90, 270), (180, 180)])
def test_a_rotation_is_told_clockwise(
    counter_clockwise, clockwise, media, media_tools, surveyed, tmp_path
):
    whole, made = tmp_path / "whole.mp4", tmp_path / "made"
    made.mkdir()
    recording = media.recording(duration=2.0, container="fmp4", audio=None)
    copied = ("-c", "copy", "-y")
    run(media_tools.ffmpeg, "-v", "error", "-i", str(recording), *copied, str(whole))
    turned = ("-display_rotation", str(counter_clockwise), "-i", str(whole), *copied)
    fragmented = ("-f", "hls", "-hls_segment_type", "fmp4", "-hls_playlist_type", "vod")
    run(media_tools.ffmpeg, "-v", "error", *turned, *fragmented, "index.m3u8", cwd=made)
    assert surveyed(made / "index.m3u8").video.rotation == clockwise


def late(media, tmp_path, delayed, seconds, container="ts", sound="aac"):
    """A recording of 14 s in segments of 2 s, whose track ``delayed`` begins after ``seconds``."""
    pictures = ("-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30:duration=14")
    inputs = (*pictures, "-f", "lavfi", "-i", "sine=duration=14")
    filters = (f"-filter:{delayed}", f"{'a' * (delayed == 'a')}trim=start={seconds}")
    key_frames = ("-force_key_frames", "expr:gte(t,n_forced)")
    encoders = ("-c:v", "libx264", "-preset", "ultrafast", *key_frames, "-c:a", sound)
    made = (*inputs, *filters, *encoders, "-max_interleave_delta", "0", "-f")
    if container == "fmp4":
        made += ("hls", "-hls_time", "2", "-hls_list_size", "0", "-hls_segment_type", "fmp4")
        run(media.tools.ffmpeg, "-v", "error", *made, "index.m3u8", cwd=tmp_path)
        return tmp_path / "index.m3u8"
    cut = ("-segment_time", "2", "-reference_stream", "a" if delayed == "v" else "v")
    run(media.tools.ffmpeg, "-v", "error", *made, "segment", *cut, "%05d.ts", cwd=tmp_path)
    names = sorted(each.name for each in tmp_path.glob("*.ts"))
    assert 6 <= len(names) <= 8
    return listed(tmp_path, names)


def listed(folder, names):
    """A playlist of some of the files in a folder, 2 s each."""
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:2"]
    for name in names:
        lines += ["#EXTINF:2,", name]
    (folder / "index.m3u8").write_text("\n".join([*lines, "#EXT-X-ENDLIST", ""]))
    return folder / "index.m3u8"


@pytest.mark.parametrize("container", ["ts", "fmp4"])
def test_pictures_that_begin_long_after_sound_are_told(container, media, surveyed, tmp_path):
    seen = surveyed(late(media, tmp_path, "v", 9, container))
    assert (seen.video.width, seen.video.frame_rate, seen.audio) == (320, 30, (Codec.AAC,))


@pytest.mark.parametrize("container", ["ts", "fmp4"])
def test_sound_that_begins_after_pictures_is_told_by_its_frames(
    container, media, surveyed, tmp_path
):
    seen = surveyed(late(media, tmp_path, "a", 5, container, sound="mp2"))
    assert (seen.video.width, seen.audio) == (320, (Codec.MP2,))


def test_pictures_whose_tables_lie_segments_before_are_told(media, surveyed, tmp_path):
    path = late(media, tmp_path, "v", 5)
    names = sorted(each.name for each in tmp_path.glob("*.ts"))
    for name in names[1:]:
        data = (tmp_path / name).read_bytes()
        packets = [data[at : at + 188] for at in range(0, len(data), 188)]
        untold = [each for each in packets if each[1] << 8 & 0x1F00 | each[2] in (256, 257)]
        (tmp_path / name).write_bytes(b"".join(untold))
    assert surveyed(path).video.width == 320


def test_what_begins_beyond_the_bounds_counts_as_absent(media, surveyed, tmp_path):
    late(media, tmp_path, "v", 9)
    names = sorted(each.name for each in tmp_path.glob("*.ts"))
    seen = surveyed(listed(tmp_path, [names[0]] * (SEGMENTS - 4) + names))
    assert seen == SourceMedia(None, (Codec.AAC,))
    assert surveyed(listed(tmp_path, [names[0]] * (SEGMENTS - 5) + names)).video is not None


def test_a_gop_that_begins_before_the_first_segment_is_waited_for(media, surveyed, recording_of):
    path = media.recording(duration=6.0, gop=90, segment=1.0, split_by_time=True, audio=None)
    segments = [each.read_bytes() for each in sorted(path.parent.glob("*.ts"))]
    seen = surveyed(recording_of(*((each, "") for each in segments[1:])))
    assert (seen.video.width, seen.video.frame_rate) == (320, 30)


@pytest.mark.parametrize("data", [b"", b"<html>" * 900, b"ID3" + bytes(5000)])
def test_what_is_no_media_is_left_to_packaging_to_name(data, surveyed, recording_of):
    assert surveyed(recording_of((data, ""), (data, ""))) == SourceMedia(None, ())


def test_a_damaged_fragment_is_left_to_packaging_to_name(media, surveyed, tmp_path):
    folder = copied(media.recording(container="fmp4"), tmp_path)
    sorted(folder.glob("segment*"))[0].write_bytes(bytes(3000))
    seen = surveyed(folder / "index.m3u8")
    assert (seen.video.width, seen.audio) == (320, (Codec.AAC,))


def test_a_segment_that_is_missing_is_passed_over(media, surveyed, tmp_path):
    path = media.recording()
    folder = copied(path, tmp_path)
    (folder / "segment00000.ts").unlink()
    assert surveyed(folder / "index.m3u8") == surveyed(path)


@pytest.mark.parametrize("section", [None, b"", bytes(100)], ids=["missing", "empty", "damaged"])
def test_without_its_header_fragmented_mp4_holds_nothing(section, media, surveyed, tmp_path):
    folder = copied(media.recording(container="fmp4"), tmp_path)
    (folder / "init.mp4").unlink()
    if section is not None:
        (folder / "init.mp4").write_bytes(section)
    assert surveyed(folder / "index.m3u8") == SourceMedia(None, (), Container.FMP4)


def test_a_protected_track_is_refused_though_its_playlist_names_no_key(corpus, surveyed, tmp_path):
    folder = copied(corpus / "fmp4-sample-aes-ctr-refuse" / "index.m3u8", tmp_path)
    lines = (folder / "index.m3u8").read_text().splitlines(keepends=True)
    unlocked = [line for line in lines if not line.startswith("#EXT-X-KEY")]
    (folder / "index.m3u8").write_text("".join(unlocked))
    with pytest.raises(PermanentError) as refused:
        surveyed(folder / "index.m3u8")
    assert refused.value.code is ErrorCode.ENCRYPTION_UNSUPPORTED


def test_an_encrypted_variant_without_its_key_holds_nothing(media, finalizer, media_tools):
    one = finalizer()
    playlist = one.playlist(media.recording())
    key = Encryption("AES-128", playlist.location.folder.child("key"))
    segments = tuple(dataclasses.replace(each, encryption=key) for each in playlist.segments)
    locked = dataclasses.replace(playlist, segments=segments)
    seen = survey(one.reader, variant_of(locked), media_tools.ffprobe)
    assert seen == SourceMedia(None, (), Container.MPEGTS)


@pytest.mark.parametrize(
    ("size", "seen"), [((16_384, 16), True), ((16_385, 16), False), ((16, 16_385), False)]
)
def test_pictures_larger_than_any_screen_are_none(size, seen, media, surveyed, tmp_path):
    teller = tmp_path / "ffprobe"
    stream = json.dumps({"codec_name": "h264", "width": size[0], "height": size[1]})
    teller.write_text(f"#!/bin/sh\ncat >/dev/null; echo '{{\"streams\": [{stream}]}}'\n")
    teller.chmod(teller.stat().st_mode | stat.S_IXUSR)
    assert (surveyed(media.recording(), ffprobe=str(teller)).video is not None) == seen


@pytest.mark.parametrize(
    "script", ["exit 3", "cat >/dev/null; echo '{\"streams\": 1}'", "kill -9 $$"]
)
def test_an_ffprobe_that_does_not_answer_is_no_silent_recording(script, media, surveyed, tmp_path):
    broken = tmp_path / "ffprobe"
    broken.write_text(f"#!/bin/sh\n{script}\n")
    broken.chmod(broken.stat().st_mode | stat.S_IXUSR)
    with pytest.raises(ToolError) as failed:
        surveyed(media.recording(), ffprobe=str(broken))
    assert failed.value.code is ErrorCode.FFMPEG_FAILED


def copied(path, folder):
    """The files of a recording in a folder of the test's own, shared ones untouched."""
    for each in path.parent.iterdir():
        (folder / each.name).write_bytes(each.read_bytes())
    return folder


def test_a_window_whose_first_segments_are_gone_tells_what_it_lists_now(
    finalizer, media, media_tools
):
    one = finalizer()
    playlist = one.playlist(media.recording(duration=4.0))
    [first, *_] = playlist.segments
    gone = [
        dataclasses.replace(
            first, location=playlist.location.folder.child(f"gone{n}.ts"), slid=True
        )
        for n in range(MOST_SEGMENTS + 1)
    ]
    slid = dataclasses.replace(playlist, segments=(*gone, *playlist.segments))
    found = survey(one.reader, variant_of(slid), media_tools.ffprobe)
    assert found == survey(one.reader, variant_of(playlist), media_tools.ffprobe)
    assert found.video is not None
