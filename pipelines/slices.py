"""How a rendition is cut into slices, each packaged by one message.

The cut depends on the segments before it only, never on what follows: while the playlist grows,
slices that were cut stay as they are. Once it does not grow any more, what lies behind the last of
them is cut into short ones, so that all workers share what is left to do.
"""

from __future__ import annotations

import hashlib
import itertools
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipelines.errors import ErrorCode, PermanentError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipelines.playlist import MediaPlaylist, Segment
    from pipelines.sound_windows import SoundWindow

#: Most segments of one slice.
MAX_SEGMENTS = 400
#: Seconds of the short slices into which the end of a recording is cut.
TAIL_SECONDS = 90.0
#: Most slices of one rendition: S3 has part numbers for no more (100 + 8 · n … 107 + 8 · n).
MAX_SLICES = 1237
#: Most segments that a slice is offered as its lead-in.
MAX_LEAD_IN = 64
#: Segments behind a slice's lead-out that are looked at when that repeats the slice's last one.
MAX_BEYOND = 4
#: Most segments of a tagged period's start that are looked at for its first picture.
MAX_PERIOD_START = 3


@dataclass(frozen=True)
class SliceLengths:
    """After how much media a slice closes, by its number: short first, so that work spreads and is
    done soon; long later, so that part numbers last for days.

    ``steps`` are pairs of the slice number from which on a length holds, the first 0, and the
    length in seconds.
    """

    steps: tuple[tuple[int, float], ...]

    @classmethod
    def all(cls, seconds: float) -> SliceLengths:
        """The same length for all slices."""
        return cls(((0, seconds),))

    def of(self, number: int) -> float:
        """Seconds of media after which slice ``number`` closes."""
        return next(seconds for first, seconds in reversed(self.steps) if number >= first)


#: Slices that are copied: they wait for the store more than for the processor.
COPY_LENGTHS = SliceLengths(((0, 180.0), (600, 900.0)))
#: Slices that are transcoded: a message of a few minutes' work at most while it can be helped, and
#: still 7.5 days in MAX_SLICES.
TRANSCODE_LENGTHS = SliceLengths(((0, 60.0), (300, 180.0), (600, 900.0)))


@dataclass(frozen=True)
class PeriodStart:
    """How a tagged period begins, seen from a later place in it, or from the start itself."""

    segments: tuple[Segment, ...]  #: its first, MAX_PERIOD_START at most
    elapsed: float  #: sum of EXTINF from the period's start to that place, seconds


@dataclass(frozen=True)
class Slice:
    """A time window of a rendition: what one message packages.

    ``lead_in`` are the segments before it in its tagged period, nearest last: what a decoder may
    need first. ``lead_out`` is the segment after it, unless a tagged discontinuity lies between;
    ``beyond`` are those behind that, for what goes on with the slice if it is one that came before.
    ``period`` is how the tagged period begins in which its first segment lies; it names no segment
    behind the slice. ``beside`` is a segment right before or behind the slice, whatever tags lie
    between; None when there is no other. ``start`` is the sum of EXTINF before it, seconds. ``settled`` once it will not
    grow any more. ``sound`` is what lies in its time of the variant's audio playlists, the default
    rendition first; playlists without a segment there are left out. ``is_last`` while no segment is
    listed behind it: should one come later, what is cut off at its end may go on there.
    """

    number: int
    segments: tuple[Segment, ...]
    lead_in: tuple[Segment, ...]
    lead_out: Segment | None
    period: PeriodStart
    start: float
    settled: bool
    sound: tuple[SoundWindow, ...] = ()
    beside: Segment | None = None
    is_last: bool = False
    #: It may still grow when the slice is settled: it does not make another slice.
    beyond: tuple[Segment, ...] = field(default=(), compare=False)

    @property
    def identity(self) -> str:
        """SHA-256 (hex) of what its segments are: another one means that it is packaged again."""
        lines = [segment.identity for segment in self.segments]
        lines += (window.identity for window in self.sound)
        if self.is_last:
            lines.append("last")
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    @property
    def duration(self) -> float:
        """Sum of EXTINF of its segments, seconds."""
        return sum(segment.duration for segment in self.segments)

    def period_at(self, sequence: int) -> PeriodStart:
        """How the tagged period begins in which its segment of that media sequence lies."""
        position = bisect_left(self.segments, sequence, key=lambda each: each.sequence)
        tags = (at for at in range(position, -1, -1) if self.segments[at].discontinuity)
        begin = next(tags, 0)
        elapsed = sum(segment.duration for segment in self.segments[begin:position])
        if not self.segments[begin].discontinuity:
            return PeriodStart(self.period.segments, self.period.elapsed + elapsed)
        return PeriodStart(_period_start(self.segments, begin, len(self.segments)), elapsed)


def cut(
    playlist: MediaPlaylist,
    *,
    idle: bool,
    lengths: SliceLengths = COPY_LENGTHS,
) -> tuple[Slice, ...]:
    """Cut a media playlist into slices; a slice closes once its EXTINF or its segments suffice.

    ``idle`` says that no segment will come, ENDLIST or not: the last slice then becomes several of
    about ``TAIL_SECONDS``.

    Raises PermanentError (``recording_too_long``) beyond 1,237 slices.
    """
    segments = playlist.segments
    placed = Placed(segments)
    windows = list(_windows(segments, lengths))
    if windows and (playlist.ended or idle):
        last = windows.pop()
        tail = _tail(segments, *last)
        has_room = len(windows) + len(tail) <= MAX_SLICES
        windows += tail if has_room else [last]
    slices: list[Slice] = []
    start = 0.0
    for number, (begin, end) in enumerate(windows):
        if number >= MAX_SLICES:
            raise PermanentError(
                ErrorCode.RECORDING_TOO_LONG,
                f"{playlist.location} needs more than {MAX_SLICES} slices; record shorter sessions.",
            )
        settled = end < len(segments) or playlist.ended or idle
        slices.append(placed.slice(begin, end, number=number, start=start, settled=settled))
        start = start + slices[-1].duration
    return tuple(slices)


class Placed:
    """The segments of a media playlist, of which slices are made by position."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        self.segments = segments
        self._periods = _periods(segments)

    def slice(
        self, begin: int, end: int, *, number: int, start: float = 0.0, settled: bool
    ) -> Slice:
        """The segments from ``begin`` up to ``end``, with what stands around them; not none."""
        return Slice(
            number=number,
            segments=tuple(self.segments[begin:end]),
            lead_in=_lead_in(self.segments, begin),
            lead_out=_lead_out(self.segments, end),
            period=self._period(begin, end),
            start=start,
            settled=settled,
            beside=next(
                iter((*self.segments[begin - 1 : begin], *self.segments[end : end + 1])), None
            ),
            is_last=end == len(self.segments),
            beyond=_beyond(self.segments, end),
        )

    def _period(self, begin: int, end: int) -> PeriodStart:
        first, elapsed = self._periods[begin]
        return PeriodStart(_period_start(self.segments, first, end), elapsed)


def _windows(segments: Sequence[Segment], lengths: SliceLengths) -> Iterator[tuple[int, int]]:
    """First and behind-last position of the segments of every slice."""
    begin, seconds, number = 0, 0.0, 0
    for position, segment in enumerate(segments):
        seconds += segment.duration
        if seconds >= lengths.of(number) or position + 1 - begin == MAX_SEGMENTS:
            yield begin, position + 1
            begin, seconds, number = position + 1, 0.0, number + 1
    if begin < len(segments):
        yield begin, len(segments)


def _tail(segments: Sequence[Segment], begin: int, end: int) -> list[tuple[int, int]]:
    """First and behind-last position of the short slices between the two; one at least."""
    seconds = sum(segment.duration for segment in segments[begin:end])
    pieces = max(1, round(seconds / TAIL_SECONDS))
    bounds, passed = [begin], 0.0
    for position in range(begin, end - 1):
        passed += segments[position].duration
        if len(bounds) < pieces and passed * pieces >= seconds * len(bounds):
            bounds.append(position + 1)
    return list(itertools.pairwise([*bounds, end]))


def _lead_in(segments: Sequence[Segment], begin: int) -> tuple[Segment, ...]:
    """The segments before ``begin`` back to the tag that starts its period, MAX_LEAD_IN at most."""
    earliest = begin
    while earliest > max(0, begin - MAX_LEAD_IN) and not segments[earliest].discontinuity:
        earliest -= 1
    return tuple(segments[earliest:begin])


def _periods(segments: Sequence[Segment]) -> list[tuple[int, float]]:
    """For every segment the position at which its tagged period begins, and EXTINF up to it (s)."""
    found: list[tuple[int, float]] = []
    begin, elapsed = 0, 0.0
    for position, segment in enumerate(segments):
        if segment.discontinuity:
            begin, elapsed = position, 0.0
        found.append((begin, elapsed))
        elapsed += segment.duration
    return found


def _period_start(segments: Sequence[Segment], begin: int, end: int) -> tuple[Segment, ...]:
    """The first segments of the period that begins at ``begin``, none from ``end`` on."""
    first, *others = segments[begin : min(end, begin + MAX_PERIOD_START)]
    return (first, *itertools.takewhile(lambda segment: not segment.discontinuity, others))


def _lead_out(segments: Sequence[Segment], end: int) -> Segment | None:
    if end == len(segments) or segments[end].discontinuity:
        return None
    return segments[end]


def _beyond(segments: Sequence[Segment], end: int) -> tuple[Segment, ...]:
    if _lead_out(segments, end) is None:
        return ()
    following = segments[end + 1 : end + 1 + MAX_BEYOND]
    return tuple(itertools.takewhile(lambda segment: not segment.discontinuity, following))
