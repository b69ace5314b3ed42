"""How sound is encoded so that it fits a track: its codec, rate and channels, in ffmpeg's words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.errors import ErrorCode, PermanentError
from pipelines.media import Codec
from pipelines.mp4.sample_entry import read_sample_entry

if TYPE_CHECKING:
    from pipelines.media import Configuration
    from pipelines.rendition_layout import TrackLayout

    Options = dict[str, str | int]

#: AAC object types whose decoders take AAC-LC as well: Main, LC and LTP (ISO/IEC 14496-3, 1.5.1.1).
_LC_DECODERS = frozenset({1, 2, 4})
#: Samples of one frame: ISO/IEC 14496-3, 4.5.1.1; 11172-3, 2.4.2.1; ETSI TS 102 366, 4.1; RFC 6716, 2.
_FRAMES = {
    Codec.AAC: 1024, Codec.MP3: 1152, Codec.MP2: 1152,
    Codec.AC3: 1536, Codec.EAC3: 1536, Codec.OPUS: 960,
}  # fmt: skip
#: Below this rate (samples/s), MPEG audio of layer III has frames of half as many samples.
_MPEG_1 = 32_000
#: ffmpeg's names of the layouts that a count of channels stands for.
_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 8: "7.1"}
_ENCODERS = {
    Codec.AAC: "aac", Codec.MP3: "libmp3lame", Codec.MP2: "mp2", Codec.AC3: "ac3",
    Codec.EAC3: "eac3", Codec.OPUS: "libopus", Codec.FLAC: "flac",
}  # fmt: skip
#: bit/s for each channel; the front two of AC-3 have their usual 192 kbit/s.
_CHANNEL_BIT_RATES = {
    Codec.AAC: 64_000, Codec.MP3: 64_000, Codec.MP2: 96_000,
    Codec.AC3: 96_000, Codec.EAC3: 96_000, Codec.OPUS: 64_000,
}  # fmt: skip
#: The most that MPEG-2's low rates allow (ISO/IEC 13818-3, 2.4.2.3), and AC-3.
_LOW_RATE_MPEG_LIMIT, _AC3_LIMIT = 160_000, 640_000
#: Bytes of a ``dfLa`` box before its STREAMINFO: version, flags, header of the metadata block.
_BEFORE_STREAMINFO = 8
_STREAMINFO_BYTES = 34


@dataclass(frozen=True)
class SoundEncoding:
    """Everything that an encoder of sound is told."""

    codec: Codec
    rate: int  #: samples/s
    channels: int
    frame: int  #: samples of one frame
    options: Options  #: of the output, as ffmpeg-python wants them

    @property
    def layout(self) -> str:
        """ffmpeg's name of the channels."""
        return _LAYOUTS[self.channels]


def encoding_for(track: TrackLayout) -> SoundEncoding:
    """The encoding whose frames a decoder takes that was set up by the track's sample entry.

    Raises ``PermanentError`` (``configuration_changed``) when none of ours can make such.
    """
    described = read_sample_entry(track.sample_entry).configuration
    if described is None or track.codec not in _ENCODERS:
        raise _impossible(track, "which is not encoded")
    rate, channels = described.fact("sample_rate"), described.fact("channels")
    special: Options = {}
    frame = _FRAMES.get(track.codec, 0)
    if track.codec is Codec.FLAC:
        rate, channels, frame, special = _flac(described, track)
    if not rate or channels not in _LAYOUTS:
        raise _impossible(track, f"at {rate or 'an unknown number of'} Hz, channels: {channels}")
    if track.codec is Codec.AAC and described.fact("object_type") not in _LC_DECODERS:
        raise _impossible(track, f"of object type {described.fact('object_type')}")
    if track.codec is Codec.MP3 and rate < _MPEG_1:
        frame //= 2
    options: Options = {"c:a": _ENCODERS[track.codec], **special}
    if track.codec is Codec.MP3:
        options["reservoir"] = 0  # a frame must not need bytes of one that another slice owns
    bit_rate = _bit_rate(track.codec, rate, channels)
    if bit_rate:
        options["b:a"] = bit_rate
    return SoundEncoding(track.codec, rate, channels, frame, options)


def _bit_rate(codec: Codec, rate: int, channels: int) -> int:
    """bit/s; 0 for codecs that have none to choose."""
    wanted = _CHANNEL_BIT_RATES.get(codec, 0) * channels
    if codec in (Codec.MP2, Codec.MP3) and rate < _MPEG_1:
        return min(wanted, _LOW_RATE_MPEG_LIMIT)
    return min(wanted, _AC3_LIMIT) if codec in (Codec.AC3, Codec.EAC3) else wanted


def _flac(described: Configuration, track: TrackLayout) -> tuple[int, int, int, Options]:
    """Rate, channels, samples of a frame and options after STREAMINFO (RFC 9639, 8.2)."""
    body = dict(described.parameter_sets)["dfLa"]
    info = body[_BEFORE_STREAMINFO : _BEFORE_STREAMINFO + _STREAMINFO_BYTES]
    if len(info) < _STREAMINFO_BYTES:
        raise _impossible(track, "whose STREAMINFO is cut off")
    bits = int.from_bytes(info[10:18], "big")
    rate, channels = bits >> 44, (bits >> 41 & 7) + 1
    depth = (bits >> 36 & 31) + 1
    if depth not in (16, 24):
        raise _impossible(track, f"of {depth} bits")
    format_of = {16: "s16", 24: "s32"}
    frame = int.from_bytes(info[2:4], "big")
    options: Options = {"frame_size": frame, "sample_fmt": format_of[depth]}
    if depth == 24:
        options["bits_per_raw_sample"] = depth
    return rate, channels, frame, options


def _impossible(track: TrackLayout, why: str) -> PermanentError:
    message = f"most of the track {track.name} is {track.codec} {why}: the rest cannot be fitted"
    return PermanentError(ErrorCode.CONFIGURATION_CHANGED, message)
