"""Encoded pictures among copied ones: their ticks, and when they are decoded."""

from fractions import Fraction

import numpy as np
import pytest

from pipelines.media import Codec
from pipelines.packaged_slice import Expectation, PackagedTrack, Placement, Samples, TrackMade
from pipelines.rendition_layout import TrackLayout
from pipelines.segment_index import NO_TIME
from pipelines.transcoding.conformed_pictures import conformed_pictures
from pipelines.transcoding.picture_times import scaled

LAYOUT = TrackLayout("video", Codec.H264, 15_360, b"main", "und", 480, 270)


def pictures(dts, pts, timescale):
    dts, pts = np.array(dts), np.array(pts)
    nothing = np.zeros(0, np.int64)
    sync = np.arange(len(dts)) == 0
    return PackagedTrack(
        track=256, codec=Codec.H264, timescale=timescale, sample_entry=b"own", language="und",
        width=640, height=360, edit_start=None,
        samples=Samples(dts, (pts - dts).astype(np.int32), dts, sync, timescale // 30),
        placement=Placement(nothing, nothing, nothing),
        expected=Expectation(timescale, dts, pts, sync),
        made=TrackMade.ENCODED,
    )  # fmt: skip


def test_pictures_are_counted_as_the_track_is():
    track = pictures([90_000, 93_000, 96_000], [90_000, 96_000, 93_000], 90_000)
    made = conformed_pictures(track, LAYOUT, Fraction(0))
    assert made.samples.pts.tolist() == [15_360, 16_384, 15_872]
    assert made.samples.dts.tolist() == [15_360, 15_872, 16_384]
    assert made.samples.last_duration == 512
    assert made.expected.pts.tolist() == made.samples.pts.tolist()
    assert (made.timescale, made.width, made.height) == (15_360, 480, 270)
    assert made.sample_entry == b"own"


def test_pictures_are_decoded_as_early_as_in_the_source():
    track = pictures([90_000, 93_000], [90_000, 93_000], 90_000)
    made = conformed_pictures(track, LAYOUT, Fraction(1, 15))
    assert made.samples.pts.tolist() == [15_360, 15_872]
    assert made.samples.dts.tolist() == [15_360 - 1024, 15_872 - 1024]
    assert made.expected.dts.tolist() == made.samples.dts.tolist()


@pytest.mark.parametrize("late", [0, 1 << 33, 1 << 40])
def test_times_are_scaled_to_the_nearest_tick_however_large_they_are(late):
    times = np.array([late, late + 1, -late - 7, NO_TIME])
    made = scaled(times, 90_000, 48_000)
    exact = [Fraction(int(time) * 48_000, 90_000) for time in times[:-1]]
    assert all(
        abs(int(got) - want) <= Fraction(1, 2) for got, want in zip(made, exact, strict=False)
    )
    assert made[-1] == NO_TIME
