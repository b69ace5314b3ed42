"""What a session's record remembers of its run: the revision that it makes, and what that holds.

The URL of an MP4 is shown as soon as the MP4 is proven, and its bytes are served as immutable: a
number of a revision under which an MP4 was finished is never used for other bytes. A run goes on
with the number of the run before it only if it goes on with every MP4 that was finished there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.session import Phase
from worker.run_plan import ASSEMBLE, assemble_item
from worker.work_item import State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.records import SessionRecord
    from worker.run_plan import RunPlan
    from worker.work_item import ItemState

#: From a run's plan on, until what it left is removed: the revision it is to make.
MAKES = "makes"
#: Beside it: the generation that was decided for.
DECIDED = "decided"
#: Beside it: the revision that was published then.
AFTER = "after"
#: Beside it: the renditions of that revision, as they were shown.
PUBLISHED = "published"
#: Beside it: the identities of renditions whose MP4 was finished in the revision, by name.
FINISHED = "finished"
#: Every MP4 that any run set out to write since the last cleaning, such as ``r2/source.mp4``.
WROTE = "wrote"
#: How often another run was begun, since the session is finalized, for segments that came late.
CAME_LATE = "cameLate"
#: The generation whose finished work the run may go on with.
ADOPTS = "adopts"
#: In the place of ``ADOPTS``: generations that were stopped. Nobody goes on with their work, nor
#: with their number.
STOPPED = "stopped"

#: The code of what keeps a live session from being packaged, once it was told.
HINDERED = "hindered"
#: What a live session that gives no sign of life was last seen to list (``worker.quiet``).
QUIET = "quiet"
#: What its live playlists have listed so far (``worker.remembered_listing``), while it is staged.
LISTED = "listed"

_CARRIED = (MAKES, AFTER, PUBLISHED, FINISHED, WROTE)


def revision_made(record: SessionRecord) -> int:
    """The revision that the record's run will publish."""
    return max(record.revision + 1, int(record.run.get(MAKES, 0)))


def is_decided(record: SessionRecord) -> bool:
    """Whether the record's own run has been given its revision."""
    return record.run.get(DECIDED) == record.generation


def carried_on(record: SessionRecord) -> dict[str, Any]:
    """What a run that follows the record's begins with."""
    carried = [*_CARRIED]
    if record.phase is Phase.FINALIZING:
        carried += [CAME_LATE, LISTED]
    elif record.phase is Phase.LIVE:
        carried += [LISTED, QUIET]
    kept = {name: record.run[name] for name in carried if name in record.run}
    if STOPPED in record.run:
        return kept
    earlier = record.run.get(ADOPTS, record.generation)
    return {**kept, ADOPTS: record.generation if is_decided(record) else earlier}


def stopped_memory(record: SessionRecord) -> dict[str, Any]:
    """What is left to know of a run that was stopped: what has to be removed after it."""
    kept = {name: record.run[name] for name in _CARRIED if name in record.run}
    return {**kept, STOPPED: [*runs_of(record)]}


def left_behind(record: SessionRecord, left: Mapping[str, Any]) -> dict[str, Any]:
    """What a session at rest has to know to be cleaned once more after a run that remembered
    ``left``: whatever lies beyond what is published by now goes."""
    if MAKES not in left:
        return {STOPPED: []}
    wrote = left.get(WROTE, [])
    return {MAKES: left[MAKES], AFTER: record.revision, WROTE: wrote, STOPPED: []}


def runs_of(record: SessionRecord) -> tuple[int, ...]:
    """The generations whose work may still be written down: its own, the one it goes on with, and
    those that were stopped."""
    known = (record.generation, record.run.get(ADOPTS, 0), *record.run.get(STOPPED, ()))
    return tuple(dict.fromkeys(each for each in known if each))


def decided(
    record: SessionRecord,
    plan: RunPlan,
    earlier: Mapping[str, ItemState],
    published: tuple[Mapping[str, Any], ...],
) -> dict[str, Any]:
    """The memory of a run with its revision; ``ADOPTS`` stays only if it goes on with that work.

    ``earlier`` are the work items of the generation that it follows, ``published`` the renditions
    of the published revision.
    """
    memory = record.run
    made = int(memory.get(MAKES, 0))
    follows = ADOPTS in memory and made > record.revision
    goes_on = follows and _goes_on(memory.get(FINISHED, {}), plan, earlier)
    revision = made if goes_on else max(record.revision, record.used_revision, made) + 1
    # A store that forgot a run may still hold uploads of the number before.
    numbers = range(max(record.revision + 1, revision - 1), revision + 1)
    wrote = {f"r{number}/{each.name}.mp4" for number in numbers for each in plan.renditions}
    return {
        MAKES: revision,
        DECIDED: record.generation,
        AFTER: record.revision,
        PUBLISHED: [*published],
        WROTE: sorted(wrote | set(memory.get(WROTE, ()))),
        **{name: memory[name] for name in (CAME_LATE, LISTED, QUIET) if name in memory},
        **({FINISHED: memory.get(FINISHED, {}), ADOPTS: memory[ADOPTS]} if goes_on else {}),
    }


def also_writes(record: SessionRecord, plan: RunPlan) -> dict[str, Any]:
    """The memory of a decided run whose plan is another one by now: what it sets out to write."""
    wrote = {f"r{revision_made(record)}/{each.name}.mp4" for each in plan.renditions}
    return {**record.run, WROTE: sorted(wrote | set(record.run.get(WROTE, ())))}


def _goes_on(finished: Mapping[str, str], plan: RunPlan, earlier: Mapping[str, ItemState]) -> bool:
    """Whether every MP4 that was finished, or is about to be, is just what the plan makes of it.

    One that the plan does not make any more is no obstacle: it is removed at the end.
    """
    wanted = {assemble_item(each.name): each.identity for each in plan.renditions}
    for name, identity in finished.items():
        state = earlier.get(assemble_item(name))
        there = state is not None and state.state is State.DONE and state.identity == identity
        if assemble_item(name) in wanted and not there:
            return False
    begun = {
        item: state.identity
        for item, state in earlier.items()
        if item.startswith(f"{ASSEMBLE}/") and state.state in (State.DONE, State.LEASED)
    }
    return all(wanted.get(item, identity) == identity for item, identity in begun.items())
