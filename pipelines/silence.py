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
from pipelines.mp4.fragments import FragmentReader, Header
from pipelines.mp4.sample_entry import read_sample_entry
from pipelines.process import FilterProcess
from pipelines.remux import QUIET, fragmented_mp4_options
from pipelines.transcoding.sound_encoding import UnencodableError, encoding_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pipelines.media import Configuration
    from pipelines.transcoding.sound_encoding import SoundEncoding

#: Frames at an encoder's start that are left out: they prime it, or hold its name.
PRIMING = 4
#: Seconds that ffmpeg may take for one second of silence.
DEADLINE_SECONDS = 60.0

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

    encoding: SoundEncoding
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
    try:
        encoding = encoding_for(codec, sample_entry)
    except UnencodableError as error:
        raise _unsupported(codec, str(error)) from error
    made = _encoded(_Wanted(encoding, ffmpeg, checkpoint))
    _refuse_other(codec, sample_entry, made.entry)
    frame = Fraction(made.frame_samples * timescale, encoding.rate)
    return SilentSound(frame, made.sizes, made.payload)


def silence_argv(ffmpeg_path: str, encoding: SoundEncoding) -> list[str]:
    """The argv that encodes signed 16-bit samples of one channel on stdin to MP4 on stdout."""
    rate = encoding.rate
    source = ffmpeg.input("pipe:0", format="s16le", ar=rate, ac=1, protocol_whitelist="pipe")
    output = {
        **dict(encoding.options),
        "af": f"aformat=channel_layouts={encoding.layout}",
        "flags:a": "+bitexact",  # else the encoder writes its version into frames
        "strict": -2,
        **fragmented_mp4_options(),
    }
    argv: list[str] = source.output("pipe:1", **output).global_args(*QUIET).compile(cmd=ffmpeg_path)
    return argv


@lru_cache(maxsize=64)
def _encoded(wanted: _Wanted) -> _Encoded:
    argv = silence_argv(wanted.ffmpeg, wanted.encoding)
    reader = _SilenceReader()
    child = FilterProcess(
        argv,
        _silence(wanted.encoding.rate),
        deadline_seconds=DEADLINE_SECONDS,
        checkpoint=wanted.checkpoint,
    )
    with child:
        read_movie(child, reader)
    return reader.made(wanted.encoding.rate)


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


def _refuse_other(codec: Codec, own: bytes, made: bytes) -> None:
    """Refuse silence that a decoder of the track's own sound would not understand."""
    told = [read_sample_entry(entry).configuration for entry in (own, made)]
    facts = [[each and each.fact(name) for name in ("sample_rate", "channels")] for each in told]
    same = None not in told and facts[0] == facts[1]
    if not same or (codec is Codec.OPUS and _mapping(told[0]) != _mapping(told[1])):
        raise _unsupported(codec, "what the encoder makes is not alike")


def _mapping(configuration: Configuration | None) -> bytes:
    """Channel mapping of a ``dOps`` (Encapsulation of Opus in ISOBMFF, 4.3.2)."""
    return configuration.parameter_sets[0][1][10:] if configuration else b""


def _unsupported(codec: Codec, why: str) -> PermanentError:
    message = f"silence cannot be encoded as {codec} like the sound of this recording: {why}"
    return PermanentError(ErrorCode.CODEC_UNSUPPORTED, message)
