"""One slice or many: the same packets and the same tables, wherever the segments were cut."""

import itertools

import pytest

from tests.framehash import packets
from tests.sample_tables import movie_of, sample_tables

pytestmark = [pytest.mark.s3, pytest.mark.ffmpeg]

RECORDINGS = {
    "b-frames": {"b_frames": 2},
    "hevc": {"video": "hevc", "b_frames": 2},
    "ac3": {"audio": "ac3", "start": 50.0},
    "44100-hz": {"encoder_options": ("-ar", "44100")},
    "fmp4": {"container": "fmp4", "b_frames": 2},
    "audio-only": {"video": None},
    "long-gop": {"gop": 150, "b_frames": 2, "segment": 1.0, "split_by_time": True},
    "open-gop": {
        "gop": 30, "b_frames": 2, "open_gop": True, "segment": 0.7, "split_by_time": True,
    },
    "hevc-open-gop": {
        "video": "hevc", "gop": 30, "b_frames": 2, "open_gop": True, "segment": 0.7,
        "split_by_time": True,
    },
    "wrap": {"start": 95_440.0, "b_frames": 2},
}  # fmt: skip
TS_PACKET = 188


def made_of(finalizer, path, seconds=None):
    """The finalizer and the object after one recording went through."""
    one = finalizer(slice_seconds=seconds)
    made, proof = one.finalize(path)
    assert all(track.expected == track.copied for track in proof.tracks)
    return one, made


def assert_slicing_leaves_no_trace(finalizer, path, tools, folder, seconds=0.5):
    whole, whole_made = made_of(finalizer, path)
    sliced, sliced_made = made_of(finalizer, path, seconds)
    assert len(whole.receipts) == 1
    assert len(sliced.receipts) > 2
    assert sample_tables(sliced_made.header) == sample_tables(whole_made.header)
    first = whole.download(folder / "whole.mp4")
    second = sliced.download(folder / "sliced.mp4")
    names = list(whole_made.tables.tracks)
    for stream in [f"{name[0]}:0" for name in names]:
        assert packets(tools, second, stream) == packets(tools, first, stream)
    return whole_made


@pytest.mark.parametrize("spec", RECORDINGS.values(), ids=RECORDINGS.keys())
def test_slicing_leaves_no_trace(spec, media, finalizer, media_tools, tmp_path):
    path = media.recording(**spec)
    made = assert_slicing_leaves_no_trace(finalizer, path, media_tools, tmp_path)
    assert made.tables.dropped == []
    assert len(made.tables.periods) == 1


def test_a_found_recording_with_zeros_behind_its_pictures_is_copied(
    corpus, recording_of, finalizer, media_tools, tmp_path
):
    """Its first picture ends with a zero that is no part of any start code."""
    found = sorted((corpus / "ts-mp3-bframes-id3").glob("*.ts"))
    path = recording_of(*((each.read_bytes(), "") for each in found), seconds=3.0)
    assert_slicing_leaves_no_trace(finalizer, path, media_tools, tmp_path, 3.0)


def cut_anywhere(path, pieces, shift=0):
    """A recording's transport stream cut without regard for what lies at the cuts."""
    stream = b"".join(each.read_bytes() for each in sorted(path.parent.glob("*.ts")))
    count = len(stream) // TS_PACKET
    edges = [round(n * count / pieces) for n in range(pieces + 1)]
    edges[1:-1] = [edge + shift for edge in edges[1:-1]]
    return [stream[begin * TS_PACKET : end * TS_PACKET] for begin, end in itertools.pairwise(edges)]


@pytest.mark.parametrize(
    ("spec", "pieces"),
    [
        ({"b_frames": 2}, 12),
        ({"audio": "mp3", "gop": 150}, 7),
        ({"video": None}, 5),
        ({"video": "hevc"}, 5),
    ],
    ids=["aac", "mp3-long-gop", "sound-alone", "hevc"],
)
def test_units_that_straddle_segments_and_slices_are_whole(
    spec, pieces, media, finalizer, recording_of, media_tools, tmp_path
):
    original = media.recording(**spec)
    cut = cut_anywhere(original, pieces)
    path = recording_of(*((data, "") for data in cut), seconds=6 / pieces)
    made = assert_slicing_leaves_no_trace(finalizer, path, media_tools, tmp_path, 6 / pieces)
    _, uncut = made_of(finalizer, original)
    assert sample_tables(made.header) == sample_tables(uncut.header)


def test_every_packet_of_a_recording_is_in_some_slice_wherever_it_is_cut(
    media, finalizer, recording_of
):
    original = media.recording(b_frames=2)
    _, uncut = made_of(finalizer, original)
    for shift in (-1, 0, 1):
        cut = cut_anywhere(original, 3, shift)
        path = recording_of(*((data, "") for data in cut), name=f"cut{shift}", seconds=2)
        _, made = made_of(finalizer, path, 2)
        assert sample_tables(made.header) == sample_tables(uncut.header)


@pytest.mark.parametrize("position", [1, 2])
def test_a_missing_neighbor_of_a_slice_is_a_gap_whatever_the_slicing(
    position, media, finalizer, recording_of
):
    cut = cut_anywhere(media.recording(b_frames=2), 3)
    path = recording_of(*((data, "") for data in cut))
    (path.parent / f"{position:05}.ts").unlink()
    _, whole = made_of(finalizer, path)
    sliced, made = made_of(finalizer, path, 2)
    assert len(sliced.receipts) == 3
    assert [loss.sequence for loss in made.losses if loss.whole] == [position]
    assert [gap.segments for gap in made.tables.gaps if gap.track == "all"] == [(position,)]
    assert sample_tables(made.header) == sample_tables(whole.header)


def cut_inside_a_frame_of_sound(data):
    """A segment as two: the second begins with more than 64 KiB of pictures before the rest of a
    PES packet of sound that the first one leaves open."""
    cells = [data[at : at + TS_PACKET] for at in range(0, len(data), TS_PACKET)]
    pids = [(cell[1] & 0x1F) << 8 | cell[2] for cell in cells]
    sounds = [number for number, pid in enumerate(pids) if pid == 257]
    begins = [number for number in sounds if cells[number][1] & 0x40]
    tables = b"".join(cells[: pids.index(256)])
    for begin, after in itertools.pairwise(begins):
        rest = [number for number in sounds if begin < number < after]
        pictures = [number for number in range(begin, after) if pids[number] == 256]
        if rest and len(pictures) * TS_PACKET > 80_000:
            late = b"".join(cells[number] for number in (*pictures, *rest))
            return b"".join(cells[: begin + 1]), tables + late + b"".join(cells[after:])
    raise AssertionError("no PES packet of sound has enough pictures behind it")


def test_a_frame_of_sound_whose_rest_comes_late_in_the_next_slice_is_whole(
    media, finalizer, recording_of
):
    path = media.recording(
        size="1280x720", duration=3.0, segment=4.0, gop=1, encoder_options=("-qp", "2")
    )
    data = (path.parent / "segment00000.ts").read_bytes()
    whole = recording_of((data, ""), name="whole")
    halves = recording_of(*((half, "") for half in cut_inside_a_frame_of_sound(data)))
    _, expected = made_of(finalizer, whole)
    sliced, made = made_of(finalizer, halves, 1.0)
    assert len(sliced.receipts) == 2
    sizes, same = (
        [track.sizes.tolist() for track in movie_of(each.header).tracks]
        for each in (made, expected)
    )
    assert len(sizes) == 2
    assert sizes == same
