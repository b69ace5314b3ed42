"""How long the steps of a run took, for its report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.run_plan import PACKAGE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.assembled_rendition import AssembledRendition
    from worker.run import Run
    from worker.standing import Standing


def timings_of(
    run: Run,
    standing: Standing,
    renditions: Mapping[str, AssembledRendition],
    publish: float | None = None,
) -> dict[str, float | None]:
    """Seconds by step, as ``TimingsReport`` names them; ``publish`` is what that has taken so far.

    Work on slices is added up, although slices are made side by side; what earlier runs made of
    it counts as well.
    """
    spent = _spent(standing)
    copying = sum(seconds for item, seconds in spent.items() if item.startswith(f"{PACKAGE}/"))
    return {
        "plan": _planning_seconds(run),
        "package": copying,
        "transcode": sum(spent.values()) - copying,
        "assemble": sum(each.assembling for each in renditions.values()),
        "verify": sum(each.proving for each in renditions.values()),
        "publish": publish,
        "since_run_began": (standing.now_ms - run.record.phase_since) / 1000,
    }


def _spent(standing: Standing) -> dict[str, float]:
    """Seconds that were spent on each finished item that makes a slice."""
    spent = {}
    for planned in standing.plan.renditions:
        first = zip(standing.plan.work(planned), standing.first(planned), strict=True)
        again = zip(standing.work(planned), standing.slices(planned), strict=True)
        for (item, _), result in (*first, *again):
            if result is not None:
                spent[item] = (result.ended - result.began) / 1000
    return spent


def _planning_seconds(run: Run) -> float | None:
    """From the beginning of the run to its plan; None once the events tell of neither."""
    planned = (
        event["at"]
        for event in run.runtime.sessions.events(run.session_id)
        if event["action"] == "planned" and event["at"] >= run.record.phase_since
    )
    at = next(planned, None)
    return None if at is None else (at - run.record.phase_since) / 1000
