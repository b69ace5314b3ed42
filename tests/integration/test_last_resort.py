"""The last resort: a segment that ffmpeg fails over is given up, and nothing else of the session."""

import shlex
from dataclasses import replace

import pytest

from pipelines.errors import ErrorCode, ToolError
from pipelines.loss import LossCause
from pipelines.package import package_slice
from tests.demuxed import Sound, demuxed_recording
from tests.media import beep_times, flash_times, run
from tests.packaging import Finalizer, Transcoder, never_cancelled, small_encoding

pytestmark = [pytest.mark.s3, pytest.mark.ffmpeg]

VIDEO_PID, SOUND_PID = 0x100, 0x101
#: Twelve segments of a second, each with two closed groups of pictures.
TWELVE = {"duration": 12.0, "segment": 1.0, "gop": 15}
#: Every key frame lies in the middle of a segment.
NO_KEYS = {"split_by_time": True, "gop": 45}
MARK = b"the-poison-that-ffmpeg-fails-over"


def poisoned(data):
    """A segment with a mark in packets that hold no media, which neither index nor ffmpeg minds."""
    packet = b"\x47\x1f\xff\x10" + MARK.ljust(184, b"\xff")
    return data + packet


@pytest.fixture
def choking(media_tools, tmp_path):
    """An ffmpeg that fails as soon as it is fed a poisoned segment, beginning with the ``nth`` run
    of it; only where its arguments have ``among``."""

    def make(only_once=False, among=""):
        program, seen = tmp_path / "ffmpeg", tmp_path / "seen"
        once = f'[ -e {shlex.quote(str(seen))} ] && exec "$real" "$@"' if only_once else ""
        program.write_text(
            f"""#!/bin/sh
real={shlex.quote(media_tools.ffmpeg)}
case "$*" in *pipe:0*"{among}"*) ;; *) exec "$real" "$@" ;; esac
{once}
held=$(mktemp {shlex.quote(str(tmp_path))}/held.XXXXXX)
cat > "$held"
if grep -q {MARK.decode()} "$held"; then
  rm "$held"; touch {shlex.quote(str(seen))}
  echo "[error] it choked" >&2; exit 1
fi
"$real" "$@" < "$held"
code=$?; rm "$held"; exit $code
"""
        )
        program.chmod(0o755)
        return replace(media_tools, ffmpeg=str(program))

    return make


@pytest.fixture
def recording(media, recording_of):
    """A recording some of whose segments are poisoned."""

    def make(*positions, tagged=(), **options):
        path = media.recording(**{**TWELVE, **options})
        data = [each.read_bytes() for each in sorted(path.parent.glob("segment*"))]
        for position in positions:
            data[position] = poisoned(data[position])
        tags = ("#EXT-X-DISCONTINUITY" if number in tagged else "" for number in range(len(data)))
        return recording_of(*zip(data, tags, strict=True), seconds=1.0)

    return make


def losses(one):
    """What the slices tell as lost."""
    tables = [one.staging.tables(receipt) for receipt in one.receipts]
    return [(x.sequence, x.cause, x.whole) for each in tables for x in each.losses]


def pictures(tools, path):
    """How many pictures a file shows."""
    said = run(
        tools.ffprobe, "-v", "error", "-count_frames", "-select_streams", "v:0",
        "-show_entries", "stream=nb_read_frames", "-of", "csv=p=0", str(path),
    )  # fmt: skip
    return int(said.decode().strip(",\n"))


@pytest.mark.parametrize("seconds", [None, 4.0], ids=["one-slice", "three"])
@pytest.mark.parametrize("position", [0, 3, 4, 11])
@pytest.mark.alike(3)
def test_a_segment_that_ffmpeg_fails_over_is_given_up_alone(
    position, seconds, recording, choking, s3, media_tools, tmp_path
):
    one = Finalizer(s3, choking(), slice_seconds=seconds)
    made, _ = one.finalize(recording(position))
    assert losses(one) == [(position, LossCause.SEGMENT_DAMAGED, True)]
    [loss] = made.losses
    assert loss.detail == "nothing could be made of it: ffmpeg exited with 1: it choked"
    assert pictures(media_tools, one.download(tmp_path / "made.mp4")) == 330


def test_a_neighbour_that_needs_what_was_given_up_goes_on_with_its_next_key_frame(
    recording, choking, s3, media_tools, tmp_path
):
    one = Finalizer(s3, choking(), slice_seconds=4.0)
    one.finalize(recording(3, **NO_KEYS))
    assert losses(one) == [
        (3, LossCause.SEGMENT_DAMAGED, True),
        (4, LossCause.SEGMENT_DAMAGED, False),  # up to picture 135
    ]
    assert pictures(media_tools, one.download(tmp_path / "made.mp4")) == 360 - 30 - 15


@pytest.mark.parametrize("position", [3, 4])
@pytest.mark.parametrize("options", [{}, NO_KEYS], ids=["keys", "no-keys"])
@pytest.mark.alike(2)
def test_a_transcode_gives_up_no_more(options, position, recording, choking, s3):
    asked = {"v": small_encoding(), "w": small_encoding(width=64, height=36)}
    one = Transcoder(s3, choking(), asked, 4.0)
    for name, (_, proof) in one.finalize(recording(position, **options)).items():
        told = losses(one.renditions[name])
        assert told[0][0] == position
        assert not options or told[-1] == (4, LossCause.SEGMENT_DAMAGED, False)
        [video] = [each for each in proof.tracks if each.encoded]
        assert video.encoded >= 330 - (15 if options else 0)


@pytest.mark.parametrize(
    ("position", "among"),
    [(6, "libx264"), (8, "libx264"), (11, "libx264"), (6, "c:a aac"), (8, "c:a aac")],
)
def test_sound_that_is_encoded_is_given_up_with_its_segment(
    position, among, choking, recording, s3, media_tools, tmp_path
):
    """As it is encoded, or before its pictures are: whichever ffmpeg fails."""
    one = Transcoder(s3, choking(among=among), {"v": small_encoding()}, 6.0, encodes_audio=True)
    made = one.finalize(recording(position, encoder_options=("-c:a", "mp2")))["v"]
    assert losses(one.renditions["v"]) == [(position, LossCause.SEGMENT_DAMAGED, True)]
    assert made[1].tracks[0].encoded == 330
    file = one.renditions["v"].download(tmp_path / "made.mp4")
    heard = [n for n in range(12) if n != position]
    # The segment before may hold the first sounds of the beep.
    beeps = [each for each in beep_times(media_tools, file) if abs(each - position) > 0.05]
    assert beeps == pytest.approx(heard, abs=0.05)
    assert flash_times(media_tools, file) == pytest.approx(heard, abs=0.05)


@pytest.mark.parametrize("position", [6, 7, 9], ids=["first", "middle", "last"])
@pytest.mark.alike(3)
def test_what_is_conformed_gives_up_no_more(
    position, choking, media, recording_of, s3, media_tools, tmp_path
):
    """Another size behind a tag: its segments are copied well, and one cannot be encoded."""
    main, odd = (
        [each.read_bytes() for each in sorted(media.recording(**made).parent.glob("segment*"))]
        for made in (TWELVE, {**TWELVE, "size": "160x90", "start": 50.0})
    )
    data = [*main[:6], *odd[:4]]
    data[position] = poisoned(data[position])
    tags = {6: "#EXT-X-DISCONTINUITY"}
    path = recording_of(*((d, tags.get(n, "")) for n, d in enumerate(data)), seconds=1.0)
    one = Finalizer(s3, choking(among="libx264"))
    _, proof = one.finalize(path)
    assert losses(one) == [(position, LossCause.SEGMENT_DAMAGED, True)]
    assert (proof.tracks[0].copied, proof.tracks[0].encoded) == (180, 90)
    assert pictures(media_tools, one.download(tmp_path / "made.mp4")) == 270


@pytest.mark.parametrize("tagged", [(), (5, 6)], ids=["period", "alone"])
def test_nothing_is_left_of_a_slice_but_its_loss(tagged, recording, choking, s3):
    one = Finalizer(s3, choking(), slice_seconds=1.0)
    made, proof = one.finalize(recording(5, tagged=tagged))
    assert losses(one) == [(5, LossCause.SEGMENT_DAMAGED, True)]
    assert proof.tracks[0].copied == 330
    assert one.staging.tables(one.receipts[5]).runs == ()
    assert len(made.losses) == 1


@pytest.mark.parametrize(
    ("positions", "seconds"),
    [((2, 7), None), (range(12), None), (range(12), 1.0)],
    ids=["two-of-one-slice", "all-of-one-slice", "all-of-twelve"],
)
def test_a_tool_that_fails_over_many_segments_is_at_fault_itself(
    positions, seconds, recording, choking, s3
):
    one = Finalizer(s3, choking(), slice_seconds=seconds)
    with pytest.raises(ToolError, match="it choked") as caught:
        one.package(one.playlist(recording(*positions)))
    assert caught.value.code == ErrorCode.FFMPEG_FAILED


def test_a_whim_costs_nothing(recording, choking, s3):
    one = Finalizer(s3, choking(only_once=True))
    playlist = one.playlist(recording(5))
    [work] = one.slices(playlist)
    with pytest.raises(ToolError, match="it choked"):
        package_slice(work, one.packager, one.upload, never_cancelled)
    assert package_slice(work, one.packager, one.upload, never_cancelled).tables.losses == ()


def test_sound_of_its_own_gives_up_its_own_segment(recording, choking, media, s3, tmp_path):
    sound = recording(4, video=None)
    pictures_alone = media.recording(**{**TWELVE, "audio": None})
    path = demuxed_recording(
        tmp_path / "demuxed", [pictures_alone], [Sound("Main", "en", [sound], default=True)]
    )
    one = Finalizer(s3, choking())
    _, proof = one.finalize(path)
    [told] = one.staging.tables(one.receipts[0]).losses
    assert (told.sequence, told.rendition, told.whole) == (4, "Main", True)
    assert proof.tracks[0].copied == 360
