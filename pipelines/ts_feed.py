"""What ffmpeg is fed in one run of MPEG-TS, and what the index says of the run's own segments."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from pipelines.cutter import Window
from pipelines.errors import ErrorCode, PermanentError
from pipelines.indexed_segment import ticks_90k
from pipelines.media import TrackKind
from pipelines.packaged_slice import Expectation
from pipelines.payload_hash import UNKNOWN_HASH
from pipelines.segment_begins import SegmentBegins
from pipelines.segment_index import NO_TIME, TS_TIMESCALE, UNKNOWN_SIZE, TrackIndex
from pipelines.timeline import GAP, Relation, step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pipelines.indexed_segment import IndexedSegment
    from pipelines.media import Codec
    from pipelines.segment_stream import SegmentStream
    from pipelines.timeline import Span


class TsRunFeed:
    """The bytes of one run for ffmpeg's stdin, and what the index says of its own segments.

    Iterated by the feeding thread. It ends before a segment that another run must begin with:
    behind a tagged discontinuity or a loss, with another clock or a gap, with another configuration
    of a track, with a track that was not there before, or without sound that was. Windows are set
    before the bytes that they concern are handed out.
    """

    def __init__(
        self,
        stream: SegmentStream,
        lead_in: Sequence[IndexedSegment],
        lead_out: Callable[[Mapping[int, Codec], bool], IndexedSegment | None],
        max_hole: Fraction,
    ) -> None:
        first = stream.peek()
        if first is None:
            raise LookupError("a run needs a segment")
        self.first = first
        self._stream = stream
        self._lead_in = lead_in
        self._lead_out = lead_out
        self._max_hole = max_hole
        self.tracks = _tracks_of([*lead_in, first])
        self.windows = {track.track: Window() for track in self.tracks}
        self._kinds = {track.track: track.kind for track in self.tracks}
        self._configurations = {
            track.track: track.configuration for track in self.tracks if track.configuration
        }
        self._sound = _sound_of(first)
        self._last = first.segment  # of the run's own
        self._closed: set[int] = set()  # PIDs whose last unit nothing goes on with
        self._clock: dict[int, Span] = {}
        self._own: dict[int, list[Expectation]] = {track.track: [] for track in self.tracks}
        self._optional: dict[int, list[np.ndarray]] = {number: [] for number in self._own}
        self._padding: dict[int, list[np.ndarray]] = {number: [] for number in self._own}
        self._unfinished = dict.fromkeys(self._own, False)
        self._began = False  # with a segment of its own
        #: Media sequences of the segments whose units are expected.
        self.sequences: list[int] = []
        #: When they begin on the clock of the run.
        self.begins = SegmentBegins()
        #: 90 kHz, of the first unit fed: which round of the clock it is.
        self.first_dts = _first_dts([*lead_in, first])
        for indexed in lead_in:
            self._enter(indexed)
        for number, span in self._clock.items():
            self.windows[number].first = ticks_90k(span.last_dts) + 1

    def probe_bytes(self) -> int:
        """Bytes by which every track has shown a complete unit, from the first byte fed."""
        fed = 0
        seen: dict[int, int] = {}
        for indexed in [*self._lead_in, self.first]:
            for track in indexed.index.tracks:
                seen.setdefault(track.track, fed + track.first_offset)
            fed += len(indexed.data)
        return max(seen.values())

    def __iter__(self) -> Iterator[bytes]:
        for indexed in self._lead_in:
            yield indexed.data
        while (following := self._stream.peek()) is not None and self._belongs(following):
            indexed = self._stream.take()
            self._account(indexed)
            yield indexed.data
        self._stream.end_run()
        tail = self._tail(following)
        self._finish_units({track.track: track for track in tail.index.tracks} if tail else {})
        if tail is not None:
            for number, window in self.windows.items():
                if number in self._clock:
                    window.last = ticks_90k(self._clock[number].last_dts)
            yield tail.data

    def expectation(self, number: int) -> Expectation:
        """What the index saw of one track in the run's own segments."""
        own = self._own[number]
        if not own:
            nothing = np.zeros(0, np.int64)
            sync, hashes = np.zeros(0, np.bool_), np.zeros(0, np.uint64)
            return Expectation(TS_TIMESCALE, nothing, nothing, sync, nothing, hashes)
        return Expectation(
            TS_TIMESCALE,
            np.concatenate([each.dts for each in own]),
            np.concatenate([each.pts for each in own]),
            np.concatenate([each.sync for each in own]),
            np.concatenate([each.sizes for each in own]),
            np.concatenate([each.hashes for each in own]),
        )

    def optional(self, number: int) -> tuple[np.ndarray, ...]:
        """Bytes of each expected size that ffmpeg may leave out, int64[n], by the reason why."""
        return tuple(
            np.concatenate(pieces) if pieces else np.zeros(0, np.int64)
            for pieces in (self._optional[number], self._padding[number])
        )

    def _tail(self, following: IndexedSegment | None) -> IndexedSegment | None:
        """What is fed behind the run, so that its last units come out whole."""
        unfinished = any(self._unfinished.values())
        if following is None:
            codecs = {track.track: track.codec for track in self.tracks}
            tail = self._lead_out(codecs, unfinished)
            return tail if tail and self._finishes(tail) else None
        goes_on = unfinished or any(each.continues_previous for each in following.index.tracks)
        if not goes_on or following.segment.discontinuity or not self._continues(following):
            return None
        return following if self._finishes(following) else None

    def _finishes(self, following: IndexedSegment) -> bool:
        """Whether a segment can be fed behind the run: the next one, and nothing other than it."""
        adjoins = self._stream.adjoin(self._last, following.segment)
        return adjoins and not self._conflicts(following) and self._is_later(following)

    def _is_later(self, following: IndexedSegment) -> bool:
        return self._relation(following) is not Relation.RESET

    def _continues(self, following: IndexedSegment) -> bool:
        return self._relation(following) is Relation.CONTINUES

    def _finish_units(self, following: Mapping[int, TrackIndex]) -> None:
        """Add to each track's last size what the next segment fed holds of that unit."""
        for number, own in self._own.items():
            after = None if number in self._closed else following.get(number)
            if not own or not len(own[-1].sizes) or own[-1].sizes[-1] == UNKNOWN_SIZE:
                continue
            sizes, before = own[-1].sizes, int(own[-1].sizes[-1])
            if self._kinds[number] is TrackKind.VIDEO:
                carried = after.carried if after else 0
                sizes[-1] = UNKNOWN_SIZE if carried == UNKNOWN_SIZE else sizes[-1] + carried
            elif self._unfinished[number] != (after is not None and after.continues_previous):
                sizes[-1] = UNKNOWN_SIZE  # cut off in the source, or something else behind it
            if sizes[-1] != before:
                own[-1].hashes[-1] = UNKNOWN_HASH

    def _belongs(self, following: IndexedSegment) -> bool:
        if not self._began:
            return True
        if following.segment.discontinuity or following.broken or following.piece:
            return False
        if any(track.track not in self.windows for track in following.index.tracks):
            return False
        if self._sound_changes(following) or self._conflicts(following):
            return False
        return self._continues(following)

    def _sound_changes(self, following: IndexedSegment) -> bool:
        """Whether sound begins or ends with a segment; one that is shorter than a gap may lack it."""
        spans = following.spans.values()
        lasts = max((s.end_pts for s in spans), default=0) - min(
            (s.first_pts for s in spans), default=0
        )
        sound = _sound_of(following)
        return bool(sound - self._sound) or (bool(self._sound - sound) and lasts > GAP)

    def _conflicts(self, following: IndexedSegment) -> bool:
        """Whether a track goes on in another configuration, or as something else."""
        for track in following.index.tracks:
            before = self._configurations.get(track.track)
            if before and track.configuration and before.conflict_with(track.configuration):
                return True
        return False

    def _relation(self, following: IndexedSegment) -> Relation:
        spans = following.spans
        if not spans or not self._clock:
            return Relation.CONTINUES
        return step(self._clock, spans, wraps=True, max_hole=self._max_hole).relation

    def _enter(self, indexed: IndexedSegment) -> int:
        """Note the clock of a segment that is fed; ticks that unwrap it to the run's clock."""
        spans, unwrap = indexed.spans, self._unwrap(indexed)
        self._clock |= {number: span.moved(unwrap) for number, span in spans.items()}
        for track in indexed.index.tracks:
            (self._closed.add if track.closed else self._closed.discard)(track.track)
        return ticks_90k(unwrap)

    def _unwrap(self, indexed: IndexedSegment) -> Fraction:
        """Seconds to add to a segment's times so that they go on from what was fed."""
        if not self._clock or not indexed.spans:
            return Fraction(0)
        return step(self._clock, indexed.spans, wraps=True, max_hole=self._max_hole).unwrap

    def _account(self, indexed: IndexedSegment) -> None:
        opens = not self._began and not self._lead_in
        orphaned = set(self._closed)
        if self._began:
            self._finish_units({track.track: track for track in indexed.index.tracks})
        unwrap = self._enter(indexed)
        self._began, self._last = True, indexed.segment
        self.sequences.append(indexed.segment.sequence)
        clock = {number: self._clock[number] for number in indexed.spans}
        self.begins.note(indexed.segment.sequence, clock)
        for track in indexed.index.tracks:
            self._unfinished[track.track] = track.ends_unfinished
            if track.configuration:
                self._configurations.setdefault(track.track, track.configuration)
            # Units without a PES header go on from a segment that is not there: nothing, ffmpeg
            # included, can tell when they belong.
            alone = opens or track.track in orphaned
            first = track.headless if alone else 0
            dts, pts, sync = track.dts[first:], track.pts[first:], track.sync[first:]
            sizes, hashes = track.sizes[first:].copy(), _hashes(track)[first:]
            for kept, left_out in (
                (self._optional, track.optional),
                (self._padding, track.padding),
            ):
                nothing = np.zeros(len(sizes), np.int64)
                kept[track.track].append(nothing if left_out is None else left_out[first:])
            if alone and track.continues_previous and len(sizes):
                sizes[0] = UNKNOWN_SIZE  # ffmpeg may take what comes before for a part of it
                hashes[0] = UNKNOWN_HASH
            self._own[track.track].append(
                Expectation(
                    TS_TIMESCALE,
                    np.where(dts == NO_TIME, NO_TIME, dts + unwrap),
                    np.where(pts == NO_TIME, NO_TIME, pts + unwrap),
                    sync,
                    sizes,
                    hashes,
                )
            )


def _hashes(track: TrackIndex) -> np.ndarray:
    """The hashes of a track's units, to be changed where more becomes known of them."""
    if track.hashes is None:
        return np.full(len(track), UNKNOWN_HASH, np.uint64)
    return track.hashes.copy()


def _first_dts(segments: Sequence[IndexedSegment]) -> int:
    """The first time that the segments tell, 90 kHz; 0 when they tell none."""
    for indexed in segments:
        if indexed.spans:
            return ticks_90k(min(span.first_dts for span in indexed.spans.values()))
    return 0


def _sound_of(indexed: IndexedSegment) -> frozenset[int]:
    """The PIDs of a segment's sound."""
    tracks = indexed.index.tracks
    return frozenset(track.track for track in tracks if track.kind is TrackKind.AUDIO)


def _tracks_of(segments: Sequence[IndexedSegment]) -> tuple[TrackIndex, ...]:
    """The tracks of a run, pictures first, each as first seen with its configuration.

    Raises ``PermanentError`` for what one MP4 cannot hold as it is.
    """
    found: dict[int, TrackIndex] = {}
    for indexed in segments:
        for track in indexed.index.tracks:
            if track.track not in found or found[track.track].configuration is None:
                found[track.track] = track
    tracks = sorted(found.values(), key=lambda track: track.kind is not TrackKind.VIDEO)
    if len(tracks) > 1 and tracks[1].kind is TrackKind.VIDEO:
        message = f"segment {segments[-1].segment.sequence} holds more than one video track"
        raise PermanentError(ErrorCode.RENDITION_UNSUPPORTED, message)
    return tuple(tracks)
