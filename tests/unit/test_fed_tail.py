"""Which first units of sound an encoder was fed already."""

from collections.abc import Sequence

import pytest

from pipelines.mpegts.index import index_segment
from pipelines.segment_index import TS_WRAP, SegmentIndex
from pipelines.transcoding.fed_tail import FedTail
from tests.unit.mpegts_by_hand import Segment, pes

MPEG1_AUDIO, SOUND = 0x03, 0x101
FRAME = 2160  # ticks of 90 kHz that 1152 samples at 48 kHz last
START = TS_WRAP - 5 * FRAME


def sound(numbers: Sequence[int], take: int = 0) -> SegmentIndex:
    """Frames of layer II, 192 kbit/s at 48 kHz, each its number of frames behind the start."""
    made = Segment((MPEG1_AUDIO, SOUND))
    for each in numbers:
        frame = b"\xff\xfd\xa4\x00" + bytes([each, take]) * 286
        made.add(SOUND, pes(frame, (START + each * FRAME) % TS_WRAP))
    return index_segment(made.data)


@pytest.mark.parametrize(
    ("following", "repeated"),
    [
        (sound(range(6, 14)), {SOUND: 4}),
        (sound(range(10, 14)), {}),
        (sound(range(6, 10)), {}),
        (sound(range(6, 14), take=1), {}),
        (sound(range(14)), {SOUND: 10}),
        (sound(range(3, 14)), {SOUND: 7}),
    ],
    ids=["a-part", "nothing", "nothing-else", "another-take", "all-fed", "over-pieces"],
)
def test_units_are_told_by_time_and_bytes_in_any_round_of_the_clock(following, repeated):
    tail = FedTail()
    tail.note(sound(range(5)))
    tail.note(sound(range(5, 10)))
    assert tail.repeated(following, {SOUND}) == repeated
