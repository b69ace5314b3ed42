"""Merging packaged slices into one movie: every track on one timeline, and what the proof expects."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING

from pipelines.clock_detours import Place
from pipelines.clock_point import ClockPoint
from pipelines.conformance import Conformance
from pipelines.errors import ErrorCode, ToolError
from pipelines.filled_losses import unfilled
from pipelines.gap import Gap, GapCause, GapReason
from pipelines.gap_policy import GapPolicy
from pipelines.leading_pictures import Dropped, LeadingPictures
from pipelines.lost_segments import LostMedia, LostSegments
from pipelines.media import TrackKind
from pipelines.mp4.movie import Movie
from pipelines.packaged_slice import PackagedTrack, TrackMade
from pipelines.payload_groups import PayloadGroups
from pipelines.period import Period
from pipelines.placed_samples import PlacedSamples
from pipelines.player_breaks import PlayerBreaks
from pipelines.repair import Repair, RepairKind, repeats
from pipelines.run_places import RunPlaces, opens
from pipelines.run_spans import in_ticks, spans_of, without_silence
from pipelines.segment_begins import segment_at_start
from pipelines.segment_index import Container
from pipelines.silent_blocks import SilentBlocks
from pipelines.sound_run import TRACK_NUMBERS
from pipelines.stretches import stretches
from pipelines.told_gaps import ToldGaps
from pipelines.track_cut import cut
from pipelines.track_names import TrackNames
from pipelines.track_tables import LONGEST_SAMPLE, TrackTables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from pipelines.expected_track import ExpectedTrack
    from pipelines.leading_pictures import Undecodable
    from pipelines.loss import Loss
    from pipelines.packaged_slice import PackagedRun, PackagedSlice
    from pipelines.rendition_layout import RenditionLayout
    from pipelines.silent_blocks import SilenceSource
    from pipelines.timeline import Lost, PlacedRun, Step
    from pipelines.wall_clock import ListedClock

#: Ticks per second of the movie: edit lists are exact to 11 µs.
MOVIE_TIMESCALE = 90_000


@dataclass(frozen=True, eq=False)
class _Stretch:
    """Media of a run without a hole that is common to its tracks, before it has its place."""

    place: Place
    run: PackagedRun
    names: Mapping[int, str]  #: of its tracks, by PID or track_ID
    missing: tuple[Loss, ...]  #: segments that are lost before it
    until: int | None  #: media sequence with which the next run of its slice begins
    payload_offset: int  #: where its slice's payload starts


class MovieTables:
    """One rendition's movie while its slices are added in order; ``finish`` ends it.

    ``layout`` is what odd runs were conformed to, if there was need; without it, ``conformance``
    tells whether there is. ``detours`` are those of a first attempt, if it found any; ``listed`` is
    what the playlist tells of its segments' times. Raises ``PermanentError`` for what one MP4
    cannot hold, ``ToolError`` for slices that are not what they claim.
    """

    def __init__(
        self,
        max_hole: Fraction,
        creation_time: datetime | None,
        policy: GapPolicy,
        silence: SilenceSource,
        layout: RenditionLayout | None = None,
        detours: Mapping[Place, str] | None = None,
        listed: ListedClock | None = None,
    ) -> None:
        self._creation_time = creation_time
        collapses = policy is GapPolicy.COLLAPSE
        self._places = RunPlaces(max_hole, detours or {}, listed, collapses=collapses)
        self._names = TrackNames()
        self._blocks = SilentBlocks(silence)
        self._losses = LostSegments()
        self._gaps = ToldGaps(listed)
        self._leading = LeadingPictures()
        self._breaks = PlayerBreaks(max_hole, layout, listed)
        self.conformance = Conformance(layout)
        self.tracks: dict[str, TrackTables] = {}
        self.groups: dict[str, list[PayloadGroups]] = {}
        self.seams: list[dict[str, int]] = []  #: per slice, the first sample of each track
        self.periods: list[Period] = []
        self.breaks: list[tuple[int, int]] = []  #: media sequence and piece, see PlayerBreaks
        self.clocks: list[ClockPoint] = []  #: by which subtitles are placed
        self.dropped: list[Dropped] = []
        self.losses: list[Loss] = []
        self.repairs: list[Repair] = []
        self._shift: Fraction | None = None  # of the last clock point

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
            self._gaps.tell_wall_jumps(run, run.first_sequence if behind is None else behind)
        self.conformance.census.end_slice(packaged.number, packaged.last_sequence)
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
        lost = self._losses.at_end()
        seconds, reason = lost.length(self._places.heard).seconds, lost.reason()
        if seconds and reason:
            self._gaps.tell(end, seconds, reason)
        self.losses = unfilled(self.losses, self.repairs)
        for name, block in self._blocks.placed.items():
            self.groups[name].append(PayloadGroups.of_silence(block))

    def tell_absent(self, track: str, why: str) -> None:
        """Tell, once all is finished, of a track that the source lists and nothing is there of."""
        reason = GapReason(GapCause.TRACK_ABSENT, why)
        self._gaps.tell(Fraction(0), self._end, reason, track=track)

    @property
    def detours(self) -> Mapping[Place, str]:
        """What begins behind a jump of the clock that is none, and why it is none: to be given to a
        second attempt."""
        return self._places.detours

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
        return self._gaps.all({name: tables.holes.found for name, tables in self.tracks.items()})

    def movie(self) -> Movie:
        """The finished movie: pictures first, the first sound enabled."""
        tracks = []
        for name in self.ordered_names():
            tables = self.tracks[name]
            entry = self.conformance.sample_entry(name, tables.first)
            track = tables.movie_track(MOVIE_TIMESCALE, enabled=name in ("video", "audio"))
            offsets = track.chunk_offsets + len(self.silence)
            tracks.append(replace(track, sample_entry=entry, chunk_offsets=offsets))
        return Movie(tuple(tracks), MOVIE_TIMESCALE, self._creation_time)

    def taken(self) -> Movie:
        """The finished movie, whose own tables are not kept: those of a day take 100 MB."""
        movie = self.movie()
        for tables in self.tracks.values():
            tables.columns.release()
        return movie

    def ordered_names(self) -> list[str]:
        """Names of the tracks in the order in which the movie has them."""
        return sorted(self.tracks, key=lambda name: (name != "video", len(name), name))

    @property
    def _end(self) -> Fraction:
        return max((tables.end for tables in self.tracks.values()), default=Fraction(0))

    def _add_run(
        self, number: int, run: PackagedRun, until: int | None, payload_offset: int
    ) -> None:
        _refuse_unequal(run)
        sounding = without_silence(run)
        if not sounding.tracks:
            return
        self._gaps.begin_run()
        missing = self._losses.take(sounding)
        related = self._name_tracks(sounding)
        names = {track.track: self._names[track.track] for track in sounding.tracks}
        names |= self.conformance.silent_names(run)
        self.conformance.note_run(number, run, names)
        self._note_groups(run, names, payload_offset)
        run = self._once(run, related, names, until)
        away = self._losses.before(run, missing).length()
        if without_silence(run).tracks and self._breaks.is_before(sounding, names, away):
            self.breaks.append((run.first_sequence, run.piece))
        for at, each in enumerate(stretches(run)):
            place = Place(run.first_sequence, run.piece, at)
            # Its slice may not know that the one before gives a segment up.
            known = replace(each, broken=each.broken or bool(missing))
            self._add_stretch(_Stretch(place, known, names, missing, until, payload_offset))
            missing = ()
        self._losses.note_placed(run)

    def _note_groups(self, run: PackagedRun, names: Mapping[int, str], payload_offset: int) -> None:
        for track in run.tracks:
            groups = self.groups.setdefault(names[track.track], [])
            groups.append(PayloadGroups.of(track, payload_offset))

    def _name_tracks(self, run: PackagedRun) -> Step | None:
        """Name all tracks of a run; how it goes on after what was placed last."""
        if not run.tagged:
            self._names.take_over(run)
        related = self._relate(run)
        if opens(run, related):
            self._names.open_period(run)
        self._names.give(run, f"segment {run.first_sequence}")
        return related

    def _relate(self, run: PackagedRun) -> Step | None:
        names = {track.track: self._names.get(track) for track in run.tracks}
        return self._places.relate(run, names)

    def _once(
        self, run: PackagedRun, related: Step | None, names: Mapping[int, str], until: int | None
    ) -> PackagedRun:
        """The run without samples at its start that were placed already: a segment came twice."""
        counts = self._places.repeated(run, related, names)
        if not counts or related is None or self._gaps.is_new(run, related, self._places.end):
            return run
        kept = [cut(track, counts.get(track.track, 0), len(track.samples)) for track in run.tracks]
        left = replace(run, tracks=tuple(track for track in kept if len(track.samples)))
        for number, count in counts.items():
            self.tracks[names[number]].expected.repeated += count
        whole = not without_silence(left).tracks
        sequences = _whole_segments(run, until) if whole else ()
        self.repairs += repeats(run.first_sequence, sequences, sum(counts.values()))
        # What its pictures refer to is what was placed, up to the last that came again.
        pictures = any(counts.get(t.track) for t in run.tracks if t.kind is TrackKind.VIDEO)
        return replace(left, broken=run.broken and not pictures)

    def _count_repeated(self, repair: Repair) -> None:
        """Count the units that packaging has left out."""
        for number, units in repair.by_track:
            name = self._names.find(number)
            if name in self.tracks:
                self.tracks[name].expected.repeated += units

    def _add_stretch(self, stretch: _Stretch) -> None:
        """Place a stretch and merge what of it can be decoded; of what is lost before one that has
        no such media, the next one tells."""
        run, names = stretch.run, stretch.names
        if not spans_of(without_silence(run), names):
            self._losses.put_back(stretch.missing)
            return
        related = self._relate(without_silence(run))
        kept, left_out = self._leading.decodable(run, names, opens=opens(run, related))
        if not spans_of(without_silence(kept), names):
            self._losses.put_back(stretch.missing)
            self._drop(left_out, None)
            return
        lost = self._losses.before(run, stretch.missing)
        away = lost.length(self._places.heard)
        placed = self._place(stretch, kept, related, away)
        reason = self._reason(run, placed, lost)
        self._note_place(stretch, kept, placed, away, reason)
        self._drop(left_out, placed.shift)
        damaged = reason.cause is GapCause.SEGMENT_DAMAGED
        hole = reason if placed.hole > 0 or stretch.missing or damaged else None
        self._merge(stretch, kept, placed, hole)

    def _place(
        self, stretch: _Stretch, kept: PackagedRun, related: Step | None, away: Lost
    ) -> PlacedRun:
        """Give a stretch its place, of which so much is ``kept``."""
        run, end = stretch.run, self._places.end
        explained = run.tagged or bool(stretch.missing) or self._gaps.confirms(run, related, end)
        why = self._places.why_detour(stretch.place)
        if related is not None and why is not None:
            detail = f"the clock jumps by {float(related.jump):.3f} s {why}"
            self.repairs.append(Repair(segment_at_start(run), RepairKind.TIMESTAMPS, detail))
        return self._places.place(
            kept, stretch.names, stretch.place, related, away=away,
            longest=self._longest_hold(kept), explained=explained,
        )  # fmt: skip

    def _note_place(
        self,
        stretch: _Stretch,
        kept: PackagedRun,
        placed: PlacedRun,
        away: Lost,
        reason: GapReason,
    ) -> None:
        """Note where a stretch lies: periods, the source's clock, the clock on the wall; tell what
        lacks before it and is no hole of the movie."""
        run = stretch.run
        if placed.closed:
            self._gaps.tell_collapsed(self._end, placed.closed, reason)
        first, begin = (
            min(span.first_pts for span in spans_of(without_silence(each), stretch.names).values())
            for each in (kept, run)
        )
        media = float(first + placed.shift)
        if placed.starts_period:
            period = Period(placed.period, media, run.tagged, run.first_sequence, run.piece)
            self.periods.append(period)
        if placed.shift != self._shift:
            self.clocks.append(ClockPoint(media, float(first), run.first_sequence, run.piece))
            self._shift = placed.shift
        self._gaps.note_place(
            run, begin + placed.shift, first + placed.shift, starts_period=placed.starts_period
        )
        if placed.step is None and away.seconds:
            self._gaps.tell(Fraction(0), away.seconds, reason)

    def _longest_hold(self, run: PackagedRun) -> Fraction:
        """Seconds of a hole that a sample of any track can last for beside its own duration."""
        timescales = [track.timescale for track in run.tracks]
        timescales += [tables.timescale for tables in self.tracks.values()]
        return Fraction(LONGEST_SAMPLE // 2, max(timescales))

    def _drop(self, left_out: Sequence[Undecodable], shift: Fraction | None) -> None:
        """Report samples that are left out, of a run that is ``shift`` away from media time, or that
        has no place."""
        for each in left_out:
            at = self._places.end if shift is None else each.begin + shift
            self.dropped.append(each.dropped(at))

    def _reason(self, run: PackagedRun, placed: PlacedRun, lost: LostMedia) -> GapReason:
        """Why there may be nothing right before a run."""
        told = lost.reason() or self._losses.damage_since_last(run)
        jump = float(placed.hole or placed.closed)
        detail = f"the clock jumps forward by {jump:.3f} s at segment {segment_at_start(run)}"
        return told or GapReason(GapCause.NOT_IN_SOURCE, detail)

    def _merge(
        self, stretch: _Stretch, kept: PackagedRun, placed: PlacedRun, hole: GapReason | None
    ) -> None:
        """Add what is ``kept`` of a stretch to its tracks; ``hole``: why there may be one before."""
        late = self._losses.damage_at_start(kept)
        steady = kept.container is Container.MPEGTS
        for track in kept.tracks:
            name = stretch.names[track.track]
            tables = self._tables(name, track)
            self.conformance.note(name, track, tables.first, kept, placed.shift)
            if not tables.count:
                tables.late = late
            samples = PlacedSamples(
                in_ticks(track, placed.shift, tables.timescale), placed.shift,
                stretch.payload_offset, steady, placed.starts_period,
                hole, self._why_lacking(track, kept.first_sequence, stretch.until),
            )  # fmt: skip
            tables.append(samples)
            if track.made is not TrackMade.SILENCE:
                self._places.note(name, track, placed)

    def _why_lacking(self, track: PackagedTrack, first: int, until: int | None) -> GapReason | None:
        """Why a track may have holes of its own in segments ``first`` up to ``until``."""
        if track.made is TrackMade.SILENCE and until != first + 1:
            return None  # damage tells why a segment has no sound, not why many have none
        if track.track >= TRACK_NUMBERS:
            return self._losses.of_sound()
        return self._losses.damage(first, until)

    def _tables(self, name: str, track: PackagedTrack) -> TrackTables:
        """The tables of a track, which are like the layout's, or else like its first run."""
        if name not in self.tracks:
            first = self.conformance.as_laid_out(name, track)
            block = partial(self._blocks.block, name, first)
            self.tracks[name] = TrackTables(first, block, name)
        return self.tracks[name]


def _whole_segments(run: PackagedRun, until: int | None) -> tuple[int, ...]:
    """The segments of which a run has all; the next one of its slice begins in ``until``."""
    partly = {until, run.first_sequence if run.piece else None}
    return tuple(each for each in run.sequences if each not in partly)


def _refuse_unequal(run: PackagedRun) -> None:
    """Refuse a run that has not one sample for each unit of the source."""
    for track in run.tracks:
        if len(track.expected) != len(track.samples):
            found, due = len(track.samples), len(track.expected)
            where = f"track {track.track} at segment {run.first_sequence}"
            message = f"{where}: {due} samples are expected, it has {found}"
            raise ToolError(ErrorCode.VERIFICATION_FAILED, message)
