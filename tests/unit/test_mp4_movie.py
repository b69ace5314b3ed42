"""A movie's header is read back as it was written, whatever its samples are."""

import hashlib
import struct
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.media import TrackKind
from pipelines.mp4.boxes import Mp4Error, box, find, full_box, require, walk
from pipelines.mp4.movie import Movie, MovieTrack, write_header
from pipelines.mp4.movie_header import UNITY_MATRIX, Edit
from pipelines.mp4.movie_reader import MAX_SAMPLES, read_movie, top_level_boxes
from pipelines.mp4.samples import run_lengths, starts
from tests.unit.mp4_by_hand import audio_entry, avcc, esds, u32, visual_entry

ENTRIES = {TrackKind.VIDEO: visual_entry(avcc()), TrackKind.AUDIO: audio_entry(esds())}
STBL = (b"mdia", b"minf", b"stbl")


def make_track(kind=TrackKind.VIDEO, sizes=(5, 6, 7), chunks=None, at=0, **changes) -> MovieTrack:
    """A track whose chunks lie one after the other, from byte ``at`` of the payload."""
    sizes = np.array(sizes, np.uint32)
    chunks = np.array([len(sizes)] if chunks is None else chunks, np.uint32)
    ends = np.concatenate(([0], np.cumsum(sizes, dtype=np.int64)))
    fields = {
        "kind": kind,
        "timescale": 90_000,
        "sample_entry": ENTRIES[kind],
        "language": "und",
        "enabled": True,
        "width": 320 if kind is TrackKind.VIDEO else 0,
        "height": 180 if kind is TrackKind.VIDEO else 0,
        "duration": 3000 * len(sizes),
        "time_counts": np.array([len(sizes)]),
        "time_deltas": np.array([3000]),
        "composition_counts": None,
        "composition_offsets": None,
        "sync_samples": None,
        "sizes": sizes,
        "chunk_offsets": ends[starts(chunks)] + at,
        "chunk_samples": chunks,
        "edits": (),
    }
    return MovieTrack(**{**fields, **changes})


def write(*tracks: MovieTrack, payload: int = 1 << 20, timescale: int = 1000, created=None):
    return write_header(Movie(tracks, timescale, created), payload)


def moov_of(header: bytes) -> bytes:
    (found,) = (found for found in top_level_boxes(header) if found.name == "moov")
    return header[found.offset : found.end]


def _trak(header: bytes, *path: bytes) -> bytes:
    moov = require(memoryview(moov_of(header)), b"moov").body
    return bytes(require(moov, b"trak", *path).body)


SAMPLES = st.lists(
    st.tuples(
        st.sampled_from([3000, 3003, 1, 0, 2**32 - 1]),  # duration
        st.integers(-(2**31), 2**31 - 1) | st.sampled_from([0, 6000]),  # composition
        st.integers(0, 2**32 - 1) | st.just(700),  # size
        st.booleans(),  # sync
    ),
    min_size=1,
    max_size=40,
)
EDITS = st.lists(st.builds(Edit, st.integers(0, 2**40), st.integers(-1, 2**40)), max_size=3)


@settings(deadline=None)
@given(samples=SAMPLES, edits=EDITS, cuts=st.sets(st.integers(1, 39)), second=SAMPLES)
def test_a_movie_read_back_is_the_movie_that_was_written(samples, edits, cuts, second):
    durations, composition, sizes, sync = (
        np.array(column) for column in zip(*samples, strict=True)
    )
    bounds = sorted({0, *(cut for cut in cuts if cut < len(sizes)), len(sizes)})
    counts, offsets = run_lengths(composition)
    time_counts, time_deltas = run_lengths(durations)
    video = make_track(
        sizes=sizes,
        chunks=np.diff(bounds),
        time_counts=time_counts,
        time_deltas=time_deltas,
        composition_counts=counts,
        composition_offsets=offsets,
        sync_samples=np.flatnonzero(sync) + 1,
        edits=tuple(edits),
        duration=int(durations.sum()),
    )
    own = int(sizes.sum())
    audio = make_track(TrackKind.AUDIO, [size for _, _, size, _ in second], at=own)
    payload = own + int(audio.sizes.sum(dtype=np.int64))

    header = write(video, audio, payload=payload)
    parsed = read_movie(moov_of(header))

    read, other = parsed.tracks
    assert read.durations.tolist() == durations.tolist()
    assert read.dts.tolist() == starts(durations).tolist()
    assert read.pts.tolist() == (starts(durations) + composition).tolist()
    assert read.sync.tolist() == sync.tolist()
    assert read.sizes.tolist() == sizes.tolist()
    assert read.offsets.tolist() == (len(header) + starts(sizes)).tolist()
    assert read.header.edits == tuple(edits)
    assert read.header.duration == durations.sum()
    assert other.offsets.tolist() == (len(header) + own + starts(audio.sizes)).tolist()
    assert other.sync.all()
    mdat = top_level_boxes(header)[-1]
    assert (mdat.name, mdat.header_size, mdat.end) == ("mdat", 16, len(header) + payload)


def test_pictures_are_turned_as_the_track_says():
    quarter = u32(0, 1 << 16, 0, (-1 << 16) & 0xFFFFFFFF, 0, 0, 0, 0, 1 << 30)
    header = write(make_track(matrix=quarter), make_track(TrackKind.AUDIO))
    pictures, sound = read_movie(moov_of(header)).header.tracks
    assert (pictures.matrix, sound.matrix) == (quarter, UNITY_MATRIX)


def test_the_movie_box_comes_before_the_media():
    names = [found.name for found in top_level_boxes(write(make_track()))]
    assert names == ["ftyp", "moov", "mdat"]


def test_brands_name_what_a_player_must_know():
    negative = {"composition_counts": np.array([3]), "composition_offsets": np.array([-1])}
    assert write(make_track())[8:32] == b"isom\0\0\2\0isomiso2avc1mp41"
    assert write(make_track(TrackKind.AUDIO))[8:28] == b"isom\0\0\2\0isomiso2mp41"
    assert b"iso4" in write(make_track(**negative))[:40]


def test_offsets_take_64_bits_only_where_they_must():
    small = write(make_track(), payload=1 << 20)
    assert find(memoryview(_trak(small, *STBL)), b"stco") is not None

    far = make_track(at=2**32)
    large = write(far, payload=2**33)
    assert find(memoryview(_trak(large, *STBL)), b"co64") is not None
    (track,) = read_movie(moov_of(large)).tracks
    assert track.offsets.tolist() == [2**32 + len(large) + at for at in (0, 5, 11)]


@pytest.mark.parametrize("short", range(-12, 13))
def test_the_border_between_32_and_64_bit_offsets_is_exact(short):
    header_size = len(write(make_track()))
    payload = 2**32 - header_size + short
    track = make_track(sizes=[1], at=payload - 1)
    header = write(track, payload=payload)
    (read,) = read_movie(moov_of(header)).tracks
    assert read.offsets.tolist() == [len(header) + payload - 1]


def test_times_take_64_bits_only_where_they_must():
    short, long = make_track(), make_track(duration=2**32)
    assert _trak(write(short), b"mdia", b"mdhd")[0] == 0
    header = write(long, timescale=90_000)
    assert [_trak(header, *path)[0] for path in ((b"mdia", b"mdhd"), (b"tkhd",))] == [1, 1]
    parsed = read_movie(moov_of(header))
    assert (parsed.header.duration, parsed.tracks[0].header.duration) == (2**32, 2**32)
    assert (parsed.tracks[0].header.width, parsed.tracks[0].header.height) == (320, 180)


def test_a_track_is_shown_as_long_as_its_edits_say():
    header = write(make_track(edits=(Edit(40, -1), Edit(100, 6000))))
    assert struct.unpack(">I", _trak(header, b"tkhd")[20:24]) == (140,)
    assert read_movie(moov_of(header)).header.duration == 140


def test_a_track_without_edits_is_shown_to_its_end():
    header = write(make_track())  # 9000 ticks of 1/90000 s are 100 ms
    assert read_movie(moov_of(header)).header.duration == 100


def test_several_audio_tracks_are_alternatives_of_which_one_is_enabled():
    first = make_track(TrackKind.AUDIO, language="eng")
    second = make_track(TrackKind.AUDIO, language="fra", enabled=False)
    header = write(make_track(), first, second)
    tracks = read_movie(moov_of(header)).header.tracks
    assert [track.enabled for track in tracks] == [True, True, False]
    assert [track.language for track in tracks] == ["und", "eng", "fra"]
    moov = require(memoryview(moov_of(header)), b"moov").body
    groups = [
        struct.unpack(">HH", bytes(require(trak, b"tkhd").body)[34:38])
        for trak in (found.body for found in walk(moov) if found.name == b"trak")
    ]
    assert groups == [(0, 0), (1, 0x100), (1, 0x100)]  # alternate group, volume


def test_the_creation_time_is_the_recordings_and_bytes_are_repeatable():
    created = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    one, other = (write(make_track(), created=created) for _ in range(2))
    assert hashlib.sha256(one).digest() == hashlib.sha256(other).digest()
    seconds = struct.unpack(">I", _trak(one, b"tkhd")[4:8])[0]
    assert seconds - 2_082_844_800 == created.timestamp()
    assert _trak(write(make_track()), b"tkhd")[4:8] == bytes(4)


def test_equal_sizes_are_written_once():
    stsz = _trak(write(make_track(sizes=[9] * 1000)), *STBL, b"stsz")
    assert stsz == u32(0, 9, 1000)
    assert _trak(write(make_track(sizes=[0, 0])), *STBL, b"stsz") == u32(0, 0, 2, 0, 0)


def test_neighbouring_chunks_of_one_length_share_a_line():
    stsc = _trak(write(make_track(sizes=[1] * 7, chunks=[2, 2, 2, 1])), *STBL, b"stsc")
    assert stsc == u32(0, 2, 1, 2, 1, 4, 1, 1)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"time_counts": np.array([2])}, "count"),
        ({"chunk_samples": np.array([2])}, "count"),
        ({"composition_counts": np.array([1]), "composition_offsets": np.array([0])}, "count"),
        ({"chunk_offsets": np.array([2**20])}, "outside of the payload"),
        ({"chunk_offsets": np.array([-1])}, "outside of the payload"),
        ({"chunk_samples": np.array([3, 0]), "chunk_offsets": np.array([0, 1])}, "without samples"),
        ({"time_deltas": np.array([2**32])}, "duration"),
        ({"time_deltas": np.array([-1])}, "duration"),
        (
            {"composition_counts": np.array([3]), "composition_offsets": np.array([2**31])},
            "composition",
        ),
        ({"edits": (Edit(-1, 0),)}, "edit"),
        ({"edits": (Edit(1, -2),)}, "edit"),
        ({"duration": -1}, "lasts"),
        ({"width": 1 << 16}, "size"),
        ({"timescale": 0}, "timescale"),
        ({"sync_samples": np.array([4])}, "sync"),
        ({"chunk_offsets": np.array([0, 1])}, "offsets"),
        ({"language": "english"}, "639-2"),
        ({"matrix": bytes(35)}, "matrix"),
    ],
)
def test_a_movie_that_contradicts_itself_is_refused(changes, sentence):
    with pytest.raises(Mp4Error, match=sentence):
        write(make_track(**changes))


def test_a_creation_time_without_a_zone_is_refused():
    with pytest.raises(Mp4Error, match="time zone"):
        write(make_track(), created=datetime(2026, 1, 1))  # noqa: DTZ001


def _with(header: bytes, old: bytes, new: bytes) -> bytes:
    moov = moov_of(header)
    assert moov.count(old) == 1
    return moov.replace(old, new)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (full_box(b"stts", 0, 0, u32(1, 3, 3000)), full_box(b"stts", 0, 0, u32(1, 4, 3000)), "counts"),
        (full_box(b"stsc", 0, 0, u32(1, 1, 3, 1)), full_box(b"stsc", 0, 0, u32(1, 1, 4, 1)), "hold"),
        (full_box(b"stsc", 0, 0, u32(1, 1, 3, 1)), full_box(b"stsc", 0, 0, u32(1, 2, 3, 1)), "chunks"),
        (full_box(b"stsc", 0, 0, u32(1, 1, 3, 1)), full_box(b"stsc", 0, 0, u32(1, 1, 3, 2)), "entry"),
        (b"stsz" + u32(0, 0, 3), b"stsz" + u32(0, 7, MAX_SAMPLES + 1), "exceeds"),
        (b"stsz" + u32(0, 0, 3), b"stsz" + u32(0, 0, 4), "'stsz' ends"),
        (b"stsz" + u32(0, 0, 3), b"stsz" + u32(0, 7, 2**25), "counts"),
        (b"stss" + u32(0, 1, 1), b"stss" + u32(0, 1, 4), "does not exist"),
        (b"stss" + u32(0, 1, 1), b"stss" + u32(0, 1, 0), "does not exist"),
        (b"stco" + u32(0, 1), b"stco" + u32(0, 2**32 - 1), "'stco' ends"),
    ],
)  # fmt: skip
def test_tables_that_contradict_each_other_are_refused(old, new, sentence):
    header = write(make_track(sync_samples=np.array([1])))
    with pytest.raises(Mp4Error, match=sentence):
        read_movie(_with(header, old, new))


def test_only_a_whole_movie_box_is_read():
    moov = moov_of(write(make_track()))
    for wrong in (moov[:-1], moov + box(b"free"), moov[8:], b""):
        with pytest.raises(Mp4Error):
            read_movie(wrong)
