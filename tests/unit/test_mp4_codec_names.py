"""What CODECS attributes say of our sample entries."""

import pytest

from pipelines.media import Codec
from pipelines.mp4.boxes import box, full_box
from pipelines.mp4.codec_names import codec_names
from tests.unit.mp4_by_hand import audio_entry, avcc, esds, visual_entry

PICTURES = Codec.H264, visual_entry(avcc(sps=bytes.fromhex("6742c01eda")))
SOUND = Codec.AAC, audio_entry(esds())


def test_h264_and_aac_are_named_by_profile_and_object_type():
    assert codec_names([PICTURES, SOUND]) == ("avc1.42c01e", "mp4a.40.2")


def test_one_codec_without_a_name_leaves_all_out():
    pictures = Codec.MPEG2_VIDEO, visual_entry(esds(object_type=0x61), name=b"mp4v")
    assert codec_names([pictures, SOUND]) == ()


def test_a_parameter_set_that_is_cut_off_has_no_name():
    assert codec_names([(Codec.H264, visual_entry(avcc(sps=b"\x67\x42")))]) == ()


@pytest.mark.parametrize(("codec", "name"), [(Codec.MP2, "mp4a.40.33"), (Codec.MP3, "mp4a.40.34")])
def test_the_layer_of_mpeg_audio_is_told_though_its_entry_does_not(codec, name):
    assert codec_names([(codec, audio_entry(esds(object_type=0x6B, specific=None)))]) == (name,)


HVCC = bytes.fromhex("01 02 20000000 B00000000000 7B") + bytes(10)


@pytest.mark.parametrize(
    ("codec", "entry", "name"),
    [
        (Codec.HEVC, visual_entry(box(b"hvcC", HVCC), name=b"hvc1"), "hvc1.2.4.L123.B0"),
        (
            Codec.HEVC,
            visual_entry(
                box(b"hvcC", bytes.fromhex("01 61 60000000 900000080000 5D") + bytes(10)),
                name=b"hev1",
            ),
            "hvc1.A1.6.H93.90.0.0.8",
        ),
        (Codec.AV1, visual_entry(box(b"av1C", b"\x81\x04\x0c\0"), name=b"av01"), "av01.0.04M.08"),
        (Codec.AV1, visual_entry(box(b"av1C", b"\x81\x2d\xcc\0"), name=b"av01"), "av01.1.13H.10"),
        (
            Codec.VP9,
            visual_entry(full_box(b"vpcC", 1, 0, b"\x02\x1f\xa2\1\1\1\0\0"), name=b"vp09"),
            "vp09.02.31.10",
        ),
        (Codec.OPUS, audio_entry(box(b"dOps", b"\0\2" + bytes(9)), name=b"Opus"), "Opus"),
        (Codec.FLAC, audio_entry(full_box(b"dfLa", 0, 0, bytes(38)), name=b"fLaC"), "fLaC"),
    ],
)
def test_codecs_are_named_by_what_configures_their_decoder(codec, entry, name):
    assert codec_names([(codec, entry)]) == (name,)
