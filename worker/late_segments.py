"""Segments that were given up as missing, looked at again just before a run's result counts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import structlog

from pipelines.errors import InterruptedWork
from pipelines.loss import LossCause
from pipelines.store_errors import ObjectMissing
from worker.run_plan import assemble_item

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pipelines.playlist import Recording, Segment
    from pipelines.report import LossReport, RenditionReport
    from worker.run import Run

log = structlog.get_logger(__name__)

#: Segments that are looked at side by side.
LOOKS = 8
#: The event that tells of segments which came after they were packaged as missing.
CAME_LATE = "segment_came_late"


def begin_anew_if_any_came(
    run: Run,
    recording: Recording,
    renditions: Iterable[RenditionReport],
    checkpoint: Callable[[], None],
) -> None:
    """Have another run follow when a segment is there that was packaged as missing.

    The MP4s that lack it are finished, and served under names whose bytes never change: so the run
    that follows makes the next revision, and packages all segments anew. Each segment has that
    done at most once while a session is finalized. Raises ``InterruptedWork`` then, and
    ``TransientError`` when the source does not answer.
    """
    reports = [*renditions]
    told = _told_before(run)
    missing = [each for each in _missing(recording, reports) if str(each.location) not in told]
    late = _first_that_came(run, missing, checkpoint)
    if not late:
        return
    for each in reports:
        run.drop(assemble_item(each.name))
    numbers = sorted({segment.sequence for segment in late})
    details: dict[str, Any] = {
        "segments": numbers,
        "locations": [str(each.location) for each in late],
    }
    log.warning("Segments came after they were given up.", action=CAME_LATE, **details)
    run.runtime.sessions.add_event(run.session_id, CAME_LATE, **details)
    run.begin_anew("segments came late")
    raise InterruptedWork(f"segments {numbers} came after they were given up as missing")


def _told_before(run: Run) -> set[str]:
    """Locations of segments that another run was begun for, since the session is finalized."""
    return {
        location
        for event in run.runtime.sessions.events(run.session_id)
        if event["action"] == CAME_LATE and event["at"] >= run.record.phase_since
        for location in event["locations"]
    }


def _missing(recording: Recording, reports: Sequence[RenditionReport]) -> list[Segment]:
    """The segments that are lost since they were not there, as the playlists list them now."""
    lost = {_place(loss) for each in reports for loss in each.losses if _was_missing(loss)}
    if not lost:
        return []
    listed: Mapping[tuple[int, str], Segment] = {
        (segment.sequence, str(segment.location)): segment
        for playlist in recording.media_playlists
        for segment in playlist.segments
    }
    return [listed[place] for place in sorted(lost) if place in listed]


def _was_missing(loss: LossReport) -> bool:
    return loss.cause == LossCause.SEGMENT_MISSING


def _place(loss: LossReport) -> tuple[int, str]:
    return loss.segment, loss.location


def _first_that_came(
    run: Run, missing: Sequence[Segment], checkpoint: Callable[[], None]
) -> list[Segment]:
    """The first of the segments that are there now; [] when none is."""

    def is_there(segment: Segment) -> bool:
        try:
            return run.runtime.reader.size(segment.location) > 0
        except ObjectMissing:
            return False

    with ThreadPoolExecutor(LOOKS, thread_name_prefix="late-segments") as pool:
        for first in range(0, len(missing), 4 * LOOKS):
            checkpoint()
            batch = missing[first : first + 4 * LOOKS]
            came = [
                each for each, there in zip(batch, pool.map(is_there, batch), strict=True) if there
            ]
            if came:
                return came
    return []
