"""A stretch of sound: what one encoder encodes without a break, over any number of slices."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from pipelines.indexed_segment import ticks_90k
from pipelines.media import TrackKind
from pipelines.mpegts.index import index_segment
from pipelines.mpegts.mend import mend
from pipelines.mpegts.packets import read_packets
from pipelines.segment_index import NO_TIME, TS_TIMESCALE, TS_WRAP
from pipelines.timeline import Relation, step
from pipelines.transcoding.browsers import PLAYABLE_SOUND
from pipelines.transcoding.fed_tail import FedTail

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from pipelines.indexed_segment import IndexedSegment
    from pipelines.media import Configuration
    from pipelines.segment_index import TrackIndex
    from pipelines.timeline import Span
    from pipelines.transcoding.sound_walk import SliceRun, SoundWalk

#: Seconds after which a stretch ends with its slice, so that ffmpeg's clock of 33 bits (26.5 hours)
#: comes round once at most, and a hanging ffmpeg is found out.
LONGEST_STRETCH = 6 * 3600


@dataclass(eq=False)
class OwnedRun:
    """A run of a slice within a stretch; its sound begins where ``begins`` says."""

    run: SliceRun
    begins: dict[int, int] = field(default_factory=dict)  #: by PID, 90 kHz, the stretch's clock
    clock: int | None = None  #: 90 kHz ticks from the stretch's clock to the run's; None: no times


class SoundStretch:
    """Packets of the sound that is to be encoded, for ffmpeg's stdin, and whose they are.

    Iterated by the feeding thread. ``runs`` grows before the bytes that it concerns are handed
    out. A stretch goes on over seams of slices as long as packaging would go on with a run: it
    ends with a tagged discontinuity, another clock, a gap, or other tracks of sound, or another
    configuration of one. Where one of them has a hole, there is silence. It goes on, too, with a run
    that begins with what was fed last once more: that is left out.
    """

    def __init__(self, walk: SoundWalk, max_hole: Fraction) -> None:
        first = walk.peek()
        if first is None:
            raise LookupError("a stretch needs a run")
        self._walk = walk
        self._max_hole = max_hole
        self._clock: dict[int, Span] = {}
        self._tail = FedTail()
        self.tracks = encoded_tracks(first.first.index.tracks)
        self.runs: list[OwnedRun] = []
        self.begins: dict[int, int] = {}  #: by PID: the first unit's time, 90 kHz
        self.ends: dict[int, int] = {}  #: by PID: where the last unit so far ends

    def __iter__(self) -> Iterator[bytes]:
        new: IndexedSegment | None = None
        while True:
            owned = OwnedRun(self._walk.take())
            for indexed in owned.run:
                fed, new = new or indexed, None
                self._account(owned, fed)
                self._tail.note(indexed.index)
                yield sound_packets(fed, self.tracks)
            following = self._walk.peek()
            if following is None:
                return
            new = self._new_sound(following.first)
            if not self._continues(new):
                return

    def skip(self) -> OwnedRun:
        """Go through the one run of a stretch that has nothing to encode."""
        owned = OwnedRun(self._walk.take())
        for _ in owned.run:
            pass
        return owned

    def _new_sound(self, first: IndexedSegment) -> IndexedSegment:
        """What of the first segment of a run is to be fed: all of it, or, when it begins with what
        was fed last, the sound behind that."""
        if first.segment.discontinuity:
            return first
        wanted = encoded_tracks(first.index.tracks)
        counts = self._tail.repeated(first.index, wanted)
        return without_first(first, wanted, counts) if counts else first

    def _account(self, owned: OwnedRun, indexed: IndexedSegment) -> None:
        opens = not self._clock
        spans = indexed.spans
        unwrap = Fraction(0)
        if self._clock and spans:
            unwrap = step(self._clock, spans, wraps=True, max_hole=self._max_hole).unwrap
        self._clock |= {number: span.moved(unwrap) for number, span in spans.items()}
        if owned.clock is None and spans:
            own = ticks_90k(min(span.first_dts for span in spans.values()))
            rounds = round((owned.run.feed.first_dts - own) / TS_WRAP)
            owned.clock = TS_WRAP * rounds - ticks_90k(unwrap)
        for track in indexed.index.tracks:
            if track.track in self.tracks:
                self._account_track(owned, indexed, track, ticks_90k(unwrap), opens)
        if not self.runs or self.runs[-1] is not owned:
            self.runs.append(owned)

    def _account_track(
        self,
        owned: OwnedRun,
        indexed: IndexedSegment,
        track: TrackIndex,
        unwrap: int,
        opens: bool,
    ) -> None:
        # ffmpeg does not see units before the first PES header when nothing was fed before.
        dts = track.dts[track.headless if opens else 0 :]
        times = dts[dts != NO_TIME] + unwrap
        if not len(times):
            return
        self.begins.setdefault(track.track, int(times[0]))
        owned.begins.setdefault(track.track, int(times[0]))
        self.ends[track.track] = int(times[-1]) + track.unit_duration

    def _continues(self, first: IndexedSegment) -> bool:
        tracks = encoded_tracks(first.index.tracks)
        if first.segment.discontinuity or tracks.keys() != self.tracks.keys():
            return False
        if not self.tracks or not tracks.keys() <= first.spans.keys() or self._is_long():
            return False
        related = step(self._clock, first.spans, wraps=True, max_hole=self._max_hole)
        if related.relation is not Relation.CONTINUES:
            return False
        return not any(
            _changes(self.tracks[number].configuration, track.configuration)
            for number, track in tracks.items()
        )

    def _is_long(self) -> bool:
        lengths = (self.ends[number] - begin for number, begin in self.begins.items())
        return max(lengths, default=0) > LONGEST_STRETCH * TS_TIMESCALE


def _changes(before: Configuration | None, after: Configuration | None) -> bool:
    """Whether an encoder that was set up for the one cannot go on with the other."""
    return before is not None and after is not None and before.conflict_with(after) is not None


def encoded_tracks(tracks: Collection[TrackIndex]) -> dict[int, TrackIndex]:
    """The tracks of sound that browsers do not play, by PID."""
    return {
        track.track: track
        for track in tracks
        if track.kind is TrackKind.AUDIO and track.codec not in PLAYABLE_SOUND
    }


def sound_packets(indexed: IndexedSegment, wanted: Collection[int]) -> bytes:
    """A segment without the packets of the media that nobody wants: tables and sound stay."""
    packets, _ = read_packets(indexed.data)
    unwanted = [track.track for track in indexed.index.tracks if track.track not in wanted]
    return packets.rows[~np.isin(packets.pids, unwanted)].tobytes()


def without_first(
    indexed: IndexedSegment, wanted: Mapping[int, TrackIndex], counts: Mapping[int, int]
) -> IndexedSegment:
    """The sound of a segment that is ``wanted`` without so many first units of its tracks, by PID;
    all of the segment when what is left does not come out clean."""
    data = sound_packets(indexed, wanted)
    codecs = {number: track.codec for number, track in wanted.items()}
    pieces = mend(data, index_segment(data, codecs), codecs, without=counts).pieces
    left = {
        number: len(track) - counts[number] - track.headless if number in counts else len(track)
        for number, track in wanted.items()
    }
    if [{track.track: len(track) for track in piece.index.tracks} for piece in pieces] != [left]:
        return indexed
    return replace(indexed, data=pieces[0].data, index=pieces[0].index)
