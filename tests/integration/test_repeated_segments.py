"""Segments that come twice are shown once: copied and transcoded alike, also where slices join."""

import numpy as np
import pytest

from pipelines.repair import RepairKind
from scripts.flash_and_beep import watch
from tests.media import picture_numbers, run
from tests.packaging import Finalizer, Transcoder, small_encoding

pytestmark = [pytest.mark.s3, pytest.mark.ffmpeg]

#: Key frames lie anywhere in the segments: what follows a repeated one needs what came before it.
SPEC = {
    "duration": 6.0, "segment": 1.0, "gop": 45, "split_by_time": True, "numbered": True,
    "audio": None, "size": "160x90",
}  # fmt: skip


def repeating(path, *positions, folder):
    """A copy of a recording that has some of its segments twice, the second time as ``again``."""
    lines, at = [], 0
    for each in path.parent.iterdir():
        (folder / each.name).write_bytes(each.read_bytes())
    for line in path.read_text().splitlines():
        lines.append(line)
        if line and not line.startswith("#"):
            if at in positions:
                again = f"again{line}"
                (folder / again).write_bytes((path.parent / line).read_bytes())
                lines += [lines[-2], again]
            at += 1
    (folder / path.name).write_text("\n".join([*lines, ""]))
    return folder / path.name


@pytest.mark.parametrize("container", ["ts", "fmp4"])
@pytest.mark.parametrize("seconds", [None, 2.0], ids=["one-slice", "three"])
def test_a_segment_that_comes_twice_is_shown_once(
    seconds, container, media, media_tools, s3, tmp_path
):
    """The second and the fourth one: with slices of two seconds, one of them begins a slice."""
    folder = tmp_path / "source"
    folder.mkdir()
    path = repeating(media.recording(**SPEC, container=container), 1, 3, folder=folder)
    copying = Finalizer(s3, media_tools, slice_seconds=seconds)
    made = {"copied": copying.finalize(path)}
    one = Transcoder(s3, media_tools, {"encoded": small_encoding(gop=2.0)}, seconds)
    made |= one.finalize(path)
    for name, (found, proof) in made.items():
        [pictures] = proof.tracks
        source = pictures.copied + pictures.encoded
        assert (source, pictures.repeated, pictures.expected) == (180, 60, 240)
        assert {(each.kind, each.units) for each in found.repairs} == {(RepairKind.DUPLICATE, 30)}
        assert found.tables.gaps == []
        assert len(found.tables.periods) == 1
        rendition = one.renditions.get(name, copying)
        file = rendition.download(tmp_path / f"{name}.mp4")
        assert picture_numbers(media_tools, file) == list(range(180))


def cut_anywhere(path, *, folder):
    """A recording of one file, cut into six at any packet; the second and the fourth come twice."""
    [file] = path.parent.glob("*.ts")
    data = file.read_bytes()
    bounds = [188 * (len(data) // 188 * n // 6) for n in range(7)]
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:1"]
    for at, part in enumerate((0, 1, 1, 2, 3, 3, 4, 5)):
        (folder / f"{at}.ts").write_bytes(data[bounds[part] : bounds[part + 1]])
        lines += ["#EXTINF:1,", f"{at}.ts"]
    (folder / "index.m3u8").write_text("\n".join([*lines, "#EXT-X-ENDLIST", ""]))
    return folder / "index.m3u8"


def decoded(tools, path):
    """A hash of all pictures of a file."""
    options = "-map", "0:v", "-fps_mode", "passthrough", "-f", "md5", "-"
    return run(tools.ffmpeg, "-v", "error", "-i", str(path), *options)


@pytest.mark.parametrize("seconds", [1.0, 2.0], ids=["each-a-slice", "two"])
def test_what_goes_on_with_a_segment_may_lie_behind_its_repetition(
    seconds, media, media_tools, s3, tmp_path
):
    """Units go on from one into another, slices join before and behind those that come twice."""
    folder = tmp_path / "source"
    folder.mkdir()
    path = media.recording(duration=6.0, segment=60.0, gop=30, audio="aac", size="256x144")
    one = Finalizer(s3, media_tools, slice_seconds=seconds)
    found, proof = one.finalize(cut_anywhere(path, folder=folder))
    assert [each.copied == each.expected - each.repeated for each in proof.tracks] == [True, True]
    assert [proof.tracks[0].copied, found.losses, found.tables.gaps] == [180, (), []]
    [source] = path.parent.glob("*.ts")
    made = one.download(tmp_path / "made.mp4")
    assert decoded(media_tools, made) == decoded(media_tools, source)


def overlapping(path, *, folder):
    """A copy of a recording whose fourth segment begins with all of the third."""
    for each in path.parent.iterdir():
        (folder / each.name).write_bytes(each.read_bytes())
    listed = [line for line in path.read_text().splitlines() if line and line[0] != "#"]
    third, fourth = (folder / name for name in listed[2:4])
    fourth.write_bytes(third.read_bytes() + fourth.read_bytes())
    return folder / path.name


@pytest.mark.parametrize(
    ("container", "audio", "seconds"),
    [
        ("ts", "aac", None),
        ("ts", None, None),
        ("ts", "aac", 3.0),
        ("fmp4", "aac", None),
        ("fmp4", "aac", 3.0),
    ],
)
def test_a_segment_that_begins_with_the_one_before_shows_it_once(
    container, audio, seconds, media, media_tools, s3, tmp_path
):
    """The fourth one: with slices of three seconds it begins a slice."""
    folder = tmp_path / "source"
    folder.mkdir()
    spec = {**SPEC, "audio": audio, "gop": 20, "container": container}
    path = overlapping(media.recording(**spec), folder=folder)
    one = Transcoder(s3, media_tools, {"encoded": small_encoding(gop=2.0)}, seconds)
    found, proof = one.finalize(path)["encoded"]
    assert (proof.tracks[0].encoded, proof.tracks[0].repeated) == (180, 30)
    assert {each.kind for each in found.repairs} == {RepairKind.DUPLICATE}
    assert found.tables.gaps == []
    assert len(found.tables.periods) == 1
    file = one.renditions["encoded"].download(tmp_path / "made.mp4")
    assert picture_numbers(media_tools, file) == list(range(180))


@pytest.mark.parametrize("encoding", [None, small_encoding(gop=2.0)], ids=["copied", "encoded"])
@pytest.mark.parametrize("seconds", [None, 3.0], ids=["one-slice", "two"])
def test_sound_that_is_encoded_anew_is_heard_once_where_a_segment_begins_with_the_one_before(
    seconds, encoding, media, media_tools, s3, tmp_path
):
    """Beside pictures that are copied, and that are encoded: with two slices one begins with it."""
    folder = tmp_path / "source"
    folder.mkdir()
    spec = {**SPEC, "audio": "aac", "encoder_options": ("-c:a", "mp2"), "gop": 20}
    path = overlapping(media.recording(**spec), folder=folder)
    one = Transcoder(s3, media_tools, {"made": encoding}, seconds, encodes_audio=True)
    found, _ = one.finalize(path)["made"]
    assert {each.kind for each in found.repairs} == {RepairKind.DUPLICATE}
    assert found.tables.gaps == []
    assert len(found.tables.periods) == 1
    file = one.renditions["made"].download(tmp_path / "made.mp4")
    assert picture_numbers(media_tools, file) == list(range(180))
    showing = watch(media_tools, file)
    begin = showing.pictures[0]
    assert showing.pictures - begin == pytest.approx(np.arange(180) / 30, abs=0.001)
    assert np.array(showing.beeps) - begin == pytest.approx(np.arange(6), abs=1 / 30)


def test_pictures_behind_repeated_ones_without_a_key_frame_are_told_as_lost(
    media, media_tools, s3, tmp_path
):
    """Of the group of pictures 50 to 99 the fourth segment has all but the first ten."""
    folder = tmp_path / "source"
    folder.mkdir()
    path = overlapping(media.recording(**{**SPEC, "gop": 50}), folder=folder)
    one = Transcoder(s3, media_tools, {"encoded": small_encoding(gop=2.0)}, 3.0)
    found, proof = one.finalize(path)["encoded"]
    assert (proof.tracks[0].encoded, proof.tracks[0].repeated) == (170, 30)
    assert [(each.sequence, each.units) for each in found.losses] == [(3, 10)]
    file = one.renditions["encoded"].download(tmp_path / "made.mp4")
    assert picture_numbers(media_tools, file) == [*range(90), *range(100, 180)]


@pytest.mark.parametrize("container", ["ts", "fmp4"])
def test_a_loop_whose_clock_on_the_wall_goes_on_is_shown_each_time(
    container, media, media_tools, s3, tmp_path
):
    """Two segments over and over: the times of their samples are the same, those of day are not."""
    path = media.recording(**{**SPEC, "duration": 2.0, "gop": 30}, container=container)
    folder = tmp_path / "source"
    folder.mkdir()
    for each in path.parent.iterdir():
        (folder / each.name).write_bytes(each.read_bytes())
    head, *listed = path.read_text().replace("#EXT-X-ENDLIST\n", "").split("#EXTINF")
    times = (f"#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:{second:02}Z\n" for second in range(6))
    again = (f"{time}#EXTINF{each}" for time, each in zip(times, 3 * listed, strict=True))
    (folder / path.name).write_text("".join([head, *again, "#EXT-X-ENDLIST\n"]))
    copying = Finalizer(s3, media_tools)
    made = {"copied": copying.finalize(folder / path.name)}
    one = Transcoder(s3, media_tools, {"encoded": small_encoding(gop=2.0)})
    made |= one.finalize(folder / path.name)
    for name, (found, _) in made.items():
        assert (found.repairs, found.tables.gaps) == ((), [])
        assert [round(period.start, 2) for period in found.tables.periods] == [0.0, 2.0, 4.0]
        file = one.renditions.get(name, copying).download(tmp_path / f"{name}.mp4")
        assert picture_numbers(media_tools, file) == 3 * list(range(60))


@pytest.mark.parametrize("order", ["half-first", "whole-first"])
@pytest.mark.parametrize("container", ["ts", "fmp4"])
def test_of_an_upload_that_broke_off_and_the_whole_segment_nothing_is_lost(
    order, container, media, media_tools, s3, tmp_path
):
    folder = tmp_path / "source"
    folder.mkdir()
    spec = {**SPEC, "duration": 4.0, "gop": 30, "audio": "aac", "container": container}
    path = repeating(media.recording(**spec), 2, folder=folder)
    [again] = folder.glob("again*")
    half = again if order == "whole-first" else folder / again.name.removeprefix("again")
    half.write_bytes(half.read_bytes()[: half.stat().st_size // 2])
    copying = Finalizer(s3, media_tools)
    made = {"copied": copying.finalize(path)}
    one = Transcoder(s3, media_tools, {"encoded": small_encoding(gop=2.0)})
    made |= one.finalize(path)
    for name, (found, _) in made.items():
        assert (found.losses, found.tables.gaps, len(found.tables.periods)) == ((), [], 1)
        file = one.renditions.get(name, copying).download(tmp_path / f"{name}.mp4")
        assert picture_numbers(media_tools, file) == list(range(120))
