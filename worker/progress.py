"""How far each rendition of a run has come, as the API shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.report import not_made_views
from worker.run import done, packaged
from worker.run_plan import assemble_item, package_item

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.run import Run
    from worker.run_plan import PlannedRendition, RunPlan
    from worker.work_item import ItemState


def rendition_views(
    run: Run, plan: RunPlan, items: dict[str, ItemState]
) -> tuple[Mapping[str, Any], ...]:
    """Every rendition with its state; a URL only where an earlier revision published one."""
    before = {view["name"]: view.get("url") for view in run.record.renditions}
    made = [_view(plan, each, items, before.get(each.name)) for each in plan.renditions]
    return (*made, *not_made_views(plan.not_made))


def _view(
    plan: RunPlan, planned: PlannedRendition, items: dict[str, ItemState], url: str | None
) -> dict[str, Any]:
    count = len(planned.slices)
    finished = sum(
        done(items, package_item(planned.name, number), identity) is not None
        for number, identity in enumerate(planned.slices)
    )
    state = "packaging"
    if done(items, assemble_item(planned.name), planned.identity) is not None:
        state = "verified"
    elif packaged(items, plan, planned.name) is not None:
        state = "assembling"
    return {
        "name": planned.name,
        "kind": "copy",
        "state": state,
        "url": url,
        "reason": planned.reason,
        "progress": round(finished / count, 4) if count else 1.0,
    }
