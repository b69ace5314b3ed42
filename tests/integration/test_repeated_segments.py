"""Segments that come twice are shown once: copied and transcoded alike, also where slices join."""

import pytest

from pipelines.repair import RepairKind
from tests.media import picture_numbers
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


@pytest.mark.parametrize("audio", ["aac", None])
def test_a_segment_that_begins_with_the_one_before_shows_it_once(
    audio, media, media_tools, recording_of, s3, tmp_path
):
    path = media.recording(**{**SPEC, "audio": audio, "gop": 20})
    data = [each.read_bytes() for each in sorted(path.parent.glob("*.ts"))]
    data[3] = data[2] + data[3]
    one = Transcoder(s3, media_tools, {"encoded": small_encoding(gop=2.0)})
    path = recording_of(*((each, "") for each in data), seconds=1.0)
    found, proof = one.finalize(path)["encoded"]
    assert (proof.tracks[0].encoded, proof.tracks[0].repeated) == (180, 30)
    assert {each.kind for each in found.repairs} == {RepairKind.DUPLICATE}
    assert found.tables.gaps == []
    assert len(found.tables.periods) == 1
    file = one.renditions["encoded"].download(tmp_path / "made.mp4")
    assert picture_numbers(media_tools, file) == list(range(180))
