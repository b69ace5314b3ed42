"""What live playlists have listed, kept from look to look: pages in staging, and a note of them.

The note lies in the memory of the session's run (``worker.run_memory.LISTED``): which pages count,
and what they span, so that pages are read only once a window has moved. A page is never written
again; of two looks at once, one finds another note and leaves it. A page is joined with the one
before it until that is twice its size: there are few, and each segment is written a few times.
"""

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog

from pipelines.listing import ListedSpan, with_listings
from pipelines.store_errors import ObjectMissing
from pipelines.stored_listing import UnreadableListing, decode, encode
from worker.run_memory import LISTED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipelines.location import Location
    from pipelines.playlist import MediaPlaylist, Recording, Segment
    from worker.records import Changes, SessionRecord
    from worker.run import Run

log = structlog.get_logger(__name__)

#: Version of the note; another one counts as none.
FORMAT = 1
#: Segments of a window that is kept with each new one; a longer one is once a third of it is new.
SHORT_WINDOW = 64
#: How often pages are looked for that other looks replace meanwhile.
TRIES = 5

#: Segments by media sequence, by location of their playlist.
_Listed = dict[str, dict[int, "Segment"]]


class _Overtaken(Exception):
    """Raised when the note is another one by now."""


@dataclass(frozen=True)
class _Page:
    name: str
    size: int  #: segments


@dataclass(frozen=True)
class _Note:
    """The pages that count, the oldest first, and what they span by location of a playlist."""

    pages: tuple[_Page, ...] = ()
    spans: Mapping[str, ListedSpan] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The form in the run's memory."""
        return {
            "v": FORMAT,
            "pages": [[page.name, page.size] for page in self.pages],
            "spans": {
                name: [span.first, span.window, span.last, span.renumbered, [*span.restarts]]
                for name, span in self.spans.items()
            },
        }

    @classmethod
    def of(cls, record: SessionRecord | None) -> _Note:
        """The note of a session; an empty one where there is none in our format."""
        data = record.run.get(LISTED) if record else None
        if data is None or data.get("v") != FORMAT:
            return cls()
        spans = {
            name: ListedSpan(first, window, last, renumbered, tuple(restarts))
            for name, (first, window, last, renumbered, restarts) in data["spans"].items()
        }
        return cls(tuple(_Page(*page) for page in data["pages"]), spans)

    def lies_in(self, recording: Recording, away: Mapping[str, Location]) -> bool:
        """Whether the playlists as they are now list all that it spans of them, and of those that
        are ``away``."""
        return not self.spans.keys() & away.keys() and all(
            self.spans[name].lies_in(playlist)
            for name, playlist in _named(recording).items()
            if name in self.spans
        )


def remember_listed(run: Run, recording: Recording) -> None:
    """Keep what the recording's playlists list that may slide, if that is worth another page.

    ``recording`` is as ``Run.read_recording`` gives it. For every look at a live session: what no
    look has seen listed is not known once the window has moved past it. Raises ``TransientError``
    when the store is away.
    """
    sliding = {
        name: playlist
        for name, playlist in _named(recording).items()
        if playlist.may_slide and playlist.segments
    }
    record = run.runtime.sessions.get(run.session_id)
    if record is None or record.generation != run.generation:
        return
    known = _Note.of(record)
    if not any(_is_worth(known.spans.get(name), each) for name, each in sliding.items()):
        return
    if any(_is_older(known.spans.get(name), each) for name, each in sliding.items()):
        return  # overtaken by another look, which read later
    if run.runtime.sessions.cleanup_lock(run.session_id).locked():
        return  # the staging of an earlier run is being removed, and with it what is written now
    listed: _Listed = {
        name: {each.sequence: each for each in playlist.window}
        for name, playlist in sliding.items()
    }
    pages = [*known.pages]
    superseded: list[str] = []
    whole = not any(each.slid or each.renumbered for each in sliding.values())
    if whole and known.spans.keys() <= listed.keys():
        superseded += [page.name for page in pages]
        pages.clear()
    try:
        while pages and pages[-1].size < 2 * _size(listed):
            listed = _over(_page(run, pages[-1]), listed)
            superseded.append(pages.pop().name)
    except (ObjectMissing, UnreadableListing) as error:
        _forget(run, record, error)
        return
    page = _Page(uuid.uuid4().hex, _size(listed))
    spans = {name: ListedSpan.of(playlist) for name, playlist in sliding.items()}
    staging = run.runtime.staging(run.session_id)
    staging.write_listing(page.name, encode({n: [*each.values()] for n, each in listed.items()}))
    note = _Note((*pages, page), {**known.spans, **spans})
    if not _replace(run, record, note):
        staging.remove_listings([page.name])
        return
    staging.remove_listings(superseded)
    _tell(run, known, note)


def with_remembered(run: Run, recording: Recording) -> Recording:
    """The recording with all that its playlists were seen to list, where they list less by now.

    Sound that is not there any more is what was listed, once it is not waited for.
    """
    record = run.runtime.sessions.get(run.session_id)
    note = _Note.of(record)
    away = _away(recording) if note.spans and run.packager.missing_is_final else {}
    for attempt in range(TRIES):
        if record is None or note.lies_in(recording, away):
            return recording
        listed: _Listed = {}
        try:
            for page in note.pages:
                listed = _over(listed, _page(run, page))
        except (ObjectMissing, UnreadableListing) as error:
            record = run.runtime.sessions.get(run.session_id)
            before, note = note, _Note.of(record)
            if record is not None and (note == before or attempt == TRIES - 1):
                _forget(run, record, error)
                return recording
            continue
        return with_listings(recording, dict(_listings(recording, away, note, listed)))
    return recording


def _named(recording: Recording) -> dict[str, MediaPlaylist]:
    """The playlists by location without query; those that only a query tells apart are left out."""
    playlists = recording.media_playlists
    times = Counter(str(each.location) for each in playlists)
    return {name: each for each in playlists if times[name := str(each.location)] == 1}


def _away(recording: Recording) -> dict[str, Location]:
    """The playlists of sound and subtitles that are named and could not be read."""
    away: dict[str, Location] = {}
    for variant in recording.variants:
        for sound in variant.sound:
            if sound.playlist is None and sound.location is not None:
                away[str(sound.location)] = sound.location
        for subtitles in variant.subtitles:
            if subtitles.playlist is None:
                away[str(subtitles.location)] = subtitles.location
    return away


def _is_worth(span: ListedSpan | None, playlist: MediaPlaylist) -> bool:
    """Whether a playlist lists so much that was not kept that it is to be kept now."""
    if span is None:
        return True
    window = playlist.window
    new = sum(each.sequence > span.last for each in window)
    return new > 0 and (len(window) <= SHORT_WINDOW or 3 * new >= len(window))


def _is_older(span: ListedSpan | None, playlist: MediaPlaylist) -> bool:
    """Whether more is kept of a playlist than is known here."""
    return span is not None and playlist.segments[-1].sequence < span.last


def _page(run: Run, page: _Page) -> _Listed:
    """What a page holds; raises ``ObjectMissing`` and ``UnreadableListing``."""
    location = run.runtime.playlist_location(run.record.session)
    permitted = (location.folder, *run.runtime.permitted_sources)
    data = run.runtime.staging(run.session_id).listing(page.name)
    return {
        name: {each.sequence: each for each in segments}
        for name, segments in decode(data, permitted).items()
    }


def _over(earlier: _Listed, later: _Listed) -> _Listed:
    """Both; what is listed later counts."""
    names = dict.fromkeys((*earlier, *later))
    return {name: {**earlier.get(name, {}), **later.get(name, {})} for name in names}


def _size(listed: _Listed) -> int:
    return sum(map(len, listed.values()))


def _listings(
    recording: Recording, away: Mapping[str, Location], note: _Note, listed: _Listed
) -> Iterator[tuple[str, MediaPlaylist]]:
    """What the playlists were seen to list."""
    there = {name: playlist.location for name, playlist in _named(recording).items()}
    for name, location in {**away, **there}.items():
        span = note.spans.get(name)
        if span is not None:
            segments = [listed[name][number] for number in sorted(listed[name])]
            yield name, span.listing(location, segments)


def _forget(run: Run, seen: SessionRecord, error: Exception) -> None:
    """Go on without pages that are gone or not readable, and say so once."""
    event = {"action": "listing_lost", "reason": str(error)}
    if _replace(run, seen, None, event):
        log.warning("What a live playlist listed is lost.", **event)


def _replace(
    run: Run,
    seen: SessionRecord,
    note: _Note | None,
    event: Mapping[str, Any] | None = None,
) -> bool:
    """Put a note in the place of the one that was seen; False when that is another one by now."""

    def changes(record: SessionRecord) -> Changes:
        if record.run.get(LISTED) != seen.run.get(LISTED):
            raise _Overtaken
        memory = {name: value for name, value in record.run.items() if name != LISTED}
        return {"run": {**memory, LISTED: note.to_json()} if note else memory}

    try:
        written = run.runtime.sessions.update_by(run.session_id, seen.generation, changes, event)
    except _Overtaken:
        return False
    return written is not None


def _tell(run: Run, before: _Note, after: _Note) -> None:
    """Say in the session's events when a window first slid, and when its origin began anew."""
    for name, span in after.spans.items():
        known = before.spans.get(name, ListedSpan(span.first, span.first, span.last))
        if known.window == known.first and span.window > span.first:
            _event(run, "window_slid", playlist=name, firstSegment=span.first)
        for segment in sorted({*span.restarts} - {*known.restarts}):
            _event(run, "origin_restarted", playlist=name, segment=segment)


def _event(run: Run, action: str, **details: str | int) -> None:
    log.info("A live playlist has moved on.", action=action, **details)
    run.runtime.sessions.add_event(run.session_id, action, **details)
