"""What was given up as missing, looked at again just before a run's result counts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import structlog

from pipelines.errors import InterruptedWork
from pipelines.loss import NOT_THERE, LossCause
from pipelines.lost_stretches import segments_of
from pipelines.store_errors import ObjectMissing
from worker.run_memory import CAME_LATE
from worker.run_plan import assemble_item

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pipelines.location import Location
    from pipelines.playlist import Recording, Segment
    from pipelines.report import LossReport, RenditionReport
    from worker.run import Run

log = structlog.get_logger(__name__)

#: Segments that are looked at side by side.
LOOKS = 8
#: Runs that are begun for late segments while a session is finalized: some come and go forever.
MOST_RUNS = 2
#: Segments, and locations, that the event tells.
MOST_TOLD = 20
#: The event that tells of segments which came after they were packaged as missing.
EVENT = "segment_came_late"


def begin_anew_if_any_came(
    run: Run,
    recording: Recording,
    renditions: Iterable[RenditionReport],
    checkpoint: Callable[[], None],
) -> None:
    """Have another run follow when an object is there that was missing when segments were packaged:
    the segment itself, its initialization section, or a key.

    The MP4s that lack it are finished, and served under names whose bytes never change: so the run
    that follows makes the next revision, and packages all segments anew. That is done ``MOST_RUNS``
    times at most while a session is finalized. Raises ``InterruptedWork`` then, and
    ``TransientError`` when the source does not answer.
    """
    begun = int(run.record.run.get(CAME_LATE, 0))
    if begun >= MOST_RUNS:
        return
    reports = [*renditions]
    awaited = _awaited(recording, reports)
    late = _that_came(run, [*awaited], checkpoint)
    if not late:
        return
    for each in reports:
        run.drop(assemble_item(each.name))
    numbers = sorted({number for each in late for number in awaited[each]})
    told: dict[str, Any] = {
        "count": len(numbers),
        "segments": numbers[:MOST_TOLD],
        "locations": [*map(str, late[:MOST_TOLD])],
    }
    log.warning("Segments came after they were given up.", action=EVENT, **told)
    run.runtime.sessions.add_event(run.session_id, EVENT, **told)
    run.begin_anew("segments came late", {CAME_LATE: begun + 1})
    raise InterruptedWork(f"{len(numbers)} segments came after they were given up as missing")


def _awaited(recording: Recording, reports: Sequence[RenditionReport]) -> dict[Location, list[int]]:
    """The objects that were not there, as the playlists list them now, and the media sequence
    numbers of the segments that are lost for it."""
    losses = [loss for each in reports for loss in each.losses]
    awaited: dict[Location, list[int]] = {}
    for playlist in recording.media_playlists if losses else ():
        for segment, loss in segments_of(playlist.segments, losses):
            for location in _absent(segment, loss):
                awaited.setdefault(location, []).append(segment.sequence)
    return awaited


def _absent(segment: Segment, loss: LossReport) -> Iterator[Location]:
    """The objects that were not there when a segment was packaged."""
    if loss.cause == LossCause.SEGMENT_MISSING:
        yield segment.location
    if loss.cause == LossCause.NOT_DECRYPTED and segment.encryption:
        yield from _named(loss, segment.encryption.location)
    section = segment.init_section
    if loss.cause == LossCause.INIT_MISSING and section:
        keys = [section.encryption.location] if section.encryption else []
        yield from _named(loss, section.location, *keys)


def _named(loss: LossReport, *locations: Location) -> Iterator[Location]:
    """Of objects that a segment needs, the one of which its loss says that it is not there."""
    for location in locations:
        if loss.detail.endswith(f"{location} {NOT_THERE}"):
            yield location


def _that_came(
    run: Run, missing: Sequence[Location], checkpoint: Callable[[], None]
) -> list[Location]:
    """Those of the objects that are there now."""

    def is_there(location: Location) -> bool:
        try:
            return run.runtime.reader.size(location) > 0
        except ObjectMissing:
            return False

    came: list[Location] = []
    with ThreadPoolExecutor(LOOKS, thread_name_prefix="late-segments") as pool:
        for first in range(0, len(missing), 4 * LOOKS):
            checkpoint()
            batch = missing[first : first + 4 * LOOKS]
            found = zip(batch, pool.map(is_there, batch), strict=True)
            came += [each for each, there in found if there]
    return came
