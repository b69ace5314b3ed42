"""Merging the samples of one track, run by run, into the tables of the finished movie."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from pipelines.errors import ErrorCode, PermanentError
from pipelines.expected_track import ExpectedTrack
from pipelines.gap import TOLD, GapDone, GapReason
from pipelines.media import TrackKind
from pipelines.mp4.movie import MovieTrack
from pipelines.mp4.movie_header import Edit
from pipelines.packaged_slice import Samples, TrackMade
from pipelines.picture_pauses import LastPicture, decoded_later, missing_pictures
from pipelines.sample_columns import SampleColumns
from pipelines.steady_clock import STEADY, SteadyClock
from pipelines.track_cut import UNEVEN, usual_duration
from pipelines.track_holes import TrackHoles, track_absent

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

_WORDS = {TrackKind.VIDEO: "pictures end", TrackKind.AUDIO: "sound ends"}


@dataclass(frozen=True)
class AudioStep:
    """A place where the sound's clock stepped and counting began anew; times in media seconds."""

    at: float
    by: float


class TrackTables:
    """The tables of one track while slices are added; memory grows as that of its columns does.

    Holes in the sound are filled with silence out of the block that ``silence`` gives; in a hole of
    the pictures the last one lasts longer.
    """

    def __init__(
        self, first: PackagedTrack, silence: Callable[[], SilentBlock | None], name: str
    ) -> None:
        self.first = first
        self.kind = first.kind
        self.timescale = first.timescale
        self.columns = SampleColumns(first.codec, first.timescale)
        self.expected = ExpectedTrack(first.timescale)
        self.late: GapReason | None = None  #: why it may begin after the others
        self.audio_steps: list[AudioStep] = []
        self.holes = TrackHoles(name)
        self.edges: list[int] = []  #: numbers of the first samples behind holes
        self._name = name
        self._silence = silence
        self._clock = SteadyClock(first.timescale)
        self._limit = 0  # ticks of a longer pause between two samples, which is a hole
        self._held: PlacedSamples | None = None  # silence of a run, until what follows is known
        self._unfilled = Fraction(0)  # ticks of holes beside their frames of silence, all together

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
        start = Fraction(self.columns.start, self.timescale)
        if start > TOLD and self.kind is TrackKind.VIDEO:
            reason = self.late or track_absent("the pictures begin after the sound")
            self.holes.note(Fraction(0), start, reason, GapDone.REPORTED)
        missing = round(movie_end * self.timescale) - self.columns.end_pts
        if missing > self._limit:
            end = self.end
            reason = track_absent(f"the {_WORDS[self.kind]} before the others")
            self.holes.note(end, movie_end, reason, self._last_until_end(missing))

    def _last_until_end(self, missing: int) -> GapDone:
        """Fill up the ``missing`` ticks up to the end of the movie."""
        if self.kind is TrackKind.AUDIO:
            return self._fill(self.columns.end_dts + missing)
        if self.columns.last_duration + missing > LONGEST_SAMPLE:
            return GapDone.REPORTED
        self.columns.hold_last(missing)
        return GapDone.HELD

    @property
    def count(self) -> int:
        """How many samples it has."""
        return self.columns.count

    @property
    def end(self) -> Fraction:
        """Media seconds at which the track has been seen or heard to its end."""
        return Fraction(self.columns.end_pts, self.timescale)

    def movie_track(self, movie_timescale: int, *, enabled: bool) -> MovieTrack:
        """The finished tables; the movie starts at media time 0, chunk offsets count from the start
        of slice 0's payload.

        A track in which a picture is shown before it is decoded is decoded earlier as a whole: not
        every player knows negative composition offsets, and nothing else changes.
        """
        counts, deltas = self.columns.durations()
        self._refuse_overlong(int(deltas.max()))
        offset_counts, offsets, earlier = self.columns.composition()
        chunk_offsets, chunk_samples = self.columns.chunks()
        return MovieTrack(
            kind=self.kind,
            timescale=self.timescale,
            sample_entry=self.first.sample_entry,
            language=self.first.language,
            enabled=enabled,
            width=self.first.width,
            height=self.first.height,
            duration=self.columns.end_dts - self.columns.first_dts,
            time_counts=counts,
            time_deltas=deltas,
            composition_counts=offset_counts if offsets.any() else None,
            composition_offsets=offsets if offsets.any() else None,
            sync_samples=self.columns.sync_samples(),
            sizes=self.columns.sizes(),
            chunk_offsets=chunk_offsets,
            chunk_samples=chunk_samples,
            edits=self._edits(movie_timescale, earlier),
            matrix=self.first.matrix,
        )

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
        columns = self.columns
        shown = Fraction(columns.end_pts - columns.start, self.timescale)
        media_time = columns.start - columns.first_dts + earlier
        edits = (Edit(round(shown * movie_timescale), media_time),)
        pause = round(Fraction(columns.start, self.timescale) * movie_timescale)
        return (Edit(pause, -1), *edits) if pause else edits

    def _without_overlap(self, placed: PlacedSamples) -> PlacedSamples:
        """Silence without the frames in whose time the track still sounds."""
        samples = placed.track.samples
        if not self.count:
            return placed
        allowed = int(STEADY * self.timescale)
        begin = int(np.searchsorted(samples.dts, self.columns.end_dts - allowed))
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
        self.holes.note_inside(held, begin, self.end, GapDone.SILENCE)

    def _add(self, placed: PlacedSamples) -> None:
        """Add samples, and silence in holes of the sound."""
        if self.kind is TrackKind.VIDEO:
            self._add_pictures(placed)
        else:
            self._add_sound(placed)
        self._note_repeats(placed)

    def _add_pictures(self, placed: PlacedSamples) -> None:
        columns, usual = self.columns, usual_duration(placed.track)
        pauses = TOLD, Fraction(SLOW * usual, self.timescale), Fraction(placed.track.pause)
        self._limit = round(max(pauses) * self.timescale)
        before = LastPicture(columns.last_dts, columns.end_pts) if self.count else None
        for pause in missing_pictures(placed, before, self._limit):
            begin, end = (Fraction(each, self.timescale) for each in (pause.begin, pause.end))
            seam = pause.begin == columns.end_pts
            self.holes.note_missing(placed, begin, end, GapDone.HELD, seam=seam)
            self.edges.append(self.count + pause.behind)
        if self.count:
            placed = decoded_later(placed, columns.end_dts)
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
        forward: np.ndarray = np.maximum(dts, self.columns.last_dts + 1 + np.arange(len(dts)))
        return forward

    def _note_repeats(self, placed: PlacedSamples) -> None:
        """Tell, once, of holes in the source that pictures at a constant rate have filled."""
        pts = placed.track.samples.pts
        first, last = (Fraction(int(each), self.timescale) for each in (pts.min(), pts.max()))
        for begin, end in placed.track.repeats:
            at, until = (Fraction(each) + placed.shift for each in (begin, end))
            if first <= at <= last:
                self.holes.note_inside(placed, at, until, GapDone.HELD)

    def _note_steps(self, steps: Mapping[int, int], dts: np.ndarray) -> None:
        for at, step in steps.items():
            if abs(step) > REPORTED * self.timescale:
                media = int(dts[at]) / self.timescale
                self.audio_steps.append(AudioStep(media, step / self.timescale))

    def _holes(self, placed: PlacedSamples, dts: np.ndarray) -> Iterator[int]:
        """Numbers of the frames of sound that come so late that there is a hole before them."""
        usual = usual_duration(placed.track)
        shortest = self._shortest_hole(usual)
        seam = int(dts[0]) - self.columns.end_dts
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
        begin, before = self.end if self.count else Fraction(0), self.count
        done = self._fill(until)
        if placed.track.made is not TrackMade.SILENCE:  # told as a whole, with what is put before
            end, inserted = Fraction(until, self.timescale), self.count - before
            self.holes.note_missing(placed, begin, end, done, seam=at == 0, inserted=inserted)
        self.edges.append(self.count)

    def _fill(self, until: int) -> GapDone:
        """Put silence from the end of the sound to tick ``until``, in whole frames; the last lasts
        until then. At the start of the movie it is what lies before that lasts shorter."""
        block = self._silence()
        if block is None:
            return GapDone.REPORTED
        begin = self.columns.end_dts if self.count else 0
        frame = block.sound.frame_ticks
        if self.count:
            count = self._frames(until - begin, frame)
        else:
            count = int(until / frame)
            begin = until - int(count * frame)
        if not 0 < count <= MOST_SILENT:
            return GapDone.REPORTED
        dts, sizes = block.sound.times(begin, count), block.sound.repeated_sizes(count)
        lasts = min(int(begin + count * frame), until) - int(dts[-1])
        composition, sync = np.zeros(count, np.int32), np.ones(count, np.bool_)
        silence = Samples(dts, composition, sizes.astype(np.uint32), sync, lasts)
        self.columns.append(silence, *block.chunks(count))
        self.expected.insert(dts, sizes, lasts)
        return GapDone.SILENCE

    def _frames(self, hole: int, frame: Fraction) -> int:
        """How many frames of silence fill a hole of so many ticks; at least one.

        Some players play sound frame by frame, whatever ``stts`` says: what this hole has too many
        or too few of them for is made up for in the next, so that they stay in sync."""
        most = math.ceil(hole / frame)  # of which each begins before the hole ends
        count = max(1, min(most, round((hole + self._unfilled) / frame)))
        self._unfilled += hole - count * frame
        return count

    def _put(self, placed: PlacedSamples, dts: np.ndarray) -> None:
        """Add samples without a hole, at these media ticks."""
        track = placed.track
        offsets = track.placement.offsets + placed.payload_offset
        self.columns.append(replace(track.samples, dts=dts), offsets, track.placement.counts)
        self.expected.append(track, placed.shift)
