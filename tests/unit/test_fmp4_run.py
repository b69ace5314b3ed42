"""Runs of fragmented MP4 keep video and audio, and name the segment that cannot be read."""

from fractions import Fraction

import pytest

from pipelines.errors import ErrorCode, PermanentError
from pipelines.fmp4_run import Fmp4Stream, InitSections, package_fmp4_run
from pipelines.location import Location
from pipelines.mp4.boxes import box
from pipelines.parts import PREFERRED_PART_BYTES, PartWriter
from pipelines.playlist import InitSection, Segment
from pipelines.source import FetchedSegment
from tests.unit.mp4_by_hand import (
    avcc,
    mdat,
    moof,
    moov,
    sized_moof,
    tfdt,
    tfhd,
    trak,
    trun,
    u32,
    visual_entry,
)

HOME = Location.parse("s3://recordings/rec1/index.m3u8")
MOVIE = moov(
    trak(1, visual_entry(avcc())), trak(2, box(b"mett", bytes(12)), handler=b"meta", timescale=1000)
)


class Source:
    """The initialization section, in memory."""

    def size(self, location):
        return len(MOVIE)

    def read(self, location, byte_range=None, allowed=None):
        return MOVIE


def packaged(*segments):
    """The run of segments given by their bytes, and its payload."""
    init = InitSection(HOME.folder.child("init.mp4"))
    fetched = (
        FetchedSegment(
            Segment(number, HOME.folder.child(f"{number}.m4s"), 2.0, init_section=init), data
        )
        for number, data in enumerate(segments, 3)
    )
    stream = Fmp4Stream(fetched, InitSections(Source()), lambda: None)
    with PartWriter(None, first_number=1, part_bytes=PREFERRED_PART_BYTES, stage_bytes=0) as writer:
        run = package_fmp4_run(stream, writer, Fraction(1))
        return run, writer.finish().staged


def with_metadata(time, payload, metadata):
    """A fragment of one video sample, behind which a sample of metadata lies."""

    def made(offset):
        video = trun(1, 0x301, u32(offset, 3000, len(payload)))
        timed = trun(1, 0x301, u32(offset + len(payload), 33, len(metadata)))
        return moof(
            box(b"traf", tfhd(1), tfdt(time), video), box(b"traf", tfhd(2), tfdt(time), timed)
        )

    return made(len(made(0)) + 8) + mdat(payload + metadata)


def test_samples_of_timed_metadata_are_left_out():
    run, payload = packaged(
        with_metadata(0, b"first", b"<id3>"), with_metadata(3000, b"second", b"<more id3>")
    )
    (track,) = run.tracks
    assert track.samples.dts.tolist() == [0, 3000]
    assert track.samples.sizes.tolist() == [5, 6]
    assert payload == b"firstsecond"


def test_a_fragment_without_a_decode_time_is_a_damaged_segment():
    def made(offset):
        return moof(box(b"traf", tfhd(1), trun(1, 0x301, u32(offset, 3000, 4))))

    timeless = made(len(made(0)) + 8) + mdat(b"data")
    with pytest.raises(PermanentError, match=r"segment 4 .*no decode time") as refused:
        packaged(sized_moof([4]) + mdat(b"data"), timeless)
    assert refused.value.code is ErrorCode.SEGMENT_DAMAGED


def test_a_segment_that_claims_endless_samples_is_damaged():
    def made(offset):
        return moof(box(b"traf", tfhd(1), tfdt(0), trun(1 << 20, 1, u32(offset))))

    bomb = made(len(made(0)) + 8) + mdat(b"")
    with pytest.raises(PermanentError, match=r"segment 3 .*claims more") as refused:
        packaged(bomb * 100)
    assert refused.value.code is ErrorCode.SEGMENT_DAMAGED
