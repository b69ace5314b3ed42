"""Packaging one run of fragmented MP4: the segments are fragments already, ffmpeg is not needed."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

from pipelines.cutter import SampleCutter, Window
from pipelines.fragment_units import FragmentUnits
from pipelines.interleaver import Interleaver, LaidIn, pieces_of
from pipelines.media import TrackKind
from pipelines.mp4.sample_entry import configuration_fingerprint
from pipelines.packaged_slice import PackagedRun, PackagedTrack, Samples
from pipelines.sample_proof import compare, compare_hashes
from pipelines.segment_begins import SegmentBegins
from pipelines.segment_index import Container
from pipelines.timeline import GAP, Relation, Span, step

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pipelines.cutter import PayloadWriter
    from pipelines.fmp4_stream import Fmp4Segment, Fmp4Stream
    from pipelines.mp4.movie_header import MovieHeader, TrackHeader

#: The window of a track that is left out.
_NOTHING = Window(first=1, last=0)


def package_fmp4_run(
    stream: Fmp4Stream,
    writer: PayloadWriter,
    max_hole: Fraction,
    laid_in: LaidIn | None = None,
    replaced: Collection[int] = (),
) -> PackagedRun:
    """Take fragments of one clock and one configuration into the writer; the run's tables.

    ``laid_in`` is sound that is laid between them, as further tracks, or in the place of those whose
    track_IDs are ``replaced``. Raises ``ToolError`` when
    what was cut is not what the segments hold.
    """
    first = stream.peek()
    if first is None:
        raise LookupError("a run needs a segment")
    media = [track for track in first.movie.tracks if track.kind is not None]
    windows = {each.track_id: _NOTHING if each.track_id in replaced else Window() for each in media}
    cutter = SampleCutter(writer, windows)
    units = FragmentUnits()
    sound = laid_in or LaidIn()
    interleaver = Interleaver(writer, pieces_of(sound.tracks, sound.payload))
    clock: dict[int, Span] = {}
    sequences: list[int] = []
    begins = SegmentBegins()
    shifts = edit_shifts(first.movie)
    while (following := stream.peek()) is not None:
        if not belongs(following, first, clock, max_hole):
            break
        segment = stream.take()
        segment.note(units)
        sequences.append(segment.segment.sequence)
        segment.cut(cutter)
        spans = segment.spans()
        begins.note(segment.segment.sequence, spans)
        clock |= spans
        ends = (span.end_dts + shifts[number] for number, span in clock.items())
        interleaver.write_until(float(max(ends, default=Fraction(0))))
    interleaver.write_until(math.inf)
    tracks = [
        source_track(each, first.movie.timescale, cutter, units)
        for each in media
        if each.track_id not in replaced
    ]
    for track in sound.tracks:
        tracks.append(replace(track, placement=interleaver.placement(track.track)))
    return PackagedRun(
        container=Container.FMP4,
        tagged=first.tagged,
        starts_clean=True,
        first_sequence=first.segment.sequence,
        tracks=tuple(track for track in tracks if len(track.samples)),
        piece=first.piece,
        broken=first.broken,
        wall_clock=wall_clock(first),
        sequences=tuple(sequences),
        begins=begins.all,
    )


def wall_clock(first: Fmp4Segment) -> float | None:
    """Unix seconds of a run's first sample, as far as the playlist tells it."""
    tagged = first.segment.program_date_time
    return None if tagged is None or first.piece else tagged.timestamp()


def belongs(
    following: Fmp4Segment, first: Fmp4Segment, clock: Mapping[int, Span], max_hole: Fraction
) -> bool:
    """Whether a segment goes on with the run that began with ``first`` and has come to ``clock``.

    Not behind a tag or a loss, with another clock, behind a gap, with another configuration, with
    a track that is new, nor without the sound that was there.
    """
    if following is first:
        return True
    if following.tagged or following.broken or following.piece:
        return False
    if _description(following.movie) != _description(first.movie):
        return False
    spans = following.spans()
    if not spans or not clock:
        return True
    related = step(clock, spans, wraps=False, max_hole=max_hole)
    return related.relation is Relation.CONTINUES and _same_tracks(following, clock, spans)


def _same_tracks(
    following: Fmp4Segment, clock: Mapping[int, Span], spans: Mapping[int, Span]
) -> bool:
    """Whether no track is new, and no track of sound has ended, by more than a hole that counts.

    Sound that was lost with a part of the segment has not ended.
    """
    began = min(span.first_dts for span in clock.values())
    if any(spans[new].first_dts - began > GAP for new in spans.keys() - clock.keys()):
        return False
    sound = {t.track_id for t in following.movie.tracks if t.kind is TrackKind.AUDIO}
    end = max(span.end_dts for span in spans.values()) if following.whole else 0
    return all(end - clock[old].end_dts <= GAP for old in (clock.keys() & sound) - spans.keys())


def _description(movie: MovieHeader) -> list[tuple[object, ...]]:
    """All that the samples of a movie's tracks need, to be shown as they are meant."""
    return [
        (
            track.track_id,
            configuration_fingerprint(track.sample_entry),
            track.timescale,
            track.movie_timescale,
            track.matrix,
            track.edits,
            track.defaults,
        )
        for track in movie.tracks
    ]


def source_track(
    header: TrackHeader, movie_timescale: int, cutter: SampleCutter, units: FragmentUnits
) -> PackagedTrack:
    """A track in presentation time: the source's own edit list is applied, as players do.

    Raises ``ToolError`` when what was cut is not what the segments hold.
    """
    if header.codec is None:
        raise LookupError("an unsupported track came past the check of the header")
    samples = cutter.samples(header.track_id)
    shift, edit_start = edit_shift(header, movie_timescale)
    samples = Samples(
        samples.dts + shift,
        samples.composition,
        samples.sizes,
        samples.sync,
        samples.last_duration,
    )
    expected = units.expectation(header.track_id, header.timescale, shift)
    name = f"track {header.track_id}"
    compare(samples, header.timescale, expected, header.codec.kind, name)
    compare_hashes(cutter.hashes(header.track_id), expected.hashes, name)
    return PackagedTrack(
        track=header.track_id,
        codec=header.codec,
        timescale=header.timescale,
        sample_entry=header.sample_entry,
        language=header.language,
        width=header.width,
        height=header.height,
        edit_start=edit_start,
        samples=samples,
        placement=cutter.placement(header.track_id),
        expected=expected,
        matrix=header.matrix,
    )


def edit_shifts(movie: MovieHeader) -> dict[int, Fraction]:
    """Seconds that the edit list of each track adds to its media times, by track_ID."""
    return {
        track.track_id: Fraction(edit_shift(track, movie.timescale)[0], track.timescale)
        for track in movie.tracks
    }


def edit_shift(header: TrackHeader, movie_timescale: int) -> tuple[int, int | None]:
    """Ticks that the edit list adds to media times, and where presentation then begins.

    An empty edit counts in ticks of the movie (ISO/IEC 14496-12, 8.6.6).
    """
    pause = sum(edit.duration for edit in header.edits if edit.media_time < 0)
    empty = round(Fraction(pause * header.timescale, movie_timescale))
    shown = [edit.media_time for edit in header.edits if edit.media_time >= 0]
    if not shown:
        return 0, None
    return -shown[0] + empty, 0 if shown[0] > 0 else None
