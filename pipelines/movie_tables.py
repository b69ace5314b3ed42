"""Merging packaged slices into one movie: every track on one timeline, and what the proof expects."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from pipelines.census import Census
from pipelines.clock_detours import ClockDetours, Place
from pipelines.errors import ErrorCode, PermanentError, ToolError
from pipelines.gap import ALL_TRACKS, Gap, GapCause, GapDone, GapReason, Hole, gaps_of
from pipelines.gap_policy import GapPolicy
from pipelines.leading_pictures import LeadingPictures
from pipelines.lost_segments import LostSegments, damage_reason, loss_reason, lost
from pipelines.media import TrackKind
from pipelines.mp4.movie import Movie
from pipelines.mp4.parameter_sets import merged_entry
from pipelines.mp4.sample_entry import configuration_fingerprint
from pipelines.mp4.samples import starts
from pipelines.packaged_slice import PackagedTrack, TrackMade
from pipelines.payload_hash import payload_hash
from pipelines.placed_samples import PlacedSamples
from pipelines.placed_tail import PlacedTail
from pipelines.player_breaks import PlayerBreaks
from pipelines.repair import Repair, RepairKind
from pipelines.run_spans import in_ticks, span_of, spans_of, without_silence
from pipelines.segment_index import Container
from pipelines.silent_blocks import SilentBlocks
from pipelines.sound_run import TRACK_NUMBERS
from pipelines.stretches import stretches
from pipelines.timeline import PlacedRun, Relation, Span, Step, Timeline, rounds
from pipelines.track_cut import cut
from pipelines.track_names import TrackNames
from pipelines.track_tables import LONGEST_SAMPLE, TrackTables
from pipelines.wall_clock import ListedClock, WallClock

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from pipelines.expected_track import ExpectedTrack
    from pipelines.leading_pictures import Undecodable
    from pipelines.loss import Loss
    from pipelines.packaged_slice import PackagedRun, PackagedSlice
    from pipelines.rendition_layout import RenditionLayout
    from pipelines.silent_blocks import SilenceSource

#: Ticks per second of the movie: edit lists are exact to 11 µs.
MOVIE_TIMESCALE = 90_000


@dataclass(frozen=True)
class Period:
    """Media between two discontinuities."""

    number: int
    start: float  #: media seconds
    tagged: bool
    sequence: int  #: media sequence of the segment that it begins with, or in
    piece: int = 0  #: which part of that segment


@dataclass(frozen=True)
class ClockPoint:
    """From here on, until the next one, the source's clock and media time go side by side.

    ``sequence`` and ``piece`` name the segment, and the part of it, at which that begins.
    """

    media: float  #: media seconds
    clock: float  #: the source's own clock there, seconds, in any round of it
    sequence: int
    piece: int


@dataclass(frozen=True)
class Dropped:
    """Samples left out because nothing before them lets them be decoded."""

    track: str
    at: float  #: media seconds
    samples: int
    cause: str


@dataclass(frozen=True)
class Conformed:
    """A stretch of a track that was encoded anew to be like the rest of it; seconds of media."""

    track: str
    sequence: int  #: media sequence of the segment that it begins with, or in
    at: float
    seconds: float
    was: str  #: what it is like in the source, for people


@dataclass(frozen=True, eq=False)
class PayloadGroups:
    """Neighbouring samples of one track in the payload, with the hash taken at packaging."""

    offsets: np.ndarray  #: int64[k], from the start of slice 0's payload; of silence: negative
    sizes: np.ndarray  #: int64[k], bytes
    hashes: np.ndarray  #: uint64[k], CRC-64/NVME


class MovieTables:
    """One rendition's movie while its slices are added in order; ``finish`` ends it.

    ``layout`` is what odd runs were conformed to, if there was need; without it, ``census`` tells
    whether there is. ``detours`` are those of a first attempt, if it found any; ``listed`` is what
    the playlist tells of the clock on the wall. Raises ``PermanentError`` for what one MP4 cannot
    hold, ``ToolError`` for slices that are not what they claim.
    """

    def __init__(
        self,
        max_hole: Fraction,
        creation_time: datetime | None,
        policy: GapPolicy,
        silence: SilenceSource,
        layout: RenditionLayout | None = None,
        detours: Collection[Place] = (),
        listed: ListedClock | None = None,
    ) -> None:
        self._detours = ClockDetours(max_hole)
        self._known_detours = frozenset(detours)
        self._timeline = Timeline(max_hole, collapses=policy is GapPolicy.COLLAPSE)
        self._creation_time = creation_time
        self._layout = layout
        self._names = TrackNames()
        self._blocks = SilentBlocks(silence)
        self._tail = PlacedTail()
        self._losses = LostSegments()
        self._pending: tuple[Loss, ...] = ()  # lost before what comes next
        self._own_end = Fraction(0)  # media seconds up to which the variant's own playlist goes
        self._wall = WallClock()
        self._listed = listed or ListedClock()
        self._begin: Fraction | None = None  # media seconds at which the run in hand begins
        self._shift: Fraction | None = None
        self._leading = LeadingPictures()
        self._breaks = PlayerBreaks(max_hole, layout)
        self._last_sequence: int | None = None
        self._told: list[Gap] = []  # gaps that are no holes of the movie
        self._odd: str | None = None  # the first run that does not fit, in words
        self._conformed: dict[str, bytes] = {}  # sample entry of what was encoded to fit, by track
        self.census = Census()
        self.tracks: dict[str, TrackTables] = {}
        self.groups: dict[str, list[PayloadGroups]] = {}
        self.seams: list[dict[str, int]] = []  #: per slice, the first sample of each track
        self.periods: list[Period] = []
        self.breaks: list[tuple[int, int]] = []  #: media sequence and piece, see PlayerBreaks
        self.clocks: list[ClockPoint] = []  #: by which subtitles are placed
        self.dropped: list[Dropped] = []
        self.conformed: list[Conformed] = []
        self.losses: list[Loss] = []
        self.repairs: list[Repair] = []

    def add(self, packaged: PackagedSlice, payload_offset: int) -> None:
        """Merge the next slice; its payload starts at ``payload_offset`` of slice 0's."""
        if packaged.number != len(self.seams):
            message = f"slice {packaged.number} comes where slice {len(self.seams)} is due"
            raise ToolError(ErrorCode.VERIFICATION_FAILED, message)
        self.seams.append({name: tables.count for name, tables in self.tracks.items()})
        self.losses += packaged.losses
        self.repairs += packaged.repairs
        runs = [run for run in packaged.runs if run.tracks]
        self._losses.add(packaged.losses, packaged.last_sequence)
        for run, following in zip(runs, [*runs, None][1:], strict=True):
            until = following.first_sequence if following else None
            self._add_run(packaged.number, run, until, payload_offset)
            behind = packaged.last_sequence if until is None else until - 1
            self._tell_wall_jumps(run, run.first_sequence if behind is None else behind)
        self.census.end_slice(packaged.number, packaged.last_sequence)
        for repair in packaged.repairs:
            self._count_repeated(repair)

    def finish(self) -> None:
        """Let every track last until the end of the movie; nothing may be added afterwards."""
        for tables in self.tracks.values():
            tables.settle()
        end = self._end
        for tables in self.tracks.values():
            tables.finish(end)
        for each in self.dropped:
            if each.track in self.tracks:
                self.tracks[each.track].expected.dropped += each.samples
        behind = (*self._pending, *self._losses.rest())
        cut_off = self._losses.end(behind)
        seconds = lost((*behind, *cut_off), self._heard).seconds
        if seconds:
            reason = loss_reason(behind) if behind else damage_reason(cut_off)
            self._tell(end, seconds, reason, GapDone.REPORTED)
        for name, block in self._blocks.placed.items():
            size = len(block.sound.payload)
            begin = block.offset - self._first_byte
            data = self._blocks.payload[begin : begin + size]
            hashes = np.array([payload_hash(data)], np.uint64)
            group = PayloadGroups(np.array([block.offset]), np.array([size]), hashes)
            self.groups[name].append(group)

    def tell_absent(self, track: str, why: str) -> None:
        """Tell, once all is finished, of a track that the source lists and nothing is there of."""
        reason = GapReason(GapCause.TRACK_ABSENT, why)
        hole = Hole(Fraction(0), self._end, reason, GapDone.REPORTED)
        self._told.append(self._gap(track, hole))

    @property
    def detours(self) -> frozenset[Place]:
        """What begins behind a jump of the clock that is none: to be given to a second attempt."""
        return frozenset(self._detours.found - self._known_detours)

    @property
    def expected(self) -> dict[str, ExpectedTrack]:
        """What the proof expects of each track."""
        return {name: tables.expected for name, tables in self.tracks.items()}

    @property
    def silence(self) -> bytes:
        """What lies before the payload of slice 0: a little silence, which is repeated."""
        return self._blocks.payload

    @property
    def gaps(self) -> list[Gap]:
        """Every gap of the recording, in media time; those of all tracks told once."""
        holes = {name: tables.holes for name, tables in self.tracks.items()}
        found = [self._gap(name, hole) for name, hole in gaps_of(holes)]
        return sorted([*self._told, *found], key=lambda gap: (gap.at, gap.track != ALL_TRACKS))

    def movie(self) -> Movie:
        """The finished movie: pictures first, the first sound enabled."""
        tracks = []
        for name in self.ordered_names():
            tables = self.tracks[name]
            conformed = [self._conformed[name]] if name in self._conformed else []
            entry = merged_entry(tables.first.sample_entry, conformed)
            track = tables.movie_track(MOVIE_TIMESCALE, enabled=name in ("video", "audio"))
            offsets = track.chunk_offsets - self._first_byte
            tracks.append(replace(track, sample_entry=entry, chunk_offsets=offsets))
        return Movie(tuple(tracks), MOVIE_TIMESCALE, self._creation_time)

    def taken(self) -> Movie:
        """The finished movie, whose own tables are not kept: those of a day take 100 MB."""
        movie = self.movie()
        for tables in self.tracks.values():
            tables.release()
        return movie

    def ordered_names(self) -> list[str]:
        """Names of the tracks in the order in which the movie has them."""
        return sorted(self.tracks, key=lambda name: (name != "video", len(name), name))

    def refuse_odd(self) -> None:
        """Refuse runs that one sample description cannot serve, however they came to be.

        Raises ``PermanentError`` (``configuration_changed``): Chromium and Apple's players stop
        at a second sample description, so there is one per track, always.
        """
        if self._odd is not None:
            raise PermanentError(ErrorCode.CONFIGURATION_CHANGED, self._odd)

    @property
    def _end(self) -> Fraction:
        return max((tables.end for tables in self.tracks.values()), default=Fraction(0))

    @property
    def _first_byte(self) -> int:
        return -len(self._blocks.payload)

    def _add_run(
        self, number: int, run: PackagedRun, until: int | None, payload_offset: int
    ) -> None:
        where = f"segment {run.first_sequence}"
        _refuse_unequal(run, where)
        sounding = without_silence(run)
        if not sounding.tracks:
            return
        self._begin = None
        missing = self._pending
        if _is_own(sounding):
            missing += self._losses.before(run.first_sequence)
        self._pending = ()
        if not run.tagged:
            self._names.take_over(sounding)
        related = self._relate(sounding)
        if _opens(run, related):
            self._names.open_period(sounding)
        self._names.give(sounding, where)
        names = {track.track: self._names[track.track] for track in sounding.tracks}
        names |= self._silent_names(run)
        if self._layout is None:
            self.census.note(number, run, names)
        for track in run.tracks:
            groups = self.groups.setdefault(names[track.track], [])
            groups.append(_groups(track, payload_offset))
        away = lost((*missing, *self._beside(run, missing)))
        if self._breaks.is_before(sounding, names, away):
            self.breaks.append((run.first_sequence, run.piece))
        run = self._once(run, related, names)
        for at, stretch in enumerate(stretches(run)):
            place = Place(run.first_sequence, run.piece, at)
            self._add_stretch(stretch, place, names, missing, until, payload_offset)
            missing = ()
        self._losses.forget_before(run.first_sequence)
        self._last_sequence = run.first_sequence

    def _relate(self, run: PackagedRun) -> Step | None:
        wraps = run.container is Container.MPEGTS
        names = {track.track: self._names.get(track) for track in run.tracks}
        return self._timeline.relate(spans_of(run, names), wraps=wraps)

    def _silent_names(self, run: PackagedRun) -> dict[int, str]:
        """Names of the silent tracks of a run that was conformed: -1, -2 … are those it lacked."""
        if self._layout is None:
            return {}
        odd = self._layout.run_at(run.first_sequence, run.piece)
        return {-at: name for at, name in enumerate(odd.absent, 1)} if odd else {}

    def _once(
        self, run: PackagedRun, related: Step | None, names: Mapping[int, str]
    ) -> PackagedRun:
        """The run without samples at its start that were placed already: a segment came twice."""
        if run.tagged or related is None or related.relation is not Relation.RESET:
            return run
        unwrap = self._unwrap(run, names)
        counts = self._tail.repeated(without_silence(run), names, unwrap)
        if not counts:
            return run
        kept = [cut(track, counts.get(track.track, 0), len(track.samples)) for track in run.tracks]
        for number, count in counts.items():
            self.tracks[names[number]].expected.repeated += count
        units = sum(counts.values())
        detail = f"media that begins with segment {run.first_sequence} came twice and is kept once"
        self.repairs.append(Repair(run.first_sequence, RepairKind.DUPLICATE, detail, units))
        return replace(run, tracks=tuple(track for track in kept if len(track.samples)))

    def _count_repeated(self, repair: Repair) -> None:
        """Count the units that packaging has left out of the variant's own playlist."""
        for number, units in () if repair.rendition else repair.by_track:
            name = self._names.find(number)
            if name in self.tracks:
                self.tracks[name].expected.repeated += units

    def _unwrap(self, run: PackagedRun, names: Mapping[int, str]) -> Fraction:
        """Seconds that bring a run's clock into the round of the period that is open."""
        clock, spans = self._timeline.clock, spans_of(without_silence(run), names)
        common = [name for name in spans if name in clock]
        if run.container is not Container.MPEGTS or not common:
            return Fraction(0)
        return -rounds(spans[common[0]].first_dts - clock[common[0]].end_dts)

    def _add_stretch(
        self,
        run: PackagedRun,
        place: Place,
        names: Mapping[int, str],
        missing: tuple[Loss, ...],
        until: int | None,
        payload_offset: int,
    ) -> None:
        if not spans_of(without_silence(run), names):
            self._pending = missing
            return
        if missing and not run.broken:
            run = replace(
                run, broken=True
            )  # its slice did not know that the one before gives it up
        related = self._relate(without_silence(run))
        kept, left_out = self._leading.decodable(run, names, opens=_opens(run, related))
        spans = spans_of(without_silence(kept), names)
        if not spans:
            self._pending = missing
            self._drop(left_out, None)
            return
        if _opens(run, related):
            self._tail.forget()
        before = self._end
        beside = self._beside(run, missing)
        away = lost((*missing, *beside), self._heard)
        left, end = {**self._timeline.clock}, self._timeline.end
        detour = place in self._known_detours
        placed = self._timeline.place(
            spans, related, tagged=run.tagged, lost=away, longest=self._longest_hold(kept),
            detour=detour,
        )  # fmt: skip
        if run.tagged or missing or self._is_told(run, placed, end):
            self._detours.forget()
        else:
            wraps = run.container is Container.MPEGTS
            self._detours.note(place, left, spans, placed, end, wraps=wraps)
        if detour and related is not None:
            detail = f"the clock jumps by {float(related.jump):.3f} s and is taken back later"
            self.repairs.append(Repair(run.first_sequence, RepairKind.TIMESTAMPS, detail))
        own = {names[each.track] for each in kept.tracks if each.track < TRACK_NUMBERS}
        ends = [span.end_pts + placed.shift for name, span in spans.items() if name in own]
        self._own_end = max(self._own_end, *ends) if ends else self._own_end
        reason = self._reason(run, placed, missing, beside)
        self._note_place(run, placed, spans, names, before, reason)
        if related is None and away.seconds:
            self._tell(Fraction(0), away.seconds, reason, GapDone.REPORTED)
        # A run of that one segment alone may lie before it, of what can be decoded.
        alone = self._last_sequence == run.first_sequence - 1
        start = self._losses.damage(run.first_sequence - alone, run.first_sequence)
        inner = self._losses.damage(run.first_sequence, until)
        jumped = placed.hole > 0 or bool(missing) or reason.cause is GapCause.SEGMENT_DAMAGED
        self._drop(left_out, placed.shift)
        for track in kept.tracks:
            name = names[track.track]
            tables = self._tables(name, track)
            self._note_likeness(name, track, run)
            self._note_conformed(name, track, run, placed)
            moved = in_ticks(track, placed.shift, tables.timescale)
            steady = run.container is Container.MPEGTS
            lacks = self._losses.of_sound() if track.track >= TRACK_NUMBERS else inner
            if track.made is TrackMade.SILENCE and until != run.first_sequence + 1:
                lacks = None  # damage tells why a segment has no sound, not why many have none
            if not tables.count:
                tables.late = start
            samples = PlacedSamples(
                moved, placed.shift, payload_offset, steady, placed.starts_period,
                reason if jumped else None, lacks,
            )  # fmt: skip
            tables.append(samples)
            if track.made is not TrackMade.SILENCE:
                self._tail.note(name, track, placed.unwrap)

    def _is_told(self, run: PackagedRun, placed: PlacedRun, end: Fraction) -> bool:
        """Whether the clock on the wall, too, jumps by most of a hole, which is behind ``end``."""
        before, jump = self._wall.at(end), placed.step.jump if placed.step else 0
        if before is None or run.wall_clock is None or jump <= 0:
            return False
        return run.wall_clock - before > jump / 2

    def _longest_hold(self, run: PackagedRun) -> Fraction:
        """Seconds of a hole that a sample of any track can last for beside its own duration."""
        timescales = [track.timescale for track in run.tracks]
        timescales += [tables.timescale for tables in self.tracks.values()]
        return Fraction(LONGEST_SAMPLE // 2, max(timescales))

    def _drop(self, left_out: Sequence[Undecodable], shift: Fraction | None) -> None:
        """Report samples that are left out, of a run that is ``shift`` away from media time, or that
        has no place."""
        for each in left_out:
            at = self._timeline.end if shift is None else each.begin + shift
            self.dropped.append(Dropped(each.name, max(0.0, float(at)), each.count, each.cause))

    @property
    def _heard(self) -> Fraction:
        """Seconds of sound of a playlist of its own behind the end of the variant's own media."""
        return max(Fraction(0), self._timeline.end - self._own_end)

    def _beside(self, run: PackagedRun, missing: Sequence[Loss]) -> tuple[Loss, ...]:
        """What is lost before a run of segments that are kept in part."""
        if run.piece or not _is_own(run):
            return ()
        return self._losses.beside(run.first_sequence, missing)

    def _reason(
        self,
        run: PackagedRun,
        placed: PlacedRun,
        missing: Sequence[Loss],
        beside: Sequence[Loss],
    ) -> GapReason:
        """Why there may be nothing right before a run."""
        if missing:
            return loss_reason(missing)
        if beside:
            return damage_reason(beside)
        first = self._last_sequence if self._last_sequence is not None else run.first_sequence
        damage = self._losses.damage(first, run.first_sequence)
        jump = float(placed.hole or placed.closed)
        where = f"segment {run.first_sequence}"
        detail = f"the clock jumps forward by {jump:.3f} s at {where}"
        return damage or GapReason(GapCause.NOT_IN_SOURCE, detail)

    def _note_place(
        self,
        run: PackagedRun,
        placed: PlacedRun,
        spans: Mapping[str, Span],
        names: Mapping[int, str],
        before: Fraction,
        reason: GapReason,
    ) -> None:
        """Note where a run lies: periods, the clock on the wall, the source's clock."""
        first = min(span.first_pts for span in spans.values())
        media = first + placed.shift
        if placed.closed:
            self._tell(before, placed.closed, reason, GapDone.COLLAPSED)
            self._wall.move_up(before, placed.closed)
        if placed.starts_period:
            at = float(media)
            period = Period(placed.period, at, run.tagged, run.first_sequence, run.piece)
            self.periods.append(period)
        if placed.shift != self._shift:
            point = ClockPoint(float(media), float(first), run.first_sequence, run.piece)
            self.clocks.append(point)
            self._shift = placed.shift
        begin = min(span.first_pts for span in spans_of(without_silence(run), names).values())
        self._begin = begin + placed.shift if self._begin is None else self._begin
        jumps = self._listed.jumps(run.first_sequence, run.first_sequence + 1)
        seconds = self._wall.note(
            begin + placed.shift, run.wall_clock, starts_period=placed.starts_period or bool(jumps)
        )
        if seconds:
            self._tell_not_recorded(media, seconds, run.first_sequence)

    def _tell_wall_jumps(self, run: PackagedRun, last: int) -> None:
        """Tell where nothing was recorded inside a run, up to segment ``last``, although its clock
        goes on: media time is by EXTINF there. Where the clock jumps as well, that is told."""
        jumps = self._listed.jumps(run.first_sequence + 1, last + 1)
        if self._begin is None or not jumps or not _is_own(run):
            return
        since = self._listed.elapsed(run.first_sequence)
        spans = [span_of(track) for track in run.tracks if track.track < TRACK_NUMBERS]
        lasts = max(span.end_pts for span in spans) - min(span.first_pts for span in spans)
        more = float(lasts) - (self._listed.elapsed(last + 1) - since)
        for jump in jumps:
            if more < jump.seconds / 2:
                at = self._begin + Fraction(jump.elapsed - since).limit_denominator(1_000_000)
                self._tell_not_recorded(at, jump.seconds, jump.sequence)
                self._wall.move_up(at, Fraction(jump.seconds))

    def _tell_not_recorded(self, at: Fraction, seconds: float, sequence: int) -> None:
        detail = f"nothing was recorded for {seconds:.3f} s before segment {sequence}"
        told = GapReason(GapCause.WALL_CLOCK, detail)
        self._tell(at, Fraction(seconds), told, GapDone.REPORTED)

    def _tell(self, at: Fraction, seconds: Fraction, reason: GapReason, done: GapDone) -> None:
        """Report a gap that is no hole of the movie."""
        self._told.append(self._gap(ALL_TRACKS, Hole(at, at + seconds, reason, done)))

    def _gap(self, track: str, hole: Hole) -> Gap:
        return Gap(
            track,
            float(hole.begin),
            float(hole.end - hole.begin),
            hole.reason.cause,
            hole.reason.detail,
            hole.done,
            self._wall.at(hole.begin),
            hole.reason.segments,
        )

    def _tables(self, name: str, track: PackagedTrack) -> TrackTables:
        """The tables of a track, which are like the layout's, or else like its first run."""
        if name not in self.tracks:
            first = self._as_laid_out(name, track)
            block = partial(self._blocks.block, name, first)
            self.tracks[name] = TrackTables(first, block, name)
        return self.tracks[name]

    def _as_laid_out(self, name: str, track: PackagedTrack) -> PackagedTrack:
        """The track as it is where most of the rendition's media lies."""
        if self._layout is None:
            return track
        if name not in (each.name for each in self._layout.tracks):
            message = f"the layout has no {name}: it was decided for other slices"
            raise ToolError(ErrorCode.VERIFICATION_FAILED, message)
        layout = self._layout.track(name)
        return replace(
            track,
            codec=layout.codec,
            timescale=layout.timescale,
            sample_entry=layout.sample_entry,
            language=layout.language,
            width=layout.width,
            height=layout.height,
            matrix=layout.matrix,
        )

    def _note_likeness(self, name: str, track: PackagedTrack, run: PackagedRun) -> None:
        """Note whether one sample description can serve a track of a run as well."""
        first = self.tracks[name].first
        same = configuration_fingerprint(track.sample_entry)
        fits = same == configuration_fingerprint(first.sample_entry)
        encoded = track.made is TrackMade.ENCODED and track.kind is TrackKind.VIDEO
        if self._layout is not None and encoded and not fits:
            other = self._conformed.setdefault(name, track.sample_entry)
            fits = configuration_fingerprint(other) == same
        if not fits or track.matrix != first.matrix:
            at = f"segment {run.first_sequence}"
            self._odd = self._odd or f"the {track.kind} configuration changes at {at}"

    def _note_conformed(
        self, name: str, track: PackagedTrack, run: PackagedRun, placed: PlacedRun
    ) -> None:
        """Note a stretch that the layout has had encoded anew."""
        odd = self._layout.run_at(run.first_sequence, run.piece) if self._layout else None
        if odd is None or name not in odd.odd or track.made is not TrackMade.ENCODED:
            return
        span = span_of(track)
        at, seconds = span.first_pts + placed.shift, span.end_pts - span.first_pts
        self.conformed.append(
            Conformed(name, run.first_sequence, float(at), float(seconds), odd.was.get(name, ""))
        )


def _opens(run: PackagedRun, related: Step | None) -> bool:
    """Whether a run starts a period, behind which nothing before it can be referred to."""
    return related is None or run.tagged or related.relation is Relation.RESET


def _is_own(run: PackagedRun) -> bool:
    """Whether a run has media of the variant's own playlist, not sound of another one alone."""
    return any(track.track < TRACK_NUMBERS for track in run.tracks)


def _refuse_unequal(run: PackagedRun, where: str) -> None:
    """Refuse a run that has not one sample for each unit of the source."""
    for track in run.tracks:
        if len(track.expected) != len(track.samples):
            found, due = len(track.samples), len(track.expected)
            message = f"track {track.track} at {where}: {due} samples are expected, it has {found}"
            raise ToolError(ErrorCode.VERIFICATION_FAILED, message)


def _groups(track: PackagedTrack, payload_offset: int) -> PayloadGroups:
    counts = track.placement.counts.astype(np.int64)
    sizes = np.add.reduceat(track.samples.sizes, starts(counts), dtype=np.int64)
    return PayloadGroups(track.placement.offsets + payload_offset, sizes, track.placement.hashes)
