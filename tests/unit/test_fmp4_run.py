"""Runs of fragmented MP4 hold what is whole of their segments; what is not is told."""

import itertools
from datetime import UTC, datetime
from fractions import Fraction

import pytest

from pipelines.errors import ErrorCode, PermanentError, TransientError
from pipelines.fmp4_run import package_fmp4_run
from pipelines.fmp4_stream import Fmp4Stream
from pipelines.init_sections import InitSections
from pipelines.location import Location
from pipelines.loss import Loss, LossCause
from pipelines.mp4.boxes import box
from pipelines.mp4.fragments import read_header_section
from pipelines.mp4.media_segment import read_segment
from pipelines.parts import PartWriter
from pipelines.playlist import ByteRange, InitSection, Segment
from pipelines.repair import RepairKind
from pipelines.segment_index import MAX_PIECES
from pipelines.source import FetchedSegment
from pipelines.store_errors import ObjectMissing
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
    visual_entry,
)

HOME = Location.parse("s3://recordings/rec1/index.m3u8")
MOVIE = moov(
    trak(1, visual_entry(avcc())),
    trak(2, audio_entry(esds()), handler=b"soun", timescale=1000),
    trak(3, box(b"mett", bytes(12)), handler=b"meta", timescale=1000),
)
SECOND = 90_000
KEY, OTHER = 0x02000000, 0x01010000


class Source:
    """Initialization sections by name, in memory."""

    def __init__(self, sections):
        self._sections = sections

    def size(self, location):
        return len(self.read(location))

    def read(self, location, byte_range=None, allowed=None):
        name = location.path.rsplit("/", 1)[-1]
        if name not in self._sections:
            raise ObjectMissing(location)
        return self._sections[name]


def listed(number, init="init.mp4", **fields):
    section = InitSection(HOME.folder.child(init))
    location = HOME.folder.child(f"{number}.m4s")
    return Segment(number, location, 2.0, init_section=section, **fields)


def fetched(number, data, **fields):
    return FetchedSegment(listed(number, **fields), data)


def lost(number, cause=LossCause.SEGMENT_MISSING, **fields):
    segment = listed(number, **fields)
    loss = Loss(number, str(segment.location), cause, "gone", whole=True, seconds=2.0)
    return FetchedSegment(segment, b"", loss)


class Packaged:
    """The runs of segments, their payload, and what was noted of them."""

    def __init__(self, *segments, sections=None, final=True):
        inits = InitSections(Source(sections or {"init.mp4": MOVIE}), missing_is_final=final)
        stream = Fmp4Stream(iter(segments), inits, lambda: None)
        self.runs = []
        with PartWriter(None, number=1, payload_bytes=0) as writer:
            while stream.peek() is not None:
                self.runs.append(package_fmp4_run(stream, writer, Fraction(600)))
            self.payload = writer.finish().staged
        self.losses, self.repairs = stream.losses, stream.repairs

    @property
    def sequences(self):
        return [(run.first_sequence, run.piece) for run in self.runs]

    @property
    def seconds(self):
        """Decode times of the samples of each run, in seconds, by track."""
        return [
            {
                track.track: [float(dts / track.timescale) for dts in track.samples.dts]
                for track in run.tracks
            }
            for run in self.runs
        ]


def traf(track_id, time, sizes, durations, offset, flags=None):
    flags = flags or [KEY] * len(sizes)
    rows = b"".join(map(u32, durations, sizes, flags))
    decode_time = b"" if time is None else tfdt(time)
    return box(b"traf", tfhd(track_id), decode_time, trun(len(sizes), 0x701, u32(offset), rows))


def nal(fill):
    return u32(len(fill)) + fill


def media(begin, seconds=2, *, picture=b"picture", sound=b"s", timed=True, keys=True):
    """A fragment with one picture and one frame of sound a second; None leaves a track out."""
    tracks, payload = [], b""
    count = len(range(seconds))
    if picture is not None:
        flags = [KEY if keys else OTHER] * count
        data = [nal(picture)] * count
        tracks.append((1, SECOND, data, flags))
    if sound is not None:
        tracks.append((2, 1000, [sound] * count, None))
    payload = b"".join(b"".join(data) for _, _, data, _ in tracks)

    def made(offset):
        trafs = []
        for track_id, scale, data, flags in tracks:
            time = int(begin * scale) if timed else None
            sizes = [len(each) for each in data]
            trafs.append(traf(track_id, time, sizes, [scale] * count, offset, flags))
            offset += sum(sizes)
        return moof(*trafs)

    return made(len(made(0)) + 8) + mdat(payload)


def test_samples_of_timed_metadata_are_left_out():
    def made(offset):
        video = trun(1, 0x301, u32(offset, 3000, 9))
        timed = trun(1, 0x301, u32(offset + 9, 33, 5))
        return moof(box(b"traf", tfhd(1), tfdt(0), video), box(b"traf", tfhd(3), tfdt(0), timed))

    data = made(len(made(0)) + 8) + mdat(nal(b"first") + b"<id3>")
    one = Packaged(fetched(3, data))
    [track] = one.runs[0].tracks
    assert track.samples.sizes.tolist() == [9]
    assert one.payload == nal(b"first")
    assert one.losses == []


def test_segments_of_one_clock_are_one_run():
    wall_clock = datetime(2026, 1, 2, 3, 4, 5, 500_000, UTC)
    one = Packaged(
        fetched(3, media(10), program_date_time=wall_clock, discontinuity=True),
        fetched(4, media(12)),
    )
    assert one.sequences == [(3, 0)]
    assert one.seconds == [{1: [10, 11, 12, 13], 2: [10, 11, 12, 13]}]
    [run] = one.runs
    assert (run.tagged, run.broken, run.wall_clock) == (True, False, wall_clock.timestamp())
    assert (one.losses, one.repairs) == ([], [])


def test_a_lost_segment_ends_the_run_and_the_next_is_broken():
    one = Packaged(fetched(3, media(0)), lost(4), fetched(5, media(4)), fetched(6, media(6)))
    assert one.sequences == [(3, 0), (5, 0)]
    assert [run.broken for run in one.runs] == [False, True]
    assert [(loss.sequence, loss.cause) for loss in one.losses] == [(4, LossCause.SEGMENT_MISSING)]


def test_a_tag_before_a_lost_segment_counts_for_the_next():
    one = Packaged(
        fetched(3, media(0)), lost(4, discontinuity=True), lost(5), fetched(6, media(70))
    )
    assert [(run.first_sequence, run.tagged) for run in one.runs] == [(3, False), (6, True)]


def test_of_a_segment_that_is_cut_off_what_is_whole_is_kept():
    one = Packaged(fetched(3, media(0)), fetched(4, media(2)[:-1]), fetched(5, media(4)))
    assert one.seconds == [
        {1: [0, 1, 2, 3], 2: [0, 1, 2]},
        {1: [4, 5], 2: [4, 5]},
    ]
    [loss] = one.losses
    assert (loss.sequence, loss.cause, loss.whole) == (4, LossCause.SEGMENT_DAMAGED, False)
    assert (loss.units, loss.seconds) == (1, 0)
    assert one.runs[1].broken


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"<html>404</html>", LossCause.SEGMENT_UNREADABLE),
        (b"\x47" * 188, LossCause.SEGMENT_UNREADABLE),
        (box(b"styp", b"msdh"), LossCause.SEGMENT_EMPTY),
        (media(0)[:-22], LossCause.SEGMENT_DAMAGED),
    ],
    ids=["html", "ts", "no-samples", "no-whole-sample"],
)
def test_a_segment_without_a_whole_sample_is_lost(data, cause):
    one = Packaged(fetched(3, media(0)), fetched(4, data), fetched(5, media(4)))
    assert [(loss.sequence, loss.cause, loss.whole) for loss in one.losses] == [(4, cause, True)]
    assert one.losses[0].seconds == 2.0
    assert one.sequences == [(3, 0), (5, 0)]


def test_a_byte_range_beyond_its_object_is_told_where_boxes_end_with_it():
    data = media(2)
    from_range = FetchedSegment(listed(4, byte_range=ByteRange(0, len(data) + 10)), data)
    one = Packaged(fetched(3, media(0)), from_range, fetched(5, media(4)))
    assert "10 bytes" in one.losses[0].detail
    assert one.sequences == [(3, 0), (5, 0)]
    assert one.runs[1].broken


def test_a_clock_that_steps_back_inside_a_segment_begins_another_piece():
    one = Packaged(fetched(3, media(50) + media(52) + media(0)), fetched(4, media(2)))
    assert one.sequences == [(3, 0), (3, 1)]
    assert one.seconds[1] == {1: [0, 1, 2, 3], 2: [0, 1, 2, 3]}
    assert [(each.kind, each.units) for each in one.repairs] == [(RepairKind.CLOCK_SPLIT, 4)]


def test_a_clock_that_steps_back_all_the_time_is_cut_so_often_and_no_more():
    data = b"".join(media(begin) for begin in range(3 * MAX_PIECES, 0, -1))
    found = Packaged(fetched(3, data))
    assert found.sequences == [(3, piece) for piece in range(MAX_PIECES)]
    assert found.losses[0].cause is LossCause.SEGMENT_DAMAGED
    assert not found.losses[0].whole
    assert found.losses[0].units > 0


def test_a_clock_that_steps_back_or_jumps_between_segments_ends_the_run():
    starts = [0, 2, 100, 1, 3]
    one = Packaged(*(fetched(number, media(begin)) for number, begin in enumerate(starts, 3)))
    assert one.sequences == [(3, 0), (5, 0), (6, 0)]


def test_fragments_that_came_twice_are_kept_once():
    one = Packaged(fetched(3, media(0) + media(0) + media(2)))
    assert one.seconds == [{1: [0, 1, 2, 3], 2: [0, 1, 2, 3]}]
    assert [(each.kind, each.units) for each in one.repairs] == [(RepairKind.DUPLICATE, 4)]
    other = Packaged(fetched(3, media(0) + media(0, picture=b"another")))
    assert other.sequences == [(3, 0), (3, 1)]


@pytest.mark.parametrize(
    ("again", "sequences", "repeated", "whole"),
    [
        (media(1, 3), [(3, 0)], 2, False),
        (media(0, 4), [(3, 0)], 4, False),
        (media(1, 1) + media(2), [(3, 0)], 2, False),
        (media(1, 1), [(3, 0)], 2, True),
        (media(1, 3, sound=b"other"), [(3, 0), (4, 0)], 0, False),
    ],
    ids=["part", "all", "fragment", "nothing-new", "another-take"],
)
def test_what_a_segment_begins_with_of_the_one_before_is_kept_once(
    again, sequences, repeated, whole
):
    one = Packaged(fetched(3, media(0)), fetched(4, again), fetched(5, media(2 if whole else 4)))
    assert one.sequences == sequences
    told = [(each.sequence, each.units, each.whole) for each in one.repairs]
    assert told == ([(4, repeated, whole)] if repeated else [])
    assert one.losses == []
    if repeated:
        seconds = list(range(4 if whole else 6))
        assert one.seconds == [{1: seconds, 2: seconds}]
        assert one.payload.count(nal(b"picture")) == len(seconds)


def test_fragments_without_decode_times_follow_those_before_them():
    timeless = media(0, timed=False)
    one = Packaged(fetched(3, media(10)), fetched(4, timeless + timeless), fetched(5, media(16)))
    assert one.seconds == [{1: list(range(10, 18)), 2: list(range(10, 18))}]
    assert [(each.kind, each.units) for each in one.repairs] == [(RepairKind.TIMESTAMPS, 8)]
    assert one.losses == []


def test_programs_are_fed_what_was_kept_of_a_segment():
    stream = Fmp4Stream(
        iter([fetched(3, media(0)), fetched(4, media(2, timed=False) + media(4)[:-1])]),
        InitSections(Source({"init.mp4": MOVIE})),
        lambda: None,
    )
    stream.peek()
    assert stream.take().data == media(0)
    stream.peek()
    again = read_segment(read_header_section(MOVIE), stream.take().data)
    assert again.damage is None
    times = [track.base_decode_time for each in again.fragments for track in each.tracks]
    assert times == [2 * SECOND, 2000, 4 * SECOND, 4000]


def test_sound_that_ends_or_begins_later_ends_the_run():
    one = Packaged(
        fetched(3, media(0)),
        fetched(4, media(2, sound=None)),
        fetched(5, media(4, sound=None)),
        fetched(6, media(6)),
    )
    assert one.sequences == [(3, 0), (4, 0), (6, 0)]
    assert [sorted(each) for each in one.seconds] == [[1, 2], [1], [1, 2]]


def test_pictures_that_pause_do_not_end_the_run_and_new_ones_do():
    one = Packaged(fetched(3, media(0)), fetched(4, media(2, picture=None)), fetched(5, media(4)))
    assert one.sequences == [(3, 0)]
    late = Packaged(fetched(3, media(0, picture=None)), fetched(4, media(2)))
    assert late.sequences == [(3, 0), (4, 0)]


def test_another_header_with_the_same_configuration_goes_on():
    sections = {"init.mp4": MOVIE, "again.mp4": box(b"ftyp", b"isom") + MOVIE}
    one = Packaged(fetched(3, media(0)), fetched(4, media(2), init="again.mp4"), sections=sections)
    assert one.sequences == [(3, 0)]


def test_another_configuration_is_another_run():
    changed = moov(
        trak(1, visual_entry(avcc(sps=b"\x67other"))),
        trak(2, audio_entry(esds()), handler=b"soun", timescale=1000),
    )
    sections = {"init.mp4": MOVIE, "other.mp4": changed}
    one = Packaged(fetched(3, media(0)), fetched(4, media(2), init="other.mp4"), sections=sections)
    assert one.sequences == [(3, 0), (4, 0)]
    entries = {run.tracks[0].sample_entry for run in one.runs}
    assert len(entries) == 2


@pytest.mark.parametrize("section", [None, b"", box(b"ftyp"), MOVIE[:-9], b"<html>"])
def test_segments_without_a_readable_header_are_lost(section):
    sections = {"init.mp4": MOVIE}
    if section is not None:
        sections["bad.mp4"] = section
    one = Packaged(
        fetched(3, media(0)),
        fetched(4, media(2), init="bad.mp4"),
        fetched(5, media(4)),
        sections=sections,
    )
    assert [(loss.sequence, loss.cause) for loss in one.losses] == [(4, LossCause.INIT_MISSING)]
    assert "bad.mp4" in one.losses[0].detail
    assert one.sequences == [(3, 0), (5, 0)]


def test_a_header_that_may_still_come_is_waited_for():
    with pytest.raises(TransientError, match=r"late\.mp4"):
        Packaged(fetched(3, media(0), init="late.mp4"), final=False)


@pytest.mark.parametrize(
    ("entries", "code"),
    [
        ([visual_entry(box(b"sinf", box(b"frma", b"avc1")), avcc(), name=b"encv")],
         ErrorCode.ENCRYPTION_UNSUPPORTED),
        ([visual_entry(avcc()), visual_entry(box(b"sinf", box(b"frma", b"avc1")), avcc(), name=b"encv")],
         ErrorCode.ENCRYPTION_UNSUPPORTED),
        ([visual_entry(name=b"dvh1")], ErrorCode.CODEC_UNSUPPORTED),
    ],
    ids=["encrypted", "clear-then-encrypted", "unknown"],
)  # fmt: skip
def test_what_is_never_packaged_is_refused(entries, code):
    with pytest.raises(PermanentError) as refused:
        Packaged(fetched(3, media(0)), sections={"init.mp4": moov(trak(1, *entries))})
    assert refused.value.code is code


@pytest.mark.parametrize("time", [1 << 62, -(1 << 62), (1 << 63) - 1])
def test_decode_times_that_no_clock_shows_are_none(time):
    data = moof(traf(2, time, [1], [1000], 8)) + mdat(b"s")
    one = Packaged(fetched(3, media(0, picture=None)), fetched(4, data))
    assert all(
        abs(seconds) < 1e15
        for run in one.seconds
        for seconds in itertools.chain.from_iterable(run.values())
    )
