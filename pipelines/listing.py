"""What a live playlist has listed so far: its window as it is now, behind what slid out of it.

A live playlist may forget its oldest segments at any time (RFC 8216 section 6.2.2); what it listed
once stays in the recording. All of this is pure: the same earlier listing and the same window give
the same listing, and joining a window twice changes nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from pipelines.errors import ErrorCode, PermanentError
from pipelines.playlist import MediaPlaylist, PlaylistKind
from pipelines.playlist_text import MAX_SEGMENTS
from pipelines.wall_clock import is_later

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pipelines.location import Location
    from pipelines.playlist import (
        AudioRendition,
        Encryption,
        Recording,
        Segment,
        SubtitleRendition,
    )


#: Restarts of an origin that are told, the latest ones: some begin anew for ever.
MOST_RESTARTS = 100


@dataclass(frozen=True)
class ListedSpan:
    """What tells whether a listing lies whole in a window, without its segments.

    Media sequences of its ``first`` segment, of the first one of the ``window`` as it was then,
    and of the ``last``; the others are as of ``MediaPlaylist``.
    """

    first: int
    window: int
    last: int
    renumbered: int = 0
    restarts: tuple[int, ...] = ()

    @classmethod
    def of(cls, listing: MediaPlaylist) -> ListedSpan:
        """Of a listing that is not empty."""
        segments = listing.segments
        last = segments[-1].sequence
        window = next((each.sequence for each in segments if not each.slid), last + 1)
        return cls(segments[0].sequence, window, last, listing.renumbered, listing.restarts)

    def lies_in(self, playlist: MediaPlaylist) -> bool:
        """Whether a playlist as it is now lists all of it by itself."""
        if self.renumbered or not playlist.segments:
            return False
        first, last = playlist.segments[0].sequence, playlist.segments[-1].sequence
        return first <= self.first and self.last <= last

    def listing(self, location: Location, segments: Iterable[Segment]) -> MediaPlaylist:
        """The listing once more, of its segments as they were kept."""
        slid = (
            each
            if each.slid == (each.sequence < self.window)
            else replace(each, slid=not each.slid)
            for each in segments
        )
        kept = _placed(slid)
        return MediaPlaylist(
            location, kept, False, 0.0, PlaylistKind.LIVE, self.renumbered, self.restarts
        )


def joined(earlier: MediaPlaylist, now: MediaPlaylist) -> MediaPlaylist:
    """The segments that ``earlier`` lists and those of the playlist as it is ``now``, in order.

    Where both list a media sequence, what is listed now counts: a playlist that is rewritten in
    place is what it says. Earlier segments stay where the window has moved past them, and behind
    the window where it is an older view of the same playlist. When media sequences went back, the
    origin has begun anew: its segments continue behind all earlier ones, after a discontinuity,
    under numbers that go on. Raises PermanentError (``recording_too_long``) beyond 500,000.
    """
    if not earlier.segments:
        return now
    if not now.segments:
        return _listing(earlier, now, map(_slid, earlier.segments))
    numbering = _numbering(earlier, now)
    window = [*_window(earlier, now, numbering)]
    first = bisect_left(earlier.segments, window[0].sequence, key=_number)
    behind = bisect_left(earlier.segments, window[-1].sequence + 1, key=_number)
    slid = map(_slid, earlier.segments[:first])
    listing = _listing(earlier, now, [*slid, *window, *earlier.segments[behind:]])
    restarts = earlier.restarts
    if numbering.restarted:
        restarts = (*restarts, window[0].sequence)[-MOST_RESTARTS:]
    return replace(listing, renumbered=numbering.added, restarts=restarts)


def with_listings(recording: Recording, earlier: Mapping[str, MediaPlaylist]) -> Recording:
    """The recording with the ``earlier`` listings of its playlists (by location) joined in.

    Sound and subtitles that were not read are what was listed earlier.
    """
    found = {
        each.location: joined(earlier[str(each.location)], each)
        for each in recording.media_playlists
        if str(each.location) in earlier
    }
    if sum(len(each.segments) for each in found.values()) > MAX_SEGMENTS:
        message = f"{recording.location} has listed more than {MAX_SEGMENTS} segments in all"
        raise PermanentError(ErrorCode.RECORDING_TOO_LONG, message)

    def listed(each: AudioRendition | SubtitleRendition) -> MediaPlaylist | None:
        if each.playlist is None:
            return earlier.get(str(each.location)) if each.location else None
        return found.get(each.playlist.location, each.playlist)

    variants = (
        replace(
            variant,
            playlists=tuple(found.get(each.location, each) for each in variant.playlists),
            audio=tuple(replace(each, playlist=listed(each)) for each in variant.audio),
            subtitles=tuple(replace(each, playlist=listed(each)) for each in variant.subtitles),
        )
        for variant in recording.variants
    )
    return replace(recording, variants=tuple(variants))


def shortest_window(recording: Recording) -> float | None:
    """Seconds of the shortest playlist that may slide; None when none of the recording's may.

    Whoever looks less often than that may never see some of its segments listed.
    """
    lengths = (
        sum(segment.duration for segment in each.window)
        for each in recording.media_playlists
        if each.may_slide and each.segments
    )
    return min(lengths, default=None)


def never_listed(segments: Sequence[Segment]) -> int:
    """How many media sequences between the listed ones nobody has ever seen listed."""
    if not segments:
        return 0
    return segments[-1].sequence - segments[0].sequence + 1 - len(segments)


class _Numbering(NamedTuple):
    """How media sequences of a window go on with those of a listing."""

    added: int  #: to what is listed
    restarted: bool  #: the origin has begun anew since


def _numbering(earlier: MediaPlaylist, now: MediaPlaylist) -> _Numbering:
    last, added = earlier.segments[-1], earlier.renumbered
    common = [*_common(earlier, now, added)]
    anew = bool(common) and all(is_later(then, each) for each, then in common)
    if not anew and now.segments[-1].sequence + added >= last.sequence:
        return _Numbering(added, restarted=False)
    window = ListedSpan.of(earlier).window
    reaches = now.segments[-1].sequence + added >= window
    if common and reaches and all(_is_same(each, then) for each, then in common):
        return _Numbering(added, restarted=False)  # an older view of it, out of some cache
    again = [each.sequence for each in now.segments if _is_same(each, last)]
    if len(again) == 1:
        return _Numbering(last.sequence - again[0], restarted=False)
    return _Numbering(last.sequence + 1 - now.segments[0].sequence, restarted=True)


def _common(
    earlier: MediaPlaylist, now: MediaPlaylist, added: int
) -> Iterator[tuple[Segment, Segment]]:
    """What is listed now and was listed earlier under one media sequence."""
    first = bisect_left(earlier.segments, now.segments[0].sequence + added, key=_number)
    known = {each.sequence: each for each in earlier.segments[first:]}
    for each in now.segments:
        if then := known.get(each.sequence + added):
            yield each, then


def _window(earlier: MediaPlaylist, now: MediaPlaylist, numbering: _Numbering) -> Iterator[Segment]:
    """The segments that are listed now, as they go on with the earlier ones.

    Tags before the first one of a window may have been dropped together with what stood before it.
    """
    first, added = now.segments[0], numbering.added
    shared = {
        each.sequence: then for each, then in _common(earlier, now, added) if _is_same(each, then)
    }
    tags, tagged = _tags(earlier, now, numbering, shared)
    for each in now.segments:
        then = shared.get(each.sequence)
        yield replace(
            each,
            sequence=each.sequence + added,
            encryption=_numbered(each.encryption, each.sequence) if added else each.encryption,
            discontinuity=each.discontinuity or (each is first and tagged),
            discontinuity_sequence=each.discontinuity_sequence + tags,
            program_date_time=each.program_date_time or (then.program_date_time if then else None),
        )


def _tags(
    earlier: MediaPlaylist,
    now: MediaPlaylist,
    numbering: _Numbering,
    shared: Mapping[int, Segment],
) -> tuple[int, bool]:
    """What is added to discontinuity sequences, since not all origins tell how many slid away, and
    whether a discontinuity stands before the window's first segment."""
    first = now.segments[0]
    if numbering.restarted:
        tags = earlier.segments[-1].discontinuity_sequence + 1 - first.discontinuity_sequence
        return tags, True
    for each in now.segments:
        if then := shared.get(each.sequence):
            tags = then.discontinuity_sequence - each.discontinuity_sequence
            return tags, each is first and then.discontinuity
    at = bisect_left(earlier.segments, first.sequence + numbering.added, key=_number)
    if not at:
        return 0, False
    before = earlier.segments[at - 1].discontinuity_sequence
    tags = max(0, before - (first.discontinuity_sequence - first.discontinuity))
    return tags, first.discontinuity_sequence + tags > before


def _listing(
    earlier: MediaPlaylist, now: MediaPlaylist, segments: Iterable[Segment]
) -> MediaPlaylist:
    """A listing of these segments, of the kind that the playlist is now."""
    return replace(
        now,
        segments=_placed(segments),
        renumbered=earlier.renumbered,
        restarts=earlier.restarts,
    )


def _placed(segments: Iterable[Segment]) -> tuple[Segment, ...]:
    """The segments with the sums of EXTINF before them."""
    placed, elapsed = [], 0.0
    for each in segments:
        placed.append(each if each.elapsed == elapsed else replace(each, elapsed=elapsed))
        elapsed += each.duration
    return tuple(placed)


def _is_same(one: Segment, other: Segment) -> bool:
    """Whether two segments are of one object; queries differ wherever URLs are signed."""
    return (
        one.location.path == other.location.path
        and one.location.authority == other.location.authority
        and one.byte_range == other.byte_range
        and not is_later(one, other)
    )


def _numbered(encryption: Encryption | None, sequence: int) -> Encryption | None:
    """The encryption with its vector spelled out, if that is the number that was listed."""
    if encryption is None or encryption.iv is not None:
        return encryption
    return replace(encryption, iv=sequence.to_bytes(16, "big"))


def _slid(segment: Segment) -> Segment:
    return segment if segment.slid else replace(segment, slid=True)


def _number(segment: Segment) -> int:
    return segment.sequence
