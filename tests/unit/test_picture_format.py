"""What parameter sets and sample entries tell of pictures: format, pixels, colours, turning."""

import struct
from fractions import Fraction

import pytest

from pipelines.colours import BT709, UNTOLD, Colours
from pipelines.mp4.boxes import box
from pipelines.mp4.movie_header import UNITY_MATRIX
from pipelines.mpegts.vui import Vui, h264_vui, hevc_vui
from pipelines.picture_format import PictureFormat, entry_format
from pipelines.transcoding.turning import lies_sideways, undoing

#: Of libx264: 320x180, 4:3 pixels, PQ in BT.2020 luma and chroma.
H264 = bytes.fromhex("6764000cacd941419f9f0e6a022012800000030080000019078a14cb")
#: Of libx265: 4:2:2 in 10 bits, 5:3 pixels, HLG, full range; and its slower preset: five reference
#: pictures, told one by another, and scaling lists.
HEVC = bytes.fromhex(
    "4201010408000003009d0800000300003cb00a080b9f2b65959a4932bffc0014000db808902820000003"
    "00200000030321"
)
HEVC_LISTS = bytes.fromhex(
    "42010101600000030090000003000003003ca00a080b9f796662a491bb5e1ed4040404100000030010000003019080"
)


def test_an_h264_encoder_tells_of_pixels_and_colours():
    colours = Colours("bt709", "smpte2084", "bt2020nc")
    assert h264_vui(H264) == Vui(Fraction(4, 3), colours)


def test_an_hevc_encoder_tells_of_pixels_and_colours():
    colours = Colours("bt709", "arib-std-b67", "bt470bg", full_range=True)
    assert hevc_vui(HEVC) == Vui(Fraction(5, 3), colours)
    assert hevc_vui(HEVC_LISTS) == Vui(Fraction(3, 2), BT709)


@pytest.mark.parametrize(("read", "unit"), [(h264_vui, H264), (hevc_vui, HEVC_LISTS)])
def test_of_a_set_that_is_cut_off_nothing_is_believed_but_what_was_read(read, unit):
    assert all(isinstance(read(unit[:size]), Vui) for size in range(len(unit)))
    assert read(unit[:8]) == Vui()


def visual(name, *boxes):
    return box(name, bytes(24) + struct.pack(">HH", 320, 180) + bytes(50), *boxes)


def nclx(primaries, transfer, matrix, flags=0):
    return box(b"colr", b"nclx" + struct.pack(">HHHB", primaries, transfer, matrix, flags))


@pytest.mark.parametrize(
    ("packed", "expected"),
    [(0x82, "yuv420p"), (0x80, "yuv420p"), (0xA4, "yuv422p10le"), (0xC6, "yuv444p12le")],
)
def test_the_record_of_vp9_tells_all(packed, expected):
    record = struct.pack(">4xBBBBBBH", 0, 10, packed | 1, 1, 1, 1, 0)
    told = entry_format(visual(b"vp09", box(b"vpcC", record)))
    assert told.pixel_format == expected
    assert told.colours == Colours("bt709", "bt709", "bt709", full_range=True)


@pytest.mark.parametrize(
    ("packed", "expected"),
    [(0x0C, "yuv420p"), (0x48, "yuv422p10le"), (0x60, "yuv444p12le"), (0x1C, "gray")],
)
def test_the_record_of_av1_tells_the_samples_and_boxes_beside_it_the_rest(packed, expected):
    record = box(b"av1C", bytes([0x81, 0, packed, 0]))
    told = entry_format(
        visual(b"av01", record, nclx(9, 16, 9), box(b"pasp", struct.pack(">II", 4, 3)))
    )
    assert told.pixel_format == expected
    assert told.colours == Colours("bt2020", "smpte2084", "bt2020nc")
    assert told.sample_aspect == Fraction(4, 3)


def test_colours_that_are_not_known_are_those_of_another_place():
    assert UNTOLD.or_else(BT709) == BT709
    assert Colours(matrix="bt2020nc").or_else(BT709).matrix == "bt2020nc"
    assert Colours.of_codes((2, 200, 3)) == UNTOLD
    assert Colours.of_names(("bt709", "; rm", "gbr")).encodable == Colours("bt709")


def test_most_pictures_are_plain():
    assert PictureFormat().pixel_format == "yuv420p"


@pytest.mark.parametrize(
    ("matrix", "filters"),
    [
        ((1, 0, 0, 1), ()),
        ((0, 1, -1, 0), (("transpose", "cclock"),)),
        ((0, -1, 1, 0), (("transpose", "clock"),)),
        ((-1, 0, 0, 1), (("hflip",),)),
        ((0, 0, 0, 0), ()),
    ],
)
def test_pictures_are_turned_back_before_they_are_stored(matrix, filters):
    a, b, c, d = (each << 16 for each in matrix)
    packed = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    assert undoing(packed) == filters
    assert lies_sideways(packed) is any(name == "transpose" for name, *_ in filters)


def test_a_matrix_of_unity_turns_nothing():
    assert undoing(UNITY_MATRIX) == ()
