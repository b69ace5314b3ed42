"""How a run ends without a result: the session fails, and what it published before stays."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import structlog

from pipelines.report import failed_report
from pipelines.session import Phase
from worker.cleanup import clean
from worker.records import RecordedError
from worker.rendition_view import withdrawn

if TYPE_CHECKING:
    from pipelines.errors import ErrorCode
    from worker.run import Run

log = structlog.get_logger(__name__)


def fail(run: Run, code: ErrorCode, message: str) -> None:
    """Move the session to ``failed`` with its reason, unless it has moved on by itself."""
    sessions = run.runtime.sessions
    plan = run.plan()
    record = sessions.get(run.session_id) or run.record
    if run.record.revision == 0:
        not_made = plan.not_made if plan else ()
        report = failed_report(run.record.session, code, message, not_made, run.generation)
        sessions.set_report(run.session_id, json.dumps(report, ensure_ascii=False))
    moved = sessions.transition(
        run.session_id,
        expect={Phase.FINALIZING},
        generation=run.generation,
        to=Phase.FAILED,
        due_ms=sessions.now_ms(),
        changes={
            "error": RecordedError(code, message),
            "renditions": withdrawn(record, "failed"),
        },
        event={"action": "failed", "code": code, "message": message},
    )
    if moved:
        log.error("The session failed.", action="failed", code=code, reason=message)
        ended = sessions.get(run.session_id)
        if ended is not None:
            clean(run.runtime, ended)
