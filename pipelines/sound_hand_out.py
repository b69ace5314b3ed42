"""Handing out the sound of playlists of its own: each run of pictures gets that of its time.

What belongs to which run of pictures, the clocks tell: playlists may be cut, tagged and damaged each
in its own way. Whatever is listed ends up in a run, of pictures or of sound alone, or in a loss.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from pipelines.interleaver import LaidIn
from pipelines.media import TrackKind
from pipelines.packaged_slice import PackagedRun, PackagedTrack, TrackMade
from pipelines.sound_run import TRACK_NUMBERS
from pipelines.sound_track import SoundTrack, begin_of, end_of, joined, parted
from pipelines.timeline import WRAP

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipelines.copied_runs import RunStart
    from pipelines.cutter import PayloadWriter
    from pipelines.demuxed_sound import DemuxedSound
    from pipelines.packaged_slice import Expectation
    from pipelines.sound_run import SoundRun

#: Seconds by which sound of another tagged period may lie beside pictures and still belong to them.
NEAR = Fraction(10)


@dataclass
class _Share:
    """What one run of pictures was given."""

    start: RunStart
    tracks: dict[int, SoundTrack] = field(default_factory=dict)
    before: list[SoundRun] = field(default_factory=list)  #: sound alone, that precedes the run
    replaced: frozenset[int] = frozenset()  #: numbers of tracks that are made anew instead


class SoundHandOut:
    """Gives each run of pictures its sound, in the order of the slice's runs.

    First ``laid_in`` for every run as it begins, when nobody knows yet how far it goes; in the end
    ``settled``, which corrects what turned out otherwise.
    """

    def __init__(self, sound: DemuxedSound, max_hole: Fraction) -> None:
        self._sound = sound
        self._max_hole = max_hole
        self._queues: dict[int, deque[SoundRun]] = {}
        for run in sound.runs:
            self._queues.setdefault(run.window.position, deque()).append(run)
        self._tagged = {
            window.position: {s.discontinuity_sequence for s in window.work.segments}
            for window in sound.work.sound
        }
        self._shares: list[_Share] = []

    def laid_in(self, start: RunStart) -> LaidIn:
        """The sound of the run that begins there, as far as the playlist tells where it ends."""
        share = _Share(start)
        self._shares.append(share)
        for queue in self._queues.values():
            for run in self._taken(queue, share):
                for each in run.tracks:
                    number = each.track.track
                    held = share.tracks.get(number)
                    share.tracks[number] = joined(held, each) if held else each
        tracks = tuple(each.track for each in share.tracks.values())
        return LaidIn(tracks, self._sound.payload if tracks else b"")

    def replace(self, numbers: frozenset[int]) -> None:
        """Say which tracks of the run that began last are not laid in as they were handed out."""
        self._shares[-1].replaced = numbers

    def settled(
        self, runs: Sequence[PackagedRun], writer: PayloadWriter
    ) -> tuple[PackagedRun, ...]:
        """All runs of the slice, each with the sound of its time; sound alone is written now.

        ``runs`` are those that ``laid_in`` was asked for, in that order. Raises ``ToolError`` unless
        they hold every frame of the source, those that are made anew left out.
        """
        shared = self._shared_out(runs)
        done: list[PackagedRun] = []
        alone = _SoundAlone(self._sound, writer)
        for run, share in zip(shared, self._shares, strict=True):
            done += alone.runs(share.before, share.start.segment.sequence)
            done.append(run)
        rest = [run for queue in self._queues.values() for run in queue]
        done += alone.runs(rest, self._sound.work.segments[-1].sequence)
        self._sound.account.compare(self._handed_out(done))
        return tuple(self._ordered(run) for run in done)

    def _handed_out(self, done: Sequence[PackagedRun]) -> Iterator[tuple[int, Expectation]]:
        """What the source has of the tracks that runs hold, and of those that are made anew."""
        for track in (track for run in done for track in run.tracks):
            if track.track >= TRACK_NUMBERS and track.made is TrackMade.COPIED:
                yield track.track, track.expected
        for share in self._shares:
            for number in share.tracks.keys() & share.replaced:
                yield number, share.tracks[number].track.expected

    def _taken(self, queue: deque[SoundRun], share: _Share) -> Iterator[SoundRun]:
        """The runs of one playlist that belong to the run of pictures, out of the queue."""
        last: SoundRun | None = None
        while queue:
            run = self._on_clock_of(queue[0], share.start, last)
            if last is not None and not _goes_on(last, run):
                return
            if self._belongs(run, share.start):
                last = run
                queue.popleft()
                yield run
            elif last is None and self._is_passed(queue, share.start):
                share.before.append(queue.popleft())
            else:
                return

    def _on_clock_of(self, run: SoundRun, start: RunStart, last: SoundRun | None) -> SoundRun:
        """The run in that round of the clock which is nearest to the pictures, or to ``last``."""
        at = last.end if last else start.begin
        if at is None or not (run.wraps or start.wraps):
            return run
        return run.moved(WRAP * round((at - run.begin) / WRAP))

    def _belongs(self, run: SoundRun, start: RunStart) -> bool:
        sequence = start.segment.discontinuity_sequence
        if run.discontinuity == sequence:
            return self._is_near(run, start, self._max_hole)
        # Playlists that are tagged alike mean what their tags say; others go by their clocks.
        if run.discontinuity < sequence:
            tagged_apart = sequence in self._tagged[run.window.position]
        else:
            listed = self._sound.work.segments
            tagged_apart = any(s.discontinuity_sequence == run.discontinuity for s in listed)
        return not tagged_apart and self._is_near(run, start, NEAR)

    def _is_passed(self, queue: deque[SoundRun], start: RunStart) -> bool:
        """Whether no run of pictures will come for the first in the queue: it is sound alone."""
        first, sequence = queue[0], start.segment.discontinuity_sequence
        if first.discontinuity < sequence:
            return True
        later = (self._on_clock_of(run, start, None) for run in list(queue)[1:])
        return first.discontinuity == sequence and any(
            run.discontinuity == sequence and self._belongs(run, start) for run in later
        )

    def _is_near(self, run: SoundRun, start: RunStart, slack: Fraction) -> bool:
        if start.begin is None:
            return True
        end = start.begin + Fraction(self._ahead(start))
        return run.begin <= end + slack and run.end >= start.begin - slack

    def _ahead(self, start: RunStart) -> float:
        """Seconds of pictures that are listed from there to the end of the tagged period."""
        seconds = 0.0
        for segment in self._sound.work.segments:
            if segment.sequence > start.segment.sequence and segment.discontinuity:
                break
            if segment.sequence >= start.segment.sequence:
                seconds += segment.duration
        return seconds

    def _shared_out(self, runs: Sequence[PackagedRun]) -> list[PackagedRun]:
        """The runs, with sound that reaches into a later run's time given to that one."""
        given = [
            _as_written(run, share.tracks) for run, share in zip(runs, self._shares, strict=True)
        ]
        for at, following in enumerate(runs[1:]):
            begin = _own_begin(following)
            if begin is not None:
                self._pass_on(at, given, begin)
        return [_with_sound(run, tracks) for run, tracks in zip(runs, given, strict=True)]

    def _pass_on(self, at: int, given: Sequence[dict[int, SoundTrack]], begin: Fraction) -> None:
        """Pass what run ``at`` was given of the time of the next, which begins there, on to it."""
        here, there = given[at], given[at + 1]
        for number, each in list(here.items()):
            if number in self._shares[at + 1].replaced:
                continue
            place = self._later_place(at, each, begin)
            if place is None or place[0] >= len(each.track.samples):
                continue
            first, rounds = place
            kept, moved = parted(each, first, self._sound.payload)
            moved, held = moved.moved(rounds), there.get(number)
            if held is None or moved.leads_to(held):
                here[number] = kept
                there[number] = joined(moved, held) if held else moved

    def _later_place(
        self, at: int, each: SoundTrack, begin: Fraction
    ) -> tuple[int, Fraction] | None:
        """From which sample on the sound of run ``at`` is that of the next, which begins there, and
        what to add to its times; None when the next run is on another clock."""
        start, following = self._shares[at].start, self._shares[at + 1].start
        sequence = following.segment.discontinuity_sequence
        position = each.track.track // TRACK_NUMBERS - 1
        if sequence != start.segment.discontinuity_sequence and sequence in self._tagged[position]:
            return None
        end, rounds = end_of(each.track), Fraction(0)
        if following.wraps:
            rounds = WRAP * round((begin - end) / WRAP)
        here = begin - rounds
        if here <= begin_of(each.track):
            return None
        return each.first_from(here), rounds

    def _ordered(self, run: PackagedRun) -> PackagedRun:
        """The run with its pictures first, then the default sound."""
        defaults = {w.position + 1 for w in self._sound.work.sound if w.default}

        def place(track: PackagedTrack) -> tuple[bool, bool]:
            sound = track.kind is TrackKind.AUDIO
            return sound, sound and track.track // TRACK_NUMBERS not in defaults

        return replace(run, tracks=tuple(sorted(run.tracks, key=place)))


def _goes_on(last: SoundRun, run: SoundRun) -> bool:
    """Whether sound goes on behind other sound of its playlist, so that one track holds both."""
    before = {each.track.track: each for each in last.tracks}
    pairs = [(before[n], each) for each in run.tracks if (n := each.track.track) in before]
    return run.end > last.end and all(old.leads_to(new) for old, new in pairs)


def _own_begin(run: PackagedRun) -> Fraction | None:
    """When the run's own tracks are first seen or heard, seconds of its clock."""
    own = (track for track in run.tracks if track.track < TRACK_NUMBERS)
    return min((begin_of(track) for track in own if len(track.samples)), default=None)


def _as_written(run: PackagedRun, given: dict[int, SoundTrack]) -> dict[int, SoundTrack]:
    """The sound as it came to lie in the payload, piece for piece as it was given."""
    return {
        track.track: replace(given[track.track], track=track)
        for track in run.tracks
        if track.track in given and track.made is TrackMade.COPIED
    }


def _with_sound(run: PackagedRun, sound: dict[int, SoundTrack]) -> PackagedRun:
    others = [track for track in run.tracks if track.track not in sound]
    laid_in = [each.track for each in sound.values() if len(each.track.samples)]
    return replace(run, tracks=(*others, *laid_in))


class _SoundAlone:
    """Writes sound of which there are no pictures, as runs of its own."""

    def __init__(self, sound: DemuxedSound, writer: PayloadWriter) -> None:
        self._payload = memoryview(sound.payload)
        self._writer = writer
        self._count = 0

    def runs(self, alone: Sequence[SoundRun], sequence: int) -> Iterator[PackagedRun]:
        """Runs beside the segment ``sequence`` of the pictures; those of one time become one."""
        groups: list[list[SoundRun]] = []
        for run in alone:
            group = next((each for each in groups if _together(each, run)), None)
            if group is None:
                groups.append([run])
            else:
                group.append(run)
        for group in groups:
            self._count += 1
            tracks = (each for run in group for each in run.tracks)
            yield replace(
                group[0].run,
                first_sequence=sequence,
                piece=-self._count,
                sequences=(),
                tracks=tuple(self._written(each) for each in tracks),
            )

    def _written(self, each: SoundTrack) -> PackagedTrack:
        offsets = [self._writer.write(self._payload[begin:end]) for begin, end in each.pieces()]
        return each.placed_at(offsets)


def _together(group: Sequence[SoundRun], run: SoundRun) -> bool:
    """Whether a run is heard at the time of others, each of another playlist."""
    first = group[0]
    alike = (first.discontinuity, first.run.container) == (run.discontinuity, run.run.container)
    apart = all(run.window.position != each.window.position for each in group)
    return alike and apart and first.begin <= run.end and run.begin <= first.end
