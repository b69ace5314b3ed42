"""How a run begins: what is made, as which revision, and with whose finished work it goes on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pipelines.errors import InterruptedWork, TransientError
from pipelines.report import RenditionKind
from pipelines.session import Phase
from worker.longer_revision import leave_published
from worker.planning import await_sound, make_plan, tell_fallback, unlisted_hardware
from worker.recovery import published_before
from worker.remembered_listing import remember_listed
from worker.rendition_view import published_views
from worker.run import Run
from worker.run_memory import ADOPTS, also_writes, decided, is_decided
from worker.run_plan import asked_of, slices_of

if TYPE_CHECKING:
    from pipelines.playlist import Recording
    from worker.records import Changes, SessionRecord
    from worker.run_plan import RunPlan


def recovered(run: Run) -> Run:
    """The run, knowing what was published of its session before the store lost it, if anything."""
    changes = published_before(run.runtime, run.record)
    if not changes:
        return run
    event = {"action": "recovered", "revision": changes.get("revision", 0)}
    run.runtime.sessions.update(run.session_id, run.generation, changes, event=event)
    return Run(run.runtime, replace(run.record, **changes))


def plan_finally(run: Run) -> tuple[Run, RunPlan]:
    """Plan the run and give it its revision; the run that knows it, and the plan that counts.

    That of a run which packaged while the session was live is planned anew, as if it had not,
    unless what it was planned upon slid away.
    """
    earlier = _earlier(run)
    recording = run.read_recording()
    if leave_published(run, recording):
        raise InterruptedWork("the run is over: what is published holds more")
    if run.runtime.settings.package_live:
        remember_listed(run, recording)  # its origin may go on, and forget meanwhile
    made = _made(run, earlier, recording, final=True)
    # Before anything is written that would have to be cleaned up.
    run = _decided(run, made, earlier)
    plan, is_ours = run.keep_plan(made)
    if is_ours:
        run.runtime.sessions.add_event(
            run.session_id,
            "planned",
            revision=run.revision,
            segments=recording.segment_count,
            seconds=round(recording.duration, 3),
            renditions=[[each.name, each.kind, len(each.slices)] for each in plan.renditions],
            notMade=[dict(each) for each in plan.not_made],
        )
        if lacking := unlisted_hardware(run, plan):
            tell_fallback(run, lacking, "this ffmpeg was built without it")
    elif plan.identity != made.identity:
        # The revision may have been decided upon for this plan, which is not the one that counts.
        run.begin_anew("two looks at once planned differently")
        raise TransientError("two looks at once planned differently; it is planned anew")
    return run, plan


def plan_live(run: Run, recording: Recording, *, ended: bool) -> tuple[Run, RunPlan] | None:
    """Begin a run of a session that is live, and plan it for the slices that are settled: all of
    them if it seems to have ``ended``.

    The run that knows its revision, and the plan that counts; None while not even the shortest kind
    of slice is settled, for planning costs a survey.
    Raises as ``make_plan`` does, before anything is written, and ``InterruptedWork`` when the
    session has moved on.
    """
    seconds, best = run.runtime.settings.slice_seconds, recording.source.name
    shortest = slices_of(recording, best, RenditionKind.TRANSCODE, seconds, idle=ended)
    if not shortest or not shortest[0].settled:
        return None
    made = _made(run, _earlier(run), recording, final=False, ended=ended)
    run = recovered(run)
    sessions = run.runtime.sessions
    begun = sessions.begin_generation(
        run.session_id,
        expect={Phase.LIVE},
        to=Phase.LIVE,
        generation=run.generation,
        reason="slices are settled",
    )
    record = sessions.get(run.session_id) if begun else None
    if record is None or record.generation != begun:
        raise InterruptedWork("the session has moved on")
    unplanned, run = run, Run(run.runtime, record)
    earlier = _earlier(run)
    if earlier is None or earlier.generation != unplanned.generation:
        run.runtime.work.discard_run(run.session_id, unplanned.generation)
    run = _decided(run, made, earlier)
    plan, _ = run.keep_plan(made)
    return run, plan


def _made(
    run: Run, earlier: Run | None, recording: Recording, *, final: bool, ended: bool = False
) -> RunPlan:
    """The plan upon a recording; of one whose first segments slid away, what was planned while they
    were there: what is left might be encoded otherwise, and nobody could do that to the others."""
    known = run.plan() or (earlier.plan() if earlier else None)
    slid = any(each.slid for each in recording.media_playlists)
    if known is None or not slid or run.software_only:
        return make_plan(run, recording, final=final, ended=ended)
    if known.asked != asked_of(run.record.session):
        return make_plan(run, recording, final=final, ended=ended)
    await_sound(run, recording)
    seconds = run.runtime.settings.slice_seconds
    return known.grown(recording, seconds, final=final, ended=ended)


def _earlier(run: Run) -> Run | None:
    """The run whose finished work this one may go on with; that hardware failed there holds on."""
    earlier = run.at(run.record.run[ADOPTS]) if ADOPTS in run.record.run else None
    if earlier is not None and earlier.software_only:
        run.note_software_only()
    return earlier


def _decided(run: Run, made: RunPlan, earlier: Run | None) -> Run:
    """The run with its revision, going on with what an earlier one finished if that fits.

    A run that a late sign of life ended is followed by one that wants the same, or almost: late
    heartbeats are normal. Decided once for a run; adopting again does no harm.
    """
    work = run.runtime.work
    items = work.items(run.session_id, earlier.generation) if earlier else {}

    def remembered(record: SessionRecord) -> Changes:
        if is_decided(record):
            return {"run": also_writes(record, made)}
        return {"run": decided(record, made, items, published_views(record))}

    record = run.runtime.sessions.update_by(run.session_id, run.generation, remembered)
    if record is None:
        raise TransientError("the session has moved on; it is looked at again")
    if earlier is not None and record.run.get(ADOPTS) == earlier.generation:
        run.adopt(earlier.generation)
    elif earlier is not None and earlier.generation != run.generation:
        work.discard_run(run.session_id, earlier.generation)
    return replace(run, record=record)
