"""Packaging one run of fragmented MP4: the segments are fragments already, ffmpeg is not needed."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

from pipelines.cutter import SampleCutter, Window
from pipelines.errors import ErrorCode, PermanentError
from pipelines.http_source import Allowance
from pipelines.interleaver import Interleaver, LaidIn, pieces_of
from pipelines.mp4.boxes import Mp4Error
from pipelines.mp4.fragments import read_header_section, read_segment
from pipelines.mp4.sample_entry import configuration_fingerprint
from pipelines.mp4.samples import starts
from pipelines.packaged_slice import Expectation, PackagedRun, PackagedTrack, Samples
from pipelines.segment_index import Container
from pipelines.store_errors import ObjectMissing
from pipelines.timeline import Relation, Span, step

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    import numpy as np

    from pipelines.cutter import PayloadWriter
    from pipelines.media import TrackKind
    from pipelines.mp4.movie_fragment import Fragment, TrackFragment
    from pipelines.mp4.movie_header import MovieHeader, TrackHeader
    from pipelines.playlist import InitSection, Segment
    from pipelines.source import FetchedSegment, SourceReader

#: The largest media initialization section that is read.
MAX_INIT_BYTES = 16 << 20


class InitSections:
    """The media initialization sections of a recording, each read and checked once."""

    def __init__(self, reader: SourceReader) -> None:
        self._reader = reader
        self._read: dict[InitSection, tuple[bytes, MovieHeader]] = {}

    def movie(self, segment: Segment) -> MovieHeader:
        """The header that a segment's samples refer to (EXT-X-MAP, RFC 8216, 4.3.2.5)."""
        return self._checked(segment)[1]

    def data(self, segment: Segment) -> bytes:
        """The bytes of that section, for programs that read it themselves."""
        return self._checked(segment)[0]

    def _checked(self, segment: Segment) -> tuple[bytes, MovieHeader]:
        section = segment.init_section
        if section is None:
            message = f"segment {segment.sequence} is fragmented MP4 without EXT-X-MAP"
            raise PermanentError(ErrorCode.PLAYLIST_INVALID, message)
        if section not in self._read:
            data = self._fetch(section)
            self._read[section] = data, _movie_of(data, section, segment)
        return self._read[section]

    def _fetch(self, section: InitSection) -> bytes:
        try:
            size = section.byte_range.length if section.byte_range else None
            if (size or self._reader.size(section.location)) > MAX_INIT_BYTES:
                message = f"the initialization section {section.location} is larger than 16 MiB"
                raise PermanentError(ErrorCode.SEGMENT_DAMAGED, message)
            allowed = Allowance(MAX_INIT_BYTES, ErrorCode.SEGMENT_DAMAGED)
            return self._reader.read(section.location, section.byte_range, allowed)
        except ObjectMissing:
            message = f"the initialization section {section.location} is listed but missing"
            raise PermanentError(ErrorCode.SEGMENT_MISSING, message) from None


def _movie_of(data: bytes, section: InitSection, segment: Segment) -> MovieHeader:
    try:
        movie = read_header_section(data)
    except Mp4Error as error:
        message = f"the initialization section {section.location} is damaged: {error}"
        raise PermanentError(ErrorCode.SEGMENT_DAMAGED, message) from error
    _refuse_unsupported(movie, f"segment {segment.sequence} ({segment.location})")
    return movie


def _refuse_unsupported(movie: MovieHeader, where: str) -> None:
    for track in movie.tracks:
        if track.encrypted:
            message = f"{where}: track {track.track_id} is encrypted ({track.four_cc})"
            raise PermanentError(ErrorCode.ENCRYPTION_UNSUPPORTED, message)
        if track.kind is not None and track.codec is None:
            message = f"{where}: codec {track.four_cc} is not supported"
            raise PermanentError(ErrorCode.CODEC_UNSUPPORTED, message)
    if sum(track.kind == "video" for track in movie.tracks) > 1:
        message = f"{where} holds more than one video track"
        raise PermanentError(ErrorCode.RENDITION_UNSUPPORTED, message)


class Fmp4Segment:
    """A fetched segment with its header and fragments.

    Samples of tracks that are neither video nor audio (timed metadata) are left out.
    """

    def __init__(self, fetched: FetchedSegment, movie: MovieHeader) -> None:
        self.segment = fetched.segment
        self.data = fetched.data
        self.movie = movie
        start = fetched.segment.byte_range.offset if fetched.segment.byte_range else 0
        media = frozenset(track.track_id for track in movie.tracks if track.kind is not None)
        try:
            fragments = read_segment(movie, fetched.data, start)
        except Mp4Error as error:
            raise self._damaged(error) from error
        self.fragments: tuple[Fragment, ...] = tuple(_only(each, media) for each in fragments)
        if not self.fragments:
            message = f"segment {self.segment.sequence} ({self.segment.location}) holds no samples"
            raise PermanentError(ErrorCode.SEGMENT_DAMAGED, message)

    def cut(self, cutter: SampleCutter, kind: TrackKind | None = None) -> None:
        """Give all samples, or those of one kind of tracks, to the cutter.

        Raises ``segment_damaged`` when one has no decode time.
        """
        wanted = {t.track_id for t in self.movie.tracks if kind is None or t.kind is kind}
        try:
            for fragment in self.fragments:
                cutter.take(_only(fragment, wanted))
        except Mp4Error as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Mp4Error) -> PermanentError:
        message = f"segment {self.segment.sequence} ({self.segment.location}) is damaged: {error}"
        return PermanentError(ErrorCode.SEGMENT_DAMAGED, message)

    def spans(self) -> dict[int, Span]:
        """From where to where each track goes, in clock time."""
        times: dict[int, list[tuple[np.ndarray, TrackFragment]]] = {}
        for fragment in self.fragments:
            for track in fragment.tracks:
                if len(track) and track.base_decode_time is not None:
                    dts = track.base_decode_time + starts(track.durations)
                    times.setdefault(track.track_id, []).append((dts, track))
        scales = {track.track_id: track.timescale for track in self.movie.tracks}
        return {number: _span(pieces, scales[number]) for number, pieces in times.items()}


def _only(fragment: Fragment, track_ids: Collection[int]) -> Fragment:
    kept = tuple(track for track in fragment.tracks if track.track_id in track_ids)
    return replace(fragment, tracks=kept)


def _span(pieces: Sequence[tuple[np.ndarray, TrackFragment]], scale: int) -> Span:
    first, last = pieces[0][0], pieces[-1][0]
    duration = int(pieces[-1][1].durations[-1])
    shown = [dts + track.composition for dts, track in pieces]
    return Span(
        Fraction(int(first[0]), scale),
        Fraction(int(last[-1]), scale),
        Fraction(int(last[-1]) + duration, scale),
        Fraction(int(min(pts.min() for pts in shown)), scale),
        Fraction(int(max(pts.max() for pts in shown)) + duration, scale),
    )


class Fmp4Stream:
    """Fragmented MP4 segments in order, with one of look-ahead."""

    def __init__(
        self,
        fetched: Iterator[FetchedSegment],
        inits: InitSections,
        checkpoint: Callable[[], None],
    ) -> None:
        self._fetched = fetched
        self._inits = inits
        self._checkpoint = checkpoint
        self._next: Fmp4Segment | None = None

    def peek(self) -> Fmp4Segment | None:
        """The segment that ``take`` gives next; None at the end."""
        if self._next is None:
            self._checkpoint()
            fetched = next(self._fetched, None)
            if fetched is not None:
                self._next = Fmp4Segment(fetched, self._inits.movie(fetched.segment))
        return self._next

    def take(self) -> Fmp4Segment:
        """The next segment; only after ``peek`` has shown one."""
        taken, self._next = self._next, None
        if taken is None:
            raise LookupError("no segment is left")
        return taken


def package_fmp4_run(
    stream: Fmp4Stream, writer: PayloadWriter, max_hole: Fraction, laid_in: LaidIn | None = None
) -> PackagedRun:
    """Take fragments of one clock and one configuration into the writer; the run's tables.

    ``laid_in`` is sound that is laid between them, as further tracks. Raises ``PermanentError`` (``configuration_changed``) when the header changes within a clock.
    """
    first = stream.peek()
    if first is None:
        raise LookupError("a run needs a segment")
    media = [track for track in first.movie.tracks if track.kind is not None]
    cutter = SampleCutter(writer, {track.track_id: Window() for track in media})
    sound = laid_in or LaidIn()
    interleaver = Interleaver(writer, pieces_of(sound.tracks, sound.payload))
    clock: dict[int, Span] = {}
    while (following := stream.peek()) is not None:
        if not belongs(following, first, clock, max_hole):
            break
        segment = stream.take()
        refuse_change(first.movie, segment)
        segment.cut(cutter)
        clock |= segment.spans()
        interleaver.write_until(max((float(span.end_dts) for span in clock.values()), default=0.0))
    interleaver.write_until(math.inf)
    tracks = [source_track(header, first.movie.timescale, cutter) for header in media]
    for track in sound.tracks:
        tracks.append(replace(track, placement=interleaver.placement(track.track)))
    return PackagedRun(
        container=Container.FMP4,
        tagged=first.segment.discontinuity,
        starts_clean=True,
        first_sequence=first.segment.sequence,
        tracks=tuple(track for track in tracks if len(track.samples)),
    )


def belongs(
    following: Fmp4Segment, first: Fmp4Segment, clock: Mapping[int, Span], max_hole: Fraction
) -> bool:
    """Whether a segment goes on with the run that began with ``first`` and has come to ``clock``."""
    if following is first:
        return True
    if following.segment.discontinuity:
        return False
    spans = following.spans()
    if not spans or not clock:
        return True
    related = step(clock, spans, wraps=False, max_hole=max_hole)
    return related.relation is Relation.CONTINUES


def refuse_change(movie: MovieHeader, segment: Fmp4Segment) -> None:
    """Refuse a segment whose header describes other tracks (``configuration_changed``)."""
    before = {track.track_id: _description(track) for track in movie.tracks}
    after = {track.track_id: _description(track) for track in segment.movie.tracks}
    if before != after:
        where = f"segment {segment.segment.sequence} ({segment.segment.location})"
        message = f"{where} has another initialization section with another configuration"
        raise PermanentError(ErrorCode.CONFIGURATION_CHANGED, message)


def _description(track: TrackHeader) -> tuple[str, int, bytes]:
    return configuration_fingerprint(track.sample_entry), track.timescale, track.matrix


def source_track(header: TrackHeader, movie_timescale: int, cutter: SampleCutter) -> PackagedTrack:
    """A track in presentation time: the source's own edit list is applied, as players do."""
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
        expected=Expectation(header.timescale, samples.dts, samples.pts, samples.sync),
        matrix=header.matrix,
    )


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
