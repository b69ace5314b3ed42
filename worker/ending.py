"""How a run ends without a result: the session fails, and what it published before stays."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import structlog

from pipelines.run_report import RunError
from pipelines.session import Phase
from worker.cleanup import clean
from worker.failed_report import failed_report
from worker.records import RecordedError
from worker.rendition_view import withdrawn
from worker.run_plan import CONFORM, PACKAGE, PUBLISH, SOUND, TRANSCODE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.errors import ErrorCode
    from worker.run import Run

log = structlog.get_logger(__name__)


def fail(run: Run, code: ErrorCode, message: str, item: str | None = None) -> None:
    """Move the session to ``failed`` with its reason, unless it has moved on by itself.

    ``item`` names the work that failed, if it was work: the message then begins with it.
    """
    sessions = run.runtime.sessions
    plan = run.plan()
    record = sessions.get(run.session_id) or run.record
    failed = plan.made_by(item) if plan and item else ()
    if item is not None:
        message = f"{work_in_words(item, failed)}: {message}"
    if run.record.revision == 0:
        written = failed_report(run, plan, RunError(code, message, tuple(failed)))
        sessions.set_report(run.session_id, json.dumps(written.to_json(), ensure_ascii=False))
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


def work_in_words(item: str, renditions: Sequence[str]) -> str:
    """What a work item does, for people; ``renditions`` are those that it is for."""
    kind, _, rest = item.partition("/")
    number = rest.rpartition("/")[2]
    names = ", ".join(renditions) or rest
    if kind == PACKAGE:
        return f"copying slice {number} of {names}"
    if kind == TRANSCODE:
        return f"transcoding slice {number} to {names}"
    if kind == CONFORM:
        return f"conforming slice {number} of {names}"
    if kind == SOUND:
        return f"encoding the sound of {names}"
    return "publishing" if kind == PUBLISH else f"assembling {names}"
