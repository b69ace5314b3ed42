"""Encoded silence in exactly the configuration of a track of sound."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

import ffmpeg
import numpy as np

from pipelines.errors import ErrorCode, PermanentError, ToolError
from pipelines.ffmpeg_movie import read_movie
from pipelines.media import Codec
from pipelines.mp4.boxes import find, walk
from pipelines.mp4.fragments import FragmentReader, Header
from pipelines.mp4.sample_entry import read_sample_entry
from pipelines.process import FilterProcess
from pipelines.remux import QUIET, fragmented_mp4_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pipelines.media import Configuration

#: Frames at an encoder's start that are left out: they prime it, or hold its name.
PRIMING = 4
#: Seconds that ffmpeg may take for one second of silence.
DEADLINE_SECONDS = 60.0

_ENCODERS = {
    Codec.AAC: "aac",
    Codec.MP3: "libmp3lame",
    Codec.MP2: "mp2",
    Codec.AC3: "ac3",
    Codec.EAC3: "eac3",
    Codec.OPUS: "libopus",
    Codec.FLAC: "flac",
}
#: How ffmpeg calls the channels that a number of them means (ISO/IEC 14496-3, table 1.19; RFC 7845,
#: 5.1.1.2; FLAC, 9.1.3).
_CHANNELS = {
    1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 8: "7.1",
}  # fmt: skip
#: The same for acmod and lfeon of AC-3 (ETSI TS 102 366, table 4.3).
_AC3_CHANNELS = {
    0: ("stereo", "2.1"), 1: ("mono", ""), 2: ("stereo", "2.1"), 3: ("3.0", "3.1"),
    4: ("3.0(back)", ""), 5: ("4.0", "4.1"), 6: ("quad(side)", ""), 7: ("5.0(side)", "5.1(side)"),
}  # fmt: skip
#: bit/s by bit_rate_code (ETSI TS 102 366, F.4.2.4).
_AC3_BIT_RATES = tuple(
    1000 * rate
    for rate in (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512,
                 576, 640)
)  # fmt: skip
#: Bytes of an AudioSampleEntry before its boxes, its own header left out.
_ENTRY_BYTES = 28
_SAMPLE_BYTES = 2  # of silence as it is fed: signed 16 bit, one channel


@dataclass(frozen=True, eq=False)
class SilentSound:
    """Frames of about one second of silence, which may follow each other in any number."""

    frame_ticks: Fraction  #: how long every frame lasts, in ticks of the track
    sizes: np.ndarray  #: int64[n], bytes of each frame
    payload: bytes

    def times(self, first: int, count: int) -> np.ndarray:
        """Decode times of ``count`` frames from tick ``first`` on, int64."""
        numbers = np.arange(count, dtype=np.int64)
        ticks = self.frame_ticks
        return first + numbers * ticks.numerator // ticks.denominator

    def repeated_sizes(self, count: int) -> np.ndarray:
        """The sizes of ``count`` frames, int64: those of the second, over and over."""
        return np.resize(self.sizes, count)


@dataclass(frozen=True)
class _Wanted:
    """What is to be encoded; equal ones are encoded once."""

    codec: Codec
    rate: int  #: samples/s
    channels: str  #: as ffmpeg calls them
    options: tuple[tuple[str, str | int], ...]
    ffmpeg: str
    checkpoint: Callable[[], None] = field(compare=False)


@dataclass(frozen=True, eq=False)
class _Encoded:
    """What came out: the samples of one frame, and the frames."""

    frame_samples: int
    sizes: np.ndarray
    payload: bytes
    entry: bytes


def silent_sound(
    codec: Codec,
    sample_entry: bytes,
    timescale: int,
    ffmpeg: str,
    checkpoint: Callable[[], None],
) -> SilentSound:
    """Silence that a decoder set up with ``sample_entry`` takes for more of the same sound.

    HE-AAC is told by its core, whose frames of silence are AAC-LC. The result depends on nothing but
    the configuration and ffmpeg's version. Raises ``PermanentError`` (``codec_unsupported``) for a
    configuration that no encoder makes, ``ToolError`` when ffmpeg fails.
    """
    configuration = read_sample_entry(sample_entry).configuration
    rate = configuration and configuration.fact("sample_rate")
    if configuration is None or not rate:
        raise _unsupported(codec, "its sample rate is unknown")
    wanted = _Wanted(
        codec,
        rate,
        _channels(codec, configuration),
        _options(codec, configuration, sample_entry),
        ffmpeg,
        checkpoint,
    )
    made = _encoded(wanted)
    _refuse_other(codec, configuration, made.entry)
    return SilentSound(Fraction(made.frame_samples * timescale, rate), made.sizes, made.payload)


def silence_argv(
    ffmpeg_path: str,
    codec: Codec,
    rate: int,
    channels: str,
    options: tuple[tuple[str, str | int], ...],
) -> list[str]:
    """The argv that encodes signed 16-bit samples of one channel on stdin to MP4 on stdout."""
    source = ffmpeg.input("pipe:0", format="s16le", ar=rate, ac=1, protocol_whitelist="pipe")
    output = {
        "c:a": _ENCODERS[codec],
        "af": f"aformat=channel_layouts={channels}",
        "flags:a": "+bitexact",  # else the encoder writes its version into frames
        "strict": -2,
        **dict(options),
        **fragmented_mp4_options(),
    }
    argv: list[str] = source.output("pipe:1", **output).global_args(*QUIET).compile(cmd=ffmpeg_path)
    return argv


@lru_cache(maxsize=64)
def _encoded(wanted: _Wanted) -> _Encoded:
    argv = silence_argv(wanted.ffmpeg, wanted.codec, wanted.rate, wanted.channels, wanted.options)
    reader = _SilenceReader()
    child = FilterProcess(
        argv,
        _silence(wanted.rate),
        deadline_seconds=DEADLINE_SECONDS,
        checkpoint=wanted.checkpoint,
    )
    with child:
        read_movie(child, reader)
    return reader.made(wanted.rate)


def _silence(rate: int) -> Iterator[bytes]:
    """Two seconds: one is kept, what begins and ends an encoder is not."""
    for _ in range(2):
        yield bytes(_SAMPLE_BYTES * rate)


class _SilenceReader:
    """Collects the frames that ffmpeg writes."""

    def __init__(self) -> None:
        self._reader = FragmentReader()
        self._entry = b""
        self._durations: list[np.ndarray] = []
        self._sizes: list[np.ndarray] = []
        self._payload = bytearray()

    def take(self, piece: bytes) -> None:
        """Take output of ffmpeg; ``Mp4Error`` when it is damaged."""
        for event in self._reader.feed(piece):
            if isinstance(event, Header):
                self._entry = event.movie.tracks[0].sample_entry
                continue
            for track in event.tracks:
                self._durations.append(track.durations)
                self._sizes.append(track.sizes)
                for run in track.runs:
                    self._payload += event.payload[run.offset : run.offset + run.size]

    def close(self) -> None:
        """Say that ffmpeg has ended; ``Mp4Error`` when its output is cut off."""
        self._reader.close()

    def made(self, rate: int) -> _Encoded:
        """About a second of frames from the middle; ``ToolError`` when there are too few."""
        sizes = np.concatenate([*self._sizes, np.zeros(0, np.int64)]).astype(np.int64)
        frame = int(np.median(np.concatenate(self._durations))) if len(sizes) else 0
        count = -(-rate // frame) if frame > 0 else 0
        if not 0 < count <= len(sizes) - PRIMING:
            message = f"ffmpeg made {len(sizes)} frames of two seconds of silence"
            raise ToolError(ErrorCode.FFMPEG_FAILED, message)
        kept = sizes[PRIMING : PRIMING + count]
        begin = int(sizes[:PRIMING].sum())
        payload = bytes(self._payload[begin : begin + int(kept.sum())])
        return _Encoded(frame, kept, payload, self._entry)


def _channels(codec: Codec, configuration: Configuration) -> str:
    if codec in (Codec.AC3, Codec.EAC3):
        name = _AC3_CHANNELS[_ac3_mode(codec, configuration)][
            _ac3_low_frequency(codec, configuration)
        ]
    else:
        name = _CHANNELS.get(configuration.fact("channels") or 0, "")
    if not name:
        raise _unsupported(codec, "no encoder knows its channels")
    return name


def _ac3_bits(codec: Codec, configuration: Configuration) -> int:
    """acmod and lfeon, four bits, of a ``dac3`` or ``dec3`` (ETSI TS 102 366, F.4 and F.6)."""
    [(_, record)] = configuration.parameter_sets
    bits = int.from_bytes(record, "big")
    if codec is Codec.AC3:
        return bits >> 10 & 0xF
    return int.from_bytes(record[:5], "big") >> 8 & 0xF


def _ac3_mode(codec: Codec, configuration: Configuration) -> int:
    return _ac3_bits(codec, configuration) >> 1


def _ac3_low_frequency(codec: Codec, configuration: Configuration) -> int:
    return _ac3_bits(codec, configuration) & 1


def _options(
    codec: Codec, configuration: Configuration, entry: bytes
) -> tuple[tuple[str, str | int], ...]:
    """What the encoder must be told besides the rate and the channels."""
    if codec is Codec.MP3:
        return (("reservoir", 0),)  # no frame borrows bits of the one before
    if codec is Codec.AC3:
        code = int.from_bytes(_box(entry, b"dac3")[:3], "big") >> 5 & 0x1F
        return (("b:a", _AC3_BIT_RATES[min(code, len(_AC3_BIT_RATES) - 1)]),)
    if codec is Codec.EAC3:
        rate = int.from_bytes(_box(entry, b"dec3")[:2], "big") >> 3
        return (("b:a", 1000 * max(32, rate)),)
    if codec is Codec.FLAC:
        info = _box(entry, b"dfLa")[8:]
        depth = (int.from_bytes(info[12:14], "big") >> 4 & 0x1F) + 1
        form = ("s16", 16) if depth <= 16 else ("s32", depth)
        return (
            ("sample_fmt", form[0]),
            ("bits_per_raw_sample", form[1]),
            ("frame_size", int.from_bytes(info[2:4], "big")),
        )
    return ()


def _box(entry: bytes, name: bytes) -> bytes:
    [whole] = walk(memoryview(entry))
    found = find(whole.body[_ENTRY_BYTES:], name)
    return bytes(found.body) if found else b""


def _refuse_other(codec: Codec, configuration: Configuration, made: bytes) -> None:
    """Refuse silence that a decoder of the track's own sound would not understand."""
    described = read_sample_entry(made).configuration
    same = described is not None and all(
        described.fact(name) == configuration.fact(name) for name in ("sample_rate", "channels")
    )
    if not same or (codec is Codec.OPUS and _mapping(described) != _mapping(configuration)):
        raise _unsupported(codec, "what the encoder makes is not alike")


def _mapping(configuration: Configuration | None) -> bytes:
    """Channel mapping of a ``dOps`` (Encapsulation of Opus in ISOBMFF, 4.3.2)."""
    return configuration.parameter_sets[0][1][10:] if configuration else b""


def _unsupported(codec: Codec, why: str) -> PermanentError:
    message = f"silence cannot be encoded as {codec} like the sound of this recording: {why}"
    return PermanentError(ErrorCode.CODEC_UNSUPPORTED, message)
