"""Merging packaged slices into one movie: every track on one timeline, and what the proof expects."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from pipelines.errors import ErrorCode, PermanentError, ToolError
from pipelines.media import TrackKind
from pipelines.mp4.movie import Movie
from pipelines.mp4.samples import starts
from pipelines.packaged_slice import Expectation, PackagedTrack, Placement, Samples
from pipelines.segment_index import NO_TIME, UNKNOWN_SIZE, Container
from pipelines.timeline import PlacedRun, Relation, Span, Timeline
from pipelines.track_names import TrackNames
from pipelines.track_tables import PlacedSamples, TrackTables

if TYPE_CHECKING:
    from datetime import datetime

    from pipelines.packaged_slice import PackagedRun, PackagedSlice

#: Ticks per second of the movie: edit lists are exact to 11 µs.
MOVIE_TIMESCALE = 90_000
#: What a viewer has where a track has a hole.
INSTEAD = {TrackKind.VIDEO: "the last picture is held", TrackKind.AUDIO: "nothing is heard"}


@dataclass(frozen=True)
class Period:
    """Media between two discontinuities."""

    number: int
    start: float  #: media seconds
    tagged: bool


@dataclass(frozen=True)
class Gap:
    """Media of one track that the recording does not hold, as the report tells it; seconds."""

    track: str
    at: float
    duration: float
    cause: str
    done: str


@dataclass(frozen=True)
class Dropped:
    """Samples left out because nothing before them lets them be decoded."""

    track: str
    at: float  #: media seconds
    samples: int
    cause: str


@dataclass(frozen=True, eq=False)
class PayloadGroups:
    """Neighbouring samples of one track in the payload, with the hash taken at packaging."""

    offsets: np.ndarray  #: int64[k], from the start of the mdat payload
    sizes: np.ndarray  #: int64[k], bytes
    hashes: np.ndarray  #: uint64[k], CRC-64/NVME


class ExpectedTrack:
    """What the source's index demands of one track of the movie, collected run by run."""

    def __init__(self, timescale: int) -> None:
        self.timescale = timescale  #: of the movie's track
        self._pts: list[np.ndarray] = []
        self._sync: list[np.ndarray] = []
        self._sizes: list[np.ndarray] = []

    def append(self, expected: Expectation, shift: Fraction, dropped: int) -> None:
        """Add one run whose source clock is ``shift`` seconds away from media time."""
        pts = expected.pts[dropped:]
        media = (pts / expected.timescale + float(shift)) * self.timescale
        self._pts.append(np.where(pts == NO_TIME, NO_TIME, np.rint(media)).astype(np.int64))
        self._sync.append(expected.sync[dropped:])
        unknown = np.full(len(expected), UNKNOWN_SIZE, np.int64)
        sizes = expected.sizes if len(expected.sizes) else unknown
        self._sizes.append(sizes[dropped:])

    @property
    def pts(self) -> np.ndarray:
        """Media ticks, int64[n]; NO_TIME where the source has no time."""
        return np.concatenate(self._pts)

    @property
    def sync(self) -> np.ndarray:
        """Key flags, bool[n]."""
        return np.concatenate(self._sync)

    @property
    def sizes(self) -> np.ndarray:
        """Bytes of each sample, int64[n]; UNKNOWN_SIZE where the source does not tell."""
        return np.concatenate(self._sizes)


class MovieTables:
    """One rendition's movie while its slices are added in order.

    Raises ``PermanentError`` for what one MP4 cannot tell truly: a second configuration of a
    track, tracks that cannot be told apart after a discontinuity, a hole in the sound.
    """

    def __init__(self, max_hole: Fraction, creation_time: datetime | None) -> None:
        self._timeline = Timeline(max_hole)
        self._creation_time = creation_time
        self._names = TrackNames()
        self.tracks: dict[str, TrackTables] = {}
        self.expected: dict[str, ExpectedTrack] = {}
        self.groups: dict[str, list[PayloadGroups]] = {}
        self.seams: list[dict[str, int]] = []  #: per slice, the first sample of each track
        self.periods: list[Period] = []
        self.dropped: list[Dropped] = []

    def add(self, packaged: PackagedSlice, payload_offset: int) -> None:
        """Merge the next slice; its payload starts at ``payload_offset`` of the movie's."""
        if packaged.number != len(self.seams):
            message = f"slice {packaged.number} comes where slice {len(self.seams)} is due"
            raise ToolError(ErrorCode.VERIFICATION_FAILED, message)
        self.seams.append({name: tables.count for name, tables in self.tracks.items()})
        for run in packaged.runs:
            if run.tracks:
                self._add_run(run, payload_offset)

    @property
    def gaps(self) -> list[Gap]:
        """Every hole of every track, at its start, inside and at its end, in media time."""
        end = max((tables.end for tables in self.tracks.values()), default=Fraction(0))
        gaps = [
            Gap(name, hole.at, hole.duration, hole.cause, INSTEAD[tables.kind])
            for name, tables in self.tracks.items()
            for hole in (*tables.holes, *tables.outer_holes(end))
        ]
        return sorted(gaps, key=lambda gap: (gap.at, gap.track != "video", gap.track))

    def movie(self) -> Movie:
        """The finished movie: pictures first, the first sound enabled."""
        tracks = []
        for name in self.ordered_names():
            enabled = name in ("video", "audio")
            tracks.append(self.tracks[name].movie_track(MOVIE_TIMESCALE, enabled=enabled))
        return Movie(tuple(tracks), MOVIE_TIMESCALE, self._creation_time)

    def ordered_names(self) -> list[str]:
        """Names of the tracks in the order in which the movie has them."""
        return sorted(self.tracks, key=lambda name: (name != "video", name))

    def _add_run(self, run: PackagedRun, payload_offset: int) -> None:
        wraps = run.container is Container.MPEGTS
        where = f"segment {run.first_sequence}"
        _refuse_empty(run, where)
        if not run.tagged:
            self._names.take_over(run, where)
        related = self._timeline.relate(self._spans(run, {}), wraps=wraps)
        opens = related is None or run.tagged or related.relation is Relation.RESET
        skipped = _undecodable(run) if opens else {}
        if opens:
            self._names.open_period(run, where)
        self._names.give(run, where)
        placed = self._timeline.place(self._spans(run, skipped), related, tagged=run.tagged)
        if placed.starts_period:
            start = min(span.first_pts for span in self._spans(run, skipped).values())
            self.periods.append(Period(placed.period, float(start + placed.shift), run.tagged))
        for track in run.tracks:
            self._add_track(track, placed, payload_offset, skipped.get(track.track, 0), run)

    def _add_track(
        self,
        track: PackagedTrack,
        placed: PlacedRun,
        payload_offset: int,
        skipped: int,
        run: PackagedRun,
    ) -> None:
        name = self._names[track.track]
        if name not in self.tracks:
            self.tracks[name] = TrackTables(track)
            self.expected[name] = ExpectedTrack(track.timescale)
            self.groups[name] = []
        tables = self.tracks[name]
        tables.refuse_other(track, f"segment {run.first_sequence}")
        self.groups[name].append(_groups(track, payload_offset))
        samples, placement = _without_first(track, skipped)
        moved = samples.dts + round(placed.shift * track.timescale)
        if skipped:
            first = Fraction(int(track.samples.pts.min()), track.timescale) + placed.shift
            at = max(0.0, float(first))
            self.dropped.append(Dropped(name, at, skipped, "no key frame before them"))
        tables.append(
            PlacedSamples(
                replace(samples, dts=moved),
                placement,
                payload_offset,
                steady=run.container is Container.MPEGTS,
                starts_period=placed.starts_period,
                jumped=bool(placed.step and placed.step.relation is Relation.GAP),
                where=f"segment {run.first_sequence}",
            )
        )
        self.expected[name].append(track.expected, placed.shift, skipped)

    def _spans(self, run: PackagedRun, skipped: dict[int, int]) -> dict[str, Span]:
        """Spans by name: an encoder that takes over may use other PIDs for the same tracks."""
        return {
            self._names.get(track.track): _span(track, skipped.get(track.track, 0))
            for track in run.tracks
        }


def _refuse_empty(run: PackagedRun, where: str) -> None:
    """Refuse a run without samples of a track of which the source has units."""
    for track in run.tracks:
        if len(track.expected) and not len(track.samples):
            message = f"{len(track.expected)} units of track {track.track} at {where}, no sample"
            raise ToolError(ErrorCode.VERIFICATION_FAILED, message)


def _undecodable(run: PackagedRun) -> dict[int, int]:
    """How many samples of a period's first run come before its first key frame, by track."""
    skipped = {}
    for track in run.tracks:
        if track.samples.sync[0]:
            continue
        keys = np.flatnonzero(track.samples.sync)
        if not len(keys):
            message = f"no key frame from segment {run.first_sequence} on"
            raise PermanentError(ErrorCode.SEGMENT_DAMAGED, message)
        skipped[track.track] = int(keys[0])
    return skipped


def _span(track: PackagedTrack, skipped: int) -> Span:
    samples, scale = track.samples, track.timescale
    pts = samples.pts[skipped:]
    first_pts = int(pts.min())
    if track.edit_start is not None:
        first_pts = max(first_pts, track.edit_start)
    last = int(samples.dts[-1])
    return Span(
        Fraction(int(samples.dts[skipped]), scale),
        Fraction(last, scale),
        Fraction(last + samples.last_duration, scale),
        Fraction(first_pts, scale),
        Fraction(int(pts.max()) + samples.last_duration, scale),
    )


def _without_first(track: PackagedTrack, count: int) -> tuple[Samples, Placement]:
    """The track's samples and placement without its first ``count`` samples."""
    samples, placement = track.samples, track.placement
    if not count:
        return samples, placement
    ends = np.cumsum(placement.counts, dtype=np.int64)
    group = int(np.searchsorted(ends, count, side="right"))
    begin = int(ends[group] - placement.counts[group])
    cut = int(samples.sizes[begin:count].sum(dtype=np.int64))
    offsets, counts = placement.offsets[group:].copy(), placement.counts[group:].copy()
    offsets[0] += cut
    counts[0] -= count - begin
    rest = Samples(
        samples.dts[count:],
        samples.composition[count:],
        samples.sizes[count:],
        samples.sync[count:],
        samples.last_duration,
    )
    return rest, Placement(offsets, counts, placement.hashes[group:])


def _groups(track: PackagedTrack, payload_offset: int) -> PayloadGroups:
    counts = track.placement.counts.astype(np.int64)
    sizes = np.add.reduceat(track.samples.sizes, starts(counts), dtype=np.int64)
    return PayloadGroups(track.placement.offsets + payload_offset, sizes, track.placement.hashes)
