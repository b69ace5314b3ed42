"""The way through a variant for the sake of its sound: slice by slice, cut into the runs of copies."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.copied_runs import is_fragmented, stretches
from pipelines.edges import Edges
from pipelines.segment_stream import SegmentStream
from pipelines.source import measure, read_ahead
from pipelines.ts_feed import TsRunFeed

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

    from pipelines.indexed_segment import IndexedSegment
    from pipelines.loss import Loss
    from pipelines.media import Codec
    from pipelines.package import Packager
    from pipelines.repair import Repair
    from pipelines.slices import Slice


class _TappedStream(SegmentStream):
    """A stream that remembers the segment taken last, until it is asked for it."""

    _taken: IndexedSegment | None = None

    def take(self) -> IndexedSegment:
        """The next segment; only after ``peek`` has shown one."""
        self._taken = super().take()
        return self._taken

    def taken(self) -> IndexedSegment | None:
        """The segment taken since the last call, if any."""
        taken, self._taken = self._taken, None
        return taken


@dataclass(frozen=True, eq=False)
class SliceRun:
    """One run of a slice, as packaging cuts it; iterated once, it gives its own segments."""

    work: Slice
    source_bytes: int  #: of the whole slice
    feed: TsRunFeed
    _stream: _TappedStream

    @property
    def first(self) -> IndexedSegment:
        """The segment with which the run begins."""
        return self.feed.first

    def __iter__(self) -> Iterator[IndexedSegment]:
        for _ in self.feed:
            # A piece that was not taken from the stream is lead-in: other runs own it.
            own = self._stream.taken()
            if own is not None:
                yield own


class SoundWalk:
    """The runs of MPEG-TS of all slices in order, with one of look-ahead.

    Each must be gone through before the next is asked for. Close it when it is left before its
    end. Raises what packaging raises for segments that are missing, damaged or scrambled.
    """

    def __init__(
        self, slices: Sequence[Slice], packager: Packager, checkpoint: Callable[[], None]
    ) -> None:
        self._packager = packager
        self._checkpoint = checkpoint
        self._runs = self._walk(slices)
        self._next: SliceRun | None = None
        self._losses: list[Loss] = []
        self._repairs: list[Repair] = []

    def told(self, work: Slice) -> tuple[Sequence[Loss], Sequence[Repair]]:
        """What a slice's segments lack, and what was mended in them, once it was gone through."""
        sequences = {segment.sequence for segment in work.segments}
        losses = [loss for loss in self._losses if loss.sequence in sequences]
        return losses, [repair for repair in self._repairs if repair.sequence in sequences]

    def peek(self) -> SliceRun | None:
        """The run that ``take`` gives next; None at the end."""
        if self._next is None:
            self._next = next(self._runs, None)
        return self._next

    def take(self) -> SliceRun:
        """The next run; only after ``peek`` has shown one."""
        taken, self._next = self._next, None
        if taken is None:
            raise LookupError("no run is left")
        return taken

    def close(self) -> None:
        """Stop fetching."""
        self._runs.close()

    def _walk(self, slices: Sequence[Slice]) -> Generator[SliceRun]:
        reader, final = self._packager.reader, self._packager.missing_is_final
        for work in slices:
            sizes = measure(reader, work.segments, missing_is_final=final)
            for stretch in stretches(work):
                if is_fragmented(stretch.segments[0]):
                    continue
                edges = Edges(stretch, self._packager)
                ahead = read_ahead(reader, stretch.segments, sizes, missing_is_final=final)
                with contextlib.closing(ahead) as fetched:
                    stream = _TappedStream(fetched, edges, self._checkpoint)
                    while (first := stream.peek()) is not None:
                        lead_in = edges.lead_in(first)
                        feed = TsRunFeed(stream, lead_in, _nothing, self._packager.max_hole)
                        yield SliceRun(work, sum(sizes.values()), feed, stream)
                self._losses += stream.losses
                self._repairs += stream.repairs


def _nothing(tracks: Mapping[int, Codec], unfinished: bool) -> None:
    """No lead-out: the encoder goes on with the next slice anyway."""
