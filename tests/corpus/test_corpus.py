"""Every recording of the corpus, from its files to the published MP4, against what ffprobe counts."""

import json
import shutil
import subprocess

import pytest

from pipelines.session import Phase
from tests.corpus.cases import CASES, REFUSALS, WRECKS
from tests.media import run

pytestmark = [pytest.mark.s3, pytest.mark.redis, pytest.mark.ffmpeg]

#: Seconds by which a duration may differ: a frame of sound behind the last picture.
DURATION = 0.1


@pytest.fixture
def playlist_of(corpus, tmp_path):
    """The playlist of a recording; one is written for a single segment."""

    def find(name, entry):
        path = corpus / name / entry
        if path.suffix == ".m3u8":
            return path
        folder = tmp_path / name
        folder.mkdir()
        shutil.copyfile(path, folder / entry)
        text = f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:2,\n{entry}\n#EXT-X-ENDLIST\n"
        (folder / "index.m3u8").write_text(text)
        return folder / "index.m3u8"

    return find


def tracks_of(tools, path):
    """What ffprobe sees in a file: kind and packets of each track, and how long all of it lasts."""
    text = run(
        tools.ffprobe, "-v", "error", "-count_packets", "-show_entries",
        "stream=codec_type,nb_read_packets:format=duration", "-of", "json", str(path),
    )  # fmt: skip
    told = json.loads(text)
    tracks = [(each["codec_type"], int(each["nb_read_packets"])) for each in told["streams"]]
    return tracks, float(told["format"]["duration"])


def picture_hashes(tools, given):
    """A hash of every picture that is decoded, in order."""
    text = subprocess.run(
        [
            tools.ffmpeg, "-v", "quiet", "-i", "pipe:0", "-map", "0:v:0", "-fps_mode",
            "passthrough", "-f", "framehash", "-hash", "md5", "-",
        ],
        input=given,
        stdout=subprocess.PIPE,
        check=True,
        timeout=120,
    ).stdout.decode()  # fmt: skip
    return [line.split(",")[-1].strip() for line in text.splitlines() if line[:1] != "#"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_the_segments_hold_is_in_the_mp4(case, corpus, playlist_of, finalized, media_tools):
    made = finalized(playlist_of(case.name, case.entry))
    assert made.record.phase is Phase.READY, made.record.error
    tracks, seconds = tracks_of(media_tools, made.mp4)
    assert [count for kind, count in tracks if kind == "video"] == [case.pictures] * (
        case.pictures > 0
    )
    sounds = [count for kind, count in tracks if kind == "audio"]
    if case.made:
        assert len(sounds) == len(case.sounds)
        assert all(ours >= due for ours, due in zip(sounds, case.sounds, strict=True))
    else:
        assert sounds == list(case.sounds)
    assert seconds == pytest.approx(case.seconds, abs=DURATION), made.report["gaps"]
    assert made.report["verdict"] in case.verdicts
    assert_gaps(made.report, case.gaps)
    if case.decoded:
        files = [corpus / case.name / name for name in case.decoded]
        source = b"".join(file.read_bytes() for file in files)
        ours = picture_hashes(media_tools, made.mp4.read_bytes())
        assert ours == picture_hashes(media_tools, source)


def assert_gaps(report, due):
    """Those that are due are in the report, with their media time and length."""
    told = [(gap["at"], gap["duration"]) for gap in report["gaps"]]
    for at, duration in due:
        assert any(
            abs(at - where) < DURATION and abs(duration - long) < DURATION for where, long in told
        ), told


@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: case.name)
def test_what_cannot_be_finalized_says_so(case, playlist_of, finalized):
    made = finalized(playlist_of(case.name, case.entry))
    assert made.record.phase is Phase.FAILED
    assert made.record.error.code == case.code
    assert made.mp4 is None


@pytest.mark.parametrize(("name", "entry"), WRECKS)
def test_of_a_wreck_what_decodes_is_kept_or_a_code_says_why_not(
    name, entry, playlist_of, finalized, media_tools
):
    made = finalized(playlist_of(name, entry))
    if made.record.phase is Phase.FAILED:
        assert made.record.error.code == "segment_damaged"
        return
    assert made.report["verdict"] == "partial"
    tracks, _ = tracks_of(media_tools, made.mp4)
    assert sum(count for _, count in tracks) > 0
