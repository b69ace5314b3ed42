"""The way through a variant for the sake of its sound: slice by slice, cut into the runs of copies."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.edges import Edges
from pipelines.errors import ErrorCode, PermanentError
from pipelines.segment_stream import SegmentStream
from pipelines.source import measure, read_ahead
from pipelines.ts_feed import TsRunFeed

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

    from pipelines.media import Codec
    from pipelines.package import Packager
    from pipelines.segment_stream import IndexedSegment
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
    """The runs of all slices in order, with one of look-ahead.

    Each must be gone through before the next is asked for. Close it when it is left before its
    end. Raises what packaging raises for segments that are missing, damaged or scrambled, and
    ``codec_unsupported`` for fragmented MP4.
    """

    def __init__(
        self, slices: Sequence[Slice], packager: Packager, checkpoint: Callable[[], None]
    ) -> None:
        self._packager = packager
        self._checkpoint = checkpoint
        self._runs = self._walk(slices)
        self._next: SliceRun | None = None

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
            _refuse_fragmented(work)
            sizes = measure(reader, work.segments, missing_is_final=final)
            edges = Edges(work, self._packager)
            ahead = read_ahead(reader, work.segments, sizes, missing_is_final=final)
            with contextlib.closing(ahead) as fetched:
                stream = _TappedStream(fetched, edges, self._checkpoint)
                while (first := stream.peek()) is not None:
                    lead_in = edges.lead_in(first)
                    feed = TsRunFeed(stream, lead_in, _nothing, self._packager.max_hole)
                    yield SliceRun(work, sum(sizes.values()), feed, stream)


def _nothing(tracks: Mapping[int, Codec], unfinished: bool) -> None:
    """No lead-out: the encoder goes on with the next slice anyway."""


def _refuse_fragmented(work: Slice) -> None:
    for segment in work.segments:
        if segment.init_section is not None:
            message = (
                f"segment {segment.sequence} ({segment.location}) is fragmented MP4 with sound that "
                "browsers do not play, which this version encodes out of MPEG-TS only"
            )
            raise PermanentError(ErrorCode.CODEC_UNSUPPORTED, message)
