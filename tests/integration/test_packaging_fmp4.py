"""Fragmented MP4 as it is found: damaged, with other headers, of every codec that MP4 carries."""

import json
import subprocess

import pytest

from pipelines.errors import TransientError
from pipelines.loss import LossCause
from pipelines.media import Codec
from pipelines.package import Packager, package_slice
from pipelines.playlist import Variant
from pipelines.transcoding.survey import survey
from tests.media import beep_times, flash_times, run
from tests.packaging import MAX_HOLE, Transcoder, never_cancelled, small_encoding

pytestmark = [pytest.mark.s3, pytest.mark.ffmpeg]

FRAME = 1 / 30


@pytest.fixture
def copied(media, tmp_path):
    """The folder of a fragmented recording that a test may change."""

    def make(**options):
        path = media.recording(container="fmp4", **options)
        folder = tmp_path / f"recording{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        for each in path.parent.iterdir():
            (folder / each.name).write_bytes(each.read_bytes())
        return folder

    return make


def segment(folder, number):
    return sorted(folder.glob("segment*"))[number]


def tables(one, path, final=True):
    """What packaging makes of each slice."""
    playlist = one.playlist(path)
    packager = Packager(one.reader, one.tools.ffmpeg, MAX_HOLE, missing_is_final=final)
    return [
        package_slice(work, packager, one.upload, never_cancelled).tables
        for work in one.slices(playlist)
    ]


def samples(packaged):
    """How many samples were packaged of each kind of track, and the losses and runs."""
    counts = {}
    for each in packaged:
        for made in each.runs:
            for track in made.tracks:
                counts[track.kind] = counts.get(track.kind, 0) + len(track.samples)
    return counts


def losses(packaged):
    return [(loss.sequence, loss.cause, loss.whole) for each in packaged for loss in each.losses]


def begins(packaged):
    return [(made.first_sequence, made.broken) for each in packaged for made in each.runs]


def packets(tools, *files):
    """Packets of each kind of track, as ffprobe counts them in the files joined."""
    joined = b"".join(each.read_bytes() for each in files)
    probe = run_probe(tools, joined)
    return {each["codec_type"]: int(each["nb_read_packets"]) for each in probe["streams"]}


def run_probe(tools, data):
    command = [
        tools.ffprobe, "-v", "error", "-count_packets", "-show_entries",
        "stream=codec_type,codec_name,nb_read_packets", "-of", "json", "pipe:0",
    ]  # fmt: skip
    return json.loads(subprocess.run(command, input=data, capture_output=True, check=True).stdout)


@pytest.mark.parametrize("seconds", [None, 1.0], ids=["one-slice", "many"])
@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize(
    ("damage", "cause"),
    [
        (None, LossCause.SEGMENT_MISSING),
        (b"", LossCause.SEGMENT_EMPTY),
        (b"<html>not found</html>" * 9, LossCause.SEGMENT_UNREADABLE),
    ],
    ids=["missing", "empty", "html"],
)
def test_all_but_a_lost_segment_is_packaged(
    damage, cause, position, seconds, copied, finalizer, media_tools
):
    folder = copied()
    lost = segment(folder, position)
    rest = [each for each in sorted(folder.glob("segment*")) if each != lost]
    expected = packets(media_tools, folder / "init.mp4", *rest)
    if damage is None:
        lost.unlink()
    else:
        lost.write_bytes(damage)
    packaged = tables(finalizer(slice_seconds=seconds), folder / "index.m3u8")
    assert samples(packaged) == expected
    assert losses(packaged) == [(position, cause, True)]
    [loss] = [loss for each in packaged for loss in each.losses]
    assert loss.seconds == pytest.approx(2.0, abs=0.1)
    behind = [broken for number, broken in begins(packaged) if number == position + 1]
    assert behind == ([] if position == 2 else [seconds is None])


def test_a_segment_that_may_still_come_is_waited_for(copied, finalizer):
    folder = copied()
    segment(folder, 2).unlink()
    with pytest.raises(TransientError, match="segment 2 "):
        tables(finalizer(), folder / "index.m3u8", final=False)


def test_a_gap_that_the_playlist_tells_of_is_never_fetched(copied, finalizer):
    folder = copied()
    path = folder / "index.m3u8"
    lines = path.read_text().splitlines()
    lines.insert(lines.index(segment(folder, 1).name), "#EXT-X-GAP")
    path.write_text("\n".join(lines))
    packaged = tables(finalizer(), path, final=False)
    assert losses(packaged) == [(1, LossCause.GAP_TAG, True)]
    assert begins(packaged) == [(0, False), (2, True)]


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.95])
def test_of_a_segment_that_is_cut_off_every_whole_sample_is_kept(
    keep, copied, finalizer, media_tools
):
    folder = copied()
    whole = segment(folder, 1).read_bytes()
    cut = whole[: int(len(whole) * keep)]
    segment(folder, 1).write_bytes(cut)
    one = finalizer()
    packaged = tables(one, folder / "index.m3u8")
    [loss] = packaged[0].losses
    assert (loss.sequence, loss.cause, loss.whole) == (1, LossCause.SEGMENT_DAMAGED, False)
    complete = packets(media_tools, folder / "init.mp4", segment(folder, 0), segment(folder, 2))
    found = samples(packaged)
    assert sum(found.values()) > sum(complete.values())
    assert sum(found.values()) + loss.units == 180 + 283
    assert begins(packaged) == [(0, False), (2, True)]


@pytest.mark.parametrize("seconds", [None, 1.0], ids=["one-slice", "many"])
def test_what_is_left_of_a_damaged_recording_is_at_its_time(
    seconds, copied, finalizer, media_tools, tmp_path
):
    folder = copied(duration=8.0)
    segment(folder, 1).unlink()
    cut = segment(folder, 2)
    cut.write_bytes(cut.read_bytes()[:-400])
    one = finalizer(slice_seconds=seconds)
    one.finalize(folder / "index.m3u8")
    made = one.download(tmp_path / "made.mp4")
    assert run(media_tools.ffmpeg, "-v", "error", "-i", str(made), "-f", "null", "-") == b""
    flashes, beeps = flash_times(media_tools, made), beep_times(media_tools, made)
    assert [each - flashes[0] for each in flashes] == pytest.approx([0, 1, 4, 5, 6, 7], abs=FRAME)
    # The sound of a segment goes a frame further than its pictures: there the next beep sets in.
    away_from_the_gap = [each for each in beeps if not 1.9 < each - beeps[0] < 4.1]
    assert away_from_the_gap == pytest.approx([*flashes[:2], *flashes[3:]], abs=FRAME)
    assert not [each for each in beeps if 2.1 < each - beeps[0] < 3.9]


def test_a_byte_range_beyond_its_object_keeps_what_is_there(
    corpus, finalizer, media_tools, tmp_path
):
    source = corpus / "fmp4-byterange-map"
    folder = tmp_path / "cut"
    folder.mkdir()
    (folder / "output.m3u8").write_bytes((source / "output.m3u8").read_bytes())
    (folder / "output.m4s").write_bytes((source / "output.m4s").read_bytes()[:-1000])
    for seconds in (None, 1.0):
        packaged = tables(finalizer(slice_seconds=seconds), folder / "output.m3u8")
        assert losses(packaged) == [(4, LossCause.SEGMENT_DAMAGED, False)]
        [loss] = [loss for each in packaged for loss in each.losses]
        assert samples(packaged) == {"video": 250 - loss.units}
        assert 0 < loss.units < 10


def test_a_missing_header_costs_its_segments(copied, finalizer):
    folder = copied()
    path = folder / "index.m3u8"
    text = path.read_text()
    last = segment(folder, 2).name
    path.write_text(
        text.replace("#EXT-X-ENDLIST", "").replace(last, f"{last}\n") + "#EXT-X-ENDLIST\n"
    )
    extinf = [line for line in text.splitlines() if line.startswith("#EXTINF")][2]
    path.write_text(
        text.replace(f"{extinf}\n{last}", f'#EXT-X-MAP:URI="gone.mp4"\n{extinf}\n{last}')
    )
    packaged = tables(finalizer(), path)
    assert losses(packaged) == [(2, LossCause.INIT_MISSING, True)]
    assert samples(packaged)["video"] == 120


@pytest.mark.parametrize("tag", ["", "#EXT-X-DISCONTINUITY\n"], ids=["untagged", "tagged"])
def test_headers_that_say_the_same_are_one_configuration(tag, copied, finalizer, media_tools):
    folder = copied()
    (folder / "again.mp4").write_bytes((folder / "init.mp4").read_bytes())
    path = folder / "index.m3u8"
    lines = path.read_text().splitlines()
    at = lines.index(segment(folder, 1).name) - 1
    lines[at:at] = [*filter(None, [tag.strip()]), '#EXT-X-MAP:URI="again.mp4"']
    path.write_text("\n".join(lines))
    one = finalizer()
    _, proof = one.finalize(path)
    assert [track.copied for track in proof.tracks] == [180, 283]


def test_a_survey_passes_over_what_is_lost(copied, finalizer, media_tools):
    folder = copied()
    whole = told(finalizer(), folder / "index.m3u8", media_tools)
    segment(folder, 1).write_bytes(b"")
    segment(folder, 0).unlink()
    assert told(finalizer(), folder / "index.m3u8", media_tools) == whole
    segment(folder, 1).unlink()
    nothing = told(finalizer(), folder / "index.m3u8", media_tools)
    assert (nothing.video, nothing.audio) == (None, ())


def told(one, path, tools):
    playlist = one.playlist(path)
    return survey(
        one.reader, Variant("source", playlist.location, playlists=(playlist,)), tools.ffprobe
    )


PICTURES = {
    "h264": ("libx264", "-preset", "ultrafast", "-bf", "2"),
    "hevc": (
        "libx265",
        "-preset",
        "ultrafast",
        "-tag:v",
        "hvc1",
        "-x265-params",
        "log-level=error",
    ),
    "av1": ("libsvtav1", "-preset", "12", "-svtav1-params", "lp=1"),
    "vp9": ("libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"),
}
SOUNDS = {
    "aac": ("aac",),
    "mp3": ("libmp3lame",),
    "ac3": ("ac3",),
    "eac3": ("eac3",),
    "opus": ("libopus",),
    "flac": ("flac", "-strict", "-2"),
}


@pytest.mark.parametrize(
    ("pictures", "sound"),
    [
        ("av1", "opus"),
        ("vp9", "flac"),
        ("hevc", "ac3"),
        ("h264", "eac3"),
        ("vp9", "mp3"),
        ("av1", "aac"),
    ],
)
def test_every_codec_is_copied_as_it_is(pictures, sound, finalizer, media_tools, tmp_path):
    folder = tmp_path / "recording"
    folder.mkdir()
    run(
        media_tools.ffmpeg, "-v", "error",
        "-f", "lavfi", "-i", "testsrc2=s=160x90:r=15:d=4,format=yuv420p",
        "-f", "lavfi", "-i", "sine=f=440:r=48000:d=4",
        "-c:v", *PICTURES[pictures], "-g", "15", "-keyint_min", "15", "-c:a", *SOUNDS[sound],
        "-f", "hls", "-hls_time", "1", "-hls_list_size", "0", "-hls_segment_type", "fmp4",
        "-hls_segment_filename", "segment%03d.m4s", "index.m3u8",
        cwd=folder,
    )  # fmt: skip
    source = b"".join(
        each.read_bytes() for each in [folder / "init.mp4", *sorted(folder.glob("segment*"))]
    )
    expected = run_probe(media_tools, source)
    one = finalizer(slice_seconds=1.0)
    _, proof = one.finalize(folder / "index.m3u8")
    assert len(one.receipts) > 1
    assert [track.copied for track in proof.tracks] == [
        int(each["nb_read_packets"]) for each in expected["streams"]
    ]
    result = one.download(tmp_path / "made.mp4")
    assert run_probe(media_tools, result.read_bytes()) == expected
    joined = tmp_path / "joined.mp4"
    joined.write_bytes(source)
    assert decoded(media_tools, result) == decoded(media_tools, joined)


def decoded(tools, path):
    """Hashes of every decoded picture and frame of sound, whatever their times are.

    The last frame is left out: whether a shortened one is cut depends on the reader.
    """
    hashes = []
    for stream in ("v", "a"):
        text = run(
            tools.ffmpeg, "-v", "error", "-ignore_editlist", "1", "-i", str(path),
            "-map", f"0:{stream}", "-fps_mode", "passthrough", "-f", "framehash", "-",
        )  # fmt: skip
        lines = (line for line in text.decode().splitlines() if not line.startswith("#"))
        hashes.append([line.rsplit(",", 1)[-1].strip() for line in lines][:-1])
    return hashes


@pytest.mark.parametrize(
    ("case", "entry", "counts"),
    [
        ("cmaf-av1", "v.m3u8", {"video": 250}),
        ("cmaf-av1", "a.m3u8", {"audio": 469}),
        ("fmp4-byterange-map", "output.m3u8", {"video": 250}),
        ("fmp4-late-start-chunk", "hls.m3u8", {"video": 60, "audio": 47}),
        ("fmp4-muxed-single", "output.m3u8", {"video": 250, "audio": 432}),
        ("fmp4-interstitials-daterange", "main.m3u8", None),
        ("ts-hevc-main10", "index.m3u8", {"video": 360}),  # the same segment twice: kept once
    ],
)
def test_found_recordings_are_packaged_whole(
    case, entry, counts, corpus, finalizer, media_tools, tmp_path
):
    [path] = (corpus / case).rglob(entry)
    one = finalizer(slice_seconds=2.0)
    _, proof = one.finalize(path)
    made = one.download(tmp_path / "made.mp4")
    if counts is not None:
        assert {track.codec.kind: track.copied for track in proof.tracks} == counts
    assert run(media_tools.ffmpeg, "-v", "error", "-i", str(made), "-f", "null", "-") == b""
    assert all(track.codec in Codec for track in proof.tracks)


@pytest.mark.parametrize("seconds", [None, 1.0], ids=["one-slice", "many"])
@pytest.mark.parametrize("damage", ["missing", "cut-off", "timeless", "repeated"])
def test_a_transcode_has_the_pictures_that_a_copy_has(
    damage, seconds, copied, finalizer, s3, media_tools
):
    folder = copied(numbered=True, duration=8.0, b_frames=2)
    bent = segment(folder, 1)
    data = bent.read_bytes()
    if damage == "missing":
        bent.unlink()
    else:
        bent.write_bytes(DAMAGES[damage](data))
    copy = tables(finalizer(slice_seconds=seconds), folder / "index.m3u8")
    one = Transcoder(s3, media_tools, {"small": small_encoding()}, seconds)
    one.transcode(folder / "index.m3u8")
    small = one.renditions["small"]
    made = [small.staging.tables(receipt) for receipt in small.receipts]
    assert begins(made) == begins(copy)
    assert losses(made) == losses(copy)
    assert shown(made) == pytest.approx(shown(copy), abs=1e-4)


def without_decode_times(data):
    """Every ``tfdt`` becomes a box that says nothing."""
    return data.replace(b"tfdt", b"free")


DAMAGES = {
    "cut-off": lambda data: data[: len(data) // 2],
    "timeless": without_decode_times,
    "repeated": lambda data: data + data,
}


def shown(packaged):
    """When pictures are shown, in seconds of the source's clock."""
    return sorted(
        float(pts / track.timescale)
        for each in packaged
        for made in each.runs
        for track in made.tracks
        if track.kind == "video"
        for pts in track.samples.pts
    )


@pytest.mark.parametrize("seconds", [None, 1.0], ids=["one-slice", "many"])
def test_pictures_without_their_key_frame_are_in_no_transcode(
    seconds, copied, finalizer, s3, media_tools
):
    folder = copied(gop=300, split_by_time=True, segment=1.0, duration=6.0)
    assert len(list(folder.glob("segment*"))) == 6
    segment(folder, 3).unlink()
    one = Transcoder(s3, media_tools, {"small": small_encoding()}, seconds)
    playlist, sound = one.transcode(folder / "index.m3u8")
    small = one.renditions["small"]
    made = [small.staging.tables(receipt) for receipt in small.receipts]
    assert samples(made)["video"] == 90
    _, proof = small.prove(playlist, one.encodings["small"], sound)
    assert proof.duration == pytest.approx(6.0, abs=0.05)

    copy = finalizer(slice_seconds=seconds)
    packaged = tables(copy, folder / "index.m3u8")
    assert begins(packaged) == begins(made)
    assert (4, True) in begins(packaged)  # also where the slice before lost its only segment
    _, proof = finalizer(slice_seconds=seconds).finalize(folder / "index.m3u8")
    assert [track.copied for track in proof.tracks if track.codec.kind == "video"] == [90]
