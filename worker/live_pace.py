"""How often the playlist of a live session is read, so that its slices are packaged once settled.

Slices settle every few minutes, and heartbeats come every few seconds: what is due goes by the
media, never by the heartbeats.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.listing import shortest_window
from pipelines.session import Phase

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipelines.playlist import Recording
    from worker.records import SessionRecord

#: When a session that has just gone live is first looked at, ms: a short window slides quickly.
FIRST_LOOK_MS = 5_000
#: Least and longest pause between two readings of the playlist, ms.
SOONEST_MS, LATEST_MS = 2_000, 300_000
#: A live session is quiet after this share of the silence that ends it.
QUIET_SHARE = 0.6
#: A window that slides is read this often in the time that it spans.
LOOKS_PER_WINDOW = 3


def look_due(record: SessionRecord) -> int | None:
    """When the playlist of a live session is to be read next, Unix ms; None when it is not to be."""
    is_packaged = record.phase is Phase.LIVE and record.session.record
    return record.look_at if is_packaged and record.look_at else None


def pause_ms(recording: Recording, unsettled: Iterable[float]) -> int:
    """How long to wait until the playlists are worth another reading, milliseconds.

    ``unsettled`` are the seconds of media that the next slices still lack, by rendition.
    """
    target = max((each.target_duration for each in recording.media_playlists), default=0.0)
    seconds = min(unsettled, default=0.0) + target
    window = shortest_window(recording)
    if window is not None:
        seconds = min(seconds, window / LOOKS_PER_WINDOW)
    return min(LATEST_MS, max(SOONEST_MS, round(seconds * 1000)))


def pause_while_away_ms(away_ms: int) -> int:
    """How long to wait for a playlist that has not been there, or not readable, for so long."""
    return min(LATEST_MS, max(FIRST_LOOK_MS, away_ms // 10))
