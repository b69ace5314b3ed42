"""Sound in playlists of its own comes into the MP4 beside its pictures, whole and in time."""

import itertools
import json
import struct
from fractions import Fraction

import pytest

from pipelines.location import Location
from pipelines.loss import LossCause
from pipelines.repair import RepairKind
from pipelines.session import Phase
from tests.by_hand import ID
from tests.demuxed import Sound, demuxed_recording
from tests.framehash import differences, from_zero, packets
from tests.media import beep_times, flash_times, run
from tests.packaging import small_encoding, upload_folder
from tests.sample_tables import movie_of, sample_tables

pytestmark = [pytest.mark.s3, pytest.mark.ffmpeg]

#: ffmpeg rounds the times of sound to the sample rate, and the source to 90 kHz.
ROUNDING = Fraction(1, 5000)
CONTAINERS = ["ts", "fmp4"]
#: Seconds by which neighbours in the file may lie apart in time.
INTERLEAVED = 2.1


@pytest.fixture
def bilingual(media, tmp_path):
    """Makes a recording with English and Spanish, whose segments are cut apart from the pictures'.

    ``starts`` are the clocks of its periods.
    """

    def make(container="ts", starts=(0.0,), duration=6.0, **pictures):
        def periods(**options):
            return [
                media.recording(container=container, start=start, duration=duration, **options)
                for start in starts
            ]

        quiet = ("-filter:a", "volume=0.5")
        folder = tmp_path / f"bilingual-{container}-{len(starts)}"
        folder.mkdir()
        return demuxed_recording(
            folder,
            periods(audio=None, **pictures),
            [
                Sound("Español", "es", periods(video=None, segment=2.5, encoder_options=quiet)),
                Sound("English", "en", periods(video=None, segment=1.7), default=True),
            ],
        )

    return make


def theirs_of(tools, index, target):
    """ffmpeg's own copy of the three playlists, English first."""
    names = ("pictures", "en", "es")
    inputs = [part for name in names for part in ("-i", str(index.with_name(f"{name}.m3u8")))]
    maps = ["-map", "0:v", "-map", "1:a", "-map", "2:a"]
    run(tools.ffmpeg, "-v", "error", "-copyts", *inputs, *maps, "-c", "copy", str(target))
    return target


def all_packets(tools, path):
    found = {name: packets(tools, path, name) for name in ("v:0", "a:0", "a:1")}
    zero = min(packet.pts for each in found.values() for packet in each)
    return {name: from_zero(each, zero) for name, each in found.items()}


def distance(tools, path):
    """The most seconds between a packet and one of another track that lies right before it."""
    probe = run(
        tools.ffprobe, "-v", "error", "-show_entries", "packet=stream_index,dts_time,pos",
        "-of", "json", str(path),
    )  # fmt: skip
    rows = sorted(json.loads(probe)["packets"], key=lambda row: int(row["pos"]))
    return max(
        abs(float(before["dts_time"]) - float(after["dts_time"]))
        for before, after in itertools.pairwise(rows)
        if before["stream_index"] != after["stream_index"]
    )


def assert_in_sync(tools, path, seconds):
    """Every second of it flashes and beeps at the same time."""
    flashes, beeps = flash_times(tools, path), beep_times(tools, path)
    assert flashes == pytest.approx([float(n) for n in range(seconds)], abs=0.04)
    assert beeps == pytest.approx(flashes, abs=0.04)


@pytest.mark.parametrize("seconds", [None, 2.0], ids=["one-slice", "many"])
@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.alike(2)
def test_both_languages_are_copied_beside_the_pictures(
    container, seconds, bilingual, finalizer, media_tools, tmp_path
):
    index = bilingual(container, b_frames=2)
    one = finalizer(slice_seconds=seconds)
    made, proof = one.finalize(index)
    ours = one.download(tmp_path / "ours.mp4")
    theirs = all_packets(media_tools, theirs_of(media_tools, index, tmp_path / "theirs.mp4"))
    for name, found in all_packets(media_tools, ours).items():
        assert differences(found, theirs[name], ROUNDING) == [], name
    assert [(t.name, t.language) for t in proof.tracks] == [
        ("video", "und"),
        ("audio", "eng"),
        ("audio2", "spa"),
    ]
    assert [t.header.language for t in movie_of(made.header).tracks] == ["und", "eng", "spa"]
    assert made.tables.gaps == []
    assert distance(media_tools, ours) < INTERLEAVED


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.alike(2)
def test_slicing_changes_nothing(container, bilingual, finalizer, media_tools, tmp_path):
    index = bilingual(container)
    whole, _ = finalizer().finalize(index)
    one = finalizer(slice_seconds=2.0)
    many, _ = one.finalize(index)
    assert sample_tables(many.header) == sample_tables(whole.header)
    assert_in_sync(media_tools, one.download(tmp_path / "ours.mp4"), 6)


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.alike(2)
def test_tagged_periods_keep_their_own_sound(
    container, bilingual, finalizer, media_tools, tmp_path
):
    index = bilingual(container, starts=(5000.0, 0.0))
    one = finalizer(slice_seconds=4.0)
    made, _ = one.finalize(index)
    assert [period.tagged for period in made.tables.periods] == [False, True]
    ours = one.download(tmp_path / "ours.mp4")
    flashes, beeps = flash_times(media_tools, ours), beep_times(media_tools, ours)
    assert len(flashes) == len(beeps) == 12
    assert beeps == pytest.approx(flashes, abs=0.04)
    assert flashes[6] == pytest.approx(6.0, abs=0.1)
    assert distance(media_tools, ours) < INTERLEAVED + 1


def test_the_clock_wraps_in_pictures_and_sound(bilingual, finalizer, media_tools, tmp_path):
    index = bilingual(starts=(2**33 / 90_000 - 3.0,), b_frames=2)
    for seconds in (None, 2.0):
        one = finalizer(slice_seconds=seconds)
        made, _ = one.finalize(index)
        assert len(made.tables.periods) == 1
        assert_in_sync(media_tools, one.download(tmp_path / "ours.mp4"), 6)


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.alike(2)
def test_a_tag_in_one_playlist_alone_loses_no_sound(
    container, bilingual, finalizer, media_tools, tmp_path
):
    index = bilingual(container)
    for name in ("pictures", "es"):
        playlist = index.with_name(f"{name}.m3u8")
        lines = playlist.read_text().splitlines()
        places = [at for at, line in enumerate(lines) if line.startswith("#EXTINF")]
        lines.insert(places[1], "#EXT-X-DISCONTINUITY")
        playlist.write_text("\n".join(lines))
    for seconds in (None, 2.0):
        one = finalizer(slice_seconds=seconds)
        made, proof = one.finalize(index)
        assert made.tables.gaps == []
        assert {t.name: t.expected for t in proof.tracks} == {
            "video": 180,
            "audio": 283,
            "audio2": 283,
        }
        assert_in_sync(media_tools, one.download(tmp_path / "ours.mp4"), 6)


@pytest.mark.parametrize("sound", CONTAINERS)
def test_sound_may_lie_in_another_container(sound, media, finalizer, media_tools, tmp_path):
    pictures = media.recording(audio=None, container="fmp4" if sound == "ts" else "ts")
    heard = media.recording(video=None, container=sound)
    index = demuxed_recording(tmp_path, [pictures], [Sound("n", "en", [heard])])
    one = finalizer(slice_seconds=2.0)
    one.finalize(index)
    assert_in_sync(media_tools, one.download(tmp_path / "ours.mp4"), 6)


def test_a_lost_segment_of_sound_is_no_lost_picture(bilingual, finalizer, media_tools, tmp_path):
    index = bilingual(segment=1.0, gop=30)
    (index.parent / "en-0" / "segment00001.ts").unlink()
    one = finalizer()
    playlist = one.playlist(index)
    one.package(playlist)
    tables = one.staging.tables(one.receipts[0])
    [loss] = tables.losses
    assert (loss.sequence, loss.rendition, loss.cause) == (1, "English", LossCause.SEGMENT_MISSING)
    [run_of_all] = tables.runs
    assert len(run_of_all.tracks[0].samples) == 180
    _, proof = one.prove(playlist)
    assert {t.name: t.copied for t in proof.tracks if t.name != "audio"} == {
        "video": 180,
        "audio2": 283,
    }
    ours = one.download(tmp_path / "ours.mp4")
    assert flash_times(media_tools, ours) == pytest.approx([0, 1, 2, 3, 4, 5], abs=0.04)
    # What lies in the lost segment (1.7 to 3.4 s) is not heard; the rest is, at its time.
    assert beep_times(media_tools, ours) == pytest.approx([0, 1, 4, 5], abs=0.04)


def test_sound_that_comes_twice_is_told_of_its_playlist_and_its_track(bilingual, finalizer):
    index = bilingual()
    listed = index.parent / "en.m3u8"
    first, again, *others = listed.read_text().split("#EXTINF")
    listed.write_text("#EXTINF".join([first, again, again, *others]))
    made, proof = finalizer().finalize(index)
    [repair] = made.repairs
    repeated = {each.name: each.repeated for each in proof.tracks if each.repeated}
    assert (repair.rendition, repeated) == ("English", {"audio": repair.units})


def test_pictures_that_break_off_leave_the_sound_whole(bilingual, finalizer, media_tools, tmp_path):
    index = bilingual(segment=1.0, gop=30)
    (index.parent / "pictures-0" / "segment00002.ts").unlink()
    one = finalizer()
    playlist = one.playlist(index)
    one.package(playlist)
    tables = one.staging.tables(one.receipts[0])
    before, behind = tables.runs
    for number in (1, 2):
        ends, begins = before.tracks[number].samples.dts[-1], behind.tracks[number].samples.dts[0]
        assert begins - ends == pytest.approx(1024, abs=90)
        assert begins / 48_000 == pytest.approx(3.0, abs=0.05)
    one.prove(playlist)
    ours = one.download(tmp_path / "ours.mp4")
    assert beep_times(media_tools, ours) == pytest.approx([0, 1, 2, 3, 4, 5], abs=0.04)
    assert distance(media_tools, ours) < INTERLEAVED * 3


def test_sound_without_any_picture_is_kept(bilingual, finalizer):
    """The pictures of the second period are gone, its sound is not."""
    index = bilingual(starts=(100.0, 200.0, 300.0), duration=2.0)
    for path in (index.parent / "pictures-1").glob("*.ts"):
        path.unlink()
    one = finalizer()
    playlist = one.playlist(index)
    one.package(playlist)
    runs = one.staging.tables(one.receipts[0]).runs
    assert [[t.kind for t in r.tracks] for r in runs] == [
        ["video", "audio", "audio"],
        ["audio", "audio"],
        ["video", "audio", "audio"],
    ]
    assert len({(r.first_sequence, r.piece) for r in runs}) == 3
    starts = [float(min(t.samples.dts[0] / t.timescale for t in r.tracks)) for r in runs]
    assert starts == pytest.approx([100, 200, 300], abs=0.1)


@pytest.mark.parametrize("lost", ["pictures-0", "pictures-1"])
def test_lost_pictures_whose_sound_is_whole_add_no_time(lost, bilingual, finalizer):
    index = bilingual(starts=(300.0, 200.0, 100.0), duration=4.0, segment=2.0)
    folder = index.parent / lost
    sorted(folder.glob("*.ts"))[-1].unlink()
    made, proof = finalizer().finalize(index)
    assert {gap.track for gap in made.tables.gaps} == {"video"}
    assert proof.duration == pytest.approx(12.0, abs=0.2)


def test_sound_whose_pictures_are_all_lost_has_no_gap(bilingual, finalizer):
    index = bilingual(duration=4.0)
    for path in (index.parent / "pictures-0").glob("*.ts"):
        path.unlink()
    made, proof = finalizer().finalize(index)
    assert [gap for gap in made.tables.gaps if gap.track == "all"] == []
    assert proof.duration == pytest.approx(4.0, abs=0.1)


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.alike(2)
def test_transcodes_get_the_same_sound_as_the_copy(
    container, bilingual, finalizer, transcoded, media_tools
):
    index = bilingual(container, duration=4.0)
    copied, _ = finalizer().finalize(index)
    for seconds in (None, 2.0):
        files = transcoded(index, seconds, small=small_encoding())
        made, path = files["small"]
        for number in (1, 2):
            mine, theirs = sample_tables(made.header)[number], sample_tables(copied.header)[number]
            assert mine == theirs
        assert_in_sync(media_tools, path, 4)
        assert distance(media_tools, path) < INTERLEAVED


def test_sound_that_changes_is_conformed(media, finalizer, media_tools, tmp_path):
    """The second period's sound has another rate: it alone is encoded anew."""
    pictures = [media.recording(audio=None, start=start) for start in (0.0, 500.0)]
    low = ("-ar", "44100", "-ac", "1")
    sound = [
        media.recording(video=None, segment=1.7),
        media.recording(video=None, segment=1.7, start=500.0, duration=4.0, encoder_options=low),
    ]
    index = demuxed_recording(tmp_path, pictures, [Sound("n", "en", sound)])
    one = finalizer(slice_seconds=4.0)
    made, proof = one.finalize(index)
    [audio] = [track for track in proof.tracks if track.name == "audio"]
    assert audio.encoded > 150
    assert audio.copied == 283
    ours = one.download(tmp_path / "ours.mp4")
    flashes = flash_times(media_tools, ours)
    assert flashes == pytest.approx(list(range(12)), abs=0.1)
    assert beep_times(media_tools, ours) == pytest.approx(flashes[:10], abs=0.04)
    assert len(movie_of(made.header).tracks) == 2


def id3(time):
    """The tag in front of a segment of packed audio (RFC 8216, 3.4)."""
    owner = b"com.apple.streaming.transportStreamTimestamp\0"
    frame = b"PRIV" + struct.pack(">IH", len(owner) + 8, 0) + owner + struct.pack(">Q", time)
    return b"ID3\4\0\0" + struct.pack(">I", len(frame)) + frame


def frames_of(data):
    """ADTS frames by their own lengths."""
    at = 0
    while at < len(data):
        size = (data[at + 3] & 3) << 11 | data[at + 4] << 3 | data[at + 5] >> 5
        yield data[at : at + size]
        at += size


@pytest.fixture
def packed(media, media_tools, tmp_path):
    """Makes a playlist of packed AAC whose first sample is at ``start``; without tags for None."""

    def make(start=100.0, per_segment=60, tagged=True):
        source = media.recording(video=None)
        adts = run(
            media_tools.ffmpeg, "-v", "error", "-i", str(source), "-c", "copy", "-f", "adts", "-"
        )
        frames = list(frames_of(adts))
        folder = tmp_path / f"packed-{tagged}"
        folder.mkdir()
        lines = ["#EXTM3U"]
        for number, at in enumerate(range(0, len(frames), per_segment)):
            some = frames[at : at + per_segment]
            time = round((start + at * 1024 / 48_000) * 90_000) % 2**33
            head = id3(time) if tagged else b""
            (folder / f"{number}.aac").write_bytes(head + b"".join(some))
            lines += [f"#EXTINF:{len(some) * 1024 / 48_000:.5f},", f"{number}.aac"]
        (folder / "index.m3u8").write_text("\n".join([*lines, "#EXT-X-ENDLIST", ""]))
        return folder / "index.m3u8", adts

    return make


def audio_payload(tools, path):
    """Frames of the first sound, in ADTS again."""
    return run(
        tools.ffmpeg,
        "-v",
        "error",
        "-i",
        str(path),
        "-map",
        "0:a:0",
        "-c",
        "copy",
        "-f",
        "adts",
        "-",
    )


@pytest.mark.parametrize("seconds", [None, 2.0], ids=["one-slice", "many"])
@pytest.mark.parametrize("tagged", [True, False], ids=["id3", "untagged"])
@pytest.mark.alike(2)
def test_packed_audio_alone_becomes_an_mp4_of_sound(
    seconds, tagged, packed, finalizer, media_tools, tmp_path
):
    index, adts = packed(tagged=tagged)
    one = finalizer(slice_seconds=seconds)
    made, proof = one.finalize(index)
    assert [(t.name, t.copied, t.expected) for t in proof.tracks] == [("audio", 283, 283)]
    ours = one.download(tmp_path / "ours.mp4")
    assert audio_payload(media_tools, ours) == adts
    assert (made.tables.gaps, len(made.tables.periods)) == ([], 1)
    kinds = [] if tagged else [RepairKind.TIMESTAMPS] * len(one.receipts)
    assert [each.kind for each in made.repairs] == kinds
    assert beep_times(media_tools, ours) == pytest.approx([0, 1, 2, 3, 4, 5], abs=0.04)


def test_packed_audio_without_times_may_sound_the_same_again(packed, finalizer):
    """Nothing but their places in the list tells when four segments of silence are heard."""
    index, _ = packed(tagged=False)
    lines = index.read_text().splitlines()
    index.write_text("\n".join([lines[0], *lines[1:3] * 4, "#EXT-X-ENDLIST", ""]))
    made, proof = finalizer(slice_seconds=2.0).finalize(index)
    assert [(each.copied, each.repeated) for each in proof.tracks] == [(240, 0)]
    assert (made.tables.gaps, len(made.tables.periods)) == ([], 1)


def test_packed_audio_goes_on_over_the_wrap_of_its_clock(packed, finalizer, media_tools, tmp_path):
    index, adts = packed(start=2**33 / 90_000 - 3.0)
    for seconds in (None, 2.0):
        one = finalizer(slice_seconds=seconds)
        made, _ = one.finalize(index)
        assert len(made.tables.periods) == 1
        assert audio_payload(media_tools, one.download(tmp_path / "ours.mp4")) == adts


def test_packed_audio_is_laid_between_pictures(packed, media, finalizer, media_tools, tmp_path):
    sound, adts = packed(start=100.0)
    pictures = media.recording(audio=None, start=100.0)
    index = demuxed_recording(tmp_path, [pictures], [Sound("n", "en", [sound])])
    one = finalizer(slice_seconds=2.0)
    one.finalize(index)
    ours = one.download(tmp_path / "ours.mp4")
    assert audio_payload(media_tools, ours) == adts
    assert_in_sync(media_tools, ours, 6)


def test_frames_over_the_border_of_packed_segments_are_kept(
    packed, finalizer, media_tools, tmp_path
):
    """Segments cut at any byte: a frame begins in one and ends in the next."""
    index, adts = packed()
    step, offset = 7001, 0
    lines = ["#EXTM3U"]
    starts = list(itertools.accumulate((len(f) for f in frames_of(adts)), initial=0))
    for number, at in enumerate(range(0, len(adts), step)):
        first = next(n for n, start in enumerate(starts) if start >= at)
        time = round((100.0 + first * 1024 / 48_000) * 90_000)
        (index.parent / f"cut{number}.aac").write_bytes(id3(time) + adts[at : at + step])
        lines += ["#EXTINF:0.6,", f"cut{number}.aac"]
        offset = at
    assert offset
    index.write_text("\n".join([*lines, "#EXT-X-ENDLIST", ""]))
    for seconds in (None, 2.0):
        one = finalizer(slice_seconds=seconds)
        one.finalize(index)
        assert audio_payload(media_tools, one.download(tmp_path / "ours.mp4")) == adts


@pytest.mark.redis
def test_a_session_with_two_languages_and_a_profile_becomes_ready(bilingual, worker):
    made = worker()
    upload_folder(made.s3, bilingual("fmp4", duration=4.0).parent, "recordings", ID)
    small = {"name": "small", "width": 256, "height": 144, "bitrate": 200_000}
    made.put(profiles=[{**small, "fps": 0}])
    made.finalize()
    assert made.record().phase is Phase.READY, made.record().error
    report = json.loads(made.runtime.sessions.report(ID))
    assert report["verdict"] == "complete"
    for rendition in report["renditions"]:
        sounds = [t for t in rendition["tracks"] if t["name"] != "video"]
        assert [(t["language"], t["copied"]) for t in sounds] == [("eng", 189), ("spa", 189)]


@pytest.mark.redis
def test_a_session_of_packed_audio_alone_becomes_ready(packed, worker):
    index, _ = packed()
    made = worker()
    upload_folder(made.s3, index.parent, "recordings", ID)
    small = {"name": "small", "width": 256, "height": 144, "bitrate": 200_000}
    made.put(profiles=[{**small, "fps": 0}])
    made.finalize()
    assert made.record().phase is Phase.READY, made.record().error
    report = json.loads(made.runtime.sessions.report(ID))
    assert report["verdict"] == "complete"
    source, small = report["renditions"]
    assert [(t["name"], t["copied"]) for t in source["tracks"]] == [("audio", 283)]
    assert (small["state"], "no pictures" in small["reason"]) == ("not_made", True)


def test_playlists_and_prefixes_of_demuxed_sound_are_the_recordings_own(bilingual, finalizer):
    index = bilingual()
    one = finalizer()
    one.playlist(index)
    assert [each.name for each in one.sound] == ["English", "Español"]
    folder = Location.parse(f"s3://recordings/{one.name}/")
    assert all(str(each.location).startswith(str(folder)) for each in one.sound)
