"""Damaged MPEG-TS on its way to an MP4: what decodes is kept, at its time, and the rest is told."""

import re

import pytest

from pipelines.loss import LossCause
from pipelines.package import package_slice
from pipelines.repair import RepairKind
from tests.media import beep_times, flash_times, run
from tests.packaging import never_cancelled, small_encoding

pytestmark = [pytest.mark.s3, pytest.mark.ffmpeg]

PACKET = 188
VIDEO_PID, SOUND_PID = 0x100, 0x101
#: A frame of sound and one of pictures: a beep may have lost its first one.
NEAR = 1 / 30 + 1024 / 48_000


def segments(path):
    return [each.read_bytes() for each in sorted(path.parent.glob("segment*"))]


def pid_of(packet):
    return (packet[1] & 0x1F) << 8 | packet[2]


def packets(data):
    return [data[at : at + PACKET] for at in range(0, len(data), PACKET)]


def lose(data, first, count, pid=None):
    """The segment without some packets from a place on, counted among those of one PID."""
    numbers = [n for n, each in enumerate(packets(data)) if pid in (None, pid_of(each))]
    begin = int(len(numbers) * first)
    gone = set(numbers[begin : begin + count])
    return b"".join(each for n, each in enumerate(packets(data)) if n not in gone)


def marked(data, place):
    """The segment with one packet of its pictures marked as damaged on the way."""
    numbers = [n for n, each in enumerate(packets(data)) if pid_of(each) == VIDEO_PID]
    bent = bytearray(data)
    bent[PACKET * numbers[int(len(numbers) * place)] + 1] |= 0x80
    return bytes(bent)


DAMAGE = {
    "cut-in-a-packet": lambda data: data[: len(data) * 7 // 10 // PACKET * PACKET + 50],
    "cut-between-packets": lambda data: data[: len(data) * 7 // 10 // PACKET * PACKET],
    "pictures-lost": lambda data: lose(data, 0.7, 3, VIDEO_PID),
    "sound-lost": lambda data: lose(data, 0.7, 3, SOUND_PID),
    "both-lost": lambda data: lose(data, 0.7, 30),
    "head-lost": lambda data: lose(data, 0.02, 20),
    "marked": lambda data: marked(data, 0.7),
    "zeroed": lambda data: data[: 188 * 50 + 7] + bytes(2000) + data[188 * 50 + 2007 :],
}
HARMLESS = {
    "junk-between-packets": lambda data: data[: 188 * 40] + b"?" * 333 + data[188 * 40 :],
    "junk-before": lambda data: b"ID3\x04\0\0\0\0\0\x0a" + b"\0" * 10 + data,
    "repeated": lambda data: data[: 188 * 41] + data[188 * 40 :],
}


@pytest.fixture
def bent(media, recording_of):
    """A recording of which one segment is bent."""

    def make(bend, position, **options):
        data = segments(media.recording(**options))
        data[position] = bend(data[position])
        return recording_of(*((each, "") for each in data))

    return make


def counts(packaged):
    """Samples of every PID."""
    found = {}
    for run_made in (each for tables in packaged for each in tables.runs):
        for track in run_made.tracks:
            found[track.track] = found.get(track.track, 0) + len(track.samples)
    return found


def told(packaged):
    """What is said of losses and repairs."""
    losses = [loss for tables in packaged for loss in tables.losses]
    repairs = [repair for tables in packaged for repair in tables.repairs]
    return [(each.sequence, each.cause, each.detail, each.units) for each in losses], repairs


def packaged(one, path):
    """The tables of every slice."""
    works = one.slices(one.playlist(path))
    return [package_slice(w, one.packager, one.upload, never_cancelled).tables for w in works]


def complaints(tools, path):
    """What ffmpeg says while it decodes all of a file."""
    said = run(
        tools.ffprobe, "-v", "warning", "-count_frames", "-show_entries", "stream=nb_read_frames",
        "-of", "csv=p=0", str(path),
    ).decode()  # fmt: skip
    return [line for line in said.splitlines() if not re.fullmatch(r"\d+,?\s*", line)]


@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("options", [{"gop": 15}, {"video": "hevc", "gop": 15, "b_frames": 2}],
                         ids=["h264", "hevc"])  # fmt: skip
@pytest.mark.alike(3)
def test_what_is_whole_is_kept_and_the_rest_is_told(options, damage, position, bent, finalizer):
    path = bent(DAMAGE[damage], position, **options)
    one = finalizer()
    made = packaged(one, path)
    losses = [loss for tables in made for loss in tables.losses]
    # What ends between two packets that end units shows by nothing but the clock behind it.
    assert losses or damage == "cut-between-packets"
    assert {(loss.sequence, loss.cause) for loss in losses} <= {
        (position, LossCause.SEGMENT_DAMAGED)
    }
    kept = counts(made)
    assert 120 <= kept[VIDEO_PID] <= 180
    assert 188 <= kept[SOUND_PID] <= 283
    assert kept[VIDEO_PID] + kept[SOUND_PID] < 180 + 283
    if damage in ("pictures-lost", "sound-lost", "marked"):
        lost = sum(loss.units for loss in losses)
        assert kept[VIDEO_PID] + kept[SOUND_PID] + lost == 180 + 283


@pytest.mark.parametrize("damage", [*DAMAGE, *HARMLESS])
@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.alike(3)
def test_one_slice_and_many_keep_the_same(damage, position, bent, finalizer):
    path = bent((DAMAGE | HARMLESS)[damage], position, gop=15)
    whole = packaged(finalizer(), path)
    many = packaged(finalizer(slice_seconds=1.0), path)
    assert len(many) == 3
    assert counts(whole) == counts(many)
    assert told(whole) == told(many)


@pytest.mark.parametrize("damage", HARMLESS)
@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.alike(3)
def test_bytes_that_hold_no_media_cost_none(damage, position, bent, finalizer):
    made = packaged(finalizer(), bent(HARMLESS[damage], position))
    assert counts(made) == {VIDEO_PID: 180, SOUND_PID: 283}
    [repair] = made[0].repairs
    assert (repair.kind, repair.sequence) == (RepairKind.LEFT_OUT, position)
    assert made[0].losses == ()


@pytest.mark.parametrize("damage", DAMAGE)
def test_all_that_is_left_decodes_and_is_at_its_time(
    damage, bent, finalizer, media_tools, tmp_path
):
    path = bent(DAMAGE[damage], 1, gop=15)
    one = finalizer(slice_seconds=1.0)
    one.finalize(path)
    target = one.download(tmp_path / "made.mp4")
    assert complaints(media_tools, target) == []
    flashes, beeps = flash_times(media_tools, target), beep_times(media_tools, target)
    for times in (flashes, beeps):
        assert all(abs(time - round(time)) <= NEAR for time in times), (flashes, beeps)
        assert {0, 1, 4, 5} <= {round(time) for time in times} <= {0, 1, 2, 3, 4, 5}


def test_another_clock_inside_a_segment_begins_a_run_of_its_own(media, finalizer, recording_of):
    first = segments(media.recording())[0]
    late = segments(media.recording(start=5000.0))
    path = recording_of((first + late[1], ""), (late[2], ""))
    made = packaged(finalizer(), path)
    runs = [(each.first_sequence, each.piece) for tables in made for each in tables.runs]
    assert runs == [(0, 0), (0, 1)]
    assert counts(made) == {VIDEO_PID: 180, SOUND_PID: 283}
    assert [repair.kind for repair in made[0].repairs] == [RepairKind.CLOCK_SPLIT]


@pytest.mark.parametrize("other", [{"size": "256x144"}, {"encoder_options": ("-ar", "44100")}])
def test_another_configuration_begins_a_run_of_its_own(other, media, finalizer, recording_of):
    data = segments(media.recording())
    second = segments(media.recording(**other))[1]
    together = packaged(finalizer(), recording_of((data[0] + second, ""), (data[2], "")))
    runs = [(each.first_sequence, each.piece) for each in together[0].runs]
    assert runs == [(0, 0), (0, 1), (1, 0)]
    apart = packaged(
        finalizer(), recording_of(*((d, "") for d in (data[0], second, data[2])), name="apart")
    )
    assert [each.first_sequence for each in apart[0].runs] == [0, 1, 2]
    assert counts(apart) == counts(together)


def test_sound_that_vanishes_and_comes_back_is_told_by_runs(media, finalizer, recording_of):
    data = segments(media.recording())
    data[1] = b"".join(each for each in packets(data[1]) if pid_of(each) != SOUND_PID)
    made = packaged(finalizer(), recording_of(*((each, "") for each in data)))
    tracks = [sorted(track.track for track in each.tracks) for each in made[0].runs]
    assert tracks == [[VIDEO_PID, SOUND_PID], [VIDEO_PID], [VIDEO_PID, SOUND_PID]]


def test_pictures_without_parameter_sets_are_lost_and_their_sound_is_not(
    corpus, finalizer, recording_of
):
    data = (corpus / "ts-non-existing-pps-truncated" / "non-existing-pps.ts").read_bytes()
    made = packaged(finalizer(), recording_of((data, "")))
    [made_run] = made[0].runs
    assert [(track.codec, len(track.samples)) for track in made_run.tracks] == [("aac", 51)]
    assert sum(loss.units for loss in made[0].losses) == 36


def test_pictures_before_the_first_parameter_sets_are_left_out(corpus, finalizer, recording_of):
    data = (corpus / "ts-no-initial-keyframe" / "no-initial-keyframe.ts").read_bytes()
    made = packaged(finalizer(), recording_of((data, "")))
    [made_run] = made[0].runs
    assert [len(track.samples) for track in made_run.tracks] == [15, 57]
    assert [loss.units for loss in made[0].losses] == [63]


@pytest.mark.parametrize("seconds", [None, 1.0], ids=["one-slice", "many"])
@pytest.mark.parametrize("damage", ["cut-in-a-packet", "pictures-lost", "both-lost", "head-lost"])
@pytest.mark.alike(2)
def test_a_transcode_shows_what_is_left_at_its_time(damage, seconds, bent, transcoded, media_tools):
    path = bent(DAMAGE[damage], 1, gop=15)
    [(_, target)] = transcoded(path, seconds, small=small_encoding()).values()
    assert complaints(media_tools, target) == []
    flashes = flash_times(media_tools, target)
    assert all(abs(time - round(time)) <= NEAR for time in flashes)
    assert {0, 1, 4, 5} <= {round(time) for time in flashes} <= {0, 1, 2, 3, 4, 5}
