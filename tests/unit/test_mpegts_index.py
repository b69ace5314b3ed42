"""The index as a whole: one clock for all tracks, findings, and no input that breaks it."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.media import Codec
from pipelines.mpegts.index import absent, continues_previous, index_segment
from pipelines.segment_index import TS_WRAP, UNKNOWN_SIZE, Container, Damage, SegmentIndex
from tests.unit.mpegts_by_hand import (
    AAC,
    AUDIO,
    DELIMITER,
    H264,
    HEVC,
    ID3,
    IDR,
    LATER_SLICE,
    MP3,
    PPS,
    SLICE,
    SPS,
    VIDEO,
    Segment,
    adts,
    pes,
    unit,
)

KEY, OTHER = unit(DELIMITER, SPS, PPS, IDR), unit(DELIMITER, SLICE)
#: Stream types of every codec that is indexed.
INDEXED = (0x02, MP3, AAC, H264, HEVC, 0x81, 0x87)


def recording(start: int = 0, pictures: int = 6) -> bytes:
    """Pictures with B-frames, and two audio frames beside each."""
    segment = Segment((H264, VIDEO), (AAC, AUDIO), (ID3, 0x102))
    for number in range(pictures):
        dts = start + 3840 * number
        pts = dts + (7680, 15_360, 0)[number % 3]
        picture = OTHER if number else KEY
        segment.add(VIDEO, pes(picture, pts % TS_WRAP, dts % TS_WRAP))
        segment.add(AUDIO, pes(adts() * 2, (dts - 1000) % TS_WRAP))
    return segment.data


def damages(index: SegmentIndex) -> list[Damage]:
    return [finding.damage for finding in index.findings]


def test_a_segment_is_indexed_track_by_track():
    data = recording()
    index = index_segment(memoryview(data))
    assert (index.container, index.size) == (Container.MPEGTS, len(data))
    assert [(track.track, track.codec, len(track)) for track in index.tracks] == [
        (VIDEO, Codec.H264, 6),
        (AUDIO, Codec.AAC, 12),
    ]
    assert (index.silent, index.ignored, index.findings) == ((), ((0x102, ID3),), ())


def test_all_tracks_run_on_together_over_the_wrap():
    start = TS_WRAP - 7680
    index = index_segment(recording(start))
    video, audio = index.track(VIDEO), index.track(AUDIO)
    assert video is not None
    assert audio is not None
    assert video.dts.tolist() == [start + 3840 * n for n in range(6)]
    assert (video.pts - video.dts).tolist() == [7680, 15_360, 0] * 2
    assert audio.dts.tolist() == [start - 1000 + 1920 * n for n in range(12)]


def test_a_track_may_begin_on_the_other_side_of_the_wrap():
    index = index_segment(recording(0))
    audio = index.track(AUDIO)
    assert audio is not None
    assert audio.dts.tolist()[0] == -1000


def test_an_announced_track_without_units_is_silent():
    index = index_segment(Segment((H264, VIDEO), (AAC, AUDIO)).add(AUDIO, pes(adts(), 0)).data)
    assert index.silent == (VIDEO,)
    assert [track.track for track in index.tracks] == [AUDIO]


def test_a_pid_that_changes_its_type_is_told():
    segment = Segment((H264, VIDEO)).add(VIDEO, pes(KEY, 0)).tables((HEVC, VIDEO))
    (video,) = index_segment(segment.add(VIDEO, pes(OTHER, 1)).data).tracks
    assert video.configuration_change == "stream_type 0x1b became 0x24"


def test_without_tables_the_known_streams_are_indexed():
    data = Segment().add(VIDEO, pes(KEY, 0)).data
    assert damages(index_segment(data)) == [Damage.NOT_MEDIA]
    (video,) = index_segment(data, known={VIDEO: Codec.H264}).tracks
    assert len(video) == 1


def test_damage_is_found_and_the_rest_kept():
    segment = Segment((H264, VIDEO)).add(VIDEO, pes(KEY, 0))
    segment.lose(VIDEO, 3).add(VIDEO, pes(OTHER, 3000), scrambling=1)
    index = index_segment(segment.data + b"\x47cut")
    assert sorted(damages(index)) == [Damage.PACKETS_LOST, Damage.SCRAMBLED, Damage.TRUNCATED]
    assert len(index.tracks[0]) == 2
    assert damages(index_segment(b"")) == [Damage.EMPTY]


def test_lost_packets_of_ignored_streams_are_nothing_to_us():
    segment = Segment((H264, VIDEO), (ID3, 0x102)).add(VIDEO, pes(KEY, 0))
    segment.add(0x102, bytes(10)).lose(0x102).add(0x102, bytes(10))
    assert index_segment(segment.data).findings == ()


def test_the_head_of_a_segment_tells_what_it_continues():
    segment = Segment((H264, VIDEO), (AAC, AUDIO)).add(VIDEO, bytes([9]) * 90, start=False)
    segment.add(AUDIO, pes(adts() * 3, 0)).add(VIDEO, pes(KEY, 0))
    assert continues_previous(segment.data) == {VIDEO}
    assert continues_previous(recording()) == frozenset()
    assert continues_previous(b"") == frozenset()


def test_a_head_without_tables_is_read_with_the_known_streams():
    data = Segment().add(AUDIO, adts(300)[100:] + adts() * 3, start=False).data
    assert continues_previous(data) == frozenset()
    assert continues_previous(data, known={AUDIO: Codec.AAC}) == {AUDIO}


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=2000))
def test_no_bytes_break_the_index(data: bytes):
    assert index_segment(data).size == len(data)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(INDEXED), st.binary(max_size=1500), st.booleans())
def test_no_payload_breaks_the_index(kind: int, payload: bytes, headed: bool):
    body = pes(payload, 5) if headed else payload
    index = index_segment(Segment((kind, VIDEO)).add(VIDEO, body, start=headed).data)
    assert len(index.tracks) + len(index.silent) == 1


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 1 << 32), st.integers(1, 30))
def test_no_damage_breaks_the_index(seed: int, blows: int):
    chance = random.Random(seed)
    data = bytearray(recording(chance.randrange(TS_WRAP)))
    for _ in range(blows):
        at = chance.randrange(len(data))
        if chance.random() < 0.2:
            del data[at : at + chance.randrange(1, 400)]
        else:
            data[at] = chance.randrange(256)
    for track in index_segment(bytes(data)).tracks:
        assert len(track.dts) == len(track.pts) == len(track.sync) > 0


def test_sizes_are_those_that_samples_of_mp4_have():
    video, audio = index_segment(recording(pictures=3)).tracks
    key = sum(4 + len(nal) for nal in (DELIMITER, SPS, PPS, IDR))
    assert video.sizes.tolist() == [key] + [8 + len(DELIMITER) + len(SLICE)] * 2
    assert audio.sizes.tolist() == [93] * 6


def test_an_audio_frame_has_the_size_of_its_header_though_it_goes_on_in_the_next_segment():
    segment = Segment((AAC, AUDIO)).add(AUDIO, pes(adts() * 3 + adts(500)[:100], 0))
    [audio] = index_segment(segment.data).tracks
    assert audio.ends_unfinished
    assert audio.sizes.tolist() == [93, 93, 93, 493]


def test_a_picture_that_goes_on_has_its_bytes_in_both_segments():
    picture = unit(DELIMITER, SLICE + b"\x55" * 300, SLICE)
    cut = 150
    first = Segment((H264, VIDEO)).add(VIDEO, pes(KEY, 0)).add(VIDEO, pes(picture[:cut], 3000))
    second = Segment((H264, VIDEO)).add(VIDEO, picture[cut:], start=False)
    second.add(VIDEO, pes(OTHER, 6000))
    [before], [after] = index_segment(first.data).tracks, index_segment(second.data).tracks
    whole = 12 + len(DELIMITER) + 2 * len(SLICE) + 300
    assert before.sizes[-1] + after.carried == whole
    assert len(after) == 1


def test_zeros_behind_nal_units_are_told_apart():
    """The last zero before a start code is a part of it; a muxer may leave the others out."""
    padded = unit(DELIMITER, SLICE + bytes(3), LATER_SLICE)
    segment = (
        Segment((H264, VIDEO)).add(VIDEO, pes(KEY, 0)).add(VIDEO, pes(padded + bytes(2), 3000))
    )
    [video] = index_segment(segment.add(VIDEO, pes(OTHER, 6000)).data).tracks
    assert video.padding.tolist() == [0, 5, 0]
    proper = 12 + len(DELIMITER) + len(SLICE) + len(LATER_SLICE)
    assert (video.sizes - video.padding).tolist()[1] == proper


def test_zeros_behind_what_a_segment_ends_leave_its_size_unknown():
    picture = unit(DELIMITER, SLICE + b"\x55" * 300)
    for zeros, carried in ((bytes(1), UNKNOWN_SIZE), (b"", len(picture) - 150)):
        second = Segment((H264, VIDEO)).add(VIDEO, picture[150:] + zeros, start=False)
        [after] = index_segment(second.add(VIDEO, pes(OTHER, 6000)).data).tracks
        assert after.carried == carried


def test_a_start_code_across_the_end_of_a_segment_leaves_the_size_unknown():
    segment = Segment((H264, VIDEO)).add(VIDEO, pes(KEY, 0)).add(VIDEO, pes(OTHER + b"\0\0", 1))
    [video] = index_segment(segment.data).tracks
    assert video.sizes[-1] == UNKNOWN_SIZE


def test_a_head_tells_which_tracks_do_not_show_in_it():
    head = Segment((H264, VIDEO), (AAC, AUDIO)).add(VIDEO, pes(KEY, 0)).data
    assert absent(head, {VIDEO: Codec.H264, AUDIO: Codec.AAC}) == {AUDIO}
