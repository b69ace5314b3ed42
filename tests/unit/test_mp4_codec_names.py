"""What CODECS attributes say of our sample entries."""

import pytest

from pipelines.media import Codec
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
