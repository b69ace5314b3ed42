"""``./scripts/demo`` shows what the product does, and says so only when it is true."""

import os
import re
import shutil
import signal
import subprocess
import urllib.request
from pathlib import Path

import pytest

from scripts.own_recording import OwnRecording, RecordingRefusedError
from tests.stack import ROOT, alive

pytestmark = [pytest.mark.acceptance, pytest.mark.redis, pytest.mark.s3, pytest.mark.ffmpeg]

TIMEOUT_S = 200


def demo(*arguments, cwd, **options):
    return subprocess.Popen(
        [str(ROOT / "scripts" / "demo"), *arguments],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def finished(process):
    """Exit code and output of a demo that ends by itself."""
    with process:
        try:
            said, complained = process.communicate(timeout=TIMEOUT_S)
        finally:
            process.kill()
    return process.returncode, said, complained


def test_a_live_session_becomes_an_mp4_and_the_table_shows_it(tmp_path):
    exit_code, said, complained = finished(
        demo(cwd=tmp_path, env=os.environ | {"TMPDIR": str(tmp_path)})
    )
    assert exit_code == 0, said + complained
    assert re.search(r"source +copy +20\.\d+ s +\d.*✓ proven", said)
    assert re.search(r"360p0 +copy +20\.\d+ s +\d.*✓ proven", said)
    assert re.search(r"480p0 +transcode +20\.\d+ s +\d.*✓ proven", said)
    assert re.search(r"Verdict +complete", said)
    assert re.search(r"Idle to ready +\d+\.\d s", said)
    assert "600 pictures, 20 flashes, 20 beeps, no decoding error" in said
    assert re.search(r"MP4 +http://127\.0\.0\.1:\d+/vod/.*/r1/source\.mp4", said)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_what_there_is_of_an_own_recording_is_kept_until_ctrl_c_which_ends_everything(
    corpus, tmp_path
):
    mine = tmp_path / "here" / "mine"
    shutil.copytree(corpus / "ts-basic-3seg", mine)
    (mine / "tiny.m3u8").rename(mine / "50 % mine.m3u8")
    (mine / "seg-1.ts").unlink()
    directory = tmp_path / "st"
    process = demo(
        "mine/50 % mine.m3u8", "--keep", "--dir", str(directory), cwd=tmp_path / "here",
        start_new_session=True,
    )  # fmt: skip
    with process:
        try:
            said = ""
            for line in process.stdout:
                said += line
                if "Ctrl-C ends it" in line:
                    break
            assert process.poll() is None, said + process.stderr.read()
            assert "missing   1 file: seg-1.ts" in said
            assert re.search(r"source +copy +30\.\d+ s +\d.*✓ proven", said)
            assert re.search(r"Verdict +partial", said)
            assert "Played back    to its end, no decoding error" in said
            mp4 = re.search(r"MP4 +(http://\S+)", said)[1]
            assert fetch(mp4)[4:8] == b"ftyp"
            pids = [int(line.split()[1]) for line in (directory / "pids").read_text().splitlines()]
            assert all(map(alive, pids))
            assert f"{directory}/env" in said
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does
            assert process.wait(60) == 0
        finally:
            process.kill()
    assert not any(map(alive, pids))


@pytest.mark.long
def test_a_recording_without_any_segment_ends_with_a_sentence(tmp_path):
    lines = ("#EXTM3U", "#EXT-X-TARGETDURATION:2", "#EXTINF:2,", "a.ts", "#EXT-X-ENDLIST", "")
    (tmp_path / "index.m3u8").write_text("\n".join(lines))
    exit_code, said, complained = finished(demo("index.m3u8", cwd=tmp_path))
    assert exit_code == 1, said
    assert "missing   1 file: a.ts" in said
    assert "did not become ready" in complained
    assert "segment_missing" in complained
    assert "Traceback" not in complained


def test_a_recording_that_leads_out_of_its_folder_is_refused_before_anything_starts(tmp_path):
    (tmp_path / "index.m3u8").write_text("#EXTM3U\n#EXTINF:2,\n../secret.ts\n#EXT-X-ENDLIST\n")
    exit_code, said, complained = finished(demo("index.m3u8", cwd=tmp_path))
    assert (exit_code, said) == (2, "")
    assert "'../secret.ts'" in complained
    assert "outside" in complained
    assert complained.count("\n") == 1


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    (tmp_path / "secret").write_text("a secret")
    folder = tmp_path / "recording"
    folder.mkdir()
    (folder / "a.ts").symlink_to(tmp_path / "secret")
    (folder / "index.m3u8").write_text("#EXTM3U\n#EXTINF:2,\na.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(RecordingRefusedError, match="leads out of its folder"):
        OwnRecording.read(folder / "index.m3u8")


def test_all_files_that_the_playlists_name_belong_to_the_recording(corpus):
    for folder in ("cmaf-demuxed-abr-missing-first-audio", "fmp4-byterange-map"):
        for playlist in sorted((corpus / folder).glob("*.m3u8")):
            found = OwnRecording.read(playlist)
            assert found.playlist == playlist.name
            assert found.files[0] == playlist.name
            assert all(Path(found.path(name)).is_file() for name in found.files)


def fetch(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()
