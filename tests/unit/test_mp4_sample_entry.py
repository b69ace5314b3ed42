"""Sample entries name their codec and configuration, and compare by what matters to a decoder."""

import struct

import pytest

from pipelines.media import Codec
from pipelines.mp4.boxes import Mp4Error, box, full_box
from pipelines.mp4.sample_entry import (
    configuration_fingerprint,
    nal_length_size,
    read_sample_entry,
    without_bit_rate,
)
from tests.unit.mp4_by_hand import ASC, audio_entry, avcc, esds, visual_entry

BTRT = box(b"btrt", struct.pack(">III", 1, 2, 3))
PASP = box(b"pasp", struct.pack(">II", 4, 3))
HVCC = box(
    b"hvcC",
    bytes([1, 2]) + bytes(15) + bytes([0xFA, 0xFA, 0, 0, 0x0F, 3]),
    bytes([0xA0, 0, 1, 0, 2]) + b"VP" + bytes([0xA1, 0, 1, 0, 2]) + b"SP",
    bytes([0xA2, 0, 1, 0, 2]) + b"PP",
)  # Main 10: 8 + 2 bits


def _facts(entry: bytes) -> dict[str, int]:
    configuration = read_sample_entry(entry).configuration
    assert configuration is not None
    return dict(configuration.facts)


def test_h264_brings_its_parameter_sets_and_size():
    configuration = read_sample_entry(visual_entry(avcc())).configuration
    assert configuration.codec is Codec.H264
    assert configuration.parameter_sets == (("sps0", b"\x67sps"), ("pps0", b"\x68pps"))
    assert dict(configuration.facts) == {
        "width": 320, "height": 180, "profile": 77, "nal_length_size": 4,
    }  # fmt: skip


def test_h264_of_a_high_profile_says_its_bit_depth():
    extended = avcc(profile=110)[8:] + bytes([0xFD, 0xFA, 0xFA, 0])
    assert _facts(visual_entry(box(b"avcC", extended)))["bit_depth"] == 10


def test_hevc_brings_its_three_kinds_of_sets():
    configuration = read_sample_entry(visual_entry(HVCC, name=b"hvc1")).configuration
    assert configuration.parameter_sets == (("vps0", b"VP"), ("sps0", b"SP"), ("pps0", b"PP"))
    assert (configuration.fact("bit_depth"), configuration.fact("profile")) == (10, 2)


def test_the_length_before_a_nal_unit_is_read_where_there_are_such_units():
    assert nal_length_size(visual_entry(avcc())) == 4
    assert nal_length_size(visual_entry(HVCC, name=b"hvc1")) == 4
    with pytest.raises(Mp4Error, match="NAL units"):
        nal_length_size(audio_entry(esds()))


def test_aac_is_described_by_its_specific_configuration():
    entry = read_sample_entry(audio_entry(esds(), channels=1, rate=0))
    assert entry.codec is Codec.AAC
    assert entry.configuration.parameter_sets == (("asc", ASC),)
    facts = dict(entry.configuration.facts)
    assert facts == {"sample_rate": 48000, "channels": 2, "object_type": 2}


def test_a_rate_too_high_for_its_field_is_no_fact():
    assert _facts(audio_entry(esds(b"", 0x6B), rate=0)) == {"channels": 2}


def test_he_aac_is_described_by_its_core_as_adts_headers_are():
    # object type 5 (SBR), core at 24 kHz, mono, extension at 48 kHz, core object type 2
    bits = f"{5:05b}{6:04b}{1:04b}{3:04b}{2:05b}" + "00"
    facts = _facts(audio_entry(esds(int(bits, 2).to_bytes(3, "big"))))
    assert facts == {"sample_rate": 24000, "channels": 1, "object_type": 2}


@pytest.mark.parametrize(
    ("entry", "codec", "facts"),
    [
        (audio_entry(esds(b"", 0x6B)), Codec.MP3, {"sample_rate": 48000, "channels": 2}),
        (
            audio_entry(box(b"dac3", bytes([0x10, 0x3D, 0x40])), name=b"ac-3"),
            Codec.AC3,
            {"sample_rate": 48000, "channels": 6},
        ),
        (
            audio_entry(box(b"dec3", bytes([0x06, 0x00, 0x20, 0x0F, 0x00])), name=b"ec-3"),
            Codec.EAC3,
            {"sample_rate": 48000, "channels": 6},
        ),
        (
            audio_entry(box(b"dOps", bytes([0, 2, 1, 56, 0, 0, 187, 128, 0, 0, 0])), name=b"Opus"),
            Codec.OPUS,
            {"sample_rate": 48000, "channels": 2},
        ),
        (
            visual_entry(box(b"av1C", bytes([0x81, 0x08, 0x4C, 0])), name=b"av01"),
            Codec.AV1,
            {"width": 320, "height": 180, "profile": 0, "bit_depth": 10},
        ),
        (
            visual_entry(full_box(b"vpcC", 1, 0, bytes([2, 31, 0xA2, 1, 1, 1])), name=b"vp09"),
            Codec.VP9,
            {"width": 320, "height": 180, "profile": 2, "bit_depth": 10},
        ),
        (
            visual_entry(esds(b"", 0x61), name=b"mp4v"),
            Codec.MPEG2_VIDEO,
            {"width": 320, "height": 180},
        ),
    ],
)
def test_every_codec_states_its_facts(entry, codec, facts):
    assert read_sample_entry(entry).codec is codec
    assert _facts(entry) == facts


def test_a_format_that_we_cannot_carry_keeps_its_name():
    entry = read_sample_entry(box(b"tx3g", bytes(40)))
    assert (entry.four_cc, entry.codec, entry.configuration) == ("tx3g", None, None)
    assert read_sample_entry(audio_entry(esds(b"", 0xE1))).codec is None


def test_an_encrypted_entry_names_the_codec_beneath():
    sinf = box(b"sinf", box(b"frma", b"avc1"), full_box(b"schm", 0, 0, b"cenc"))
    entry = read_sample_entry(visual_entry(avcc(), sinf, name=b"encv"))
    assert (entry.encrypted, entry.codec, entry.four_cc) == (True, Codec.H264, "encv")


@pytest.mark.parametrize(
    "entry",
    [
        visual_entry(),
        audio_entry(),
        audio_entry(esds(b"\x11")),
        audio_entry(esds(), name=b"avc1"),
        visual_entry(esds(), name=b"mp4v"),
        visual_entry(box(b"avcC", avcc()[8:-3])),
        visual_entry(avcc())[:-1],
        box(b"avc1", bytes(20)),
        b"",
        visual_entry(avcc()) * 2,
    ],
)
def test_a_damaged_entry_is_refused(entry):
    with pytest.raises(Mp4Error):
        read_sample_entry(entry)


def test_only_the_bit_rate_box_is_removed():
    assert without_bit_rate(visual_entry(avcc(), BTRT, PASP)) == visual_entry(avcc(), PASP)
    assert without_bit_rate(visual_entry(avcc(), PASP)) == visual_entry(avcc(), PASP)


def test_quicktimes_closing_zero_is_accepted_and_left_out():
    assert without_bit_rate(visual_entry(avcc(), bytes(4))) == visual_entry(avcc())


def mpeg2_entry(header: str) -> bytes:
    return visual_entry(esds(bytes.fromhex("000001b3" + header), 0x61), name=b"mp4v")


def test_mpeg2_pictures_state_shape_and_rate_of_their_sequence_header():
    facts = {"width": 720, "height": 576, "aspect_ratio": 3, "frame_rate_code": 3}
    assert _facts(mpeg2_entry("2d024033ffffe000")) == facts


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (visual_entry(avcc(), BTRT), visual_entry(avcc())),
        (mpeg2_entry("2d024033ffffe000"), mpeg2_entry("2d02403324e1a380")),
        (audio_entry(esds(bit_rate=1, buffer=9), BTRT), audio_entry(esds(bit_rate=96_000))),
        (
            audio_entry(box(b"dac3", bytes([0x10, 0x3D, 0x40])), name=b"ac-3"),
            audio_entry(box(b"dac3", bytes([0x10, 0x3D, 0xC0])), name=b"ac-3"),
        ),
    ],
)
def test_entries_that_differ_in_bit_rate_alone_have_one_fingerprint(one, other):
    assert configuration_fingerprint(one) == configuration_fingerprint(other)


@pytest.mark.parametrize(
    "other",
    [
        visual_entry(avcc(sps=b"\x67other")),
        visual_entry(avcc(pps=b"\x68other")),
        visual_entry(avcc(), width=640),
        visual_entry(avcc(), PASP),
        visual_entry(avcc(), name=b"avc3"),
        visual_entry(HVCC, name=b"hvc1"),
        audio_entry(esds()),
    ],
)
def test_entries_that_a_decoder_must_tell_apart_have_two_fingerprints(other):
    assert configuration_fingerprint(visual_entry(avcc())) != configuration_fingerprint(other)


def test_mpeg2_pictures_of_another_shape_have_another_fingerprint():
    one, other = mpeg2_entry("2d024033ffffe000"), mpeg2_entry("2d024023ffffe000")
    assert configuration_fingerprint(one) != configuration_fingerprint(other)


def test_another_sample_rate_or_channel_count_is_another_fingerprint():
    one = configuration_fingerprint(audio_entry(esds()))
    assert one != configuration_fingerprint(audio_entry(esds(bytes.fromhex("1210"))))
    assert one != configuration_fingerprint(audio_entry(esds(bytes.fromhex("1188"))))
