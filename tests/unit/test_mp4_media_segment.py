"""Of a damaged segment everything is kept that is whole, and nothing that is not."""

import struct

import pytest

from pipelines.mp4.boxes import box
from pipelines.mp4.fragment_bytes import fragment_bytes
from pipelines.mp4.fragments import read_header_section
from pipelines.mp4.media_segment import read_segment
from pipelines.mp4.movie_fragment import Run
from tests.unit.mp4_by_hand import (
    audio_entry,
    avcc,
    esds,
    mdat,
    moof,
    moov,
    tfdt,
    tfhd,
    trak,
    trun,
    u32,
    video_moov,
    visual_entry,
)

SOUND = moov(trak(1, audio_entry(esds()), handler=b"soun", timescale=48_000))
BOTH = moov(
    trak(1, visual_entry(avcc())),
    trak(2, audio_entry(esds()), handler=b"soun", timescale=48_000),
)
KEY, OTHER = 0x02000000, 0x01010000


def picture(size: int, fill: bytes = b"p") -> bytes:
    """A sample of one NAL unit."""
    return u32(size - 4) + fill * (size - 4)


def fragment(pictures, sound=(), time=0):
    """A fragment of pictures, given as (bytes, flags), and of sound behind them."""
    payload = b"".join(data for data, _ in pictures) + b"".join(sound)

    def made(offset):
        rows = b"".join(u32(3000, len(data), flags) for data, flags in pictures)
        video = trun(len(pictures), 0x701, struct.pack(">i", offset), rows)
        trafs = [box(b"traf", tfhd(1), tfdt(time), video)] if pictures else []
        if sound:
            behind = offset + sum(len(data) for data, _ in pictures)
            run = trun(
                len(sound),
                0x301,
                struct.pack(">i", behind),
                *[u32(1024, len(each)) for each in sound],
            )
            trafs.append(box(b"traf", tfhd(2), tfdt(time), run))
        return moof(*trafs)

    return made(len(made(0)) + 8) + mdat(payload)


def kept(read):
    """Decode times of the samples that were kept, by track."""
    times = {}
    for each in read.fragments:
        for track in each.tracks:
            dts = (track.decode_offsets + track.base_decode_time).tolist()
            times.setdefault(track.track_id, []).extend(dts)
    return times


MOVIE = read_header_section(BOTH)
GOP = [(picture(30), KEY), (picture(20), OTHER), (picture(10), OTHER)]
ONE = fragment(GOP, [b"aaa", b"bb"])
TWO = fragment(GOP, [b"aaa", b"bb"], time=9000)
THREE = fragment(GOP, [b"aaa", b"bb"], time=18000)
FIRST, SECOND, THIRD = [0, 3000, 6000], [9000, 12000, 15000], [18000, 21000, 24000]


def test_a_whole_segment_is_read_whole():
    read = read_segment(MOVIE, box(b"styp") + ONE + box(b"what", b"ever") + TWO)
    assert (read.damage, read.left_out, read.ends_broken) == (None, 0, False)
    assert kept(read) == {1: FIRST + SECOND, 2: [0, 1024, 9000, 10024]}


def test_an_absolute_offset_counts_from_the_start_of_the_file():
    movie = read_header_section(SOUND)

    def made(position):
        head = tfhd(1, 0x000001, struct.pack(">Q", position))
        return moof(box(b"traf", head, trun(1, 0x200, u32(2))))

    data = made(1000 + len(made(0)) + 8) + mdat(b"ab")
    [found] = read_segment(movie, data, position=1000).fragments
    assert found.tracks[0].runs == (Run(0, 1, 0, 2),)
    lost = read_segment(movie, data)
    assert (lost.fragments, lost.left_out) == ((), 1)


@pytest.mark.parametrize("cut", range(1, len(TWO)))
def test_a_segment_that_is_cut_off_keeps_what_came_before(cut):
    read = read_segment(MOVIE, ONE + TWO[:-cut])
    assert read.damage
    assert read.ends_broken
    times = kept(read)
    assert (times[1][:3], times[2][:2]) == (FIRST, [0, 1024])
    payload_left = 65 - cut
    pictures = sum(payload_left >= end for end in (30, 50, 60))
    assert times[1][3:] == SECOND[:pictures]
    assert times[2][2:] == [9000, 10024][: sum(payload_left >= end for end in (63, 65))]
    told = 5 if cut <= len(mdat(bytes(65))) else 0  # whether the tables came
    assert read.left_out == max(0, told - pictures - len(times[2][2:]))


@pytest.mark.parametrize("missing", [1, 7, 40, 60, 64])
def test_bytes_missing_inside_the_media_cost_what_lies_behind_them_in_their_fragment(missing):
    read = read_segment(MOVIE, ONE + TWO[:-missing] + THREE)
    whole = sum(65 - missing >= end for end in (30, 50, 60))
    assert kept(read)[1] == FIRST + SECOND[:whole] + THIRD
    assert read.damage
    assert not read.ends_broken  # the third begins with a key frame


@pytest.mark.parametrize("junk", [b"<html>not here</html>", bytes(100), b"\xff" * 9, b"a"])
def test_fragments_are_found_again_behind_junk(junk):
    read = read_segment(MOVIE, ONE + junk + TWO)
    assert kept(read) == {1: FIRST + SECOND, 2: [0, 1024, 9000, 10024]}
    assert read.damage


def test_pictures_behind_a_lost_fragment_wait_for_a_key_frame():
    unclean = fragment([(picture(9), OTHER), (picture(8), KEY), (picture(7), OTHER)], [b"s"], 9000)
    read = read_segment(MOVIE, b"no box at all" + unclean)
    assert kept(read) == {1: [12000, 15000], 2: [9000]}
    assert read.left_out == 1


def test_a_picture_that_its_units_do_not_fill_is_left_out_with_those_that_follow_it():
    bad = [(picture(30), KEY), (b"\0\0\0\xffbad.", OTHER), (picture(10), OTHER)]
    read = read_segment(MOVIE, fragment(bad, [b"aaa"]) + TWO)
    assert kept(read) == {1: [0, *SECOND], 2: [0, 9000, 10024]}
    assert (read.left_out, read.ends_broken) == (2, False)
    assert "NAL units" in read.damage
    assert read_segment(MOVIE, fragment(bad, [b"aaa"])).ends_broken


def test_tables_without_media_data_are_lost_and_the_next_are_not():
    tables = ONE[: -len(mdat(bytes(65)))]
    read = read_segment(MOVIE, tables + TWO)
    assert kept(read) == {1: SECOND, 2: [9000, 10024]}
    assert read.left_out == 5
    read = read_segment(MOVIE, ONE + tables)
    assert kept(read)[1] == FIRST
    assert read.ends_broken


def test_samples_beyond_their_media_data_are_lost():
    beyond = TWO[: -65 - 8] + mdat(TWO[-65:-10])
    read = read_segment(MOVIE, ONE + beyond + THREE)
    assert kept(read) == {1: FIRST + SECOND[:2] + THIRD, 2: [0, 1024, 18000, 19024]}
    assert read.left_out == 3


def test_a_header_of_another_movie_inside_a_segment_ends_it():
    read = read_segment(MOVIE, ONE + BOTH + TWO)
    assert read.damage is None
    read = read_segment(MOVIE, ONE + video_moov() + TWO)
    assert kept(read)[1] == FIRST
    assert "another movie" in read.damage


@pytest.mark.parametrize("data", [b"", b"x", b"\x47" * 376, b"<!DOCTYPE html>" * 9, bytes(4000)])
def test_bytes_that_are_no_mp4_hold_nothing(data):
    read = read_segment(MOVIE, data)
    assert (read.fragments, read.left_out) == ((), 0)
    assert (read.damage is None) == (data == b"")


def test_fragments_made_anew_say_the_same():
    [first] = read_segment(MOVIE, TWO).fragments
    [again] = read_segment(MOVIE, box(b"free") + fragment_bytes(first)).fragments
    for one, other in zip(first.tracks, again.tracks, strict=True):
        assert (one.track_id, one.base_decode_time) == (other.track_id, other.base_decode_time)
        for column in ("durations", "composition", "sizes", "sync"):
            assert (getattr(one, column) == getattr(other, column)).all()
        payloads = [
            b"".join(each.payload[run.offset : run.offset + run.size] for run in track.runs)
            for each, track in ((first, one), (again, other))
        ]
        assert payloads[0] == payloads[1]
