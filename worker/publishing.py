"""Publishing a run: playlists and report are written, then one commit makes them count."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import structlog

import worker
from pipelines.errors import InterruptedWork
from pipelines.publish import PublishedRendition
from pipelines.report import RenditionKind, RunOrigin, report
from pipelines.session import Phase
from pipelines.store_errors import ObjectMissing
from worker.assembling import AssembledRendition
from worker.cleanup import restore_published
from worker.planning import plan_of
from worker.progress import rendition_views
from worker.run_plan import asked_of, assemble_item

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipelines.location import Location
    from pipelines.object_store import ObjectStore
    from pipelines.playlist import Recording
    from worker.run import Run
    from worker.run_plan import RunPlan
    from worker.standing import Standing

log = structlog.get_logger(__name__)


def publish_and_commit(run: Run, checkpoint: Callable[[], None]) -> str:
    """Write what refers to the proven MP4s, then commit; ``ready`` is the last write.

    Hands the work back (``InterruptedWork``) when the recording or the session has changed since
    the plan was made.
    """
    began = time.monotonic()
    plan = plan_of(run)
    standing = run.standing(plan)
    results = standing.results
    if results is None:
        raise InterruptedWork("the renditions are not all there any more")
    if plan.asked != asked_of(run.record.session):
        run.begin_anew("other profiles are asked for")
        raise InterruptedWork("the session asks for other profiles than those that were made")
    recording = run.read_recording()
    if recording.fingerprint != plan.fingerprint:
        run.begin_anew("the recording is another one by now")
        raise InterruptedWork("the recording lists other segments than those that were packaged")
    renditions = {name: AssembledRendition.from_json(text) for name, text in results.items()}
    _require_objects(run, renditions)
    written = _report(run, recording, plan, renditions)
    _publish(run, recording, plan, renditions, written, checkpoint)
    _commit(run, standing, written, time.monotonic() - began)
    return ""


def _require_objects(run: Run, renditions: Mapping[str, AssembledRendition]) -> None:
    """Look whether every proven MP4 is still there; one that is not is assembled again."""
    lost = [
        name
        for name, rendition in renditions.items()
        if not _is_there(run.runtime.output, run.mp4(name), rendition.report["etag"])
    ]
    for name in lost:
        run.drop(assemble_item(name))
    if lost:
        raise InterruptedWork(f"the MP4s of {', '.join(lost)} are gone")


def _is_there(store: ObjectStore, location: Location, etag: str) -> bool:
    try:
        return store.head(location).etag == etag
    except ObjectMissing:
        return False


def _report(
    run: Run,
    recording: Recording,
    plan: RunPlan,
    renditions: Mapping[str, AssembledRendition],
) -> dict[str, Any]:
    now = run.runtime.sessions.now_ms()
    origin = RunOrigin(
        generation=run.generation,
        revision=run.revision,
        ffmpeg_version=run.runtime.tools.version(),
        finalizer_version=worker.__version__,
        timings={"sinceRunBegan": (now - run.record.phase_since) / 1000},
    )
    reports = [renditions[planned.name].report for planned in plan.renditions]
    return report(run.record.session, recording, reports, plan.not_made, plan.mp4, origin)


def _publish(
    run: Run,
    recording: Recording,
    plan: RunPlan,
    renditions: Mapping[str, AssembledRendition],
    written: dict[str, Any],
    checkpoint: Callable[[], None],
) -> None:
    """Write the playlists of what the recording itself holds, and the report; MP4s lie there."""
    published = [
        PublishedRendition(
            planned.name,
            recording.variant(planned.variant),
            renditions[planned.name].size,
            renditions[planned.name].duration,
            renditions[planned.name].width,
            renditions[planned.name].height,
            tuple(renditions[planned.name].codecs),
        )
        for planned in plan.renditions
        if planned.kind is RenditionKind.COPY
    ]
    publisher = run.runtime.publisher(run.session_id)
    publisher.publish(run.revision, published, written, checkpoint)


def _commit(run: Run, standing: Standing, written: Mapping[str, Any], seconds: float) -> None:
    sessions = run.runtime.sessions
    names = run.runtime.names(run.session_id)
    sessions.set_report(run.session_id, json.dumps(written, ensure_ascii=False))
    now = sessions.now_ms()
    revision = sessions.commit(
        run.session_id,
        run.generation,
        recording_url=names.recording_url,
        mp4_url=names.mp4_url(run.revision, standing.plan.mp4),
        renditions=rendition_views(run, standing, committed=True),
        due_ms=now,
        event={
            "action": Phase.READY,
            "revision": run.revision,
            "verdict": written["verdict"],
            "publishSeconds": round(seconds, 3),
            "runSeconds": round((now - run.record.phase_since) / 1000, 3),
        },
    )
    if revision is None:
        # Woken up between the last look and the commit: viewers keep what was published before.
        record = sessions.get(run.session_id)
        if record is not None:
            restore_published(run.runtime, record)
        raise InterruptedWork("the session moved on before the commit")
    log.info(
        "The recording is ready.",
        action="ready",
        revision=revision,
        verdict=written["verdict"],
        renditions=len(standing.plan.renditions),
    )
