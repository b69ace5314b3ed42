"""What an earlier run of a session knew that its playlist lists no longer.

What was kept of a window that slid is gone once a run has ended: of a session that becomes live
again, or is run again, the next one can only hold what is listed from then on.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import structlog

from pipelines.playlist import PlaylistKind
from pipelines.session import Phase
from pipelines.store_errors import ObjectMissing
from worker.rendition_view import published_views

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipelines.playlist import Recording
    from worker.records import SessionRecord
    from worker.run import Run
    from worker.runtime import Runtime

log = structlog.get_logger(__name__)


def earlier_revisions(run: Run, recording: Recording) -> list[int]:
    """Revisions that hold media which the recording lists no longer: they are to be kept."""
    published = published_report(run.runtime, run.record)
    if published is None:
        return []
    kept = revisions_kept(published)
    if _is_forgotten(published, recording):
        kept.append(run.record.revision)
    return kept


def forgotten_segments(run: Run, recording: Recording) -> int:
    """How many segments the recording listed when an earlier run of it failed, and does not now.

    Nothing was published since: what that run knew was removed with all that it had made.
    """
    text = run.runtime.sessions.report(run.session_id)
    if text is None:
        return 0
    last = json.loads(text)
    if last["error"] is None or run.record.revision:
        return 0
    before = (last.get("window") or {}).get("forgotten", 0)
    if not _is_forgotten(last, recording):
        return int(before)
    first: int = last["source"]["firstSegment"]
    return int(before) + recording.source.segments[0].sequence - first


def leave_published(run: Run, recording: Recording) -> bool:
    """End a run without a revision when its recording lists only a part of the published one.

    So it is when a late sign of life wakes a session whose window has slid, and when such a session
    is run again: a revision made of that would take a longer recording away. Whether it is so.
    """
    published = published_report(run.runtime, run.record)
    if published is None or not _is_forgotten(published, recording):
        return False
    if recording.source.segments[-1].sequence > published["source"]["lastSegment"]:
        return False
    sessions = run.runtime.sessions
    record = sessions.get(run.session_id) or run.record
    reason = "the playlist lists only a part of what is published, and nothing new"
    moved = sessions.transition(
        run.session_id,
        expect={Phase.FINALIZING},
        generation=run.generation,
        to=Phase.READY,
        due_ms=sessions.now_ms(),
        changes={"renditions": published_views(record)},
        event={"action": Phase.READY, "revision": record.revision, "reason": reason},
    )
    if moved:
        log.info("What is published is left as it is.", action="published_left", reason=reason)
    return True


def revisions_kept(report: Mapping[str, Any]) -> list[int]:
    """The revisions that a report tells to hold what its own does not."""
    return [*(report.get("window") or {}).get("earlierRevisions", ())]


def published_report(runtime: Runtime, record: SessionRecord) -> dict[str, Any] | None:
    """The report beside the published MP4s; None when nothing is published, or it is not there."""
    if not record.revision:
        return None
    folder = runtime.names(record.id).folder
    try:
        data = runtime.output.read(folder.child(f"r{record.revision}/recording.json"))
    except ObjectMissing:
        log.error("The published report is gone.", action="report_missing")
        return None
    report: dict[str, Any] = json.loads(data)
    return report


def _is_forgotten(report: Mapping[str, Any], recording: Recording) -> bool:
    """Whether what a report is of begins with segments that a live playlist has forgotten."""
    source, best = report["source"], recording.source
    first = source.get("firstSegment") if source else None
    if first is None or not best.segments or source["playlist"] != str(recording.location):
        return False
    listed = best.playlists[0]
    return listed.kind is PlaylistKind.LIVE and listed.segments[0].sequence > first
