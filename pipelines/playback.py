"""Playing excerpts of a finished movie: samples read back are framed and decoded by ffmpeg."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import ffmpeg
import numpy as np

from pipelines.errors import ErrorCode, ToolError
from pipelines.media import Codec, TrackKind
from pipelines.mp4.boxes import Mp4Error
from pipelines.mp4.framing import units
from pipelines.mp4.movie import Movie, MovieTrack, write_header
from pipelines.mp4.samples import run_lengths, starts, sync_numbers
from pipelines.process import FilterProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pipelines.mp4.movie_reader import ParsedTrack

#: The most samples of one excerpt: a longer GOP is not decoded, only its framing is checked.
MAX_SAMPLES = 1500
#: Pictures that are played from a place on: more than any decoder reorders.
FOLLOWING = 20
#: Sounds that are played around a place, where there is no picture.
SOUNDS = 24
#: Frames of sound that a decoder may leave out at the start of an excerpt.
SKIPPED = 2
#: Key frames before that of an excerpt from which decoding is tried again.
EARLIER = 4
#: Bytes of payload that one small movie holds.
MAX_MOVIE_BYTES = 16 << 20
#: Seconds that ffmpeg may take to play one small movie.
DEADLINE_SECONDS = 120.0

#: What is told of a decoder that leaves something out without a word.
NOTHING_SAID = "ffmpeg said nothing"
#: Codecs of sound that are decoded one frame after the other.
_ONE_BY_ONE = frozenset({Codec.AAC, Codec.FLAC})

_IDR = 5  # nal_unit_type of a coded slice of an IDR picture (ITU-T H.264, table 7-1)


@dataclass(frozen=True, eq=False)
class Excerpt:
    """Neighbouring samples of one track, starting where decoding can start, and their bytes."""

    track: ParsedTrack
    samples: np.ndarray  #: int64, numbers of the samples (0-based)
    payload: bytes

    @property
    def resets_decoder(self) -> bool:
        """Whether a decoder that was fed something else before plays it as if it were alone.

        Only an IDR picture does that to H.264: at another key frame of an open GOP the counting of
        pictures goes on, and those of a place far away are taken for late ones and dropped.
        """
        if self.track.header.codec is not Codec.H264:
            return True
        first = self.payload[: int(self.track.sizes[self.samples[0]])]
        types = (first[unit.start] & 0x1F for unit in _units(self.track, first))
        return _IDR in types


def excerpts_at(
    track: ParsedTrack, places: Sequence[int], read: Callable[[int, int], bytes]
) -> Iterator[Excerpt]:
    """Excerpts that show the sample at each place and the one before it; joined where they meet.

    One is held at a time, however many seams there are. ``read(offset, length)`` gives bytes of the
    object. Raises ``ToolError`` when the framing inside a sample does not fill it exactly.
    """
    if track.header.kind is TrackKind.VIDEO:
        ranges = [_pictures_around(track, place) for place in places]
    else:
        ranges = [(max(0, place - SOUNDS), min(len(track), place + SOUNDS)) for place in places]
    for begin, end in _joined([each for each in ranges if each is not None]):
        yield _excerpt(track, _shown_from(track, begin, end), read)


def _shown_from(track: ParsedTrack, begin: int, end: int) -> np.ndarray:
    """The samples from ``begin`` up to ``end`` without pictures shown before the first."""
    samples = np.arange(begin, end)
    if track.header.kind is TrackKind.VIDEO:
        samples = samples[track.pts[begin:end] >= track.pts[begin]]
    return samples


def _excerpt(track: ParsedTrack, samples: np.ndarray, read: Callable[[int, int], bytes]) -> Excerpt:
    pieces = [_read_samples(track, run, read) for run in _neighbours(track, samples)]
    excerpt = Excerpt(track, samples, b"".join(pieces))
    check_framing(excerpt)
    return excerpt


def _pictures_around(track: ParsedTrack, place: int) -> tuple[int, int] | None:
    """From the key frame before the picture before ``place`` to a few pictures after it."""
    keys = np.flatnonzero(track.sync)
    before = keys[keys <= max(0, place - 1)]
    begin = int(before[-1]) if len(before) else 0
    end = min(len(track), place + FOLLOWING)
    return (begin, end) if end - begin <= MAX_SAMPLES else None


def _joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for begin, end in sorted(ranges):
        if joined and begin <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((begin, end))
    return joined


def _neighbours(track: ParsedTrack, samples: np.ndarray) -> list[np.ndarray]:
    """The samples split where they do not lie side by side in the object."""
    offsets, sizes = track.offsets[samples], track.sizes[samples]
    breaks = np.flatnonzero(offsets[1:] != offsets[:-1] + sizes[:-1]) + 1
    return np.split(samples, breaks)


def _read_samples(
    track: ParsedTrack, samples: np.ndarray, read: Callable[[int, int], bytes]
) -> bytes:
    return read(int(track.offsets[samples[0]]), int(track.sizes[samples].sum(dtype=np.int64)))


def check_framing(excerpt: Excerpt) -> None:
    """Check that the NAL units of each sample fill it exactly (ISO/IEC 14496-15, 5.3.4.2).

    Raises ``ToolError`` (``verification_failed``).
    """
    sizes = excerpt.track.sizes[excerpt.samples]
    begins = starts(sizes)
    for number, begin, size in zip(
        excerpt.samples.tolist(), begins.tolist(), sizes.tolist(), strict=True
    ):
        found = [*_units(excerpt.track, excerpt.payload[begin : begin + size])]
        if found and found[-1].stop != size:
            message = f"the NAL units of sample {number} do not fill it"
            raise ToolError(ErrorCode.VERIFICATION_FAILED, message)


def _units(track: ParsedTrack, sample: bytes) -> Iterator[slice]:
    """Where the NAL units of a sample lie; the last may end beyond it. None in other codecs."""
    length_size = track.header.configuration and track.header.configuration.fact("nal_length_size")
    return units(sample, 0, len(sample), length_size) if length_size else iter(())


@dataclass(frozen=True)
class Unplayed:
    """An excerpt of which a decoder does not show everything."""

    first: int  #: number of its first sample
    units: int  #: pictures or sounds that do not come out
    said: str  #: ffmpeg's first complaint


def play(
    track: ParsedTrack,
    places: Sequence[int],
    own: Callable[[int, int], np.ndarray],
    read: Callable[[int, int], bytes],
    confirm: Callable[[np.ndarray], None],
    ffmpeg_path: str,
    checkpoint: Callable[[], None],
) -> Iterator[Unplayed]:
    """Decode the pictures (or sounds) around places of a track; what does not come out.

    ``own(begin, end)`` says which samples are the source's own, bit by bit, which ``confirm`` makes
    sure of wherever a decoder stumbles: it raises ``ToolError`` unless the bytes of samples (their
    numbers) are those that were packaged. Then it would stumble over the source as well, whose
    units they are, described as there, and it is told. What was encoded has no such excuse.
    Raises ``ToolError`` where any of that does not come out, and where less than half of the others
    do: those that were put together wrong give hardly any.
    """
    player = _Player(track, own, read, confirm, ffmpeg_path, checkpoint)
    batch, held = list[Excerpt](), 0
    for excerpt in excerpts_at(track, places, read):
        full = held + len(excerpt.payload) > MAX_MOVIE_BYTES
        if batch and (full or not excerpt.resets_decoder):
            yield from player.unplayed(batch)
            batch, held = [], 0
        batch.append(excerpt)
        held += len(excerpt.payload)
    if batch:
        yield from player.unplayed(batch)


@dataclass(frozen=True, eq=False)
class _Player:
    """Decodes excerpts of one track, and judges what comes out."""

    track: ParsedTrack
    own: Callable[[int, int], np.ndarray]
    read: Callable[[int, int], bytes]
    confirm: Callable[[np.ndarray], None]
    ffmpeg: str
    checkpoint: Callable[[], None]

    def unplayed(self, batch: Sequence[Excerpt]) -> Iterator[Unplayed]:
        """What of a batch does not come out; its excerpts are looked at one by one then."""
        encoded = [self._encoded(excerpt) for excerpt in batch]
        together = self._decoded(batch)
        if together.complete and not together.said:
            return
        for excerpt in batch:
            self.confirm(excerpt.samples)
        if together.complete and not any(map(len, encoded)):
            return
        for excerpt, samples in zip(batch, encoded, strict=True):
            if len(samples):
                self._refuse_incomplete(samples)
            alone = self._longest(excerpt)
            if 2 * alone.frames < alone.wanted:
                raise _undecodable(alone, f"around sample {excerpt.samples[0]}")
            if not alone.complete:
                first, missing = int(excerpt.samples[0]), alone.wanted - alone.frames
                yield Unplayed(first, missing, alone.said or NOTHING_SAID)

    def _decoded(self, batch: Sequence[Excerpt]) -> _Decoded:
        return _decoded(batch, self.ffmpeg, self.checkpoint)

    def _encoded(self, excerpt: Excerpt) -> np.ndarray:
        """The samples of an excerpt that were encoded, from the first that opens a decoder on."""
        samples = excerpt.samples
        begin = int(samples[0])
        ours = ~self.own(begin, int(samples[-1]) + 1)
        encoded: np.ndarray = samples[ours[samples - begin]]
        keys = np.flatnonzero(self.track.sync[encoded])
        return encoded[keys[0] :] if len(keys) else encoded[:0]

    def _refuse_incomplete(self, samples: np.ndarray) -> None:
        """Refuse samples that we encoded unless all of them come out, without a complaint."""
        made = self._decoded([_excerpt(self.track, samples, self.read)])
        if not made.complete or (made.said and self.track.header.kind is TrackKind.VIDEO):
            raise _undecodable(made, f"that were encoded, from sample {samples[0]} on,")

    def _longest(self, excerpt: Excerpt) -> _Decoded:
        """An excerpt as it comes out, decoded from an earlier key frame where that helps: at one of
        an open group of pictures a decoder may leave out some that follow."""
        best = self._decoded([excerpt])
        keys = np.flatnonzero(self.track.sync[: excerpt.samples[0]])[: -EARLIER - 1 : -1]
        for key in keys.tolist():
            if best.complete or excerpt.resets_decoder:
                break
            end = int(excerpt.samples[-1]) + 1
            if end - key > MAX_SAMPLES:
                break
            excerpt = _excerpt(self.track, _shown_from(self.track, key, end), self.read)
            longer = self._decoded([excerpt])
            if longer.wanted - longer.frames < best.wanted - best.frames:
                best = longer
        return best


def _undecodable(decoded: _Decoded, what: str) -> ToolError:
    message = (
        f"only {decoded.frames} of {decoded.wanted} pictures {what} can be decoded: "
        f"{decoded.said or NOTHING_SAID}"
    )
    return ToolError(ErrorCode.VERIFICATION_FAILED, message)


@dataclass(frozen=True)
class _Decoded:
    frames: int  #: that came out
    wanted: int
    said: str  #: ffmpeg's first complaint, "" when there is none

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return self.frames >= self.wanted


def _decoded(
    batch: Sequence[Excerpt], ffmpeg_path: str, checkpoint: Callable[[], None]
) -> _Decoded:
    # Loop filters decode nothing and complain of nothing: they smooth pictures nobody looks at.
    plain = {"skip_loop_filter": "all", "protocol_whitelist": "pipe"}
    source = ffmpeg.input("pipe:0", format="mp4", **plain)
    # Pictures are counted, not looked at: wrapped, they are neither copied nor summed up.
    options = {"c:v": "wrapped_avframe", "fps_mode": "passthrough"}
    output = source.output("pipe:1", format="framecrc", **options)
    argv = output.global_args("-hide_banner", "-nostats", "-loglevel", "error").compile(
        cmd=ffmpeg_path
    )
    movie = [_small_movie(batch), *(excerpt.payload for excerpt in batch)]
    child = FilterProcess(argv, movie, deadline_seconds=DEADLINE_SECONDS, checkpoint=checkpoint)
    with child:
        lines = b"".join(child.output()).splitlines()
        outcome = child.outcome()
    frames = sum(1 for line in lines if line and not line.startswith(b"#"))
    wanted = sum(len(excerpt.samples) for excerpt in batch)
    if batch[0].track.header.kind is TrackKind.AUDIO:
        # Decoders may join or skip frames of sound at a start.
        framed = batch[0].track.header.codec in _ONE_BY_ONE
        wanted = max(1, wanted - SKIPPED * len(batch)) if framed else 1
    said = outcome.stderr.splitlines()[0] if outcome.stderr else ""
    return _Decoded(frames, wanted, said)


def _small_movie(batch: Sequence[Excerpt]) -> bytes:
    """The header of a movie that holds the samples of all excerpts, one after the other."""
    track = batch[0].track
    samples = np.concatenate([excerpt.samples for excerpt in batch])
    sizes = track.sizes[samples]
    counts, deltas = run_lengths(np.maximum(1, _durations(track, batch)))
    times = np.concatenate([track.decode_times(excerpt.samples) for excerpt in batch])
    composition = track.pts[samples] - times
    offset_counts, offsets = run_lengths(composition - composition.min())
    total = int(sizes.sum(dtype=np.int64))
    header = track.header
    movie_track = MovieTrack(
        kind=TrackKind(str(header.kind)),
        timescale=header.timescale,
        sample_entry=header.sample_entry,
        language="und",
        enabled=True,
        width=header.width,
        height=header.height,
        duration=int((counts * deltas).sum()),
        time_counts=counts,
        time_deltas=deltas,
        composition_counts=offset_counts,
        composition_offsets=offsets,
        sync_samples=sync_numbers(track.sync[samples]),
        sizes=sizes,
        chunk_offsets=np.zeros(1, np.int64),
        chunk_samples=np.array([len(samples)]),
        edits=(),
    )
    try:
        return write_header(Movie((movie_track,), header.timescale, None), total)
    except Mp4Error as error:
        message = f"an excerpt cannot be written as a movie: {error}"
        raise ToolError(ErrorCode.VERIFICATION_FAILED, message) from error


def _durations(track: ParsedTrack, batch: Sequence[Excerpt]) -> np.ndarray:
    return np.concatenate(
        [
            np.append(
                np.diff(track.decode_times(excerpt.samples)), track.durations[excerpt.samples[-1]]
            )
            for excerpt in batch
        ]
    )
