"""Quiet sessions: live ones that have likely ended, whose last slices are packaged ahead of it.

A session is *quiet* when more than half of the silence has passed that ends it, and at its *end* when its
playlists then stay as they are for longer than a segment takes. Should it go on after all, the
slices behind the last settled one are packaged again, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from worker.idle import silent_at
from worker.live_pace import QUIET_SHARE, SOONEST_MS
from worker.run_memory import QUIET

if TYPE_CHECKING:
    from pipelines.playlist import Recording
    from worker.records import Changes, SessionRecord
    from worker.run import Run
    from worker.runtime import Runtime

#: For how many of its target durations the playlist of a quiet session stays the same until its end
#: is taken for one.
STILL_TARGETS = 2


@dataclass(frozen=True)
class Quiet:
    """What a quiet session lists: since when, and when it was read last (Unix ms)."""

    fingerprint: str
    since: int
    read: int

    def seen(self, recording: Recording, now_ms: int) -> Quiet:
        """The same after another reading."""
        same = self.fingerprint == recording.fingerprint
        return Quiet(recording.fingerprint, self.since if same else now_ms, now_ms)

    def ends_in(self, recording: Recording) -> int:
        """How long the playlists have still to stay the same to count as ended, ms; 0 if they do."""
        target = max((each.target_duration for each in recording.media_playlists), default=0.0)
        still_ms = max(SOONEST_MS, round(STILL_TARGETS * target * 1000))
        return max(0, self.since + still_ms - self.read)


def quiet_at(record: SessionRecord, runtime: Runtime) -> int:
    """From when on a live session is quiet unless there is another sign of life, Unix ms."""
    silence_ms = silent_at(record, runtime) - record.session.active_at
    return record.session.active_at + round(QUIET_SHARE * silence_ms)


def is_news(record: SessionRecord, runtime: Runtime, now_ms: int) -> bool:
    """Whether a session is quiet, and its playlists were not read since it is."""
    begins = quiet_at(record, runtime)
    known = _known(record)
    return now_ms >= begins and (known is None or known.read < begins)


def note_quiet(run: Run, recording: Recording, now_ms: int) -> tuple[Run, Quiet | None]:
    """Note what a quiet session lists; the run that knows it, and None if it is not quiet, or goes
    on all the same: its heartbeats are late, or rare."""
    begins = quiet_at(run.record, run.runtime)
    if now_ms < begins:
        return run, None
    known = _known(run.record) or Quiet("", now_ms, 0)
    quiet = known.seen(recording, now_ms)
    goes_on = known.read >= begins and known.fingerprint not in ("", quiet.fingerprint)
    return _noted(run, quiet), None if goes_on else quiet


def note_attempt(run: Run, now_ms: int) -> Run:
    """Note that the playlists of a session could not be read; the run that knows it."""
    if now_ms < quiet_at(run.record, run.runtime):
        return run
    known = _known(run.record) or Quiet("", now_ms, now_ms)
    return _noted(run, replace(known, read=now_ms))


def _noted(run: Run, quiet: Quiet) -> Run:
    def noted(record: SessionRecord) -> Changes:
        return {"run": {**record.run, QUIET: [quiet.fingerprint, quiet.since, quiet.read]}}

    record = run.runtime.sessions.update_by(run.session_id, run.generation, noted)
    return replace(run, record=record) if record else run


def _known(record: SessionRecord) -> Quiet | None:
    noted: list[Any] | None = record.run.get(QUIET)
    return Quiet(*noted) if noted else None
