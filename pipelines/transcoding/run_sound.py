"""What every run of a slice has to sound, in memory: what is conformed is made of it."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING

from pipelines.copied_runs import is_fragmented, source_sizes, stretches
from pipelines.demuxed_sound import SoundMemory
from pipelines.edges import Edges
from pipelines.ffmpeg_movie import read_movie
from pipelines.fmp4_run import edit_shift
from pipelines.fmp4_stream import Fmp4Stream, earlier_segments
from pipelines.init_sections import InitSections
from pipelines.interleaver import Interleaver
from pipelines.media import TrackKind
from pipelines.mp4.sample_entry import configuration_fingerprint
from pipelines.process import FilterProcess
from pipelines.remux import RemuxInput, remux_argv
from pipelines.segment_index import NO_TIME
from pipelines.segment_stream import SegmentStream
from pipelines.sound_samples import SoundSamples, samples_of
from pipelines.source import read_ahead
from pipelines.timeline import GAP, WRAP
from pipelines.transcoding.conformed_sound import Surroundings
from pipelines.transcoding.fmp4_pictures import Fmp4Edges, Fmp4PictureFeed
from pipelines.transcoding.picture_times import usual_duration
from pipelines.ts_feed import TsRunFeed
from pipelines.ts_run import DEADLINE_SECONDS, TsRunOutput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pipelines.fmp4_stream import Fmp4Segment
    from pipelines.package import Packager
    from pipelines.packaged_slice import PackagedTrack
    from pipelines.slices import Slice
    from pipelines.source import FetchedSegment

#: Seconds by which sound of the segment beside a slice may lie away and still go on with it.
_SAME_SOUND = Fraction(1, 10)


@dataclass(frozen=True, eq=False)
class RunSound:
    """The sound of one run, as a copy has it; times in seconds of the run's clock."""

    sequence: int  #: of the segment that it begins with
    piece: int
    wraps: bool  #: the clock is MPEG-TS's, which comes round
    begin: Fraction  #: of its pictures, else of its sound
    end: Fraction
    tracks: dict[int, SoundSamples]  #: by PID or track_ID

    def moved(self, by: Fraction) -> RunSound:
        """The same in another round of the clock."""
        tracks = {n: each.moved(round(by * each.timescale)) for n, each in self.tracks.items()}
        return replace(self, begin=self.begin + by, end=self.end + by, tracks=tracks)


class Sides:
    """The segments beside a slice: what of their sound may go on in it."""

    def __init__(self, work: Slice, packager: Packager, checkpoint: Callable[[], None]) -> None:
        self._work = work
        self._packager = packager
        self._checkpoint = checkpoint

    @cached_property
    def before(self) -> RunSound | None:
        """The last run of the segment before the slice; None before a tagged discontinuity."""
        work = self._work
        if not work.lead_in or work.segments[0].discontinuity:
            return None
        segment = replace(
            work, segments=work.lead_in[-1:], lead_in=work.lead_in[:-1], lead_out=work.segments[0]
        )
        return next(reversed(run_sounds(segment, self._packager, self._checkpoint)), None)

    @cached_property
    def behind(self) -> RunSound | None:
        """The first run of the segment behind the slice; None before a tagged discontinuity."""
        work = self._work
        if work.lead_out is None:
            return None
        known = (*work.lead_in, *work.segments)
        segment = replace(work, segments=(work.lead_out,), lead_in=known, lead_out=None)
        return next(iter(run_sounds(segment, self._packager, self._checkpoint)), None)

    def of(self, own: SoundSamples, number: int) -> Surroundings:
        """What other slices own of a track (``number``: PID or track_ID) of which this is ``own``."""
        before, behind = _track(self.before, own, number), _track(self.behind, own, number)
        return Surroundings(
            _adjoining(before, before.end, own.begin, self.before) if before else None,
            _adjoining(behind, behind.begin, own.end, self.behind) if behind else None,
        )


class SliceSound:
    """The sound of a slice's runs, and of what lies beside the slice where that goes on with it."""

    def __init__(self, work: Slice, packager: Packager, checkpoint: Callable[[], None]) -> None:
        """Reads all of the slice; raises as ``package_slice`` does, and ``bitrate_too_high``."""
        self._runs = run_sounds(work, packager, checkpoint)
        self._sides = Sides(work, packager, checkpoint)

    def run(self, sequence: int, piece: int) -> RunSound | None:
        """The run that begins there."""
        found = (each for each in self._runs if (each.sequence, each.piece) == (sequence, piece))
        return next(found, None)

    def beside(self, run: RunSound, number: int) -> Surroundings:
        """What other slices own of one of the run's tracks."""
        found = self._sides.of(run.tracks[number], number)
        return Surroundings(
            found.before if run is self._runs[0] else None,
            found.behind if run is self._runs[-1] else None,
        )

    def unheard(self, run: RunSound) -> tuple[Fraction, Fraction]:
        """From when to when a track is to be silent that the run lacks.

        That is while the run lasts, up to where another slice goes on with it; but not while a track
        that only its neighbours have is still heard, or heard again: sound is cut elsewhere than
        pictures are.
        """
        at = self._runs.index(run)
        previous = self._runs[at - 1] if at else self._sides.before
        following = self._runs[at + 1] if at + 1 < len(self._runs) else self._sides.behind
        begin, end = run.begin, run.end
        if previous and (previous := _on_clock(previous, previous.end, run.begin, run)):
            begin = max((begin, *(each.end for each in _lacking(run, previous))))
        if following and (following := _on_clock(following, following.begin, run.end, run)):
            own = following.begin if run is self._runs[-1] else end
            end = min((own, *(each.begin for each in _lacking(run, following))))
        return begin, max(begin, end)


def _on_clock(beside: RunSound, meets: Fraction, at: Fraction, run: RunSound) -> RunSound | None:
    """A run that ``meets`` another at a time, on the clock of that one, where it is ``at``.

    None when it is on another clock.
    """
    by = WRAP * round((at - meets) / WRAP) if run.wraps else Fraction(0)
    if abs(at - meets - by) > GAP:
        return None
    return beside.moved(by) if by else beside


def _lacking(run: RunSound, beside: RunSound) -> list[SoundSamples]:
    """Sound of a run beside another which that one has not."""
    return [each for number, each in beside.tracks.items() if number not in run.tracks]


def _track(beside: RunSound | None, own: SoundSamples, number: int) -> SoundSamples | None:
    """The same track of a run beside a slice; None when it is not there, or another sound."""
    found = beside.tracks.get(number) if beside else None
    if found is None or found.timescale != own.timescale:
        return None
    entries = {configuration_fingerprint(each.sample_entry) for each in (found, own)}
    return found if len(entries) == 1 else None


def _adjoining(
    sound: SoundSamples, meets: Fraction, at: Fraction, run: RunSound | None
) -> SoundSamples | None:
    """Sound of a run that ``meets`` other sound where that is ``at``; None when it does not."""
    by = WRAP * round((at - meets) / WRAP) if run and run.wraps else Fraction(0)
    if abs(at - meets - by) > _SAME_SOUND:
        return None
    return sound.moved(round(by * sound.timescale))


def run_sounds(work: Slice, packager: Packager, checkpoint: Callable[[], None]) -> list[RunSound]:
    """The sound of all runs of a slice, in order; raises as ``package_slice`` does."""
    final = packager.missing_is_final
    sizes = source_sizes(work, packager)
    found: list[RunSound] = []
    for stretch in stretches(work):
        fetched = read_ahead(packager.reader, stretch.segments, sizes, missing_is_final=final)
        runs = _fmp4_runs if is_fragmented(stretch.segments[0]) else _ts_runs
        with contextlib.closing(fetched):
            found += runs(stretch, packager, fetched, checkpoint)
    return found


def _ts_runs(
    work: Slice,
    packager: Packager,
    fetched: Iterator[FetchedSegment],
    checkpoint: Callable[[], None],
) -> Iterator[RunSound]:
    edges = Edges(work, packager)
    stream = SegmentStream(fetched, edges, checkpoint)
    while (first := stream.peek()) is not None:
        feed = TsRunFeed(stream, edges.lead_in(first), edges.lead_out, packager.max_hole)
        tracks = _ts_sound(feed, packager.ffmpeg, checkpoint)
        span = _ts_span(feed) or _span_of(tracks)
        if span is not None:
            yield RunSound(first.segment.sequence, first.piece, True, *span, tracks)


def _ts_sound(
    feed: TsRunFeed, ffmpeg_path: str, checkpoint: Callable[[], None]
) -> dict[int, SoundSamples]:
    sound = [track for track in feed.tracks if track.kind is TrackKind.AUDIO]
    if not sound:
        for _ in feed:
            checkpoint()
        return {}
    memory = SoundMemory()
    output = TsRunOutput(feed, memory, sound)
    argv = remux_argv(ffmpeg_path, RemuxInput(sound, feed.probe_bytes()))
    child = FilterProcess(argv, feed, deadline_seconds=DEADLINE_SECONDS, checkpoint=checkpoint)
    with child:
        read_movie(child, output)
    return _gathered(output.packaged().tracks, memory)


def _ts_span(feed: TsRunFeed) -> tuple[Fraction, Fraction] | None:
    """From when to when the run's pictures are shown; None when it has none."""
    for track in feed.tracks:
        expected = feed.expectation(track.track)
        shown = expected.pts[expected.pts != NO_TIME]
        if track.kind is TrackKind.VIDEO and len(shown):
            scale = expected.timescale
            usual = usual_duration(shown, 0)
            return Fraction(int(shown.min()), scale), Fraction(int(shown.max()) + usual, scale)
    return None


def _fmp4_runs(
    work: Slice,
    packager: Packager,
    fetched: Iterator[FetchedSegment],
    checkpoint: Callable[[], None],
) -> Iterator[RunSound]:
    reader, max_hole = packager.reader, packager.max_hole
    inits = InitSections(reader, missing_is_final=packager.missing_is_final)
    edges = Fmp4Edges(work, reader, inits, max_hole)
    stream = _NotingStream(
        fetched, inits, checkpoint, earlier=earlier_segments(work, reader, inits)
    )
    while (first := stream.peek()) is not None:
        coming = tuple(s for s in work.segments if s.sequence >= first.segment.sequence)
        feed = Fmp4PictureFeed(
            stream, edges, inits, coming, max_hole, neighbours=False, reaches=None
        )
        for _ in feed:
            checkpoint()
        memory = SoundMemory()
        interleaver = Interleaver(memory, feed.sound_pieces)
        interleaver.write_until(math.inf)
        tracks = [
            replace(track, placement=interleaver.placement(track.track)) for track in feed.sound()
        ]
        sound = _gathered(tracks, memory)
        span = _fmp4_span(stream.taken()) or _span_of(sound)
        if span is not None:
            yield RunSound(first.segment.sequence, first.piece, False, *span, sound)


class _NotingStream(Fmp4Stream):
    """A stream that remembers the segments that were taken, until it is asked for them."""

    _taken: tuple[Fmp4Segment, ...] = ()

    def take(self) -> Fmp4Segment:
        """The next segment; only after ``peek`` has shown one."""
        taken = super().take()
        self._taken = (*self._taken, taken)
        return taken

    def taken(self) -> tuple[Fmp4Segment, ...]:
        """The segments taken since the last call."""
        taken, self._taken = self._taken, ()
        return taken


def _fmp4_span(segments: Sequence[Fmp4Segment]) -> tuple[Fraction, Fraction] | None:
    """From when to when the pictures of these segments are shown; None when they have none."""
    spans = []
    for segment in segments:
        found = segment.spans()
        for header in segment.movie.tracks:
            if header.kind is TrackKind.VIDEO and header.track_id in found:
                ticks, _ = edit_shift(header, segment.movie.timescale)
                spans.append(found[header.track_id].moved(Fraction(ticks, header.timescale)))
    if not spans:
        return None
    return min(span.first_pts for span in spans), max(span.end_pts for span in spans)


def _gathered(tracks: Sequence[PackagedTrack], memory: SoundMemory) -> dict[int, SoundSamples]:
    payload = bytes(memory.held)
    return {track.track: samples_of(track, payload) for track in tracks if len(track.samples)}


def _span_of(tracks: Mapping[int, SoundSamples]) -> tuple[Fraction, Fraction] | None:
    """From when to when any of the tracks sounds; None when there is none."""
    if not tracks:
        return None
    return min(each.begin for each in tracks.values()), max(each.end for each in tracks.values())
