"""Sizes: fitted into the box, upright, in square pixels, even, and never scaled up."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.transcoding.frame_size import MIN_SIDE, displayed, exceeds, fit, own_size
from pipelines.transcoding.source_media import SourceVideo


def video(width, height, aspect=Fraction(1), rotation=0):
    return SourceVideo("h264", width, height, "yuv420p", Fraction(25), aspect, rotation)


HD = video(1920, 1080)
STANDING = video(1080, 1920)
PHONE = video(1920, 1080, rotation=90)
WIDE_PAL = video(720, 576, Fraction(64, 45))
PAL = video(720, 576, Fraction(16, 15))
NTSC = video(720, 480, Fraction(8, 9))


@pytest.mark.parametrize(
    ("source", "box", "size"),
    [
        (HD, (1280, 720), (1280, 720)),
        (HD, (854, 480), (854, 480)),
        (HD, (853, 480), (852, 480)),
        (HD, (640, 360), (640, 360)),
        (HD, (426, 240), (426, 240)),
        (HD, (1280, 1280), (1280, 720)),
        (HD, (640, 480), (640, 360)),
        (HD, (128, 128), (128, 72)),
        (HD, (1921, 1081), (1920, 1080)),
        (HD, (3840, 2160), (1920, 1080)),
        (HD, (720, 1280), (1280, 720)),
        (STANDING, (1280, 720), (720, 1280)),
        (STANDING, (720, 1280), (720, 1280)),
        (STANDING, (426, 240), (240, 426)),
        (PHONE, (1280, 720), (720, 1280)),
        (video(1920, 1080, rotation=270), (1280, 720), (720, 1280)),
        (video(1920, 1080, rotation=180), (1280, 720), (1280, 720)),
        (WIDE_PAL, (1920, 1080), (1024, 576)),
        (WIDE_PAL, (854, 480), (854, 480)),
        (PAL, (1280, 720), (768, 576)),
        (NTSC, (1280, 720), (640, 480)),
        (video(1440, 1080, Fraction(4, 3)), (1920, 1080), (1920, 1080)),
        (video(720, 576, Fraction(64, 45), 90), (1280, 720), (576, 1024)),
        (video(853, 481), (1280, 720), (852, 480)),
        (video(500, 500), (640, 360), (360, 360)),
        (video(16, 4000), (426, 240), (16, 426)),
        (video(16, 4000), (128, 128), (16, 128)),
        (video(4000, 16), (426, 240), (426, 16)),
        (video(2, 2), (1280, 720), (MIN_SIDE, MIN_SIDE)),
    ],
)
def test_a_picture_is_fitted_into_its_box(source, box, size):
    assert fit(box, source) == size


@pytest.mark.parametrize(
    ("source", "size"),
    [
        (HD, (1920, 1080)),
        (PHONE, (1080, 1920)),
        (WIDE_PAL, (1024, 576)),
        (NTSC, (640, 480)),
        (video(352, 288, Fraction(12, 11), 270), (288, 384)),
        (video(853, 481), (853, 481)),
        (video(1, 100, Fraction(1, 9)), (1, 100)),
    ],
)
def test_a_picture_is_displayed_upright_and_in_square_pixels(source, size):
    assert displayed(source) == size
    assert str(displayed(source)) == f"{size[0]}x{size[1]}"


def test_the_own_size_is_the_displayed_one_made_even():
    assert own_size(video(853, 481)) == (852, 480)
    assert own_size(PHONE) == (1080, 1920)


@pytest.mark.parametrize(
    ("source", "box", "larger"),
    [
        (HD, (1920, 1080), False),
        (HD, (1922, 1082), True),
        (HD, (4000, 1080), False),
        (HD, (2160, 3840), True),
        (STANDING, (1920, 1080), False),
        (PHONE, (3840, 2160), True),
        (WIDE_PAL, (1000, 700), False),
    ],
)
def test_a_box_exceeds_a_picture_that_would_have_to_grow_to_fill_it(source, box, larger):
    assert exceeds(box, source) is larger


SIDES = st.integers(MIN_SIDE, 8192)
ASPECTS = st.fractions(min_value=Fraction(1, 4), max_value=4, max_denominator=200)
SOURCES = st.builds(video, SIDES, SIDES, ASPECTS, st.sampled_from([0, 90, 180, 270]))
BOXES = st.tuples(st.integers(128, 8192), st.integers(128, 8192))


@given(SOURCES, BOXES)
def test_every_size_is_even_inside_the_box_true_to_the_aspect_and_not_scaled_up(source, box):
    shown, made = displayed(source), fit(box, source)
    assert made.width % 2 == made.height % 2 == 0
    assert min(made) >= MIN_SIDE
    lies, box_lies = shown.width > shown.height, box[0] > box[1]
    room = box if lies == box_lies or shown.width == shown.height else (box[1], box[0])
    for made_side, side, room_side in zip(made, shown, room, strict=True):
        assert made_side <= max(MIN_SIDE, side)
        assert made_side <= room_side
    factor = min(1, room[0] / shown.width, room[1] / shown.height)
    for made_side, side in zip(made, shown, strict=True):
        if made_side > MIN_SIDE:
            assert abs(made_side - side * factor) < 2


@given(SOURCES, st.integers(128, 8192))
def test_turning_the_picture_turns_its_size(source, side):
    turned = SourceVideo(
        source.codec, source.width, source.height, source.pixel_format, source.frame_rate,
        source.sample_aspect, (source.rotation + 90) % 360,
    )  # fmt: skip
    assert fit((side, side), turned) == fit((side, side), source).turned
