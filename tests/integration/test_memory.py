"""What a recording takes of memory: a slice at a time, and a few bytes for each sample of the movie."""

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from fractions import Fraction

import pytest

from pipelines import placed_tail
from pipelines.gap_policy import GapPolicy
from pipelines.media import TrackKind
from pipelines.movie_tables import MovieTables
from pipelines.mpegts.index import announced, index_segment
from pipelines.mpegts.mend import mend
from scripts.ts_clocks import PACKET
from tests.unit.tracks_by_hand import (
    FRAME,
    PICTURES_PER_SECOND,
    RATE,
    frames,
    packaged,
    picture_samples,
    silence,
    sound_samples,
    track,
)

SLICE_SECONDS = 5.0
#: Noise: what a slice holds is much more than what is told of it.
NOISE = ("-vf", "noise=alls=60:allf=t", "-qp", "33")
#: Seconds of a slice in which pictures and frames of sound end together.
MERGED_SECONDS = 16
WEEK_SECONDS = 7 * 24 * 3600


@contextmanager
def peak() -> Iterator[list[int]]:
    """The most bytes that Python and numpy held at once, once it is left."""
    found: list[int] = []
    tracemalloc.start()
    try:
        yield found
        found.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()


@pytest.mark.s3
@pytest.mark.ffmpeg
def test_packaging_takes_no_more_of_a_longer_recording(media, finalizer):
    peaks = []
    for seconds in (10.0, 40.0):
        path = media.recording(duration=seconds, size="160x90", encoder_options=NOISE)
        one = finalizer(slice_seconds=SLICE_SECONDS)
        playlist = one.playlist(path)
        with peak() as found:
            one.package(playlist)
        peaks += found
    size = sum(segment.stat().st_size for segment in path.parent.glob("segment*"))
    # What is read ahead at a moment differs; three quarters of all would be kept in between.
    assert peaks[1] - peaks[0] < size / 3


@pytest.mark.ffmpeg
def test_a_segment_is_mended_in_a_few_times_its_size(media):
    path = media.recording(duration=10.0, size="160x90", encoder_options=NOISE)
    whole = b"".join(part.read_bytes() for part in sorted(path.parent.glob("segment*")))
    middle = len(whole) // 2 // PACKET * PACKET
    holed = whole[:middle] + whole[middle + 7 * PACKET :]
    index = index_segment(holed)
    with peak() as found:
        mended = mend(holed, index, announced(holed))
    assert (len(mended.pieces), mended.left_out > 0) == (1, True)
    assert len(holed) + found[0] < 5 * len(holed)


def test_the_tables_of_a_week_fit_into_memory(monkeypatch):
    """The slope is what counts: bytes for each second, and how many seconds a week has. What is
    remembered of the last minutes, to know them again, would still grow in so few."""
    monkeypatch.setattr(placed_tail, "REMEMBERED", 1 << 10)

    def taken(slices: int) -> int:
        with peak() as found:
            tables = MovieTables(
                Fraction(600), datetime(2026, 1, 1, tzinfo=UTC), GapPolicy.HOLD, silence, None
            )
            for number in range(slices):
                begin = number * MERGED_SECONDS
                pictures = picture_samples(
                    begin * 90_000, MERGED_SECONDS * PICTURES_PER_SECOND, keys=range(0, 480, 60)
                )
                sounds = sound_samples(frames(begin * RATE, MERGED_SECONDS * RATE // FRAME))
                video = track(TrackKind.VIDEO, pictures, group=30)
                audio = track(TrackKind.AUDIO, sounds, offset=10**6, group=47)
                tables.add(packaged(number, video, audio), number * 10**7)
            tables.finish()
            tables.movie()
        return found[0]

    few, many = 20, 60
    each = (taken(many) - taken(few)) / ((many - few) * MERGED_SECONDS)
    assert each * WEEK_SECONDS < 2 << 30
