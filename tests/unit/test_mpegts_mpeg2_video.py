"""Pictures of MPEG-2: where their bytes begin and end, and whether a segment starts clean."""

import pytest

from pipelines.mpegts.index import index_segment
from pipelines.segment_index import UNKNOWN_SIZE, TrackIndex
from tests.unit.mpegts_by_hand import VIDEO, Segment, pes

MPEG2 = 0x02
SEQUENCE = b"\0\0\1\xb3" + bytes.fromhex("1400b4130000e000")
END = b"\0\0\1\xb7"
SLICE = b"\0\0\1\x01" + b"\xaa" * 20
INTRA, PREDICTED, BIDIRECTIONAL = 1, 2, 3
WHOLE, TOP, BOTTOM = 3, 1, 2


WIDE = SEQUENCE[:7] + b"\x33" + SEQUENCE[8:]  # 16:9
FASTER = SEQUENCE[:8] + b"\x27\x10" + SEQUENCE[10:]  # another bit rate


def group(closed: bool) -> bytes:
    return b"\0\0\1\xb8" + bytes([0, 8, 0, 0x40 if closed else 0])


def picture(coding: int, structure: int = WHOLE) -> bytes:
    """A picture header, its coding extension and one slice."""
    extension = b"\0\0\1\xb5" + bytes([0x8F, 0xFF, 0xF0 | structure, 0x80, 0])
    return b"\0\0\1\x00" + bytes([0, coding << 3, 0xFF, 0xF8]) + extension + SLICE


KEY, P, B = picture(INTRA), picture(PREDICTED), picture(BIDIRECTIONAL)
HEAD = SEQUENCE + group(closed=False)


def track(*payloads: bytes) -> TrackIndex:
    segment = Segment((MPEG2, VIDEO))
    for number, payload in enumerate(payloads):
        segment.add(VIDEO, pes(payload, 3600 * number))
    (only,) = index_segment(segment.data).tracks
    return only


def test_a_picture_has_the_headers_before_it_and_ends_where_the_next_begins():
    video = track(HEAD + KEY, P, B)
    assert video.sizes.tolist() == [len(HEAD + KEY), len(P), len(B)]
    assert video.sync.tolist() == [True, False, False]


def test_zeros_before_a_start_code_belong_to_the_picture_before():
    assert track(HEAD + KEY + bytes(5), P).sizes.tolist() == [len(HEAD + KEY) + 5, len(P)]


def test_an_end_of_sequence_belongs_to_the_picture_before_and_zeros_behind_it_do_not():
    video = track(HEAD + KEY, P + END + bytes(5) + HEAD + KEY)
    assert video.sizes.tolist() == [len(HEAD + KEY), len(P + END), 5 + len(HEAD + KEY)]


def test_two_fields_are_one_picture():
    first, second = picture(INTRA, TOP), picture(PREDICTED, BOTTOM)
    video = track(HEAD + first + second, P)
    assert video.sizes.tolist() == [len(HEAD + first + second), len(P)]


def test_what_comes_before_the_first_picture_is_carried_to_the_one_before():
    video = track(SLICE + P, P)
    assert video.carried == len(SLICE)
    assert video.continues_previous


@pytest.mark.parametrize("tail", [b"\0", b"\0\0\1"])
def test_the_last_size_is_unknown_where_a_start_code_may_go_on_behind(tail):
    assert track(HEAD + KEY, P + tail).sizes.tolist() == [len(HEAD + KEY), UNKNOWN_SIZE]


def test_the_sequence_header_tells_size_shape_and_rate():
    facts = (("width", 320), ("height", 180), ("aspect_ratio", 1), ("frame_rate_code", 3))
    assert track(HEAD + KEY, P).configuration.facts == facts


@pytest.mark.parametrize(
    ("later", "change"), [(WIDE, "aspect_ratio 1 became 3"), (FASTER, None)], ids=["shape", "rate"]
)
def test_a_header_that_describes_other_pictures_is_a_change(later, change):
    assert track(HEAD + KEY, P, later + KEY).configuration_change == change


@pytest.mark.parametrize(
    ("pictures", "clean"),
    [
        ((HEAD + KEY, P, B), True),
        ((HEAD + KEY, B, P), False),
        ((SEQUENCE + group(closed=True) + KEY, B, P), True),
        ((SEQUENCE + KEY, P), True),
        ((group(closed=True) + KEY, P), False),
        ((HEAD + P, P), False),
        ((HEAD + KEY,), False),
    ],
    ids=["no-b", "open", "closed", "no-group", "no-sequence", "no-key", "one-picture"],
)
def test_a_start_is_clean_when_no_picture_refers_to_the_past(pictures, clean):
    assert track(*pictures).starts_clean is clean
