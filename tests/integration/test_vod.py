"""The VOD of a recording: what players are led to, read back with our own reader."""

import base64
import json
import subprocess

import pytest
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from pipelines.location import Location
from pipelines.m3u8 import parse
from pipelines.object_store import ObjectStore
from pipelines.payload_hash import payload_hash
from pipelines.playlist import MediaPlaylist, PlaylistKind, Segment
from pipelines.session import Phase
from pipelines.source import SourceReader
from pipelines.subtitles import SubtitleBudget, read_subtitles
from pipelines.webvtt import parse as parse_webvtt
from tests.by_hand import ID
from tests.packaging import never_cancelled, upload_folder
from tests.report_laws import broken_laws

pytestmark = [pytest.mark.redis, pytest.mark.s3, pytest.mark.ffmpeg]

KEY = bytes(range(16))
PUBLIC = "http://source.example/recordings/"


@pytest.fixture
def finalized(worker):
    """Finalizes the recording of a folder; ``edit`` changes its objects before. The worker."""

    def make(folder, edit=lambda worker: None, **settings):
        made = worker(**settings)
        upload_folder(made.s3, folder, "recordings", ID)
        edit(made)
        made.put()
        made.finalize()
        assert made.record().phase is Phase.READY, made.record().error
        assert broken_laws(report_of(made)) == []
        return made

    return make


def report_of(worker):
    return json.loads(worker.runtime.sessions.report(ID))


def published(worker, name=""):
    """Names of the published objects that begin so."""
    listed = worker.s3.list_objects_v2(Bucket="vod", Prefix=f"{ID}/{name}")
    return sorted(item["Key"].removeprefix(f"{ID}/") for item in listed["Contents"])


def body_of(worker, name):
    return worker.s3.get_object(Bucket="vod", Key=f"{ID}/{name}")["Body"].read()


def playlist_of(worker, name):
    """A published playlist as our own strict reader has it."""
    place = Location.parse(f"https://vod.example/{ID}/{name}")
    allowed = [place.folder, Location.parse(PUBLIC), Location.parse(f"https://vod.example/{ID}/")]
    return parse(body_of(worker, name), place, allowed=allowed)


def test_subtitles_lie_beside_the_mp4_at_the_times_of_their_pictures(finalized, corpus):
    worker = finalized(corpus / "ts-discontinuity-pts-reset")
    assert "r1/source.en-us.vtt" in published(worker)
    cues = parse_webvtt(body_of(worker, "r1/source.en-us.vtt")).cues
    told = [(cue.start, cue.end, cue.text) for cue in cues]
    # The pictures begin at 140.034 s of the first clock and, 5.583 s later, at 3.0 s of the other.
    assert told == [
        (pytest.approx(0.0, abs=0.05), pytest.approx(2.0, abs=0.05), "You're a jerk Tom!"),
        (pytest.approx(2.0, abs=0.05), pytest.approx(4.0, abs=0.05),
         "You're jealous of my robot hand! "),
        (pytest.approx(6.05, abs=0.1), pytest.approx(8.05, abs=0.1), "cues after discontinuity"),
    ]  # fmt: skip
    head = worker.s3.head_object(Bucket="vod", Key=f"{ID}/r1/source.en-us.vtt")
    assert head["ContentType"] == "text/vtt"
    (text,) = report_of(worker)["subtitles"]
    assert (text["cues"], text["leftOut"], text["reason"]) == (3, 0, "")
    assert text["url"] == f"http://vod.example/{ID}/r1/source.en-us.vtt"


def test_players_of_the_vod_are_told_the_clock_of_each_cue(finalized, corpus):
    worker = finalized(corpus / "ts-discontinuity-pts-reset")
    (variant,) = playlist_of(worker, "index.m3u8").variants
    (subtitles,) = variant.subtitles
    assert (subtitles.language, subtitles.default) == ("en-US", True)
    listed = playlist_of(worker, "r1/source/subtitles-0/index.m3u8").segments
    main = playlist_of(worker, "r1/source/index.m3u8").segments
    assert [each.discontinuity_sequence for each in listed] == [0, 1]
    assert {each.discontinuity_sequence for each in main} == {0, 1}
    assert [each.duration for each in listed] == [pytest.approx(5.583), pytest.approx(2.917)]
    on_clock = []
    for number in range(2):
        read = parse_webvtt(body_of(worker, f"r1/source/subtitles-0/{number}.vtt"))
        on_clock += [round(read.clock + cue.start, 1) for cue in read.cues]
    assert on_clock == [140.0, 142.0, 3.5]


def test_hostile_subtitles_take_nothing_away(finalized, corpus):
    def spoil(worker):
        for number, body in (("069", b"\0" * 5_000_000), ("070", b"<script>"), ("073", b"WEBVTT")):
            key = f"{ID}/vtt-{number}.vtt"
            worker.s3.put_object(Bucket="recordings", Key=key, Body=body)

    worker = finalized(corpus / "ts-discontinuity-pts-reset", spoil)
    report = report_of(worker)
    assert report["verdict"] == "partial"
    [lost] = report["losses"]
    assert (lost["segment"], lost["lastSegment"], lost["segments"]) == (0, 1, 2)
    assert lost["cause"] == "segment_unreadable"
    assert body_of(worker, "r1/source.en-us.vtt") == b"WEBVTT\n"


@pytest.mark.parametrize(
    ("budget", "kept", "why"),
    [
        (SubtitleBudget(), [0, 1, 2], None),
        (SubtitleBudget(size=120), [0, 1], "larger than 128 MiB"),
        (SubtitleBudget(cues=3), [0, 1], "too many cues"),
    ],
    ids=["all", "bytes", "cues"],
)
def test_what_goes_beyond_the_budget_of_subtitles_is_told(s3, budget, kept, why):
    """Segments of 1, 2 and 3 cues, 41, 74 and 107 bytes."""
    place = Location.parse("s3://recordings/budget/index.m3u8")
    segments = []
    for number in range(3):
        cue = "00:00:01.000 --> 00:00:02.000\nx\n\n"
        key = f"budget/{number}.vtt"
        s3.put_object(Bucket="recordings", Key=key, Body=f"WEBVTT\n\n{cue * (number + 1)}".encode())
        segments.append(Segment(number, place.folder.child(f"{number}.vtt"), 2.0))
    playlist = MediaPlaylist(place, tuple(segments), True, 2.0, PlaylistKind.VOD)
    reader = SourceReader(ObjectStore(s3))
    read = read_subtitles(reader, playlist, budget, never_cancelled)
    assert [text.segment.sequence for text in read.texts] == kept
    assert [loss.sequence for loss in read.losses] == [n for n in range(3) if n not in kept]
    assert all(loss.whole and why in loss.detail for loss in read.losses)


def test_sound_in_playlists_of_its_own_is_a_group_of_the_vod(finalized, corpus):
    def named_as_usual(worker):
        body = (corpus / "ts-alt-audio-alt-video" / "master.m3u8").read_bytes()
        worker.s3.put_object(Bucket="recordings", Key=f"{ID}/index.m3u8", Body=body)

    worker = finalized(corpus / "ts-alt-audio-alt-video", named_as_usual)
    report = report_of(worker)
    assert report["source"]["notPackaged"]
    top = playlist_of(worker, "index.m3u8")
    (variant,) = top.variants
    assert len(variant.sound) >= 2
    for audio in variant.sound:
        name = str(audio.location).removeprefix(f"https://vod.example/{ID}/")
        listed = playlist_of(worker, name)
        assert listed.ended
        folder = name.rpartition("/")[0]
        for each in listed.segments:
            assert f"{folder}/{each.location.path.rpartition('/')[2]}" in published(worker)


def encrypted(folder, target):
    """A recording whose segments are encrypted with one key, each with its own number as IV."""
    lines = []
    for line in (folder / "index.m3u8").read_text().splitlines():
        if line.startswith("#EXTINF") and not any("KEY" in each for each in lines):
            lines.append('#EXT-X-KEY:METHOD=AES-128,URI="keys/one.key"')
        lines.append(line)
        if line and not line.startswith("#"):
            number = sum(bool(each) and not each.startswith("#") for each in lines) - 1
            pad = padding.PKCS7(128).padder()
            clear = pad.update((folder / line).read_bytes()) + pad.finalize()
            cipher = Cipher(algorithms.AES(KEY), modes.CBC(number.to_bytes(16, "big")))
            (target / line).write_bytes(cipher.encryptor().update(clear))
    (target / "keys").mkdir()
    (target / "keys" / "one.key").write_bytes(KEY)
    (target / "index.m3u8").write_text("\n".join([*lines, ""]))
    return target


@pytest.fixture
def scrambled(media, tmp_path):
    return encrypted(media.recording(duration=6.0).parent, tmp_path)


def test_copies_of_encrypted_segments_are_in_the_clear(finalized, scrambled, media, media_tools):
    worker = finalized(scrambled)
    listed = playlist_of(worker, "r1/source/index.m3u8").segments
    assert {each.encryption for each in listed} == {None}
    clear = sorted(media.recording(duration=6.0).parent.glob("*.ts"))
    assert [body_of(worker, f"r1/source/{number}.ts") for number in range(len(clear))] == [
        path.read_bytes() for path in clear
    ]
    assert report_of(worker)["verdict"] == "complete"


def test_encrypted_segments_whose_key_is_public_stay_where_they_are(finalized, scrambled):
    worker = finalized(scrambled, source_public_url=PUBLIC)
    listed = playlist_of(worker, "r1/source/index.m3u8").segments
    assert {str(each.encryption.location) for each in listed} == {f"{PUBLIC}{ID}/keys/one.key"}
    assert {str(each.location.folder) for each in listed} == {f"{PUBLIC}{ID}/"}
    assert published(worker, "r1/source/") == ["r1/source/index.m3u8"]


def test_a_key_that_is_not_public_has_the_segments_copied(finalized, scrambled):
    def elsewhere(worker):
        worker.s3.put_object(Bucket="recordings", Key="keys/one.key", Body=KEY)
        text = (scrambled / "index.m3u8").read_text().replace("keys/", "../../keys/")
        bodies = {path.name: path.read_bytes() for path in scrambled.glob("*.ts")}
        for name, body in {**bodies, "index.m3u8": text.encode()}.items():
            worker.s3.put_object(Bucket="recordings", Key=f"live/{ID}/{name}", Body=body)

    worker = finalized(
        scrambled,
        elsewhere,
        source_public_url=PUBLIC,
        source_url="s3://recordings/live/{id}/index.m3u8",
        source_prefixes="s3://recordings/",
    )
    listed = playlist_of(worker, "r1/source/index.m3u8").segments
    assert {each.encryption for each in listed} == {None}
    assert [each.location.path.rpartition("/")[2] for each in listed] == ["0.ts", "1.ts", "2.ts"]


def test_byte_ranges_are_copied_once_and_nothing_else_of_their_object(finalized, corpus):
    def named_as_usual(worker):
        body = (corpus / "fmp4-byterange-map" / "output.m3u8").read_bytes()
        worker.s3.put_object(Bucket="recordings", Key=f"{ID}/index.m3u8", Body=body)

    worker = finalized(corpus / "fmp4-byterange-map", named_as_usual)
    listed = playlist_of(worker, "r1/source/index.m3u8").segments
    places = {each.location for each in listed} | {each.init_section.location for each in listed}
    assert len(published(worker, "r1/source/")) == 1 + len(places)
    assert {each.byte_range for each in listed} | {listed[0].init_section.byte_range} == {None}


def test_encrypted_fragments_and_their_init_section_are_copied_in_the_clear(
    finalized, media, tmp_path
):
    clear = media.recording(duration=6.0, container="fmp4").parent
    for path in clear.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    worker = finalized(encrypted(clear, tmp_path))
    listed = playlist_of(worker, "r1/source/index.m3u8").segments
    assert {each.encryption for each in listed} == {None}
    init = listed[0].init_section.location.path.rpartition("/")[2]
    names = [each.location.path.rpartition("/")[2] for each in listed]
    told = [body_of(worker, f"r1/source/{name}") for name in (init, *names)]
    segments = [line for line in (clear / "index.m3u8").read_text().splitlines() if line[:1] != "#"]
    (map_line,) = [
        line for line in (clear / "index.m3u8").read_text().splitlines() if "MAP" in line
    ]
    wanted = [map_line.split('"')[1], *filter(None, segments)]
    assert told == [(clear / name).read_bytes() for name in wanted]


def packets_of(tools, path):
    """The packets that ffmpeg's HLS demuxer reads of each kind; it must find no error."""
    probed = subprocess.run(
        [tools.ffprobe, "-v", "error", "-count_packets", "-show_entries",
         "stream=codec_type,nb_read_packets", "-of", "csv=p=0", str(path)],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert probed.stderr == ""
    told = (line.split(",") for line in probed.stdout.split())
    return {kind: int(packets) for kind, packets in told}


def test_where_the_segments_change_untagged_players_of_the_vod_are_told(
    finalized, media, tmp_path, media_tools
):
    """Another clock, a segment twice, and pictures of another size while the clock goes on."""
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:2"]
    for start, size in ((50.0, "320x180"), (7.0, "320x180"), (11.05, "160x90")):
        part = media.recording(duration=4.0, start=start, size=size)
        for path in sorted(part.parent.glob("*.ts")):
            (tmp_path / f"{start:g}-{path.name}").write_bytes(path.read_bytes())
            lines += ["#EXTINF:2.0,", f"{start:g}-{path.name}"]
        lines += lines[-2:] if start == 50.0 else []
    (tmp_path / "index.m3u8").write_text("\n".join([*lines, "#EXT-X-ENDLIST", ""]))
    worker = finalized(tmp_path)
    report = report_of(worker)
    [rendition] = report["renditions"]
    listed = playlist_of(worker, "r1/source/index.m3u8").segments
    assert [(each.sequence, each.discontinuity) for each in listed] == [
        (0, False), (1, False), (2, True), (3, False), (4, True), (5, False),
    ]  # fmt: skip
    assert [(each["segment"], each["tagged"]) for each in rendition["periods"]] == [
        (0, False),
        (3, False),
    ]
    folder = tmp_path / "vod"
    folder.mkdir()
    for name in published(worker, "r1/source/"):
        (folder / name.rpartition("/")[2]).write_bytes(body_of(worker, name))
    video, audio = rendition["tracks"]
    assert video["expected"] - video["repeated"] == 360
    assert packets_of(media_tools, folder / "index.m3u8") == {
        "video": 360,
        "audio": audio["expected"] - audio["repeated"],
    }


def test_the_checksum_in_the_report_is_that_of_the_file(finalized, media):
    worker = finalized(media.recording(duration=6.0).parent)
    (rendition,) = report_of(worker)["renditions"]
    told = {each["algorithm"]: each["value"] for each in rendition["checksums"]}
    value = payload_hash(body_of(worker, "r1/source.mp4"))
    assert told["CRC64NVME"] == base64.b64encode(value.to_bytes(8, "big")).decode()


def test_copies_of_encrypted_packed_audio_are_packed_audio(finalized, corpus, tmp_path):
    folder = tmp_path / "recording"
    folder.mkdir()
    for path in (corpus / "raw-aac-id3").glob("[!m]*"):
        name = "index.m3u8" if path.suffix == ".m3u8" else path.name
        (folder / name).write_bytes(path.read_bytes())
    (tmp_path / "encrypted").mkdir()
    worker = finalized(encrypted(folder, tmp_path / "encrypted"))
    listed = playlist_of(worker, "r1/source/index.m3u8").segments
    names = [each.location.path.rpartition("/")[2] for each in listed]
    assert {name.rpartition(".")[2] for name in names} == {"aac"}
    assert [body_of(worker, f"r1/source/{name}") for name in names] == [
        path.read_bytes() for path in sorted(folder.glob("*.aac"))
    ]
