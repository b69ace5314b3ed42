"""Fragments are read exactly, from pieces of any size, and a lie is an error, never a shorter file."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.media import Codec, TrackKind
from pipelines.mp4.boxes import Mp4Error, box, full_box
from pipelines.mp4.fragments import (
    MAX_TABLES,
    FragmentReader,
    Header,
    read_header_section,
)
from pipelines.mp4.movie_fragment import MAX_PAYLOAD, MAX_SAMPLES, Run
from pipelines.mp4.movie_header import Edit, SampleDefaults
from tests.unit.mp4_by_hand import (
    audio_entry,
    avcc,
    esds,
    mdat,
    moof,
    moov,
    sized_moof,
    tfhd,
    trak,
    trex,
    trun,
    u32,
    video_moov,
    visual_entry,
)

FTYP = box(b"ftyp", b"isom", u32(0))


def _events(data: bytes, piece: int = 10**9):
    reader = FragmentReader()
    events = []
    for at in range(0, len(data), piece):
        events += reader.feed(data[at : at + piece])
    reader.close()
    return events


def _only(data: bytes):
    """The one track of the one fragment of a movie."""
    header, fragment = _events(data)
    assert isinstance(header, Header)
    (track,) = fragment.tracks
    return track, fragment


def _one_run(flags: int, *fields: bytes, count: int, payload: bytes, head=None, version=0):
    """A movie of one run that starts right after the header of its ``mdat``."""

    def made(offset: int) -> bytes:
        run = trun(count, flags | 1, struct.pack(">i", offset), *fields, version=version)
        return moof(box(b"traf", head or tfhd(), run))

    return made(len(made(0)) + 8) + mdat(payload)


def test_a_run_of_samples_is_read_column_by_column():
    rows = u32(3000, 5, 0x02000000, 6000) + u32(3003, 4, 0x01010000, 0)
    data = video_moov() + _one_run(0xF00, rows, count=2, payload=b"123456789")
    track, fragment = _only(data)

    assert track.durations.tolist() == [3000, 3003]
    assert track.composition.tolist() == [6000, 0]
    assert track.sizes.tolist() == [5, 4]
    assert track.sync.tolist() == [True, False]
    assert track.runs == (Run(0, 2, 0, 9),)
    assert (track.track_id, track.base_decode_time) == (1, None)
    assert bytes(fragment.payload) == b"123456789"
    kinds = [column.dtype for column in (track.durations, track.composition, track.sizes)]
    assert kinds == [np.int64, np.int32, np.uint32]


def test_composition_offsets_may_be_negative():
    data = video_moov() + _one_run(0xA00, u32(1, 2**32 - 1500), count=1, payload=b"1", version=1)
    assert _only(data)[0].composition.tolist() == [-1500]


def test_what_a_run_leaves_out_comes_from_its_track_and_then_from_the_movie():
    defaults = trex(duration=1001, size=3, flags=0x00010000)
    data = video_moov(defaults) + _one_run(0, count=3, payload=b"123456789")
    track, _ = _only(data)
    assert (track.durations.tolist(), track.sizes.tolist()) == ([1001] * 3, [3] * 3)
    assert not track.sync.any()

    head = tfhd(1, 0x02003A, u32(1, 512, 2, 0))
    data = video_moov(defaults) + _one_run(0, count=3, payload=b"123456", head=head)
    track, _ = _only(data)
    assert (track.durations.tolist(), track.sizes.tolist()) == ([512] * 3, [2] * 3)
    assert track.sync.all()


def test_the_first_sample_of_a_run_may_have_flags_of_its_own():
    defaults = trex(size=1, flags=0x01010000)
    data = video_moov(defaults) + _one_run(4, u32(0x02000000), count=3, payload=b"123")
    assert _only(data)[0].sync.tolist() == [True, False, False]


@pytest.mark.parametrize("time", [0, -7508, -(2**40), 2**33 + 5])
def test_a_decode_time_below_zero_is_kept_as_it_is(time):
    data = video_moov() + sized_moof([3], time=time) + mdat(b"abc")
    assert _only(data)[0].base_decode_time == time


def test_a_short_decode_time_is_unsigned():
    run = trun(1, 0x200, u32(1))
    short = full_box(b"tfdt", 0, 0, u32(2**32 - 1))
    head = tfhd(1, 0x000001, struct.pack(">Q", 0))
    data = moof(box(b"traf", head, short, run)) + mdat(b"a")
    moov_size = len(video_moov())
    position = moov_size + len(data) - 1
    data = data.replace(struct.pack(">Q", 0), struct.pack(">Q", position), 1)
    assert _only(video_moov() + data)[0].base_decode_time == 2**32 - 1


def test_runs_without_an_offset_go_on_where_the_run_before_ended():
    def made(offset: int) -> bytes:
        runs = trun(2, 0x201, struct.pack(">i", offset), u32(2, 3)), trun(1, 0x200, u32(4))
        return moof(box(b"traf", tfhd(), *runs))

    data = video_moov() + made(len(made(0)) + 8) + mdat(b"112223333")
    track, _ = _only(data)
    assert track.runs == (Run(0, 2, 0, 5), Run(2, 1, 5, 4))
    assert track.sizes.tolist() == [2, 3, 4]


def test_tracks_that_share_a_fragment_keep_their_own_samples():
    movie = moov(
        trak(1, visual_entry(avcc())),
        trak(2, audio_entry(esds()), handler=b"soun", timescale=48000),
    )

    def made(offset: int) -> bytes:
        video = box(b"traf", tfhd(1), trun(1, 0x201, struct.pack(">i", offset), u32(4)))
        # no base of its own, no offset: it starts where the track before it ended (8.8.7.1)
        audio = box(b"traf", tfhd(2, 0), trun(2, 0x200, u32(1, 2)))
        return moof(video, audio)

    header, fragment = _events(movie + made(len(made(0)) + 8) + mdat(b"vvvvabb"))
    video, audio = fragment.tracks
    assert (video.runs, audio.runs) == ((Run(0, 1, 0, 4),), (Run(0, 2, 4, 3),))
    assert [track.kind for track in header.movie.tracks] == [TrackKind.VIDEO, TrackKind.AUDIO]


def test_a_64_bit_mdat_and_two_of_them_make_one_payload():
    def made(first: int, second: int) -> bytes:
        runs = [trun(1, 0x201, struct.pack(">i", at), u32(3)) for at in (first, second)]
        return moof(box(b"traf", tfhd(), *runs))

    start = len(made(0, 0))
    long = struct.pack(">I4sQ", 1, b"mdat", 16 + 3) + b"abc"
    data = made(start + 16, start + len(long) + 8 + 1) + long + mdat(b".def")
    _, fragment = _events(video_moov() + data)
    assert bytes(fragment.payload) == b"abc.def"
    assert [run.offset for run in fragment.tracks[0].runs] == [0, 4]


def test_other_top_level_boxes_are_passed_over():
    junk = b"".join(box(name, bytes(99)) for name in (b"styp", b"sidx", b"emsg", b"prft", b"free"))
    fragment = sized_moof([1]) + mdat(b"x")
    data = FTYP + video_moov() + junk + fragment + junk + fragment + box(b"mfra", bytes(50))
    assert len(_events(data)) == 3


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 200), st.lists(st.integers(0, 40), min_size=1, max_size=5))
def test_pieces_of_any_size_give_the_same_fragments(piece, sizes):
    payload = bytes(range(sum(sizes)))
    data = FTYP + video_moov() + (sized_moof(sizes) + mdat(payload)) * 3
    header, *fragments = _events(data, piece)
    assert header.movie.tracks[0].codec is Codec.H264
    assert [bytes(fragment.payload) for fragment in fragments] == [payload] * 3
    assert all(fragment.tracks[0].sizes.tolist() == sizes for fragment in fragments)


def test_bytes_fed_are_not_lost_when_the_results_are_read_late():
    data = video_moov() + sized_moof([1]) + mdat(b"x")
    reader = FragmentReader()
    first, second = reader.feed(data[:100]), reader.feed(data[100:])
    assert len([*first, *second]) == 2
    reader.close()


def test_a_payload_that_came_in_one_piece_is_not_copied():
    data = video_moov() + sized_moof([3]) + mdat(b"abc")
    assert _events(data)[1].payload.obj is data


@pytest.mark.parametrize("cut", [1, 7, 8, 9, 12, 30])
def test_a_stream_that_ends_inside_a_box_is_an_error(cut):
    data = video_moov() + sized_moof([10]) + mdat(bytes(10))
    with pytest.raises(Mp4Error):
        _events(data[:-cut])
    with pytest.raises(Mp4Error, match="box 'free'"):
        _events(data + box(b"free", bytes(30))[:-cut])


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (video_moov() + sized_moof([1]), "without its media data"),
        (video_moov() + sized_moof([1]) + sized_moof([1]) + mdat(b"1"), "without its media data"),
        (video_moov() + sized_moof([3]) + mdat(b"12"), "outside of its media data"),
        (video_moov() + sized_moof([3]) + mdat(b"12") + box(b"free") + sized_moof([1]), "outside"),
        (video_moov() + mdat(b"12"), "no fragmented MP4"),
        (sized_moof([1]) + mdat(b"1"), "before the header"),
        (video_moov() + u32(0) + b"moof", "impossible size 0"),
        (video_moov() + u32(0) + b"mdat", "impossible size 0"),
        (video_moov() + u32(7) + b"free", "impossible size 7"),
        (b"\x47" * 188, "unexpected"),
        (b"<!DOCTYPE html>", "unexpected"),
        (u32(MAX_TABLES + 1) + b"moof", "exceeds"),
        (struct.pack(">I4sQ", 1, b"mdat", MAX_PAYLOAD + 17), "exceeds"),
        (video_moov() + moof(box(b"traf", tfhd(9))), "not in 'moov'"),
        (video_moov() + moof(box(b"traf", tfhd(1, 2, u32(2)))), "sample entry"),
        (video_moov() + moof(box(b"traf", tfhd(), trun(MAX_SAMPLES + 1, 0))), "samples"),
        (video_moov() + moof(box(b"traf", tfhd(), trun(2**32 - 1, 0xF00))), "samples"),
        (video_moov() + moof(box(b"traf", tfhd(), trun(9, 0xF00, u32(1)))), "'trun' ends"),
        (
            video_moov(trex(size=2**32 - 1)) + moof(box(b"traf", tfhd(), trun(MAX_SAMPLES, 0))),
            "claims",
        ),
        (video_moov() + moof(*[box(b"traf", tfhd(), trun(1 << 19, 0))] * 3), "samples"),
        (moov(trak(1, visual_entry(avcc())), trak(1, visual_entry(avcc()))), "same track_ID"),
        (moov(trak(1, visual_entry(avcc()), visual_entry(avcc()))), "2 sample entries"),
        (moov(trak(1, visual_entry(avcc()), timescale=0)), "no ticks"),
        (moov(trak(1, visual_entry(avcc()), handler=b"soun")), "a track of audio"),
        (box(b"moov"), "'mvhd' is missing"),
    ],
)
def test_what_cannot_be_is_refused_with_its_reason(data, sentence):
    with pytest.raises(Mp4Error, match=sentence):
        _events(data)


def test_a_payload_in_endlessly_many_boxes_is_refused():
    with pytest.raises(Mp4Error, match="boxes"):
        _events(video_moov() + sized_moof([1]) + mdat(b"") * 1000)


def test_an_initialization_section_without_a_movie_is_refused():
    with pytest.raises(Mp4Error, match="no whole 'moov'"):
        read_header_section(FTYP)


def test_a_track_header_holds_what_packaging_needs():
    rows = struct.pack(">IiI", 100, -1, 1 << 16) + struct.pack(">IiI", 0, 6000, 1 << 16)
    edits = box(b"edts", full_box(b"elst", 0, 0, u32(2), rows))
    entry = visual_entry(avcc(), box(b"btrt", u32(1, 2, 3)))
    data = moov(trak(7, entry, edits=edits, language=0x15C7), trex=trex(7, 1, 2, 3))
    (track,) = read_header_section(data).tracks

    assert (track.track_id, track.timescale, track.language) == (7, 90_000, "eng")
    assert (track.width, track.height, track.four_cc, track.enabled) == (320, 180, "avc1", True)
    assert track.edits == (Edit(100, -1), Edit(0, 6000))
    assert track.defaults == SampleDefaults(1, 2, 3)
    assert track.sample_entry == visual_entry(avcc())


def test_edits_of_64_bits_are_read():
    row = struct.pack(">QqI", 2**40, 2**41, 1 << 16)
    edits = box(b"edts", full_box(b"elst", 1, 0, u32(1), row))
    (track,) = read_header_section(moov(trak(1, visual_entry(avcc()), edits=edits))).tracks
    assert track.edits == (Edit(2**40, 2**41),)


def test_a_track_of_another_kind_is_kept_without_a_codec():
    (track,) = read_header_section(moov(trak(3, box(b"stpp", bytes(9)), handler=b"subt"))).tracks
    assert (track.kind, track.codec, track.four_cc) == (None, None, "stpp")
