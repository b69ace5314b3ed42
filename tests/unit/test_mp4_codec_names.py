"""What CODECS attributes say of our sample entries."""

import pytest

from pipelines.media import Codec, Configuration
from pipelines.mp4 import codec_names as module


@pytest.fixture
def entries(monkeypatch):
    """Lets a test name entries by the configuration that reading them would give."""

    class Read:
        def __init__(self, configuration):
            self.configuration = configuration

    def give(**configurations):
        table = {name.encode(): value for name, value in configurations.items()}
        monkeypatch.setattr(module, "read_sample_entry", lambda entry: Read(table[entry]))
        return list(table)

    return give


SPS = bytes.fromhex("6742c01eda")
H264 = Configuration(Codec.H264, (("sps0", SPS),), ())
AAC = Configuration(Codec.AAC, (), (("object_type", 2),))
HEVC = Configuration(Codec.HEVC, (), ())


def test_h264_and_aac_are_named_by_profile_and_object_type(entries):
    assert module.codec_names(entries(video=H264, audio=AAC)) == ("avc1.42c01e", "mp4a.40.2")


def test_one_codec_without_a_name_leaves_all_out(entries):
    assert module.codec_names(entries(video=HEVC, audio=AAC)) == ()


def test_an_unreadable_entry_has_no_name(entries):
    assert module.codec_names(entries(video=None)) == ()
