"""Merging the samples of one track, run by run, into the tables of the finished movie."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from pipelines.errors import ErrorCode, PermanentError
from pipelines.media import TrackKind
from pipelines.mp4.movie import MovieTrack
from pipelines.mp4.movie_header import Edit
from pipelines.mp4.sample_entry import configuration_fingerprint
from pipelines.mp4.samples import RunLengths, sync_numbers

if TYPE_CHECKING:
    from pipelines.packaged_slice import PackagedTrack, Placement, Samples

#: Audio keeps counting whole frames while the source's clock stays within this (seconds).
STEADY = Fraction(2, 1000)
#: A step of the audio clock that is larger than this is reported (seconds).
REPORTED = Fraction(20, 1000)
#: A hole in the sound of one period that is longer than this cannot be held (seconds).
SILENCE = Fraction(1, 2)
#: Usual pauses between samples that a hole is longer than: slow screen recordings have none.
SLOW = 5


@dataclass(frozen=True)
class AudioStep:
    """A place where the sound's clock stepped and counting began anew; times in media seconds."""

    at: float
    by: float


@dataclass(frozen=True)
class Hole:
    """Where a track has nothing to show or to sound; times in media seconds."""

    at: float
    duration: float
    cause: str


@dataclass(frozen=True, eq=False)
class PlacedSamples:
    """Samples of one run, ready to be merged: decode times are media ticks of the track."""

    samples: Samples
    placement: Placement
    payload_offset: int  #: where the slice's payload starts in the mdat payload
    steady: bool  #: audio whose times were rounded on the way (MPEG-TS) and are rebuilt
    starts_period: bool
    jumped: bool = False  #: every track goes on later than it ended: a hole, however slow it is
    where: str = "a segment"  #: that the run begins with, for the report


class TrackTables:
    """The tables of one track while slices are added; memory grows with runs of equal values.

    Sizes, sync flags and chunk offsets are the exception: 4, 1/8 and about 0.1 bytes a sample.
    """

    def __init__(self, first: PackagedTrack) -> None:
        self.first = first
        self.kind = first.kind
        self.timescale = first.timescale
        self._fingerprint = configuration_fingerprint(first.sample_entry)
        self._deltas = RunLengths()
        self._composition = RunLengths()
        self._sizes: list[np.ndarray] = []
        self._sync: list[np.ndarray] = []
        self._offsets: list[np.ndarray] = []
        self._counts: list[np.ndarray] = []
        self._next: int | None = None  # where the steady clock of the sound expects a frame
        self._last_dts = 0
        self._last_duration = 0
        self.first_dts = 0
        self.first_pts = 0
        self.end_pts = 0
        self.count = 0
        self.audio_steps: list[AudioStep] = []
        self.holes: list[Hole] = []
        self._limit = 0  # ticks of a longer pause between two samples, which is a hole

    def refuse_other(self, track: PackagedTrack, where: str) -> None:
        """Refuse a track whose sample description, or rotation, is not the movie's one.

        Raises ``PermanentError`` (``configuration_changed``): Chromium and Apple's players stop
        at a second sample description, so there is one per track, always.
        """
        same = configuration_fingerprint(track.sample_entry) == self._fingerprint
        if same and (track.timescale, track.matrix) == (self.timescale, self.first.matrix):
            return
        message = f"the {self.kind} configuration changes at {where}"
        raise PermanentError(ErrorCode.CONFIGURATION_CHANGED, message)

    def append(self, placed: PlacedSamples) -> None:
        """Add the samples of one run; raises ``gap_refused`` for a hole in the sound."""
        samples = placed.samples
        if not len(samples):
            return
        dts = (
            self._steady(placed) if placed.steady and self.kind is TrackKind.AUDIO else samples.dts
        )
        deltas = np.diff(dts)
        usual = int(np.median(deltas)) if len(deltas) else samples.last_duration
        self._limit = round(max(SILENCE * self.timescale, Fraction(SLOW * usual)))
        if self.count:
            dts = np.maximum(dts, self._last_dts + 1 + np.arange(len(dts)))
            self._refuse_silence(int(dts[0]), placed.starts_period)
            self._deltas.append(np.array([dts[0] - self._last_dts]))
            self._note_seam(placed, int(dts[0]))
        else:
            self.first_dts = int(dts[0])
            self.first_pts = int((dts + samples.composition).min())
        deltas = np.diff(dts)
        self._refuse_holes(dts, deltas)
        self._note_holes(dts + samples.composition, deltas, usual)
        self._deltas.append(deltas)
        self._composition.append(samples.composition)
        self._sizes.append(samples.sizes)
        self._sync.append(samples.sync)
        self._offsets.append(placed.placement.offsets + placed.payload_offset)
        self._counts.append(placed.placement.counts)
        self._last_dts, self._last_duration = int(dts[-1]), samples.last_duration
        ends = int((dts + samples.composition).max()) + samples.last_duration
        self.end_pts = max(self.end_pts, ends)
        self.count += len(samples)

    @property
    def end_dts(self) -> int:
        """Media ticks at which the last sample ends, in decode time."""
        return self._last_dts + self._last_duration

    def movie_track(self, movie_timescale: int, *, enabled: bool) -> MovieTrack:
        """The finished tables; the movie starts at media time 0.

        A track in which a picture is shown before it is decoded is decoded earlier as a whole: not
        every player knows negative composition offsets, and nothing else changes.
        """
        durations = RunLengths()
        durations.append_runs(*self._deltas.encoded())
        durations.append(np.array([self._last_duration]))
        counts, deltas = durations.encoded()
        offset_counts, offsets = self._composition.encoded()
        earlier = max(0, -int(offsets.min(initial=0)))
        offsets = offsets + earlier
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

    @property
    def presentation_start(self) -> int:
        """Media ticks at which the track is first seen or heard."""
        return max(0, self.first_pts)

    def _edits(self, movie_timescale: int, earlier: int) -> tuple[Edit, ...]:
        """An empty edit for the track's late start, then all of it from its first picture on,
        which decoding ``earlier`` (ticks) puts off."""
        start = Fraction(self.presentation_start, self.timescale)
        shown = Fraction(self.end_pts - self.presentation_start, self.timescale)
        media_time = self.presentation_start - self.first_dts + earlier
        edits = (Edit(round(shown * movie_timescale), media_time),)
        pause = round(start * movie_timescale)
        return (Edit(pause, -1), *edits) if pause else edits

    def _steady(self, placed: PlacedSamples) -> np.ndarray:
        """Decode times rebuilt as whole frames from an anchor, t = anchor + n · frame.

        MPEG-TS rounds them to 90 kHz and each run to the sample rate again; counting makes the
        result independent of slicing, and ``stts`` a single run. Where the clock of the source
        leaves the count by more than ``STEADY``, a new anchor is taken.
        """
        dts = placed.samples.dts.copy()
        frame = placed.samples.last_duration
        tolerance = int(STEADY * self.timescale)
        at = 0
        if self._next is None or placed.starts_period:
            self._next = int(dts[0])
        while at < len(dts):
            count = self._next + frame * np.arange(len(dts) - at)
            off = np.flatnonzero(np.abs(dts[at:] - count) > tolerance)
            kept = int(off[0]) if len(off) else len(dts) - at
            step = int(dts[at + kept] - count[kept]) if len(off) else 0
            dts[at : at + kept] = count[:kept]
            at += kept
            if len(off):
                self._next = int(dts[at])
                if abs(step) > REPORTED * self.timescale:
                    self.audio_steps.append(
                        AudioStep(int(dts[at]) / self.timescale, step / self.timescale)
                    )
        self._next = int(dts[-1]) + frame
        return dts

    @property
    def end(self) -> Fraction:
        """Media seconds at which the track has been seen or heard to its end."""
        return Fraction(self.end_pts, self.timescale)

    def outer_holes(self, movie_end: Fraction) -> list[Hole]:
        """What the track lacks at the start and at the end of a movie that ends there."""
        start = Fraction(self.presentation_start, self.timescale)
        limit = Fraction(self._limit, self.timescale)
        found = []
        if start > limit:
            found.append(Hole(0.0, float(start), f"the {self.kind} begins after the others"))
        if movie_end - self.end > limit:
            missing = float(movie_end - self.end)
            found.append(Hole(float(self.end), missing, f"the {self.kind} ends before the others"))
        return found

    def _note_seam(self, placed: PlacedSamples, first: int) -> None:
        """Note a hole between the track's last sample and the first of a run."""
        limit = SILENCE * self.timescale if placed.jumped else self._limit
        missing = first - self.end_dts
        if missing <= limit:
            return
        cause = f"the {self.kind} goes on late at {placed.where}"
        if placed.jumped:
            cause = f"the clock jumps forward before {placed.where}"
        self._note(self.end_pts, missing, cause)

    def _note_holes(self, pts: np.ndarray, deltas: np.ndarray, usual: int) -> None:
        """Note the holes inside a run: pauses far longer than its usual ones."""
        for at in np.flatnonzero(deltas - usual > self._limit).tolist():
            cause = f"no {self.kind} in the source"
            self._note(int(pts[at]) + usual, int(deltas[at]) - usual, cause)

    def _note(self, at: int, missing: int, cause: str) -> None:
        self.holes.append(Hole(at / self.timescale, missing / self.timescale, cause))

    def _refuse_silence(self, first: int, starts_period: bool) -> None:
        if starts_period or self.kind is not TrackKind.AUDIO:
            return
        self._refuse_hole(self._last_dts + self._last_duration, first)

    def _refuse_holes(self, dts: np.ndarray, deltas: np.ndarray) -> None:
        if self.kind is not TrackKind.AUDIO or not len(deltas):
            return
        widest = int(np.argmax(deltas))
        self._refuse_hole(int(dts[widest]), int(dts[widest + 1]))

    def _refuse_hole(self, end: int, start: int) -> None:
        hole = Fraction(start - end, self.timescale)
        if hole <= SILENCE:
            return
        at = float(Fraction(end, self.timescale))
        message = f"the sound has a hole of {float(hole):.3f} s at {at:.3f} s of the recording"
        raise PermanentError(ErrorCode.GAP_REFUSED, message)
