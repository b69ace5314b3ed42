"""How far each rendition of a run has come, as the API shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.report import RenditionKind, encoding_view, not_made_views
from worker.rendition_view import UPLOAD_OPENED_AT, published_views
from worker.run_memory import FINISHED
from worker.waiting import waiting_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from worker.records import Changes, SessionRecord
    from worker.run import Run
    from worker.run_plan import PlannedRendition
    from worker.slice_result import SliceResult
    from worker.standing import Standing

#: How soon a session is looked at again, and so shown anew, while a slice of it is transcoded, ms.
SHOWN_EVERY_MS = 3_000

_WORKING = {RenditionKind.COPY: "packaging", RenditionKind.TRANSCODE: "transcoding"}


def rendition_views(
    run: Run, standing: Standing, *, committed: bool = False
) -> tuple[Mapping[str, Any], ...]:
    """Every rendition with its state, how far it has come, and how fast.

    One that is proven is ready, and has a URL before the whole session is. While a session is
    finalized again, what was published before keeps its URL until all of it is ``committed``.
    """
    before = {view["name"]: view["url"] for view in published_views(run.record)}
    names = run.runtime.names(run.session_id)
    uploads = {} if committed else run.uploads(standing.plan)
    views = []
    for planned in standing.plan.renditions:
        ready = standing.assembled(planned) is not None
        url = None if committed else before.get(planned.name)
        if ready and url is None:
            url = names.mp4_url(run.revision, planned.name)
        state = "ready" if ready else _unfinished_state(standing, planned)
        view = _view(planned, state, url, standing)
        if not ready and planned.name in uploads:
            view[UPLOAD_OPENED_AT] = uploads[planned.name].opened_ms
        views.append(view)
    return (*views, *not_made_views(standing.plan.not_made))


def show_progress(run: Run, standing: Standing) -> None:
    """Write what the API shows, also of what is waited for.

    The number of a revision under which an MP4 is finished is used up.
    """
    views = rendition_views(run, standing)
    finished = {
        planned.name: planned.identity
        for planned in standing.plan.renditions
        if standing.assembled(planned) is not None
    }
    waiting = waiting_for(run.record, standing)
    shown_before = (run.record.renditions, run.record.run.get(FINISHED, {}), run.record.waiting)
    if (views, finished, waiting) == shown_before:
        return

    def shown(record: SessionRecord) -> Changes:
        changes: Changes = {"renditions": views, "waiting": waiting}
        if finished:
            before = record.run.get(FINISHED, {})
            changes["run"] = {**record.run, FINISHED: {**before, **finished}}
            changes["used_revision"] = run.revision
        return changes

    run.runtime.sessions.update_by(run.session_id, run.generation, shown)


def media_speed(results: Iterable[tuple[SliceResult, float]]) -> float | None:
    """Seconds of media per second in which at least one slice was worked on; None without any.

    ``results`` are what slices have given, with their seconds of media.
    """
    spans = sorted((result.began, result.ended, seconds) for result, seconds in results)
    busy, until = 0, 0
    for began, ended, _ in spans:
        busy += max(0, ended - max(began, until))
        until = max(until, ended)
    return round(sum(seconds for *_, seconds in spans) / (busy / 1000), 2) if busy else None


def _view(
    planned: PlannedRendition, state: str, url: str | None, standing: Standing
) -> dict[str, Any]:
    done = [
        (result, each.seconds)
        for result, each in zip(standing.slices(planned), planned.slices, strict=True)
        if result is not None
    ]
    done_seconds = sum((seconds for _, seconds in done), 0.0) + standing.seconds_under_way(planned)
    if state == "ready":
        done_seconds = planned.seconds
    return {
        "name": planned.name,
        "kind": planned.kind,
        "state": state,
        "url": url,
        "reason": planned.reason,
        "progress": round(done_seconds / planned.seconds, 4) if planned.seconds else 1.0,
        "mediaSeconds": round(planned.seconds, 3),
        "mediaSecondsDone": round(done_seconds, 3),
        "speed": media_speed(done),
        "encoding": encoding_view(planned.video),
    }


def _unfinished_state(standing: Standing, planned: PlannedRendition) -> str:
    if standing.plan.final and standing.receipts(planned.name) is not None:
        return "assembling"
    if standing.layout(planned) is not None:
        return "conforming"
    items = [item for item, _ in standing.plan.work(planned)]
    items += [group.sound_item for group in standing.plan.groups if planned in group.renditions]
    begun = any(standing.slices(planned)) or any(map(standing.is_leased, items))
    return _WORKING[planned.kind] if begun else "waiting"
