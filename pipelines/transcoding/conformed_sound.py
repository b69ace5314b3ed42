"""Sound encoded anew so that it fits a track: on a grid of whole frames of the source's own clock.

What ffmpeg decodes is an MP4 of exactly the samples that packaging has compared with the source's
index, so that its clock is the source's. It is resampled (never played faster), kept to the clock,
and encoded from a whole number of frames after the clock's zero on: slices of one stretch of sound,
made apart, give frames that follow each other. Sound from before a slice warms decoder and encoder
up, sound from behind it lets its last frame end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import ffmpeg
import numpy as np

from pipelines.errors import ErrorCode, PermanentError, ToolError
from pipelines.ffmpeg_movie import read_movie
from pipelines.mp4.boxes import Mp4Error
from pipelines.mp4.fragments import FragmentReader, Header
from pipelines.mp4.sample_entry import read_sample_entry, told_codec
from pipelines.process import FilterProcess
from pipelines.remux import QUIET, fragmented_mp4_options, input_options
from pipelines.segment_index import Container
from pipelines.sound_samples import SoundSamples, joined, movie_header
from pipelines.transcoding.command import PATIENT
from pipelines.transcoding.sound_encoding import UnencodableError, encoding_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pipelines.mp4.movie_fragment import Fragment
    from pipelines.mp4.movie_header import TrackHeader
    from pipelines.rendition_layout import TrackLayout
    from pipelines.transcoding.sound_encoding import SoundEncoding

#: As ``sound.KEEPS_CLOCK``; the sample of the clock at which the first frame begins follows.
_KEEPS_CLOCK = {
    "async": 1000, "min_comp": 0.0005, "min_hard_comp": 0.01, "comp_duration": 0.5, "flags": "res",
}  # fmt: skip
#: Frames that ffmpeg counts before the first one: encoders begin before their first sample, and
#: MP4 cannot tell times below zero.
_BEFORE = 16
#: Frames by which an encoder begins before its first sample, at most.
_MOST_PRIMING = 4
#: Frames of silence that are encoded behind the sound, so that the last that is due comes out whole.
_PADDING = 8
#: What the sample entries of the track and of the encoder must agree on.
_TOLD = ("sample_rate", "channels")
#: Seconds that one ffmpeg may take in any case, and for a second of sound.
_LEAST_DEADLINE_SECONDS, _SLOWEST = 600.0, 10.0


@dataclass(frozen=True, eq=False)
class Surroundings:
    """Sound of the same track and clock beside that of a run, which other slices own."""

    before: SoundSamples | None = None
    behind: SoundSamples | None = None


@dataclass(frozen=True)
class _Grid:
    """Where frames may begin: ``first`` is the number of the first whole frame of the clock that is
    encoded; the encoder's own begin a constant number of samples earlier."""

    encoding: SoundEncoding
    first: int

    @property
    def zero(self) -> int:
        """The sample of the clock that ffmpeg counts as its sample 0."""
        return (self.first - _BEFORE) * self.encoding.frame

    def later(self, begin: Fraction) -> Fraction:
        """Seconds to add to times counted from ``begin`` (of the clock) to have ffmpeg's count."""
        return begin - Fraction(self.zero, self.encoding.rate)


def conformed_sound(
    own: SoundSamples,
    beside: Surroundings,
    track: TrackLayout,
    ffmpeg_path: str,
    checkpoint: Callable[[], None],
) -> SoundSamples:
    """The sound of a run encoded to fit ``track``, in ticks of its timescale on the run's clock.

    It has every frame of the grid that begins while the run's sound lasts: up to the first sound
    ``behind`` it, else to its own end; so it covers the same time to a frame. Raises
    ``PermanentError`` (``configuration_changed``) for a track that cannot be encoded for, and
    ``ToolError``: ``ffmpeg_failed``, ``verification_failed`` when frames do not follow each other on
    the grid, or do not last as long as the source.
    """
    encoding = _encoding(track)
    fed = joined([each for each in (beside.before, own, beside.behind) if each is not None])
    frames = Fraction(encoding.rate, encoding.frame)
    grid = _Grid(encoding, math.floor(fed.begin * frames))
    child = FilterProcess(
        conforming_argv(ffmpeg_path, encoding, grid.first, fed.begin),
        _bytes_of(fed),
        deadline_seconds=_LEAST_DEADLINE_SECONDS + _SLOWEST * float(fed.end - fed.begin),
        checkpoint=checkpoint,
    )
    output = _Frames(track)
    with child:
        read_movie(child, output)
    end = beside.behind.begin if beside.behind else own.end
    return output.inside(own.begin, end, grid)


def _encoding(track: TrackLayout) -> SoundEncoding:
    try:
        return encoding_for(track.codec, track.sample_entry)
    except UnencodableError as error:
        message = f"most of the track {track.name} is {track.codec} that nothing can be fitted to: {error}"
        raise PermanentError(ErrorCode.CONFIGURATION_CHANGED, message) from error


def conforming_argv(
    ffmpeg_path: str, encoding: SoundEncoding, first: int, begin: Fraction
) -> list[str]:
    """The argv that encodes the MP4 on stdin, whose time 0 is the clock's ``begin`` (seconds), from
    frame number ``first`` of the clock on."""
    grid = _Grid(encoding, first)
    source = ffmpeg.input("pipe:0", **input_options(Container.FMP4, 0))
    later = float(grid.later(begin))
    sound = (
        source["a:0"]
        .filter("asetpts", f"PTS+round({later:.12f}/TB)")
        .filter("aformat", sample_rates=encoding.rate, channel_layouts=encoding.layout)
        .filter("aresample", first_pts=_BEFORE * encoding.frame, **_KEEPS_CLOCK)
        .filter("apad", pad_len=_PADDING * encoding.frame)
    )
    options = {**dict(encoding.options), "strict": "experimental", **fragmented_mp4_options()}
    command = ffmpeg.output(sound, "pipe:1", **options).global_args(*QUIET, *PATIENT)
    argv: list[str] = command.compile(cmd=ffmpeg_path)
    return argv


def _bytes_of(sound: SoundSamples) -> Iterator[bytes]:
    yield movie_header(sound)
    yield sound.payload


class _Frames:
    """Reads the frames that an encoder makes."""

    def __init__(self, track: TrackLayout) -> None:
        self._track = track
        self._reader = FragmentReader()
        self._header: TrackHeader | None = None
        self._times: list[np.ndarray] = []
        self._sizes: list[np.ndarray] = []
        self._payload = bytearray()

    def take(self, piece: bytes) -> None:
        """Read the next bytes of ffmpeg's output; ``Mp4Error`` for what is damaged."""
        for event in self._reader.feed(piece):
            if isinstance(event, Header):
                [self._header] = event.movie.tracks
            else:
                self._add(event)

    def close(self) -> None:
        """Say that ffmpeg has ended; ``Mp4Error`` when its output is cut off."""
        self._reader.close()

    def inside(self, begin: Fraction, end: Fraction, grid: _Grid) -> SoundSamples:
        """The frames that begin in this time of the clock (seconds), to fit the track."""
        header, encoding = self._header, grid.encoding
        if header is None or not self._times:
            raise self._differs("nothing was encoded")
        self._check_fits(header.sample_entry)
        if header.timescale != encoding.rate:
            raise self._differs(f"{header.timescale} ticks per second, not {encoding.rate}")
        counted, sizes = np.concatenate(self._times), np.concatenate(self._sizes)
        priming = _BEFORE * encoding.frame - int(counted[0])
        if not 0 <= priming <= _MOST_PRIMING * encoding.frame:
            raise self._differs(f"the encoder begins {priming} samples before its sound")
        # The last frames of all, behind the sound, are as short as what was left for them.
        uneven = np.flatnonzero(np.diff(counted) != encoding.frame)
        samples = counted[: int(uneven[0]) + 1 if len(uneven) else None] + grid.zero
        first, last = (
            int(np.searchsorted(samples, math.ceil(at * encoding.rate))) for at in (begin, end)
        )
        encoded_to = Fraction(int(samples[-1]) + encoding.frame, encoding.rate)
        if encoded_to < end or Fraction(int(samples[0]), encoding.rate) > begin:
            raise self._differs(f"sound up to {float(end - encoded_to):.3f} s before its end")
        return self._frames(samples, sizes, encoding).part(first, last)

    def _frames(
        self, samples: np.ndarray, sizes: np.ndarray, encoding: SoundEncoding
    ) -> SoundSamples:
        scale = self._track.timescale
        ticks = Fraction(scale, encoding.rate)
        dts = samples * ticks.numerator // ticks.denominator
        return SoundSamples(
            scale,
            self._track.sample_entry,
            dts,
            sizes,
            round(encoding.frame * ticks),
            bytes(self._payload),
        )

    def _add(self, fragment: Fragment) -> None:
        for track in fragment.tracks:
            if track.base_decode_time is None:
                raise Mp4Error(f"track {track.track_id} of a fragment has no decode time")
            self._times.append(track.base_decode_time + track.decode_offsets)
            self._sizes.append(track.sizes.astype(np.int64))
            for run in track.runs:
                self._payload += fragment.payload[run.offset : run.offset + run.size]

    def _check_fits(self, entry: bytes) -> None:
        """Refuse frames of another codec, rate or number of channels than the track has."""
        main, made = (
            read_sample_entry(each).configuration for each in (self._track.sample_entry, entry)
        )
        told = [(each.codec, *map(each.fact, _TOLD)) for each in (main, made) if each is not None]
        if len(told) < 2 or told[0] != told[1] or told[0][0] is not told_codec(self._track.codec):
            raise self._differs(f"{told[-1] if told else 'nothing'} was encoded for {told[0]}")

    def _differs(self, what: str) -> ToolError:
        message = f"sound for the track {self._track.name}: {what}"
        return ToolError(ErrorCode.VERIFICATION_FAILED, message)
