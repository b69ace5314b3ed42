"""Every recording of the corpus, from its files to the published MP4, against what ffprobe counts."""

import json
import shutil
import subprocess

import numpy as np
import pytest

from pipelines.session import Phase
from scripts.fault_judge import gap_complaints
from scripts.flash_and_beep import WINDOWS_PER_SECOND, watch
from tests.corpus.cases import CASES, REFUSALS, WRECKS
from tests.corpus.onlookers import assert_cannot_play, assert_is_read, assert_plays
from tests.framehash import packets
from tests.media import run

pytestmark = [pytest.mark.s3, pytest.mark.redis, pytest.mark.ffmpeg]

#: Seconds by which a duration may differ: a frame of sound behind the last picture.
DURATION = 0.1
#: How much sound that was encoded anew must be like its source, see ``likeness``.
ALIKE = 0.9


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


def sound_hashes(tools, folder, files, scratch):
    """A hash of every frame of the first track of sound in files that follow each other."""
    scratch.write_bytes(b"".join(without_id3((folder / name).read_bytes()) for name in files))
    in_adts = files[0].endswith((".ts", ".aac"))
    filters = "aac_adtstoasc" if in_adts and codec_of(tools, scratch) == "aac" else None
    return [packet.digest for packet in packets(tools, scratch, "a:0", filters=filters)]


def without_id3(data):
    """Packed audio without its tag, whose length is in four bytes of seven bits (ID3v2, 3.1)."""
    if data[:3] != b"ID3":
        return data
    a, b, c, d = data[6:10]
    return data[10 + (a << 21 | b << 14 | c << 7 | d) :]


def codec_of(tools, path):
    """The name of the codec of a file's first track of sound."""
    return run(
        tools.ffprobe, "-v", "error", "-select_streams", "a:0", "-show_entries",
        "stream=codec_name", "-of", "csv=p=0", str(path),
    ).split()[0].strip(b",").decode()  # fmt: skip


def is_within(some, others):
    """Whether one sequence is in another one, in its order, with others between."""
    rest = iter(others)
    return all(each in rest for each in some)


def likeness(ours, source, at):
    """How much what is heard from a time on is like a source, 0 to 1: of the loudness of every
    hundredth second, moved by up to a frame of sound and one of an encoder's."""
    theirs = source.levels
    begin = round((at - ours.begins) * WINDOWS_PER_SECOND)
    found = []
    for by in range(-5, 6):
        part = ours.levels[max(0, begin + by) :][: len(theirs)]
        found.append(np.corrcoef(part, theirs[: len(part)])[0, 1])
    return max(found)


@pytest.fixture
def made_of(finalized, playlist_of, known):
    """What became of a case's recording, finalized once."""

    def look(case):
        if case.name not in known:
            known[case.name] = finalized(playlist_of(case.name, case.entry))
        assert known[case.name].record.phase is Phase.READY, known[case.name].record.error
        return known[case.name]

    return look


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_the_segments_hold_is_in_the_mp4(case, corpus, made_of, media_tools, tmp_path):
    made = made_of(case)
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
    assert made.report["verdict"] == case.verdict, made.report["reasons"]
    assert gap_complaints(made.rendition("source")["gaps"], case.gaps) == []
    folder = corpus / case.name
    for number, files in enumerate(case.sources_of_sound):
        theirs = sound_hashes(media_tools, folder, files, tmp_path / "source")
        ours = [each.digest for each in packets(media_tools, made.mp4, f"a:{number}")]
        assert theirs
        assert is_within(theirs, ours) if case.made else theirs == ours
    if case.encoded:
        name, at = case.encoded
        source = watch(media_tools, folder / name, pictures=False)
        assert likeness(watch(media_tools, made.mp4, pictures=False), source, at) > ALIKE
    if case.decoded:
        source = b"".join((folder / name).read_bytes() for name in case.decoded)
        ours = picture_hashes(media_tools, made.mp4.read_bytes())
        assert ours == picture_hashes(media_tools, source)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.alike(3)
def test_others_play_and_read_it(case, made_of, viewer, pages, mp4box, media_tools):
    made = made_of(case)
    for name, path in made.files.items():
        assert_is_read(mp4box, media_tools, path)
        if case.unplayable and name == "source":
            assert_cannot_play(viewer, pages, path)
        else:
            told = made.rendition(name)
            assert_plays(viewer, pages, path, told, made.seams[name], case.decodes_until)


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
