"""Subtitles of a recording: the cues of its WebVTT playlists on the one timeline of its MP4."""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from pipelines.loss import Loss, LossCause
from pipelines.source import FETCHES, FetchedSegment, fetch_head
from pipelines.timeline import WRAP
from pipelines.webvtt import Cue, WebVtt, WebVttError, joined, parse, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pipelines.clock_point import ClockPoint
    from pipelines.playlist import MediaPlaylist, Segment
    from pipelines.source import SourceReader

#: Most bytes of one segment of subtitles, and of those of all renditions together.
MAX_SEGMENT_BYTES = 4 << 20
MAX_TOTAL_BYTES = 128 << 20
#: Most cues of all renditions together.
MAX_CUES = 200_000
#: How many stretches before and after its place in the playlist a cue is looked for in.
NEAREST = 16

_TOO_LARGE = f"the subtitles are larger than {MAX_TOTAL_BYTES >> 20} MiB"

_ROUND = float(WRAP)
#: The padding of an encrypted segment's last block (PKCS #7), all of it blank in a text.
_PADDING = bytes(range(1, 17))


@dataclass(frozen=True)
class ClockStretch:
    """Media time from ``start`` to ``end`` (s), where the source's clock begins at ``clock`` (s)."""

    start: float
    end: float
    clock: float
    position: int  #: of the first segment of the main playlist that lies wholly in it
    discontinuity_sequence: int  #: of that playlist, there

    def media_time(self, clock: float) -> float:
        """The media time at which the source's clock is at ``clock``, in any round of it."""
        return self.start + (clock - self.clock + _ROUND / 2) % _ROUND - _ROUND / 2

    def clock_since(self, first: ClockStretch) -> float:
        """Seconds of the source's clock from the start of an earlier stretch to that of this one."""
        passed = self.clock - first.clock
        return passed - _ROUND * round((passed - (self.start - first.start)) / _ROUND)


@dataclass(frozen=True)
class SubtitleText:
    """One segment of subtitles as it was read; ``listed_at`` is the sum of EXTINF before it (s)."""

    segment: Segment
    listed_at: float
    text: WebVtt


@dataclass(frozen=True)
class ReadSubtitles:
    """A playlist of subtitles as it could be read."""

    texts: tuple[SubtitleText, ...]
    losses: tuple[Loss, ...]


@dataclass
class SubtitleBudget:
    """What the renditions that are still to be read may hold together."""

    size: int = MAX_TOTAL_BYTES  #: bytes; less than 0 once there were more
    cues: int = MAX_CUES


@dataclass(frozen=True)
class Subtitles:
    """The cues of one rendition of subtitles in media time, in order.

    ``left_out`` counts cues whose times cannot be read, or lie outside the recording.
    """

    cues: tuple[Cue, ...]
    left_out: int


@dataclass(frozen=True)
class VodText:
    """One segment of subtitles for the VOD playlist: all cues between two discontinuities."""

    text: str
    seconds: float  #: sum of EXTINF of the main playlist's segments there
    discontinuity_sequence: int


def clock_stretches(
    points: Sequence[ClockPoint], segments: Sequence[Segment], duration: float
) -> tuple[ClockStretch, ...]:
    """The stretches of one clock of a movie of ``duration`` seconds, by the segments of a playlist
    that it was made of."""
    stretches = []
    for point, following in itertools.zip_longest(points, points[1:]):
        place = bisect_left(segments, point.sequence, key=lambda each: each.sequence)
        inside = min(place, len(segments) - 1)
        stretches.append(
            ClockStretch(
                start=point.media,
                end=following.media if following else duration,
                clock=point.clock,
                position=inside + (point.piece > 0),
                discontinuity_sequence=segments[inside].discontinuity_sequence,
            )
        )
    return tuple(stretches)


def read_subtitles(
    reader: SourceReader,
    playlist: MediaPlaylist,
    budget: SubtitleBudget,
    checkpoint: Callable[[], None],
) -> ReadSubtitles:
    """Fetch and read every segment of a subtitle playlist, several at a time.

    What cannot be read, or goes beyond the ``budget`` that is drawn upon, is a loss. Raises
    ``TransientError`` for outages.
    """
    texts: list[SubtitleText] = []
    losses: list[Loss] = []
    at = 0.0
    with ThreadPoolExecutor(FETCHES, thread_name_prefix="subtitles") as pool:
        for batch in _batches(playlist.segments):
            checkpoint()
            fetch = partial(_fetched, reader, spent=budget.size < 0)
            for fetched in pool.map(fetch, batch):
                read = fetched.loss or _read(fetched, budget)
                if isinstance(read, WebVtt):
                    texts.append(SubtitleText(fetched.segment, at, read))
                else:
                    losses.append(read)
                at += fetched.segment.duration
    return ReadSubtitles(tuple(texts), tuple(losses))


def retimed(texts: Sequence[SubtitleText], stretches: Sequence[ClockStretch]) -> Subtitles:
    """The cues of all segments in media time, each once (``webvtt.joined``).

    ``X-TIMESTAMP-MAP`` puts a cue on the source's clock (RFC 8216 section 3.5), and the
    discontinuity sequence says which stretch of it is meant. Where the two contradict each other
    the clock decides; a text without a map whose times fit no clock counts media time.
    """
    places = _Places(stretches)
    left_out = 0
    placed: list[list[Cue]] = []
    for text in texts:
        found = [places.placed(cue, text) for cue in text.text.cues]
        left_out += text.text.left_out + sum(cue is None for cue in found)
        placed.append([cue for cue in found if cue is not None])
    return Subtitles(tuple(joined(placed)), left_out)


class _Places:
    """Finds the stretch of media in which a cue is shown."""

    def __init__(self, stretches: Sequence[ClockStretch]) -> None:
        self._all = stretches
        self._tagged: dict[int, list[ClockStretch]] = {}
        for each in stretches:
            self._tagged.setdefault(each.discontinuity_sequence, []).append(each)

    def placed(self, cue: Cue, text: SubtitleText) -> Cue | None:
        """The cue in media time; None when it lies nowhere in the recording."""
        clock = (text.text.clock or 0.0) + cue.start
        meant = self._tagged.get(text.segment.discontinuity_sequence, [])
        nearby = _fitting(cue, clock, _around(meant, text.listed_at))
        fits = nearby or _fitting(cue, clock, _around(self._all, text.listed_at))
        if fits:
            stretch = min(fits, key=lambda each: abs(each.media_time(clock) - text.listed_at))
            moved = cue.moved(stretch.media_time(clock) - cue.start)
            return moved.cut(stretch.start, stretch.end)
        if text.text.clock is None and self._all:
            return cue.cut(0.0, self._all[-1].end)
        return None


def _around(stretches: Sequence[ClockStretch], at: float) -> Sequence[ClockStretch]:
    """Those nearest to a media time, ``NEAREST`` on each side at most."""
    middle = bisect_right(stretches, at, key=lambda each: each.start)
    return stretches[max(0, middle - NEAREST) : middle + NEAREST]


def _fitting(cue: Cue, clock: float, stretches: Sequence[ClockStretch]) -> list[ClockStretch]:
    """The stretches in which some of a cue would be shown that begins at ``clock``."""
    return [
        each
        for each in stretches
        if (at := each.media_time(clock)) < each.end and at + cue.end - cue.start > each.start
    ]


def _from_tags(
    stretches: Sequence[ClockStretch], segments: Sequence[Segment]
) -> tuple[ClockStretch, ...]:
    """The stretches, those cut in two where a discontinuity stands although the clock goes on.

    There it is by EXTINF, which is near enough: on both sides the clock says when a cue is shown.
    """
    listed = [0.0, *itertools.accumulate(segment.duration for segment in segments)]
    begins = {each.position for each in stretches}
    found = [*stretches]
    for position in range(1, len(segments)):
        before, segment = segments[position - 1], segments[position]
        if segment.discontinuity_sequence == before.discontinuity_sequence or position in begins:
            continue
        at = bisect_right(found, position, key=lambda each: each.position) - 1
        if at < 0:
            continue
        whole = found[at]
        passed = listed[position] - listed[whole.position]
        if whole.start + passed < whole.end:
            rest = replace(
                whole,
                start=whole.start + passed,
                clock=whole.clock + passed,
                position=position,
                discontinuity_sequence=segment.discontinuity_sequence,
            )
            found[at : at + 1] = [replace(whole, end=rest.start), rest]
    return tuple(found)


def vod_texts(
    cues: Sequence[Cue], stretches: Sequence[ClockStretch], segments: Sequence[Segment]
) -> tuple[VodText, ...]:
    """The subtitles as segments for players of the VOD: one from discontinuity to discontinuity.

    ``segments`` are those of the VOD's main playlist. Each text has a map of its own to the clock
    of the media there, so that cues are shown with their pictures whatever times a player gives
    them.
    """
    stretches = _from_tags(stretches, segments)
    shown: dict[int, list[Cue]] = {}
    for cue in cues:
        number = max(0, bisect_right(stretches, cue.start, key=lambda each: each.start) - 1)
        shown.setdefault(number, []).append(cue)
    waiting = deque(enumerate(stretches))
    texts = []
    end = 0
    for number, group in itertools.groupby(segments, lambda each: each.discontinuity_sequence):
        seconds = 0.0
        for segment in group:
            seconds += segment.duration
            end += 1
        inside = []
        while waiting and (waiting[0][1].position < end or end == len(segments)):
            inside.append(waiting.popleft())
        first = inside[0][1] if inside else None
        moved = [
            cue.moved(stretch.clock_since(first) - stretch.start)
            for place, stretch in inside
            for cue in shown.get(place, ())
            if first is not None
        ]
        text = write(moved, first.clock if first else None)
        texts.append(VodText(text, seconds, number))
    return tuple(texts)


def _batches(segments: Sequence[Segment]) -> Iterator[Sequence[Segment]]:
    for first in range(0, len(segments), 4 * FETCHES):
        yield segments[first : first + 4 * FETCHES]


def _fetched(reader: SourceReader, segment: Segment, *, spent: bool) -> FetchedSegment:
    """The segment, or one byte more of it than is allowed; it is not asked for when the budget is
    ``spent``."""
    if spent:
        return FetchedSegment(segment, b"", _unreadable(segment, _TOO_LARGE))
    if segment.init_section is not None:
        why = "subtitles in fragmented MP4 are not read"
        return FetchedSegment(segment, b"", _unreadable(segment, why))
    return fetch_head(reader, segment, MAX_SEGMENT_BYTES + 1)


def _read(fetched: FetchedSegment, budget: SubtitleBudget) -> WebVtt | Loss:
    """The text of a segment; draws on the budget."""
    budget.size -= len(fetched.data)
    if len(fetched.data) > MAX_SEGMENT_BYTES:
        return _unreadable(fetched.segment, f"larger than {MAX_SEGMENT_BYTES >> 20} MiB")
    if budget.size < 0:
        return _unreadable(fetched.segment, _TOO_LARGE)
    data = fetched.data
    try:
        text = parse(data.rstrip(_PADDING) if fetched.segment.encryption else data)
    except WebVttError as error:
        return _unreadable(fetched.segment, str(error))
    if len(text.cues) > budget.cues:
        budget.cues = 0
        return _unreadable(fetched.segment, "too many cues")
    budget.cues -= len(text.cues)
    return text


def _unreadable(segment: Segment, why: str) -> Loss:
    cause, seconds = LossCause.SEGMENT_UNREADABLE, segment.duration
    return Loss(segment.sequence, str(segment.location), cause, why, whole=True, seconds=seconds)
