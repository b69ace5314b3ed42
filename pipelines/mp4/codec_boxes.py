"""Decoder configuration records: what avcC, hvcC, esds and their like say, as ``Configuration``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.media import Codec
from pipelines.mp4.boxes import Fields, Mp4Error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Sets = tuple[tuple[str, bytes], ...]
    Facts = Mapping[str, int]

_HEVC_SETS = {32: "vps", 33: "sps", 34: "pps"}
_AVC_PROFILES_WITH_DEPTH = (100, 110, 122, 144)
_AAC_RATES = (
    96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350,
)  # fmt: skip
_AC3_RATES = (48000, 44100, 32000)
_AC3_CHANNELS = (2, 1, 2, 3, 3, 4, 4, 5)
_SBR, _PARAMETRIC_STEREO, _ESCAPE = 5, 29, 31


def read_avcc(body: memoryview) -> tuple[Sets, Facts]:
    """AVCDecoderConfigurationRecord (ISO/IEC 14496-15, 5.3.3.1)."""
    fields = Fields(body, "'avcC'")
    _, profile, _, _ = fields.take(4)
    facts = {"profile": profile, "nal_length_size": (fields.unsigned(1) & 3) + 1}
    sets = [*_numbered("sps", fields, fields.unsigned(1) & 31)]
    sets += _numbered("pps", fields, fields.unsigned(1))
    if profile in _AVC_PROFILES_WITH_DEPTH and fields.remaining >= 2:
        fields.take(1)
        facts["bit_depth"] = (fields.unsigned(1) & 7) + 8
    return tuple(sets), facts


def read_hvcc(body: memoryview) -> tuple[Sets, Facts]:
    """HEVCDecoderConfigurationRecord (ISO/IEC 14496-15, 8.3.3.1); only its parameter sets count."""
    fields = Fields(body, "'hvcC'")
    head = fields.take(23)
    facts = {
        "profile": head[1] & 31,
        "bit_depth": (head[17] & 7) + 8,
        "nal_length_size": (head[21] & 3) + 1,
    }
    sets: list[tuple[str, bytes]] = []
    for _ in range(head[22]):
        name = _HEVC_SETS.get(fields.unsigned(1) & 63)
        units = [*_numbered(name or "", fields, fields.unsigned(2))]
        sets += units if name else []
    return tuple(sets), facts


def _numbered(name: str, fields: Fields, count: int) -> Iterator[tuple[str, bytes]]:
    for number in range(count):
        yield f"{name}{number}", bytes(fields.take(fields.unsigned(2)))


def read_av1c(body: memoryview) -> tuple[Sets, Facts]:
    """AV1CodecConfigurationRecord (AV1 Codec ISO Media File Format Binding, 2.3)."""
    head = Fields(body, "'av1C'").take(4)
    high, twelve = head[2] >> 6 & 1, head[2] >> 5 & 1
    return (("av1C", bytes(body)),), {
        "profile": head[1] >> 5,
        "bit_depth": 8 + 2 * high + 2 * (high & twelve),
    }


def read_vpcc(body: memoryview) -> tuple[Sets, Facts]:
    """VPCodecConfigurationRecord (VP Codec ISO Media File Format Binding)."""
    head = Fields(body, "'vpcC'").take(7)
    return (("vpcC", bytes(body)),), {"profile": head[4], "bit_depth": head[6] >> 4}


def read_dac3(body: memoryview) -> tuple[Sets, Facts]:
    """AC3SpecificBox (ETSI TS 102 366, F.4), its bit rate left out."""
    bits = Fields(body, "'dac3'").unsigned(3)
    plain = (bits & ~(0x1F << 5)).to_bytes(3, "big")
    return (("dac3", plain),), _ac3_facts(bits >> 22, bits >> 11 & 7, bits >> 10 & 1)


def read_dec3(body: memoryview) -> tuple[Sets, Facts]:
    """EC3SpecificBox (ETSI TS 102 366, F.6), its bit rate left out."""
    bits = Fields(body, "'dec3'").unsigned(5)
    plain = bytes([0, body[1] & 7]) + bytes(body[2:])
    return (("dec3", plain),), _ac3_facts(bits >> 22 & 3, bits >> 9 & 7, bits >> 8 & 1)


def _ac3_facts(rate: int, mode: int, low_frequency: int) -> Facts:
    facts = {"channels": _AC3_CHANNELS[mode] + low_frequency}
    return facts if rate == len(_AC3_RATES) else {"sample_rate": _AC3_RATES[rate], **facts}


def read_dops(body: memoryview) -> tuple[Sets, Facts]:
    """OpusSpecificBox (Encapsulation of Opus in ISOBMFF, 4.3.2); Opus always decodes at 48 kHz."""
    return (("dOps", bytes(body)),), {
        "sample_rate": 48000,
        "channels": Fields(body, "'dOps'").take(11)[1],
    }


def read_dfla(body: memoryview) -> tuple[Sets, Facts]:
    """FLACSpecificBox: the STREAMINFO as it is."""
    return (("dfLa", bytes(body)),), {}


#: The box that each codec must bring, and its reader. MP3 needs none; ``esds`` says its own codec.
CODEC_BOXES: Mapping[Codec, tuple[bytes, Callable[[memoryview], tuple[Sets, Facts]]]] = {
    Codec.H264: (b"avcC", read_avcc),
    Codec.HEVC: (b"hvcC", read_hvcc),
    Codec.AV1: (b"av1C", read_av1c),
    Codec.VP9: (b"vpcC", read_vpcc),
    Codec.AC3: (b"dac3", read_dac3),
    Codec.EAC3: (b"dec3", read_dec3),
    Codec.OPUS: (b"dOps", read_dops),
    Codec.FLAC: (b"dfLa", read_dfla),
}


def read_esds(body: memoryview) -> tuple[int, bytes]:
    """Object type and DecoderSpecificInfo of an ES descriptor (ISO/IEC 14496-1, 7.2.6.5)."""
    fields = Fields(body, "'esds'")
    fields.version()
    stream = _descriptor(fields, 3)
    stream.take(2)
    flags = stream.unsigned(1)
    stream.take(2 if flags & 0x80 else 0)
    stream.take(stream.unsigned(1) if flags & 0x40 else 0)
    stream.take(2 if flags & 0x20 else 0)
    decoder = _descriptor(stream, 4)
    object_type = decoder.unsigned(1)
    decoder.take(12)  # stream type, buffer size and bit rates: no matter of decoding
    specific = _descriptor(decoder, 5).rest() if decoder.remaining else memoryview(b"")
    return object_type, bytes(specific)


def _descriptor(fields: Fields, tag: int) -> Fields:
    found, size = fields.unsigned(1), 0
    if found != tag:
        raise Mp4Error(f"'esds' has descriptor {found} where {tag} must be")
    for _ in range(4):
        byte = fields.unsigned(1)
        size = size << 7 | byte & 0x7F
        if not byte & 0x80:
            break
    return Fields(fields.take(size), "a descriptor of 'esds'")


def read_audio_specific_config(specific: bytes) -> Facts:
    """Core object type, sample rate and channels (ISO/IEC 14496-3, 1.6.2.1).

    Of explicitly signalled HE-AAC these are the values of the core, as ADTS headers state them.
    """
    bits = _Bits(specific)
    kind = bits.object_type()
    facts = {"sample_rate": bits.sample_rate(), "channels": bits.take(4)}
    if kind in (_SBR, _PARAMETRIC_STEREO):
        bits.sample_rate()
        kind = bits.object_type()
    facts["channels"] = 8 if facts["channels"] == 7 else facts["channels"]
    return {"object_type": kind, **{name: value for name, value in facts.items() if value}}


class _Bits:
    """Reads bit fields; ``Mp4Error`` instead of reading beyond the end."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise Mp4Error("the AudioSpecificConfig is cut off")
        return self._value >> self._left & (1 << count) - 1

    def object_type(self) -> int:
        kind = self.take(5)
        return 32 + self.take(6) if kind == _ESCAPE else kind

    def sample_rate(self) -> int:
        index = self.take(4)
        if index == 15:
            return self.take(24)
        return _AAC_RATES[index] if index < len(_AAC_RATES) else 0
