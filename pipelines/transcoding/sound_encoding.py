"""How sound is encoded so that it fits a track: its codec, rate and channels, in ffmpeg's words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.media import Codec
from pipelines.mp4.sample_entry import inner_box, read_sample_entry

if TYPE_CHECKING:
    from pipelines.media import Configuration

    Options = tuple[tuple[str, str | int], ...]

#: AAC object types whose decoders take AAC-LC as well: Main, LC and LTP (ISO/IEC 14496-3, 1.5.1.1).
_LC_DECODERS = frozenset({1, 2, 4})
#: Samples of one frame: ISO/IEC 14496-3, 4.5.1.1; 11172-3, 2.4.2.1; ETSI TS 102 366, 4.1; RFC 6716, 2.
_FRAMES = {
    Codec.AAC: 1024, Codec.MP3: 1152, Codec.MP2: 1152,
    Codec.AC3: 1536, Codec.EAC3: 1536, Codec.OPUS: 960,
}  # fmt: skip
#: Below this rate (samples/s), MPEG audio of layer III has frames of half as many samples.
_MPEG_1 = 32_000
#: How ffmpeg calls the channels that a number of them means (ISO/IEC 14496-3, table 1.19; RFC 7845,
#: 5.1.1.2; FLAC, 9.1.3).
_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 8: "7.1"}
#: The same for acmod and lfeon of AC-3 (ETSI TS 102 366, table 4.3).
_AC3_LAYOUTS = {
    0: ("stereo", "2.1"), 1: ("mono", ""), 2: ("stereo", "2.1"), 3: ("3.0", "3.1"),
    4: ("3.0(back)", ""), 5: ("4.0", "4.1"), 6: ("quad(side)", ""), 7: ("5.0(side)", "5.1(side)"),
}  # fmt: skip
#: bit/s by bit_rate_code (ETSI TS 102 366, F.4.2.4).
_AC3_BIT_RATES = tuple(
    1000 * rate
    for rate in (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512,
                 576, 640)
)  # fmt: skip
_ENCODERS = {
    Codec.AAC: "aac", Codec.MP3: "libmp3lame", Codec.MP2: "mp2", Codec.AC3: "ac3",
    Codec.EAC3: "eac3", Codec.OPUS: "libopus", Codec.FLAC: "flac",
}  # fmt: skip
#: bit/s for each channel, where the track does not tell.
_CHANNEL_BIT_RATES = {
    Codec.AAC: 64_000, Codec.MP3: 64_000, Codec.MP2: 96_000, Codec.EAC3: 96_000, Codec.OPUS: 64_000,
}  # fmt: skip
#: The most that MPEG-2's low rates allow (ISO/IEC 13818-3, 2.4.2.3), and our encoder of E-AC-3.
_LOW_RATE_MPEG_LIMIT, _EAC3_LIMIT = 160_000, 640_000
#: Bytes of a ``dfLa`` box before its STREAMINFO: version, flags, header of the metadata block.
_BEFORE_STREAMINFO = 8
_STREAMINFO_BYTES = 34
#: Samples of FLAC by their bits, which every frame repeats.
_FLAC_FORMATS = {16: "s16", 24: "s32"}


class UnencodableError(Exception):
    """Raised for a track that no encoder of ours makes sound for; its message says why."""


@dataclass(frozen=True)
class SoundEncoding:
    """Everything that an encoder of sound is told; equal ones make equal frames."""

    codec: Codec
    rate: int  #: samples/s
    layout: str  #: ffmpeg's name of the channels
    frame: int  #: samples of one frame
    options: Options  #: of the output, without their dashes


@dataclass(frozen=True)
class _Described:
    """What a sample entry tells of sound."""

    codec: Codec
    rate: int
    channels: int
    layout: str
    entry: bytes


def encoding_for(codec: Codec, sample_entry: bytes) -> SoundEncoding:
    """The encoding whose frames a decoder takes that was set up by the sample entry.

    HE-AAC is told by its core, for which AAC-LC is encoded. Raises ``UnencodableError``.
    """
    configuration = read_sample_entry(sample_entry).configuration
    if configuration is None or codec not in _ENCODERS:
        raise UnencodableError("it is not encoded")
    found = _described(codec, configuration, sample_entry)
    kind = configuration.fact("object_type")
    if codec is Codec.AAC and kind not in _LC_DECODERS:
        raise UnencodableError(f"its object type is {kind}")
    frame, special = _special(found)
    rate = _bit_rate(found)
    options = (("c:a", _ENCODERS[codec]), *special, *((("b:a", rate),) if rate else ()))
    return SoundEncoding(codec, found.rate, found.layout, frame, options)


def _described(codec: Codec, configuration: Configuration, entry: bytes) -> _Described:
    rate, channels = configuration.fact("sample_rate"), configuration.fact("channels")
    layout = _LAYOUTS.get(channels or 0, "")
    if codec is Codec.FLAC:
        bits = int.from_bytes(_stream_info(entry)[10:18], "big")  # RFC 9639, 8.2
        rate, channels = bits >> 44, (bits >> 41 & 7) + 1
        layout = _LAYOUTS.get(channels, "")
    elif codec in (Codec.AC3, Codec.EAC3):
        mode = _ac3_mode(codec, entry)
        layout = _AC3_LAYOUTS[mode >> 1][mode & 1]
    if not rate:
        raise UnencodableError("its sample rate is unknown")
    if not layout:
        raise UnencodableError(f"no encoder knows its channels ({channels or 'an unknown number'})")
    return _Described(codec, rate, channels or 0, layout, entry)


def _ac3_mode(codec: Codec, entry: bytes) -> int:
    """acmod and lfeon, four bits, of a ``dac3`` or ``dec3`` (ETSI TS 102 366, F.4 and F.6)."""
    if codec is Codec.AC3:
        return int.from_bytes(inner_box(entry, b"dac3")[:3], "big") >> 10 & 0xF
    return int.from_bytes(inner_box(entry, b"dec3")[:5], "big") >> 8 & 0xF


def _special(found: _Described) -> tuple[int, Options]:
    """Samples of a frame, and what the encoder must be told besides rates and channels."""
    if found.codec is Codec.FLAC:
        return _flac(found.entry)
    if found.codec is Codec.MP3:
        frame = _FRAMES[Codec.MP3] // (2 if found.rate < _MPEG_1 else 1)
        return frame, (("reservoir", 0),)  # no frame needs bytes of one before it
    return _FRAMES[found.codec], ()


def _flac(entry: bytes) -> tuple[int, Options]:
    info = _stream_info(entry)
    depth = (int.from_bytes(info[12:14], "big") >> 4 & 0x1F) + 1
    if depth not in _FLAC_FORMATS:
        raise UnencodableError(f"its samples have {depth} bits")
    frame = int.from_bytes(info[2:4], "big")
    return frame, (
        ("frame_size", frame), ("sample_fmt", _FLAC_FORMATS[depth]), ("bits_per_raw_sample", depth),
    )  # fmt: skip


def _stream_info(entry: bytes) -> bytes:
    info = inner_box(entry, b"dfLa")[_BEFORE_STREAMINFO : _BEFORE_STREAMINFO + _STREAMINFO_BYTES]
    if len(info) < _STREAMINFO_BYTES:
        raise UnencodableError("its STREAMINFO is cut off")
    return info


def _bit_rate(found: _Described) -> int:
    """bit/s: what the track tells, else what it takes; 0 for codecs that have none to choose."""
    wanted = _CHANNEL_BIT_RATES.get(found.codec, 0) * found.channels
    if found.codec is Codec.AC3:
        code = int.from_bytes(inner_box(found.entry, b"dac3")[:3], "big") >> 5 & 0x1F
        return _AC3_BIT_RATES[min(code, len(_AC3_BIT_RATES) - 1)]
    if found.codec is Codec.EAC3:
        told = 1000 * (int.from_bytes(inner_box(found.entry, b"dec3")[:2], "big") >> 3)
        return min(told or wanted, _EAC3_LIMIT)
    if found.codec in (Codec.MP2, Codec.MP3) and found.rate < _MPEG_1:
        return min(wanted, _LOW_RATE_MPEG_LIMIT)
    return wanted
