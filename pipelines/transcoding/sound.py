"""Sound that browsers do not play, encoded as AAC: once over all slices, handed out slice by slice."""

from __future__ import annotations

import contextlib
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import ffmpeg
import numpy as np

from pipelines.copied_runs import is_fragmented
from pipelines.errors import AccountError, ErrorCode, ToolError
from pipelines.ffmpeg_movie import read_movie
from pipelines.last_resort import spare_the_rest
from pipelines.media import Codec
from pipelines.mp4.boxes import Mp4Error
from pipelines.mp4.fragments import FragmentReader, Header
from pipelines.package import Packaged
from pipelines.packaged_slice import PackagedRun, PackagedSlice, PackagedTrack, TrackMade
from pipelines.process import DeadlinePassed, FilterProcess
from pipelines.remux import QUIET, fragmented_mp4_options, input_options
from pipelines.sample_proof import compare_listed
from pipelines.segment_index import TS_TIMESCALE, TS_WRAP, Container
from pipelines.sound_samples import SoundSamples, made_track
from pipelines.transcoding.sound_stretch import SoundStretch
from pipelines.transcoding.sound_walk import SoundWalk
from pipelines.transcoding.transcode_memory import SOUND_ENCODING_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pipelines.mp4.movie_fragment import Fragment, TrackFragment
    from pipelines.mp4.movie_header import MovieHeader, TrackHeader
    from pipelines.package import Packager
    from pipelines.segment_index import TrackIndex
    from pipelines.slices import Slice
    from pipelines.transcoding.sound_stretch import OwnedRun

#: Samples of one frame of AAC-LC (ISO/IEC 14496-3, 4.5.1.1), and ticks that it lasts.
FRAME = 1024
#: bit/s for each channel: 64 kbit/s mono, 128 stereo, 384 for 5.1.
CHANNEL_BIT_RATE = 64_000
#: How ffmpeg keeps the samples to the source's clock: their number is the only time that AAC has.
#: Beyond half a millisecond (``min_comp``) it stretches or squeezes them within the next half
#: second, by 1000 samples/s at most; beyond 10 ms it puts in silence, or takes samples out.
#: ``flags=res`` keeps the resampler running: set up only when it is needed, it delays what follows.
KEEPS_CLOCK = "aresample=async=1000:min_comp=0.0005:min_hard_comp=0.01:comp_duration=0.5:flags=res"
#: Seconds by which the first frame's time, as ffmpeg has it, may differ from the index's.
START_TOLERANCE = 0.002
#: Seconds by which a later frame's may differ from the count: a step on its way to be made up for.
STEP_TOLERANCE = 0.015
#: Seconds that one ffmpeg may take for a stretch, which lasts six hours and takes minutes.
DEADLINE_SECONDS = 3600.0 * 2


def encode_sound(
    slices: Sequence[Slice],
    packager: Packager,
    staged: Callable[[Packaged], None],
    checkpoint: Callable[[], None],
) -> None:
    """Encode the sound of a variant that browsers do not play as AAC-LC, once over all ``slices``.

    ``slices`` are all slices of the variant, in order; ``staged`` is called once for each, in
    order, as soon as its sound is complete, and again for all of them should segments be given up
    that ffmpeg fails over, as by ``spare_the_rest``. A slice's result may be relied on to be thus:

    - ``tables.runs`` are those that ``package_slice`` makes of its MPEG-TS, one for one: the same
      number, ``first_sequence``, ``tagged`` and clock (should another lead-in make a run count in
      another round of the 33-bit clock: whole rounds of 2^33 / 90000 s away). A run without such
      sound has no tracks; nor has one too short for a frame to begin in it.
    - A track is named by its PID; its codec is AAC, its timescale the sample rate, which like the
      channels is the source's. All frames are sync samples of 1024 ticks, without composition.
    - Encoding goes on over seams of slices: the frames of a track lie on one grid, ``first unit +
      n · 1024``, from a period's start to its end. A run owns the frames that begin from its
      first unit's time on, up to that of the next run's first unit. (Exceptions: after six hours, or
      when another track of sound begins or ends, the grid begins anew with a slice or a run.)
    - The first packet of an encoder, which primes a decoder before the sound begins, is left out,
      so that times are exact. Holes are silence; a clock that drifts away from the sample rate is
      followed within a millisecond.
    - ``staged`` is the whole payload, ``parts`` is empty. Groups of ``placement`` hold about a
      second, hashed; those of one track of one run follow each other.
    - ``expected`` are the times of the grid and the sizes of the frames.
    - ``tables.losses`` are the segments that were given up: see ``without_silenced``.

    Runs of fragmented MP4 are left out: browsers play whatever sound it can hold.

    ``checkpoint`` is called often, from two threads, and raises to cancel. Raises
    ``PermanentError`` as ``package_slice`` does; ``ToolError`` when ffmpeg fails, or what it made
    does not last as long as the source's units to a frame (``verification_failed``).
    """
    with packager.memory.admitted(SOUND_ENCODING_BYTES, checkpoint):
        try:
            _encode_all(slices, packager, staged, checkpoint)
        except (DeadlinePassed, AccountError):
            raise
        except ToolError:
            spared = _spared(slices, packager, checkpoint)
            if spared == tuple(slices):
                raise
        else:
            return
        _encode_all(spared, packager, staged, checkpoint)


def _spared(
    slices: Sequence[Slice], packager: Packager, checkpoint: Callable[[], None]
) -> tuple[Slice, ...]:
    """The slices with segments given up over which the encoder fails, each slice tried alone."""

    def tried(work: Slice) -> Slice:
        _encode_all((work,), packager, lambda _: None, checkpoint)
        return work

    return tuple(spare_the_rest(work, tried, tried) for work in slices)


def _encode_all(
    slices: Sequence[Slice],
    packager: Packager,
    staged: Callable[[Packaged], None],
    checkpoint: Callable[[], None],
) -> None:
    with contextlib.closing(SoundWalk(slices, packager, checkpoint)) as walk:
        hand_out = _HandOut(slices, walk, staged)
        while walk.peek() is not None:
            stretch = SoundStretch(walk, packager.max_hole)
            if stretch.tracks:
                _encode(stretch, packager.ffmpeg, hand_out, checkpoint)
            else:
                hand_out.add(stretch.skip(), ())
        hand_out.close()


def sound_argv(ffmpeg_path: str, tracks: Mapping[int, TrackIndex]) -> list[str]:
    """The argv that encodes these tracks (by PID) of MPEG-TS on stdin to fragmented MP4 on stdout.

    A sample rate that AAC lacks becomes the nearest that it has: ffmpeg's own choice.
    """
    source = ffmpeg.input("pipe:0", **input_options(Container.MPEGTS, 0))
    rates = {
        f"b:a:{ordinal}": _channels(track) * CHANNEL_BIT_RATE
        for ordinal, track in enumerate(tracks.values())
    }
    options = {"c:a": "aac", **rates, "af": KEEPS_CLOCK, **fragmented_mp4_options()}
    streams = [source[f"i:{number}"] for number in tracks]
    command = ffmpeg.output(*streams, "pipe:1", **options).global_args(*QUIET)
    argv: list[str] = command.compile(cmd=ffmpeg_path)
    return argv


def _channels(track: TrackIndex) -> int:
    return (track.configuration and track.configuration.fact("channels")) or 2


def _encode(
    stretch: SoundStretch, ffmpeg_path: str, hand_out: _HandOut, checkpoint: Callable[[], None]
) -> None:
    child = FilterProcess(
        sound_argv(ffmpeg_path, stretch.tracks),
        stretch,
        deadline_seconds=DEADLINE_SECONDS,
        checkpoint=checkpoint,
    )
    with child:
        read_movie(child, _EncodedStretch(stretch, hand_out))


class _EncodedTrack:
    """The frames of one track: those that no run has been given yet are held."""

    def __init__(self, number: int, header: TrackHeader) -> None:
        self.number = number
        self.header = header
        self.count = 0  #: frames so far, the priming one left out
        self._origin: int | None = None  # ffmpeg's time of the first frame
        self._given = 0
        self._sizes = np.zeros(0, np.int64)
        self._payload = bytearray()

    def ticks(self, time: int) -> int:
        """A time in ticks of 90 kHz in ticks of the track."""
        return round(time * self.header.timescale / TS_TIMESCALE)

    def add(self, fragment: TrackFragment, payload: memoryview, anchor: int) -> None:
        """Take the frames of one fragment; ``anchor`` is the time of the first, in track ticks."""
        if fragment.base_decode_time is None:
            raise Mp4Error(f"track {fragment.track_id} of a fragment has no decode time")
        times = fragment.base_decode_time + fragment.decode_offsets
        data = b"".join(payload[run.offset : run.offset + run.size] for run in fragment.runs)
        sizes = fragment.sizes.astype(np.int64)
        if self._origin is None and len(times):
            self._origin = self._checked_origin(int(times[0]) + FRAME, anchor)
            times, data, sizes = times[1:], data[int(sizes[0]) :], sizes[1:]
        if self._origin is not None and len(times):
            self._check_times(times - self._origin)
        self._sizes = np.concatenate((self._sizes, sizes))
        self._payload += data
        self.count += len(sizes)

    def frames_before(self, time: int, anchor: int) -> int:
        """How many frames begin before a time, in track ticks."""
        return max(0, -((anchor - time) // FRAME))

    def give(self, end: int) -> tuple[int, np.ndarray, bytes]:
        """The frames held up to number ``end``: number of the first, sizes int64[n], payload."""
        first = self._given
        sizes, self._sizes = np.split(self._sizes, [max(0, end - first)])
        payload = bytes(self._payload[: int(sizes.sum())])
        del self._payload[: len(payload)]
        self._given += len(sizes)
        return first, sizes, payload

    def check_end(self, source: int) -> None:
        """Refuse sound that does not last ``source`` ticks of 90 kHz, to a frame."""
        scale = self.header.timescale
        off = self.count * FRAME - self.ticks(source)
        if abs(off) > FRAME + START_TOLERANCE * scale:
            seconds = self.count * FRAME / scale
            what = f"{source / TS_TIMESCALE:.3f} s of sound became {seconds:.3f} s"
            raise self._differs(what)

    def _checked_origin(self, origin: int, anchor: int) -> int:
        """ffmpeg's time of the first frame; refused unless it is the index's, in any round of the
        clock."""
        scale = self.header.timescale
        off = (origin - anchor) / scale
        off -= TS_WRAP / TS_TIMESCALE * round(off * TS_TIMESCALE / TS_WRAP)
        if abs(off) > START_TOLERANCE:
            raise self._differs(
                f"the encoded sound begins {off * 1000:.3f} ms away from its source"
            )
        return origin

    def _check_times(self, times: np.ndarray) -> None:
        """Refuse frames that the count puts elsewhere than ffmpeg does, which follows the source."""
        counted = FRAME * (self.count + np.arange(len(times), dtype=np.int64))
        off = float(np.abs(times - counted).max()) / self.header.timescale
        if off > STEP_TOLERANCE:
            raise self._differs(f"encoded sound lies {off * 1000:.3f} ms away from its source")

    def _differs(self, what: str) -> ToolError:
        return ToolError(ErrorCode.VERIFICATION_FAILED, f"PID {self.number:#x}: {what}")


class _EncodedStretch:
    """Reads what the encoder makes of a stretch, and cuts it into the runs that own it."""

    def __init__(self, stretch: SoundStretch, hand_out: _HandOut) -> None:
        self._stretch = stretch
        self._hand_out = hand_out
        self._reader = FragmentReader()
        self._tracks: dict[int, _EncodedTrack] = {}  # by track_ID
        self._finished = 0  # runs

    def take(self, piece: bytes) -> None:
        """Take output of ffmpeg; hand out every run of which all is there."""
        for event in self._reader.feed(piece):
            if isinstance(event, Header):
                self._open(event.movie)
            else:
                self._add(event)
        while self._finished + 1 < len(self._stretch.runs):
            following = self._stretch.runs[self._finished + 1]
            ends = {n: self._end(track, following) for n, track in self._tracks.items()}
            if not ends or any(self._tracks[n].count < end for n, end in ends.items()):
                return
            self._finish(ends)

    def close(self) -> None:
        """Hand out the rest when nothing follows; ``ToolError`` unless it is all that is due."""
        self._reader.close()
        if not self._tracks:
            raise ToolError(ErrorCode.FFMPEG_FAILED, "ffmpeg wrote no movie header")
        for track in self._tracks.values():
            if track.number in self._stretch.begins:
                begin = self._stretch.begins[track.number]
                track.check_end(self._stretch.ends[track.number] - begin)
        runs = self._stretch.runs
        for following in runs[self._finished + 1 :]:
            self._finish({n: self._end(track, following) for n, track in self._tracks.items()})
        self._finish({n: track.count for n, track in self._tracks.items()})

    def _open(self, movie: MovieHeader) -> None:
        numbers = self._stretch.tracks
        if len(movie.tracks) != len(numbers):
            raise ToolError(ErrorCode.FFMPEG_FAILED, "ffmpeg wrote another number of tracks")
        self._tracks = {
            header.track_id: _EncodedTrack(number, header)
            for number, header in zip(numbers, movie.tracks, strict=True)
        }

    def _add(self, fragment: Fragment) -> None:
        for each in fragment.tracks:
            track = self._tracks[each.track_id]
            track.add(each, fragment.payload, self._anchor(track))

    def _anchor(self, track: _EncodedTrack) -> int:
        """The time of the track's first frame on the stretch's clock, in track ticks."""
        if track.number not in self._stretch.begins:
            message = f"PID {track.number:#x}: ffmpeg made sound where the index saw none"
            raise ToolError(ErrorCode.VERIFICATION_FAILED, message)
        return track.ticks(self._stretch.begins[track.number])

    def _end(self, track: _EncodedTrack, following: OwnedRun) -> int:
        """The number of the first frame that the run ``following`` owns."""
        begin = track.ticks(following.begins[track.number])
        return track.frames_before(begin, self._anchor(track))

    def _finish(self, ends: Mapping[int, int]) -> None:
        owned = self._stretch.runs[self._finished]
        self._finished += 1
        cuts = [
            _Cut(track, track.ticks(owned.clock or 0) + self._anchor(track), *track.give(ends[n]))
            for n, track in self._tracks.items()
            if track.number in self._stretch.begins
        ]
        self._hand_out.add(owned, [cut for cut in cuts if len(cut.sizes)])


@dataclass(frozen=True, eq=False)
class _Cut:
    """Frames of one track that a run owns."""

    track: _EncodedTrack
    anchor: int  #: track ticks of the run's clock, of frame 0
    first: int  #: number of the first frame
    sizes: np.ndarray  #: int64[n], bytes
    payload: bytes


class _HandOut:
    """Collects runs into slices, and hands out each slice when a run of a later one comes."""

    def __init__(
        self, slices: Sequence[Slice], walk: SoundWalk, staged: Callable[[Packaged], None]
    ) -> None:
        self._waiting = deque(slices)
        self._walk = walk
        self._staged = staged
        self._runs: list[tuple[OwnedRun, PackagedRun]] = []
        self._payload = bytearray()

    def add(self, owned: OwnedRun, cuts: Sequence[_Cut]) -> None:
        """Add the next run and what it owns."""
        while self._waiting[0] is not owned.run.work:
            self._hand_out()
        first = owned.run.first
        packaged = PackagedRun(
            container=Container.MPEGTS,
            tagged=first.segment.discontinuity,
            starts_clean=all(track.starts_clean for track in first.index.tracks),
            first_sequence=first.segment.sequence,
            piece=first.piece,
            tracks=tuple(self._track(cut) for cut in cuts),
            sequences=tuple(owned.run.feed.sequences),
            begins=owned.run.feed.begins.all,
        )
        self._runs.append((owned, packaged))

    def close(self) -> None:
        """Hand out what is left."""
        while self._waiting:
            self._hand_out()

    def _hand_out(self) -> None:
        """Hand out the next slice; one that is lost as a whole has no runs."""
        work, payload = self._waiting.popleft(), bytes(self._payload)
        listed = [each for each in work.segments if not is_fragmented(each)]
        runs = [packaged for _, packaged in self._runs]
        losses, repairs = self._walk.told(work)
        compare_listed(listed, runs, losses, repairs)
        given_up = {segment.sequence for segment in work.segments if segment.given_up}
        tables = PackagedSlice(
            number=work.number,
            identity=work.identity,
            runs=tuple(packaged for _, packaged in self._runs),
            payload_bytes=len(payload),
            staged_bytes=len(payload),
            parts=(),
            source_bytes=next((owned.run.source_bytes for owned, _ in self._runs), 0),
            source_segments=len(work.segments),
            listed_seconds=work.duration,
            losses=tuple(loss for loss in losses if loss.sequence in given_up),
        )
        self._runs, self._payload = [], bytearray()
        self._staged(Packaged(tables, payload))

    def _track(self, cut: _Cut) -> PackagedTrack:
        header, count = cut.track.header, len(cut.sizes)
        times = cut.anchor + FRAME * (cut.first + np.arange(count, dtype=np.int64))
        frames = SoundSamples(
            header.timescale, header.sample_entry, times, cut.sizes, FRAME, cut.payload
        )
        offset = len(self._payload)
        self._payload += cut.payload
        number, made = cut.track.number, TrackMade.ENCODED
        return made_track(frames, number, Codec.AAC, header.language, made, offset)
