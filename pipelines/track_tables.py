"""Merging the samples of one track, run by run, into the tables of the finished movie."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from pipelines.errors import ErrorCode, PermanentError
from pipelines.expected_track import ExpectedTrack
from pipelines.gap import TOLD, GapCause, GapDone, GapReason, Hole
from pipelines.media import TrackKind
from pipelines.mp4.movie import MovieTrack
from pipelines.mp4.movie_header import Edit
from pipelines.mp4.samples import RunLengths, narrowed, sync_numbers
from pipelines.packaged_slice import TrackMade
from pipelines.steady_clock import STEADY, SteadyClock
from pipelines.timeline import GAP_SAMPLES
from pipelines.track_cut import UNEVEN, even_duration, usual_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pipelines.packaged_slice import PackagedTrack
    from pipelines.placed_samples import PlacedSamples
    from pipelines.silent_blocks import SilentBlock

#: A step of the audio clock that is larger than this is reported (seconds).
REPORTED = Fraction(20, 1000)
#: Most ticks that a sample can last (``stts``, ISO/IEC 14496-12, 8.6.1.2).
LONGEST_SAMPLE = (1 << 32) - 1
#: Usual pauses between samples that a hole is longer than: slow screen recordings have none.
SLOW = 5
#: Most frames of silence in one hole (two days of AAC): clocks that are further apart are nonsense.
MOST_SILENT = 1 << 23


@dataclass(frozen=True)
class AudioStep:
    """A place where the sound's clock stepped and counting began anew; times in media seconds."""

    at: float
    by: float


@dataclass(frozen=True)
class Filled:
    """A moment at the start of a period that the track was filled up for, since others went on."""

    at: float  #: media seconds
    seconds: float
    samples: int  #: frames of silence; 0 where the last picture lasts longer
    done: GapDone


class TrackTables:
    """The tables of one track while slices are added; memory grows with runs of equal values.

    Sizes, sync flags and chunk offsets are the exception: 4, 1/8 and about 0.1 bytes a sample.
    Holes in the sound are filled with silence out of the block that ``silence`` gives; in a hole of
    the pictures the last one lasts longer.
    """

    def __init__(
        self, first: PackagedTrack, silence: Callable[[], SilentBlock | None], name: str
    ) -> None:
        self.first = first
        self.kind = first.kind
        self.timescale = first.timescale
        self.expected = ExpectedTrack(first.timescale)
        self.late: GapReason | None = None  #: why it may begin after the others
        self.audio_steps: list[AudioStep] = []
        self.holes: list[Hole] = []
        self.filled: list[Filled] = []  #: what is too short to be told as a hole
        self.edges: list[int] = []  #: numbers of the first samples behind holes
        self.first_dts = 0
        self.first_pts = 0
        self.end_pts = 0
        self.count = 0
        self._name = name
        self._silence = silence
        self._deltas = RunLengths()
        self._composition = RunLengths()
        self._sizes: list[np.ndarray] = []
        self._sync: list[np.ndarray] = []
        self._offsets: list[np.ndarray] = []
        self._counts: list[np.ndarray] = []
        self._clock = SteadyClock(first.timescale)
        self._last_dts = 0
        self._last_duration = 0
        self._limit = 0  # ticks of a longer pause between two samples, which is a hole
        self._held: PlacedSamples | None = None  # silence of a run, until what follows is known

    def append(self, placed: PlacedSamples) -> None:
        """Add the samples of one run."""
        if not len(placed.track.samples):
            return
        self._release(int(placed.track.samples.dts[0]))
        if placed.track.made is TrackMade.SILENCE:
            self._held = self._without_overlap(placed)
        else:
            self._add(placed)

    def settle(self) -> None:
        """Add what is held back, when nothing follows."""
        self._release(None)

    def finish(self, movie_end: Fraction) -> None:
        """Let the track last as long as the movie does; once it is settled."""
        start = Fraction(self.presentation_start, self.timescale)
        if start > TOLD and self.kind is TrackKind.VIDEO:
            reason = self.late or _absent("the pictures begin after the sound")
            self._note(Fraction(0), start, reason, GapDone.REPORTED)
        missing = round(movie_end * self.timescale) - self.end_pts
        if missing <= self._limit:
            return
        reason = _absent(f"the {_WORDS[self.kind]} before the others")
        if self.kind is TrackKind.AUDIO:
            end = self.end
            done = self._fill(self.end_dts + missing)
            self._note(end, movie_end, reason, done)
        elif self._last_duration + missing > LONGEST_SAMPLE:
            self._note(self.end, movie_end, reason, GapDone.REPORTED)
        else:
            self._note(self.end, movie_end, reason, GapDone.HELD)
            self._last_duration += missing
            self.end_pts += missing

    @property
    def end_dts(self) -> int:
        """Media ticks at which the last sample ends, in decode time."""
        return self._last_dts + self._last_duration

    @property
    def end(self) -> Fraction:
        """Media seconds at which the track has been seen or heard to its end."""
        return Fraction(self.end_pts, self.timescale)

    @property
    def presentation_start(self) -> int:
        """Media ticks at which the track is first seen or heard."""
        return max(0, self.first_pts)

    def movie_track(self, movie_timescale: int, *, enabled: bool) -> MovieTrack:
        """The finished tables; the movie starts at media time 0, chunk offsets count from the start
        of slice 0's payload.

        A track in which a picture is shown before it is decoded is decoded earlier as a whole: not
        every player knows negative composition offsets, and nothing else changes.
        """
        durations = RunLengths()
        durations.append_runs(*self._deltas.encoded())
        durations.append(np.array([self._last_duration]))
        counts, deltas = durations.encoded()
        self._refuse_overlong(int(deltas.max()))
        offset_counts, offsets = self._composition.encoded()
        earlier = max(0, -int(offsets.min(initial=0)))
        if earlier:
            offsets = narrowed(offsets.astype(np.int64) + earlier)
        sync = np.concatenate(self._sync)
        return MovieTrack(
            kind=self.kind,
            timescale=self.timescale,
            sample_entry=self.first.sample_entry,
            language=self.first.language,
            enabled=enabled,
            width=self.first.width,
            height=self.first.height,
            duration=self.end_dts - self.first_dts,
            time_counts=counts,
            time_deltas=deltas,
            composition_counts=offset_counts if offsets.any() else None,
            composition_offsets=offsets if offsets.any() else None,
            sync_samples=None if sync.all() else sync_numbers(sync),
            sizes=np.concatenate(self._sizes),
            chunk_offsets=np.concatenate(self._offsets),
            chunk_samples=np.concatenate(self._counts),
            edits=self._edits(movie_timescale, earlier),
            matrix=self.first.matrix,
        )

    def release(self) -> None:
        """Forget what only the movie's track is made of, once that is taken."""
        self._deltas, self._composition = RunLengths(), RunLengths()
        self._sizes, self._sync, self._offsets, self._counts = [], [], [], []

    def _refuse_overlong(self, longest: int) -> None:
        """Refuse a pause of this track alone that no sample can last for: others go on in it."""
        if longest > LONGEST_SAMPLE:
            pause, most = longest / self.timescale, LONGEST_SAMPLE / self.timescale
            message = (
                f"the recording has no {self._name} for {pause:.0f} s while other tracks go on; at"
                f" its {self.timescale} ticks per second an MP4 can bridge {most:.0f} s"
            )
            raise PermanentError(ErrorCode.RECORDING_TOO_LONG, message)

    def _edits(self, movie_timescale: int, earlier: int) -> tuple[Edit, ...]:
        """An empty edit for the track's late start, then all of it from its first picture on,
        which decoding ``earlier`` (ticks) puts off."""
        start = Fraction(self.presentation_start, self.timescale)
        shown = Fraction(self.end_pts - self.presentation_start, self.timescale)
        media_time = self.presentation_start - self.first_dts + earlier
        edits = (Edit(round(shown * movie_timescale), media_time),)
        pause = round(start * movie_timescale)
        return (Edit(pause, -1), *edits) if pause else edits

    def _without_overlap(self, placed: PlacedSamples) -> PlacedSamples:
        """Silence without the frames in whose time the track still sounds."""
        samples = placed.track.samples
        if not self.count:
            return placed
        allowed = int(STEADY * self.timescale)
        begin = int(np.searchsorted(samples.dts, self.end_dts - allowed))
        return placed.cut(begin, len(samples))

    def _release(self, until: int | None) -> None:
        """Add the silence that is held, up to where other samples begin (media ticks)."""
        held, self._held = self._held, None
        if held is None:
            return
        samples = held.track.samples
        last = len(samples)
        if until is not None:
            allowed = int(STEADY * self.timescale)
            ends = samples.dts + usual_duration(held.track)
            last = int(np.searchsorted(ends, until + allowed, side="right"))
        if not last:
            return
        begin = self.end if self.count else Fraction(int(samples.dts[0]), self.timescale)
        self._add(held.cut(0, last))
        detail = f"the source has no {self._name} there"
        self._note(begin, self.end, held.inner or _absent(detail), GapDone.SILENCE)

    def _add(self, placed: PlacedSamples) -> None:
        """Add samples, and silence in holes of the sound."""
        if self.kind is TrackKind.VIDEO:
            self._add_pictures(placed)
        else:
            self._add_sound(placed)
        self._note_repeats(placed)

    def _add_pictures(self, placed: PlacedSamples) -> None:
        usual = usual_duration(placed.track)
        self._limit = round(max(TOLD * self.timescale, Fraction(SLOW * usual)))
        for begin, end, at in self._pauses(placed, usual):
            times = Fraction(begin, self.timescale), Fraction(end, self.timescale)
            self._tell(placed, *times, GapDone.HELD, seam=begin == self.end_pts)
            self.edges.append(self.count + at)
        if self.count:
            placed = self._decoded_later(placed, usual)
        self._put(placed, self._forward(placed.track.samples.dts))

    def _add_sound(self, placed: PlacedSamples) -> None:
        self._limit = round(TOLD * self.timescale)
        steps: dict[int, int] = {}
        dts = placed.track.samples.dts
        if placed.steady:
            dts, steps = self._clock.counted(
                placed.track.samples, starts_period=placed.starts_period
            )
        dts = self._forward(dts)
        begin = 0
        for at in (*self._holes(placed, dts), len(dts)):
            if at > begin:
                self._put(placed.cut(begin, at), dts[begin:at])
            if at < len(dts):
                steps.pop(at, None)
                self._bridge(placed, at, int(dts[at]))
            begin = at
        if placed.track.made is not TrackMade.SILENCE:
            self._note_steps(steps, dts)

    def _forward(self, dts: np.ndarray) -> np.ndarray:
        """Decode times that go forward from the last sample on."""
        if not self.count:
            return dts
        forward: np.ndarray = np.maximum(dts, self._last_dts + 1 + np.arange(len(dts)))
        return forward

    def _decoded_later(self, placed: PlacedSamples, usual: int) -> PlacedSamples:
        """Pictures of an encoder that decodes further ahead than the one before it, whose first ones
        would be decoded while its last ones still are: all come later, until a pause makes up for
        it. When they are shown stays the same.
        """
        samples = placed.track.samples
        behind = self.end_dts - int(samples.dts[0])
        if behind <= usual // 2:
            return placed
        pauses = np.maximum(np.diff(samples.dts, prepend=samples.dts[0] + usual) - usual, 0)
        later = np.maximum(behind - np.cumsum(pauses), 0)
        composition = (samples.composition - later).astype(np.int32)
        moved = replace(samples, dts=samples.dts + later, composition=composition)
        return replace(placed, track=replace(placed.track, samples=moved))

    def _note_repeats(self, placed: PlacedSamples) -> None:
        """Tell, once, of holes in the source that pictures at a constant rate have filled."""
        pts = placed.track.samples.pts
        first, last = (Fraction(int(each), self.timescale) for each in (pts.min(), pts.max()))
        for begin, end in placed.track.repeats:
            at, until = (Fraction(each) + placed.shift for each in (begin, end))
            if first <= at <= last:
                reason = placed.inner or _absent(f"the source has no {self._name} there")
                self._note(at, until, reason, GapDone.HELD)

    def _note_steps(self, steps: Mapping[int, int], dts: np.ndarray) -> None:
        for at, step in steps.items():
            if abs(step) > REPORTED * self.timescale:
                media = int(dts[at]) / self.timescale
                self.audio_steps.append(AudioStep(media, step / self.timescale))

    def _pauses(self, placed: PlacedSamples, usual: int) -> Iterator[tuple[int, int, int]]:
        """Media ticks from when to when pictures are missing, and the number of the one behind. Only
        where none is decoded, either, can that be told: others may be shown there."""
        samples = placed.track.samples
        pts = samples.pts
        first = int(pts.min())
        if self.count and first - self.end_pts > self._longest_pause(placed, placed.hole):
            yield self.end_pts, first, int(np.argmin(pts))
        longest = usual + self._longest_pause(placed, placed.inner)
        dts, before = samples.dts, 0
        if self.count and first < self.end_pts:
            # The picture behind the pause may have been decoded before it, and before these.
            dts, before = np.append(self._last_dts, dts), 1
            pts = np.append(self.end_pts - usual, pts)
        if not (np.diff(dts) > longest).any():
            return
        order = np.argsort(pts, kind="stable")
        for at in np.flatnonzero(np.diff(pts[order]) > longest).tolist():
            begin, end = (int(pts[order[each]]) for each in (at, at + 1))
            yield begin + usual, end, int(order[at + 1]) - before

    def _longest_pause(self, placed: PlacedSamples, reason: GapReason | None) -> int:
        """Ticks beyond which a pause of the pictures is a hole. They may pause, unless they never do
        and there is a ``reason`` why some should be missing."""
        even = even_duration(placed.track) if reason is not None else None
        return self._limit if even is None else min(self._limit, GAP_SAMPLES * even)

    def _holes(self, placed: PlacedSamples, dts: np.ndarray) -> Iterator[int]:
        """Numbers of the frames of sound that come so late that there is a hole before them."""
        usual = usual_duration(placed.track)
        shortest = self._shortest_hole(usual)
        seam = int(dts[0]) - self.end_dts
        if not self.count:
            seam = int(dts[0]) if int(dts[0]) > TOLD * self.timescale else 0
        if seam >= shortest:
            yield 0
        yield from (np.flatnonzero(np.diff(dts) - usual >= shortest) + 1).tolist()

    def _shortest_hole(self, usual: int) -> int:
        """Ticks from which on a pause of the sound is a hole: a frame of it that is not there."""
        if self.first.codec in UNEVEN:
            return self._limit + 1
        return max(usual, int(REPORTED * self.timescale)) - int(STEADY * self.timescale)

    def _bridge(self, placed: PlacedSamples, at: int, until: int) -> None:
        """Fill the hole before frame ``at`` of a run, which begins at tick ``until``."""
        begin = self.end if self.count else Fraction(0)
        before = self.count
        done = self._fill(until)
        if placed.track.made is not TrackMade.SILENCE:  # told as a whole, with what is put before
            end = Fraction(until, self.timescale)
            self._tell(placed, begin, end, done, seam=at == 0, inserted=self.count - before)
        self.edges.append(self.count)

    def _tell(
        self,
        placed: PlacedSamples,
        begin: Fraction,
        end: Fraction,
        done: GapDone,
        *,
        seam: bool,
        inserted: int = 0,
    ) -> None:
        """Tell of a hole from ``begin`` to ``end``, inside a run or (``seam``) before it; at the
        start of a period a short one is none, since others went on before it."""
        if end - begin > TOLD or not (seam and placed.starts_period):
            between = placed.hole if seam else None
            absent = _absent(f"the source has no {self._name} there")
            self._note(begin, end, between or placed.inner or absent, done)
        else:
            self.filled.append(Filled(float(begin), float(end - begin), inserted, done))

    def _fill(self, until: int) -> GapDone:
        """Put silence from the end of the sound to tick ``until``, in whole frames; the last lasts
        until then. At the start of the movie it is what lies before that lasts shorter."""
        block = self._silence()
        if block is None:
            return GapDone.REPORTED
        begin = self.end_dts if self.count else 0
        frame = block.sound.frame_ticks
        allowed = int(STEADY * self.timescale)
        count = int((until - begin + allowed) / frame)
        if not self.count:
            count = int(until / frame)
            begin = until - int(count * frame)
        if not 0 < count <= MOST_SILENT:
            return GapDone.REPORTED
        dts, sizes = block.sound.times(begin, count), block.sound.repeated_sizes(count)
        offsets, counts = block.chunks(count)
        self._extend(dts, np.zeros(count, np.int32), sizes.astype(np.uint32))
        self._sync.append(np.ones(count, np.bool_))
        self._offsets.append(offsets)
        self._counts.append(counts)
        self._last_duration = max(1, int(begin + count * frame) - self._last_dts)
        self.end_pts = max(self.end_pts, self.end_dts)
        self.expected.insert(dts, sizes, self._last_duration)
        return GapDone.SILENCE

    def _put(self, placed: PlacedSamples, dts: np.ndarray) -> None:
        """Add samples without a hole, at these media ticks."""
        track = placed.track
        samples = track.samples
        self._extend(dts, samples.composition, samples.sizes)
        self._sync.append(samples.sync)
        self._offsets.append(track.placement.offsets + placed.payload_offset)
        self._counts.append(track.placement.counts)
        self._last_duration = samples.last_duration
        ends = int((dts + samples.composition).max()) + samples.last_duration
        self.end_pts = max(self.end_pts, ends)
        self.expected.append(track, placed.shift)

    def _extend(self, dts: np.ndarray, composition: np.ndarray, sizes: np.ndarray) -> None:
        if self.count:
            self._deltas.append(np.array([dts[0] - self._last_dts]))
        else:
            self.first_dts = int(dts[0])
            self.first_pts = int((dts + composition).min())
        self._deltas.append(np.diff(dts))
        self._composition.append(composition)
        self._sizes.append(sizes)
        self._last_dts = int(dts[-1])
        self.count += len(dts)

    def _note(self, begin: Fraction, end: Fraction, reason: GapReason, done: GapDone) -> None:
        last = self.holes[-1] if self.holes else None
        if last and last.end == begin and (last.reason.cause, last.done) == (reason.cause, done):
            self.holes[-1] = replace(last, end=end)
        else:
            self.holes.append(Hole(begin, end, reason, done))


_WORDS = {TrackKind.VIDEO: "pictures end", TrackKind.AUDIO: "sound ends"}


def _absent(detail: str) -> GapReason:
    return GapReason(GapCause.TRACK_ABSENT, detail)
