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


@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize("seconds", [None, 1.0], ids=["one-slice", "many"])
def test_a_scrambled_segment_is_refused_wherever_it_lies(
    position, seconds, media, finalizer, recording_of
):
    data = segments(media.recording())
    data[position] = scrambled(data[position])
    error = refusal(finalizer, recording_of(*((each, "") for each in data)), seconds)
    assert error.code == ErrorCode.ENCRYPTION_UNSUPPORTED
    assert f"segment {position} " in error.message


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
