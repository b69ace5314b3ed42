"""What cannot be packaged truly is refused with its code, and nothing is published."""

import dataclasses
import shlex

import pytest

from pipelines.errors import ErrorCode, PermanentError, ToolError
from pipelines.mp4.movie_reader import top_level_boxes
from pipelines.store_errors import ObjectMissing
from tests.media import run

pytestmark = [pytest.mark.s3, pytest.mark.ffmpeg]

TS_PACKET = 188


def segments(path):
    return [each.read_bytes() for each in sorted(path.parent.glob("segment*"))]


def refusal(finalizer, path, seconds=None):
    """The error of a recording, once nothing of it is published or left open."""
    one = finalizer(slice_seconds=seconds)
    with pytest.raises(PermanentError) as caught:
        one.finalize(path)
    with pytest.raises(ObjectMissing):
        one.store.head(one.output)
    assert one.store.open_uploads(one.output) == ()
    assert "?" not in caught.value.message
    return caught.value


def scrambled(data):
    """Every packet of the media PIDs marked as scrambled (ISO/IEC 13818-1, 2.4.3.2)."""
    packets = bytearray(data)
    for at in range(0, len(packets), TS_PACKET):
        if packets[at + 1] & 0x1F == 1:  # PIDs 0x100 and up
            packets[at + 3] |= 0xC0
    return bytes(packets)


DAMAGE = {
    "empty": (lambda data: b"", ErrorCode.SEGMENT_DAMAGED),
    "garbage": (lambda data: b"<html>" * 900, ErrorCode.SEGMENT_DAMAGED),
    "cut-in-a-packet": (lambda data: data[: len(data) // 2 // 188 * 188 + 50],
                        ErrorCode.SEGMENT_DAMAGED),
    "packets-lost": (lambda data: data[:18_800] + data[37_600:], ErrorCode.SEGMENT_DAMAGED),
    "scrambled": (scrambled, ErrorCode.ENCRYPTION_UNSUPPORTED),
}  # fmt: skip


@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize("seconds", [None, 1.0], ids=["one-slice", "many"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_segment_is_refused_wherever_it_lies(
    damage, position, seconds, media, finalizer, recording_of
):
    bend, code = DAMAGE[damage]
    data = segments(media.recording())
    data[position] = bend(data[position])
    error = refusal(finalizer, recording_of(*((each, "") for each in data)), seconds)
    assert error.code == code
    assert f"segment {position} " in error.message


@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize("container", ["ts", "fmp4"])
def test_a_listed_segment_that_is_not_there_is_refused(
    position, container, media, finalizer, tmp_path
):
    folder = copied(media.recording(container=container), tmp_path)
    sorted(folder.glob("segment*"))[position].unlink()
    for seconds in (None, 1.0):
        error = refusal(finalizer, folder / "index.m3u8", seconds)
        assert error.code == ErrorCode.SEGMENT_MISSING
        assert f"segment {position} " in error.message


def test_a_missing_initialization_section_is_refused(media, finalizer, tmp_path):
    folder = copied(media.recording(container="fmp4"), tmp_path)
    (folder / "init.mp4").unlink()
    error = refusal(finalizer, folder / "index.m3u8")
    assert error.code == ErrorCode.SEGMENT_MISSING
    assert "init.mp4" in error.message


@pytest.mark.parametrize("keep", [0, 60, 3000])
def test_a_fragment_cut_short_is_refused(keep, media, finalizer, tmp_path):
    folder = copied(media.recording(container="fmp4"), tmp_path)
    second = sorted(folder.glob("segment*"))[1]
    second.write_bytes(second.read_bytes()[:keep])
    error = refusal(finalizer, folder / "index.m3u8", 1.0)
    assert error.code == ErrorCode.SEGMENT_DAMAGED
    assert "segment 1 " in error.message


def test_a_byte_range_beyond_its_object_is_refused(corpus, finalizer, tmp_path):
    folder = copied(corpus / "fmp4-byterange-map" / "output.m3u8", tmp_path)
    [media_file] = [each for each in folder.iterdir() if each.suffix != ".m3u8"]
    media_file.write_bytes(media_file.read_bytes()[:-1000])
    for seconds in (None, 1.0):
        assert refusal(finalizer, folder / "output.m3u8", seconds).code == ErrorCode.SEGMENT_DAMAGED


@pytest.mark.parametrize("seconds", [None, 1.0], ids=["one-slice", "many"])
@pytest.mark.parametrize("tag", ["", "#EXT-X-DISCONTINUITY"], ids=["untagged", "tagged"])
@pytest.mark.parametrize(
    "other",
    [{"size": "256x144"}, {"encoder_options": ("-ar", "44100")}, {"video": "hevc"}],
    ids=["size", "sample-rate", "codec"],
)
def test_another_configuration_is_refused(other, tag, seconds, media, finalizer, recording_of):
    data = segments(media.recording())
    second = segments(media.recording(**other))[1]
    path = recording_of((data[0], ""), (second, tag), (data[2], ""))
    assert refusal(finalizer, path, seconds).code == ErrorCode.CONFIGURATION_CHANGED


@pytest.mark.parametrize("seconds", [None, 1.0], ids=["one-slice", "many"])
def test_a_hole_in_the_sound_is_refused(seconds, media, finalizer, recording_of):
    data = segments(media.recording())
    error = refusal(finalizer, recording_of((data[0], ""), (data[2], "")), seconds)
    assert error.code == ErrorCode.GAP_REFUSED


def copied(path, folder):
    """The files of a recording in a folder of the test's own, shared ones untouched."""
    for each in path.parent.iterdir():
        (folder / each.name).write_bytes(each.read_bytes())
    return folder


def test_a_movie_header_without_a_fragment_is_no_empty_run(media, finalizer, media_tools, tmp_path):
    path = media.recording()
    made = run(
        media_tools.ffmpeg, "-v", "error", "-i", str(path), "-map", "0:v", "-map", "0:a",
        "-c", "copy", "-bsf:a", "aac_adtstoasc", "-movflags", "+frag_keyframe+delay_moov", "-f", "mp4", "-",
    )  # fmt: skip
    header = tmp_path / "header.mp4"
    fragment = next(box for box in top_level_boxes(made) if box.name == "moof")
    header.write_bytes(made[: fragment.offset])
    program = tmp_path / "ffmpeg"
    reply = shlex.quote(str(header))
    program.write_text(f"#!/bin/sh\ncat > /dev/null\ncat {reply}\n")
    program.chmod(0o755)
    tools = dataclasses.replace(media_tools, ffmpeg=str(program))
    one = dataclasses.replace(finalizer(), tools=tools, name="header-only")
    with pytest.raises(ToolError) as caught:
        one.package(one.playlist(path))
    assert "180 units in the source, no sample out" in caught.value.message
    assert caught.value.code == ErrorCode.VERIFICATION_FAILED
