"""What CODECS attributes say of our sample entries."""

from pipelines.mp4.codec_names import codec_names
from tests.unit.mp4_by_hand import audio_entry, avcc, esds, visual_entry

PICTURES = visual_entry(avcc(sps=bytes.fromhex("6742c01eda")))
SOUND = audio_entry(esds())


def test_h264_and_aac_are_named_by_profile_and_object_type():
    assert codec_names([PICTURES, SOUND]) == ("avc1.42c01e", "mp4a.40.2")


def test_one_codec_without_a_name_leaves_all_out():
    unknown = visual_entry(name=b"dvh1")
    assert codec_names([unknown, SOUND]) == ()


def test_a_parameter_set_that_is_cut_off_has_no_name():
    assert codec_names([visual_entry(avcc(sps=b"\x67\x42"))]) == ()
