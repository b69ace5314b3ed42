"""Packed audio becomes a transport stream with the same frames at the times that its tags tell."""

import struct
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import packed_audio
from pipelines.media import Codec
from pipelines.mpegts.index import index_segment
from pipelines.packed_audio import Unpacking, read_packed
from tests.unit.mpegts_by_hand import AAC, AUDIO, Segment, adts, pes
from tests.unit.test_mpegts_audio import AC3_FRAME, EAC3_DEPENDENT, EAC3_FRAME, MP3_FRAME

OWNER = b"com.apple.streaming.transportStreamTimestamp\0"
FRAME = 1920  # ticks of 1024 samples at 48 kHz


def id3(time, *, owner=OWNER, before=b""):
    frame = b"PRIV" + struct.pack(">IH", len(owner) + 8, 0) + owner + struct.pack(">Q", time)
    body = before + frame
    size = bytes(len(body) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\4\0\0" + size + body


def track(data):
    """The one track of a segment once it is unpacked."""
    index = index_segment(Unpacking().unpacked(data))
    assert index.findings == ()
    (only,) = index.tracks
    return only


@pytest.mark.parametrize(
    ("frame", "codec", "samples"),
    [
        (adts(), Codec.AAC, 1024),
        (MP3_FRAME, Codec.MP3, 1152),
        (AC3_FRAME, Codec.AC3, 1536),
        (EAC3_FRAME, Codec.EAC3, 1536),
    ],
)
def test_every_codec_comes_out_with_its_frames_and_times(frame, codec, samples):
    found = track(id3(900_000) + frame * 40)
    assert (found.codec, len(found)) == (codec, 40)
    assert found.dts.tolist() == [900_000 + n * samples * 90_000 // 48_000 for n in range(40)]


def test_a_dependent_substream_stays_with_its_frame():
    found = track(id3(0) + (EAC3_FRAME + EAC3_DEPENDENT) * 5)
    assert len(found) == 5
    assert set(found.sizes[:-1].tolist()) == {len(EAC3_FRAME + EAC3_DEPENDENT)}


def test_the_tag_may_stand_behind_others():
    other = id3(5, owner=b"com.example.other\0")
    assert read_packed(other + id3(77) + adts() * 4).time == 77
    picture = b"APIC" + struct.pack(">IH", 3000, 0) + bytes(3000)
    assert read_packed(id3(78, before=picture) + adts() * 4).time == 78
    assert read_packed(adts() * 4).time is None


def test_only_33_bits_of_the_time_count():
    assert read_packed(id3(2**33 + 9) + adts() * 4).time == 9


def test_without_a_time_a_segment_goes_on_where_the_last_one_ended():
    unpacking = Unpacking()
    parts = [id3(4000) + adts() * 3, adts() * 2, adts() * 2]
    begins = [index_segment(unpacking.unpacked(part)).tracks[0].dts[0] for part in parts]
    assert begins == [4000, 4000 + 3 * FRAME, 4000 + 5 * FRAME]


def test_without_a_time_the_first_segment_and_one_behind_a_loss_begin_where_they_are_listed():
    unpacking = Unpacking()
    listed = [(adts() * 3, 180.0), (adts() * 3, 181.0), (b"", 182.0), (adts() * 2, 183.0)]
    made = [unpacking.unpacked(data, at) for data, at in listed]
    begins = [int(index_segment(each).tracks[0].dts[0]) for each in made if each]
    first = 180 * 90_000
    assert begins == [first, first + 3 * FRAME, 183 * 90_000]
    assert unpacking.untimed
    assert Unpacking().unpacked(adts() * 2, 183.0) == made[-1]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"ID3",
        b"<html>not found</html>",
        b"WEBVTT\n\n",
        bytes(4000),
        id3(5),
        id3(5) + bytes(4000),
        Segment((AAC, AUDIO)).add(AUDIO, pes(adts() * 3, 9000)).data,
        id3(5) + Segment((AAC, AUDIO)).add(AUDIO, pes(adts() * 3, 9000)).data,
        b"ID3\4\0\0\x7f\x7f\x7f\x7f" + adts() * 4,
    ],
    ids=["empty", "cut", "html", "vtt", "zeros", "tag", "tagged zeros", "ts", "tagged ts", "huge"],
)
def test_anything_else_is_left_alone(data):
    assert read_packed(data) is None
    assert Unpacking().unpacked(data) == data


def test_a_frame_may_go_on_in_the_next_segment():
    """The transport streams, one behind the other, hold what the segments held."""
    frames = adts(301) * 40
    unpacking = Unpacking()
    cut = 9 * 301 + 100
    first = unpacking.unpacked(id3(0) + frames[:cut])
    behind = unpacking.unpacked(id3(10 * FRAME) + frames[cut:])
    (before,) = index_segment(first).tracks
    (after,) = index_segment(behind).tracks
    assert (len(before), before.ends_unfinished) == (10, True)
    assert (len(after), after.continues_previous) == (30, True)
    (both,) = index_segment(first + behind).tracks
    assert both.dts.tolist() == [n * FRAME for n in range(40)]
    assert index_segment(first + behind).findings == ()


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_no_damage_is_an_error(data):
    whole = bytearray(id3(5) + adts() * 12)
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] = data.draw(st.integers(0, 255))
    damaged = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    index_segment(Unpacking().unpacked(damaged))


def test_no_more_frames_are_read_than_of_any_segment(monkeypatch):
    monkeypatch.setattr(packed_audio, "UNIT_LIMIT", 500)
    packed = read_packed(id3(0) + adts(7) * 550)
    assert (len(packed.starts), len(packed.ticks)) == (500, 500)
    assert packed.end == packed.begins + 7 * 500


def test_the_time_of_a_frame_takes_a_few_bytes_of_memory():
    packed = read_packed(id3(0) + (adts() * 10 + adts(rate_index=4) * 10) * 200)
    assert packed.ticks.itemsize + packed.starts.itemsize == 16
    exact = 2_000 * 1024 * (Fraction(90_000, 48_000) + Fraction(90_000, 44_100))
    assert packed.duration == round(exact)
