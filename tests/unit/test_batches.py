"""How renditions share an ffmpeg, how long it may take, and how its progress is counted."""

import pytest

from pipelines.process import LONGEST_DEADLINE_SECONDS
from pipelines.transcoding.batches import MAX_PIXELS, MAX_RENDITIONS, batches
from pipelines.transcoding.encoded_run import deadline_seconds
from pipelines.transcoding.slice_progress import SliceProgress
from pipelines.transcoding.transcode import RenditionOutput
from tests.packaging import small_encoding
from worker.broker import MESSAGE_LIMIT_MS

FROM_4K = [(3840, 2160), (1920, 1080), (1280, 720), (854, 480), (640, 360), (426, 240)]


def outputs(*sizes):
    """Outputs of these sizes, None for pictures that are copied."""
    return [
        RenditionOutput(
            str(number), size and small_encoding(width=size[0], height=size[1]), False, None
        )
        for number, size in enumerate(sizes)
    ]


@pytest.mark.parametrize(
    ("sizes", "lengths"),
    [
        ([], []),
        (FROM_4K, [6]),
        ([None, *FROM_4K], [7]),
        ([(1920, 1080)] * 100, [8] * 12 + [4]),
        ([(3840, 2160)] * 5, [2, 2, 1]),
        ([(320, 180), (7680, 4320), (320, 180)], [1, 1, 1]),
        ([None] * 9, [8, 1]),
    ],
)
def test_a_ladder_is_one_batch_and_no_number_of_profiles_makes_one_without_bound(sizes, lengths):
    asked = outputs(*sizes)
    made = list(batches(asked))
    assert [len(batch) for batch in made] == lengths
    assert [out for batch in made for out in batch] == asked
    for batch in made:
        pixels = sum(out.video.width * out.video.height for out in batch if out.video)
        assert len(batch) <= MAX_RENDITIONS
        assert len(batch) == 1 or pixels <= MAX_PIXELS


def test_a_hang_is_found_in_time_that_goes_with_the_media_and_before_the_message_ends():
    assert deadline_seconds(0, 1) == 600
    assert deadline_seconds(60, 1) == 4200
    assert deadline_seconds(60, 2) > deadline_seconds(60, 1)
    assert deadline_seconds(900, 8) == LONGEST_DEADLINE_SECONDS < MESSAGE_LIMIT_MS / 1000


def test_progress_goes_on_over_batches_never_back_and_never_beyond_the_slice():
    told = []
    progress = SliceProgress(60.0, 2, told.append)
    for batch, seconds in ((0, -1), (0, 20), (0, 10), (0, 20), (0, 70), (1, 0), (1, 30), (1, 99)):
        progress.at(batch, seconds)
    assert told == [10.0, 30.0, 45.0, 60.0]
