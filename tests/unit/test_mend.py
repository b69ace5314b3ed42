"""Damaged segments, written byte by byte: what is whole of them is kept, the rest is counted."""

from dataclasses import replace

import numpy as np
import pytest

from pipelines.errors import ErrorCode, PermanentError
from pipelines.location import Location
from pipelines.loss import LossCause
from pipelines.media import Codec
from pipelines.mpegts.index import index_segment
from pipelines.mpegts.mend import TORN, is_clean, mend, seam
from pipelines.mpegts.transport_writer import made_tables
from pipelines.playlist import Segment as Listed
from pipelines.repair import RepairKind
from pipelines.segment_index import MAX_CUTS, MAX_PIECES, Damage
from pipelines.segment_pieces import pieces_of
from pipelines.segment_stream import SegmentStream
from pipelines.source import FetchedSegment
from tests.unit.mpegts_by_hand import (
    AAC,
    AUDIO,
    DELIMITER,
    H264,
    IDR,
    PMT_PID,
    PPS,
    SLICE,
    SPS,
    VIDEO,
    Segment,
    adts,
    pat,
    pes,
    pmt,
    unit,
)

PICTURE, FRAME = 3000, 1920
#: A picture to which none refers: nal_ref_idc is 0.
UNREFERENCED = b"\x01" + SLICE[1:]
#: 160x90, Main: another sequence parameter set with the number 0.
OTHER_SPS = bytes.fromhex("674d400bda0a0c3e7e1000000300100000030320f14299e0")


def key(body=400, sps=SPS):
    """A key frame with its parameter sets; random bytes without start codes follow its header."""
    return unit(DELIMITER, sps, PPS, IDR + b"\x5a" * body)


def picture(body=400, nal=SLICE):
    return unit(DELIMITER, nal + b"\x5a" * body)


#: Bytes of a key frame whose last packet is full.
FILLING = 400 - len(pes(key(400), 0)) % -184


def fetched(data, duration=2.0):
    location = Location.parse("s3://recordings/one/7.ts")
    return FetchedSegment(Listed(7, location, duration), data)


def numbered(parts):
    """Segments of a slice."""
    return [
        replace(one, segment=replace(one.segment, sequence=n))
        for n, one in enumerate(map(fetched, parts))
    ]


def recording(pictures=6, frames=12, first=90_000, gop=6):
    """A segment with a key frame every ``gop`` pictures, three frames of sound a PES packet."""
    segment = Segment((H264, VIDEO), (AAC, AUDIO))
    return add_media(segment, pictures, frames, first, gop)


def add_media(segment, pictures=6, frames=12, first=90_000, gop=6):
    for number in range(pictures):
        data = picture() if number % gop else key()
        segment.add(VIDEO, pes(data, first + number * PICTURE))
        if number * 3 < frames:
            sound = adts() + adts() + adts()
            segment.add(AUDIO, pes(sound, first + number * 3 * FRAME, declared=len(sound)))
    return segment


def packets(data, pid):
    """The numbers of the packets of one PID."""
    return [
        n
        for n in range(len(data) // 188)
        if (data[188 * n + 1] & 0x1F) << 8 | data[188 * n + 2] == pid
    ]


def without(data, *numbers):
    return b"".join(
        data[188 * n : 188 * (n + 1)] for n in range(len(data) // 188) if n not in numbers
    )


def scrambled(data, pid, which):
    """The segment with some packets of a PID, counted among those, marked as scrambled."""
    bent = bytearray(data)
    for number in packets(data, pid)[which]:
        bent[188 * number + 3] |= 0x80
    return bytes(bent)


def units(made):
    """Units by PID of every piece."""
    return [{t.track: len(t) for t in piece.index.tracks} for piece in made.pieces]


def test_a_clean_segment_is_handed_on_untouched():
    data = recording().data
    made = pieces_of(fetched(data))
    [piece] = made.pieces
    assert piece.data is data
    assert (made.losses, made.repairs) == ((), ())


@pytest.mark.parametrize("junk", [b"x", b"junk" * 100])
@pytest.mark.parametrize("at", [0, 188 * 7])
def test_junk_between_packets_costs_nothing(junk, at):
    data = recording().data
    made = pieces_of(fetched(data[:at] + junk + data[at:]))
    assert [piece.data for piece in made.pieces] == [data]
    assert not made.losses
    [repair] = made.repairs
    assert repair.kind is RepairKind.LEFT_OUT


def test_a_packet_that_comes_twice_is_kept_once():
    data = recording().data
    at = 188 * packets(data, VIDEO)[4]
    made = pieces_of(fetched(data[: at + 188] + data[at:]))
    assert [piece.data for piece in made.pieces] == [data]
    assert [repair.kind for repair in made.repairs] == [RepairKind.LEFT_OUT]


def test_pictures_behind_a_lost_packet_wait_for_a_key_frame():
    data = recording(pictures=12).data
    damaged = without(data, packets(data, VIDEO)[2 * 3 + 1])  # within the third picture
    made = pieces_of(fetched(damaged))
    [piece] = made.pieces
    video, audio = piece.index.tracks
    assert len(audio) == 12
    assert video.dts.tolist() == [90_000 + n * PICTURE for n in (0, 1, 6, 7, 8, 9, 10, 11)]
    [loss] = made.losses
    assert (loss.cause, loss.units, loss.whole) == (LossCause.SEGMENT_DAMAGED, 4, False)
    assert not made.loses_references


def test_without_a_key_frame_behind_it_a_loss_reaches_into_the_next_segment():
    data = recording().data
    made = pieces_of(fetched(without(data, packets(data, VIDEO)[7])))
    assert units(made) == [{VIDEO: 2, AUDIO: 12}]
    assert made.loses_references
    assert made.pieces[-1].index.track(VIDEO).closed


def test_a_damaged_picture_to_which_none_refers_is_left_out_alone():
    segment = Segment((H264, VIDEO)).add(VIDEO, pes(key(), 0))
    for number, nal in enumerate((UNREFERENCED, SLICE, UNREFERENCED, SLICE), 1):
        segment.add(VIDEO, pes(picture(nal=nal), number * PICTURE))
    damaged = without(segment.data, packets(segment.data, VIDEO)[4])
    made = pieces_of(fetched(damaged))
    [video] = made.pieces[0].index.tracks
    assert video.dts.tolist() == [0, 2 * PICTURE, 3 * PICTURE, 4 * PICTURE]
    assert not made.loses_references


def test_a_lost_picture_is_told_from_a_damaged_one_by_its_time():
    segment = Segment((H264, VIDEO)).add(VIDEO, pes(key(), 0))
    for number in range(1, 6):
        segment.add(VIDEO, pes(picture(nal=UNREFERENCED), number * PICTURE))
    whole_picture = packets(segment.data, VIDEO)[6:9]
    made = pieces_of(fetched(without(segment.data, *whole_picture)))
    [video] = made.pieces[0].index.tracks
    assert video.dts.tolist() == [0, PICTURE]
    assert made.loses_references


def test_frames_of_sound_that_are_whole_are_kept_at_their_times():
    sound = adts(300) * 4
    segment = Segment((AAC, AUDIO))
    for number in range(3):
        segment.add(AUDIO, pes(sound, number * 4 * FRAME))
    made = pieces_of(fetched(without(segment.data, packets(segment.data, AUDIO)[8])))
    [audio] = made.pieces[0].index.tracks
    missing = {n * FRAME for n in range(12)} - set(audio.dts.tolist())
    assert missing == {4 * FRAME, 5 * FRAME}
    assert made.losses[0].units == 2


def test_a_pes_packet_that_has_all_it_declares_is_whole_whatever_its_counters_say():
    sound = adts(300) * 3
    segment = Segment((AAC, AUDIO)).add(AUDIO, pes(sound, 0, declared=len(sound)))
    segment.lose(AUDIO, 5)
    segment.add(AUDIO, pes(sound, 3 * FRAME, declared=len(sound)))
    data = bytearray(segment.data)
    data[188 * packets(segment.data, AUDIO)[2] + 3] ^= 0x04
    made = pieces_of(fetched(bytes(data)))
    assert units(made) == [{AUDIO: 6}]
    assert not made.losses


def test_a_packet_that_is_marked_as_damaged_is_lost():
    data = bytearray(recording().data)
    data[188 * packets(data, AUDIO)[2] + 1] |= 0x80
    made = pieces_of(fetched(bytes(data)))
    assert units(made)[0][VIDEO] == 6
    assert units(made)[0][AUDIO] < 12
    assert made.losses[0].units == 12 - units(made)[0][AUDIO]


@pytest.mark.parametrize("cut", [1, 50, 187])
def test_of_a_segment_that_is_cut_off_the_last_units_are_left_out(cut):
    data = recording().data
    last = packets(data, VIDEO)[-1]
    made = pieces_of(fetched(data[: 188 * last + cut]))
    assert units(made) == [{VIDEO: 5, AUDIO: 12}]
    assert made.loses_references
    assert all(track.closed for track in made.pieces[0].index.tracks)


def test_a_segment_cut_off_between_packets_is_found_out_by_what_comes_behind_it():
    data = recording().data
    cut = data[: 188 * packets(data, VIDEO)[-2]]
    behind = recording(first=900_000).data
    made = pieces_of(fetched(cut), None, lambda index: seam(index, behind))
    assert units(made) == [{VIDEO: 5, AUDIO: 12}]
    assert units(pieces_of(fetched(cut))) == [{VIDEO: 6, AUDIO: 12}]


@pytest.mark.parametrize("body", [400, FILLING])
@pytest.mark.parametrize("anew", [False, True])
def test_a_segment_of_one_picture_is_not_cut_off_because_it_seems_short(body, anew):
    """Whether its last packet is filled up with stuffing or not, and whoever counts its packets."""
    first = Segment((H264, VIDEO)).add(VIDEO, pes(key(body), 0))
    size = len(first.data)
    first.add(VIDEO, pes(key(body), 180_000))
    behind = first.data[:size] if anew else first.data[size:]
    made = pieces_of(fetched(first.data[:size]), None, lambda index: seam(index, behind))
    assert (units(made), made.losses) == ([{VIDEO: 1}], ())


def test_a_frame_of_sound_that_nothing_finishes_is_left_out():
    sound = adts(300) * 2
    data = Segment((AAC, AUDIO)).add(AUDIO, pes(sound + adts(300)[:100], 0)).data
    behind = Segment((AAC, AUDIO)).add(AUDIO, pes(sound, 9 * FRAME)).data
    made = pieces_of(fetched(data), None, lambda index: seam(index, behind))
    assert units(made) == [{AUDIO: 2}]
    assert made.losses[0].units == 1
    assert units(pieces_of(fetched(data))) == [{AUDIO: 3}]


@pytest.mark.parametrize("back", [90_000, 9_000_000, -900 * 90_000])
def test_another_clock_inside_a_segment_makes_pieces(back):
    segment = recording(first=10_000_000)
    add_media(segment, first=10_000_000 - back)
    made = pieces_of(fetched(segment.data))
    assert units(made) == [{VIDEO: 6, AUDIO: 12}] * 2
    assert [piece.piece for piece in made.pieces] == [0, 1]
    assert [repair.kind for repair in made.repairs] == [RepairKind.CLOCK_SPLIT]
    assert not made.losses
    for piece, first in zip(made.pieces, (10_000_000, 10_000_000 - back), strict=True):
        for track in piece.index.tracks:
            assert (int(track.dts[0]) - first) % (1 << 33) == 0


def test_each_track_is_cut_where_its_own_clock_steps_back():
    segment = Segment((H264, VIDEO), (AAC, AUDIO))
    clocks = {VIDEO: [900_000] * 4 + [0] * 8, AUDIO: [900_000] * 7 + [0] * 5}
    for number in range(12):
        restarts = number - clocks[VIDEO].index(0) if number >= 4 else number
        data = picture() if restarts else key()
        segment.add(VIDEO, pes(data, clocks[VIDEO][number] + number * PICTURE))
        segment.add(AUDIO, pes(adts(), clocks[AUDIO][number] + number * FRAME))
    assert units(pieces_of(fetched(segment.data))) == [{VIDEO: 4, AUDIO: 7}, {VIDEO: 8, AUDIO: 5}]


def test_the_clock_may_start_again_at_zero_after_33_bits():
    first = (1 << 33) - 3 * PICTURE
    data = recording(first=first).data
    assert is_clean(index_segment(data))


def test_decode_times_that_jitter_go_forward_and_pictures_are_shown_when_they_were():
    times = [0, 3000, 6000, 9000, 8000, 15_000, 18_000]
    segment = Segment((H264, VIDEO))
    for number, dts in enumerate(times):
        data = picture() if number else key()
        segment.add(VIDEO, pes(data, 6000 + 3000 * number, dts))
    made = pieces_of(fetched(segment.data))
    [video] = made.pieces[0].index.tracks
    assert (np.diff(video.dts) > 0).all()
    assert video.pts.tolist() == [6000 + 3000 * n for n in range(7)]
    assert (video.dts <= video.pts).all()
    [repair] = made.repairs
    assert (repair.kind, repair.units) == (RepairKind.TIMESTAMPS, 1)


def test_another_format_of_sound_makes_pieces_and_pictures_change_at_a_key_frame():
    segment = Segment((H264, VIDEO), (AAC, AUDIO))
    for number in range(12):
        segment.add(VIDEO, pes(picture() if number % 4 else key(), number * PICTURE))
        segment.add(AUDIO, pes(adts(channels=2 if number < 7 else 1), number * PICTURE))
    made = pieces_of(fetched(segment.data))
    assert units(made) == [{VIDEO: 8, AUDIO: 7}, {VIDEO: 4, AUDIO: 5}]
    assert made.pieces[1].index.track(VIDEO).starts_clean


def test_another_sequence_parameter_set_makes_pieces():
    segment = Segment((H264, VIDEO), (AAC, AUDIO))
    for number in range(8):
        data = key(sps=SPS if number < 4 else OTHER_SPS) if number % 4 == 0 else picture()
        segment.add(VIDEO, pes(data, number * PICTURE))
        segment.add(AUDIO, pes(adts(), number * PICTURE))
    assert units(pieces_of(fetched(segment.data))) == [{VIDEO: 4, AUDIO: 4}] * 2


def test_program_tables_that_withdraw_streams_make_pieces():
    segment = Segment((H264, VIDEO), (AAC, AUDIO))
    add_media(segment)
    segment.add(0, pat()).add(PMT_PID, pmt([(H264, 0x200), (AAC, 0x201)], version=1))
    for number in range(4):
        segment.add(0x200, pes(picture() if number else key(), number * PICTURE))
        segment.add(0x201, pes(adts(), number * FRAME))
    assert Damage.PROGRAM_CHANGED in {each.damage for each in index_segment(segment.data).findings}
    made = pieces_of(fetched(segment.data))
    assert units(made) == [{VIDEO: 6, AUDIO: 12}, {0x200: 4, 0x201: 4}]
    assert not made.losses


@pytest.mark.parametrize("pid", [VIDEO, AUDIO])
def test_a_scrambled_track_is_refused(pid):
    segment = recording()
    with pytest.raises(PermanentError) as caught:
        pieces_of(fetched(scrambled(segment.data, pid, slice(None))))
    assert caught.value.code == ErrorCode.ENCRYPTION_UNSUPPORTED


@pytest.mark.parametrize("at", [0, 3, -1])
@pytest.mark.parametrize("pid", [VIDEO, AUDIO])
def test_a_scrambled_packet_among_clear_ones_is_damage_and_never_written(pid, at):
    segment = recording(pictures=12, frames=36, gop=3)
    whole = pieces_of(fetched(segment.data))
    made = pieces_of(fetched(scrambled(segment.data, pid, slice(at, at + 1 or None))))
    [loss] = made.losses
    assert "1 packets are scrambled" in loss.detail
    assert (loss.cause, loss.whole, loss.units > 0) == (LossCause.SEGMENT_DAMAGED, False, True)
    [before], [after] = units(whole), units(made)
    assert after[pid] < before[pid]
    other = AUDIO if pid == VIDEO else VIDEO
    assert after[other] == before[other]
    for piece in made.pieces:
        assert not (np.frombuffer(piece.data, np.uint8)[3::188] & 0xC0).any()


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"<html>" * 100, LossCause.SEGMENT_UNREADABLE),
        (b"G" * 37, LossCause.SEGMENT_UNREADABLE),
        (Segment((H264, VIDEO)).data, LossCause.SEGMENT_EMPTY),
        (Segment().add(VIDEO, pes(key(), 0)).data * 3, LossCause.SEGMENT_UNREADABLE),
    ],
    ids=["html", "tiny", "tables-only", "no-tables"],
)
def test_a_segment_without_a_whole_unit_is_lost(data, cause):
    made = pieces_of(fetched(data))
    assert made.pieces == ()
    assert made.loses_references
    [loss] = made.losses
    assert (loss.cause, loss.whole, loss.seconds, loss.sequence) == (cause, True, 2.0, 7)


def test_a_segment_without_tables_is_mended_by_those_before_it():
    whole = recording().data
    data = without(whole, 0, 1, packets(whole, VIDEO)[7])
    known = {VIDEO: Codec.H264, AUDIO: Codec.AAC}
    [piece] = pieces_of(fetched(data), known).pieces
    assert not piece.index.tabled
    assert {t.track: len(t) for t in piece.index.tracks} == {VIDEO: 2, AUDIO: 12}


@pytest.mark.parametrize("codecs", [{VIDEO: Codec.H264, AUDIO: Codec.AC3}, {0x1000: Codec.HEVC}])
def test_tables_can_be_made_of_what_is_known(codecs):
    index = index_segment(made_tables(codecs))
    assert set(index.silent) == set(codecs)
    assert index.tabled


def test_mending_gives_the_same_bytes_every_time():
    data = recording(pictures=12).data
    damaged = without(data, packets(data, VIDEO)[7])[:-40]
    first, second = (pieces_of(fetched(damaged)) for _ in range(2))
    assert [piece.data for piece in first.pieces] == [piece.data for piece in second.pieces]


def test_what_is_mended_is_clean():
    data = recording(pictures=12).data
    damaged = without(data, packets(data, VIDEO)[7])
    made = mend(damaged, index_segment(damaged), {})
    for piece in made.pieces:
        assert is_clean(piece.index)
        again = index_segment(piece.data)
        assert [len(track) for track in again.tracks] == [len(t) for t in piece.index.tracks]


def test_a_segment_that_goes_on_with_the_one_before_it_is_told_by_its_counters():
    first = Segment((H264, VIDEO)).add(VIDEO, pes(key(), 0))
    whole = first.data
    first.add(VIDEO, b"\x5a" * 300, start=False)
    rest = first.data[len(whole) :]
    index = index_segment(whole)
    assert seam(index, rest).finished == {VIDEO}
    assert seam(index, rest[188:]).orphaned == {VIDEO}
    assert seam(index, b"").finished == {VIDEO}
    assert seam(index, recording().data).finished == frozenset()


def random_clocks(count):
    """A segment whose pictures have times of no clock at all."""
    segment = Segment((H264, VIDEO), (AAC, AUDIO))
    for number in range(count):
        segment.add(VIDEO, pes(key(), (number * 0x9E3779B1 * 977) % 2**33))
        segment.add(AUDIO, pes(adts(), number * FRAME))
    return segment.data


def other_rates(count):
    """A segment whose sound has another sample rate in every PES packet."""
    segment = Segment((H264, VIDEO), (AAC, AUDIO))
    for number in range(count):
        segment.add(VIDEO, pes(picture() if number else key(), number * PICTURE))
        sound = adts(rate_index=3 + number % 2) * 8
        segment.add(AUDIO, pes(sound, number * 8 * FRAME, declared=len(sound)))
    return segment.data


def other_programs(count):
    """A segment whose streams have other numbers again and again."""
    segment = Segment((H264, VIDEO))
    for number in range(count):
        pid = 0x200 + number % 2
        segment.add(0, pat()).add(PMT_PID, pmt([(H264, pid)], version=number % 32))
        segment.add(pid, pes(key(), number * PICTURE))
        segment.add(pid, pes(picture(), number * PICTURE + PICTURE // 2))
    return segment.data


@pytest.mark.parametrize("made", [random_clocks, other_rates, other_programs])
def test_a_segment_is_never_cut_into_more_pieces_than_are_worth_a_process(made):
    data = made(400)
    found = pieces_of(fetched(data))
    assert 1 < len(found.pieces) <= MAX_PIECES
    assert found.loses_references
    [loss] = found.losses
    assert (loss.cause, loss.whole) == (LossCause.SEGMENT_DAMAGED, False)
    kept = sum(len(track) for piece in found.pieces for track in piece.index.tracks)
    assert loss.units > 0
    assert kept + loss.units >= sum(len(track) for track in index_segment(data).tracks)
    assert {t.closed for t in found.pieces[-1].index.tracks} == {True}


class NoEdges:
    """Nothing lies around the slice."""

    last = nearest = None

    def __init__(self):
        self.repeats = set()

    def before(self, _):
        return None

    def seam_behind(self, _):
        return TORN

    def lead_in(self, _):
        return ()


def taken(segments):
    """The pieces of a slice, what it lacks, and the media sequences of what was left out."""
    edges = NoEdges()
    stream = SegmentStream(iter(segments), edges, lambda: None)
    found = []
    while stream.peek():
        found.append(stream.take().data)
    return found, stream.losses, edges.repeats


def test_what_goes_on_with_a_segment_lies_behind_those_that_repeat_it():
    whole = recording(pictures=12, frames=36).data
    first, second = (188 * (packets(whole, AUDIO)[at] + 1) for at in (2, 8))
    parts = [whole[:first], whole[first:second], whole[second:]]
    once, losses, _ = taken(numbered(parts))
    assert (b"".join(once), losses) == (whole, [])
    again, losses, repeats = taken(numbered([parts[0], parts[1], parts[1], parts[1], parts[2]]))
    assert (again, losses, repeats) == (once, [], {2, 3})


def test_all_segments_of_a_slice_are_cut_so_often_and_no_more():
    count = MAX_CUTS // (MAX_PIECES - 1) + 3
    data = random_clocks(MAX_PIECES + 4)
    null = b"\x47\x1f\xff\x10" + bytes(184)  # any number of them makes another segment
    segments = [fetched(data + null * number) for number in range(count)]
    pieces, losses, _ = taken(segments)
    assert len(pieces) <= MAX_CUTS + count
    assert any(loss.whole and "cut more than" in loss.detail for loss in losses)


def test_mending_can_be_cancelled():
    def cancel():
        raise InterruptedError

    with pytest.raises(InterruptedError):
        pieces_of(fetched(random_clocks(40)), checkpoint=cancel)


def with_pes_scrambling(data, pid, which):
    """The segment with some PES packets of a PID marked as scrambled in their own headers."""
    bent = bytearray(data)
    begins = [n for n in packets(data, pid) if data[188 * n + 1] & 0x40]
    for number in begins[which]:
        at = bent.index(b"\0\0\1", 188 * number)
        bent[at + 6] |= 0x20
    return bytes(bent)


@pytest.mark.parametrize("pid", [VIDEO, AUDIO])
def test_what_pes_headers_say_to_be_scrambled_is(pid):
    data = recording(pictures=12, frames=36, gop=3).data
    with pytest.raises(PermanentError) as caught:
        pieces_of(fetched(with_pes_scrambling(data, pid, slice(None))))
    assert caught.value.code == ErrorCode.ENCRYPTION_UNSUPPORTED
    made = pieces_of(fetched(with_pes_scrambling(data, pid, slice(3, 4))))
    [loss] = made.losses
    assert "packets are scrambled" in loss.detail
