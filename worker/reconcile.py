"""The one step that everything asks for: read what is true, work out what is missing, claim it.

Level-triggered: webhooks, heartbeats, the sweep, finished work and people all call ``reconcile``;
a lost, late or doubled call changes nothing, and the next one heals it.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby, islice
from typing import TYPE_CHECKING

import structlog
from dramatiq.errors import BrokerError
from redis.exceptions import RedisError

from pipelines.errors import ErrorCode, PermanentError, ToolError, TransientError, known_code
from pipelines.report import RenditionKind
from pipelines.session import Phase
from worker.cleanup import clean
from worker.dispatch import PACKAGING, TRANSCODING, queue_of
from worker.ending import fail
from worker.idle import LOOK_AGAIN_MS, end_when_idle, give_up
from worker.planning import make_plan, tell_fallback, unlisted_hardware
from worker.progress import SHOWN_EVERY_MS, rendition_views
from worker.recovery import published_before
from worker.rendition_view import published_views
from worker.run import Run
from worker.run_memory import ADOPTS, FINISHED, decided, is_decided
from worker.run_plan import PUBLISH, asked_of, assemble_item
from worker.work import Claim, Reason, Refused
from worker.work_item import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from worker.dispatch import Dispatcher
    from worker.records import Changes, SessionRecord
    from worker.run_plan import RunPlan
    from worker.runtime import Runtime
    from worker.standing import Standing
    from worker.work_item import WorkKey

log = structlog.get_logger(__name__)

#: Failures and crashes after which an item of work fails its session.
MAX_ATTEMPTS = 3
#: Slices that a session claims at a time, per live thread of their queue: bounds the queue, and is
#: fair to other sessions.
WINDOW_PER_THREAD = 2
#: The window of a queue when no worker is known to consume it.
LEAST_WINDOW = 4
#: How many leases the claim of a transcode lasts: its message waits behind slices of minutes.
TRANSCODE_CLAIM_LEASES = 10
#: In a run's record: how often a bug of ours stopped the look at the session.
FAULTS = "faults"
#: How soon a session is looked at again while an earlier run is cleaned up.
CLEANING_MS = 300


def reconcile(session_id: str, runtime: Runtime, dispatcher: Dispatcher) -> None:
    """Do for one session what is due now; safe to call at any time, from anywhere, at once."""
    record = runtime.sessions.get(session_id)
    if record is None or not record.session.record:
        return
    try:
        _look(record, runtime, dispatcher)
    except (RedisError, BrokerError):
        raise
    except Exception as error:
        log.exception("A bug of ours stopped the look at a session.", action="internal_error")
        message = f"an unexpected {type(error).__name__}; see the worker's log"
        _count_fault(session_id, runtime, ToolError(ErrorCode.INTERNAL_ERROR, message))


def _look(record: SessionRecord | None, runtime: Runtime, dispatcher: Dispatcher) -> None:
    if record is not None and record.phase is Phase.LIVE:
        record = end_when_idle(record, runtime)
    if record is not None and record.phase is Phase.FINALIZING:
        _advance(Run(runtime, record), dispatcher)
    elif record is not None and record.phase is not Phase.LIVE:
        clean(runtime, record)


def _count_fault(session_id: str, runtime: Runtime, error: ToolError) -> None:
    """Look again a few times, then fail the session: one that can never be looked at is told of."""
    record = runtime.sessions.get(session_id)
    if record is None or record.phase not in (Phase.LIVE, Phase.FINALIZING):
        return
    faults = int(record.run.get(FAULTS, 0)) + 1
    if faults < MAX_ATTEMPTS:
        runtime.sessions.update_by(
            session_id, record.generation, lambda now: {"run": {**now.run, FAULTS: faults}}
        )
        runtime.sessions.schedule(session_id, runtime.sessions.now_ms() + LOOK_AGAIN_MS)
        return
    give_up(record, runtime, error)


def _advance(run: Run, dispatcher: Dispatcher) -> None:
    """Claim whatever the run still lacks and send it to the workers."""
    runtime = run.runtime
    known = run.plan()
    if known is not None and known.asked != asked_of(run.record.session):
        run.begin_anew("other profiles are asked for")
        dispatcher.reconcile(run.session_id)
        return
    if known is None and runtime.sessions.cleanup_lock(run.session_id).locked():
        # What an earlier run left is being removed under the names that this one will use.
        runtime.sessions.schedule(run.session_id, runtime.sessions.now_ms() + CLEANING_MS)
        return
    try:
        if known is None:
            run = _recovered(run)
            run, plan = _planned(run)
        else:
            plan = known
    except PermanentError as error:
        fail(run, error.code, error.message)
        return
    except TransientError as error:
        _wait_out(run, error)
        return
    except ToolError as error:
        log.warning("The recording could not be planned.", action="plan_failed", error=str(error))
        _count_fault(run.session_id, runtime, error)
        return
    standing = run.standing(plan)
    missing = _missing(run, standing)
    runtime.sessions.schedule(run.session_id, _next_look(run, standing))
    if _claimed(run, missing, dispatcher):
        _show_progress(run, standing)


def _claimed(run: Run, missing: list[tuple[WorkKey, str]], dispatcher: Dispatcher) -> bool:
    """Claim what is missing and send it; whether the run goes on."""
    work, lease_ms = run.runtime.work, run.runtime.lease_ms
    for is_long, wanted in groupby(missing, key=lambda each: queue_of(each[0].item) == TRANSCODING):
        # A message may be on its way for as long as a worker may be silent, and wait in its queue.
        ttl_ms = lease_ms * (TRANSCODE_CLAIM_LEASES if is_long else 1)
        named = list(wanted)
        answers = work.claim_many(named, ttl_ms, MAX_ATTEMPTS, (Phase.FINALIZING,))
        for (key, _), answer in zip(named, answers, strict=True):
            if isinstance(answer, Claim):
                dispatcher.perform(answer)
            elif not _tolerable(run, key, answer):
                return False
    return True


def _recovered(run: Run) -> Run:
    """The run, knowing what was published of its session before the store lost it, if anything."""
    changes = published_before(run.runtime, run.record)
    if not changes:
        return run
    event = {"action": "recovered", "revision": changes.get("revision", 0)}
    run.runtime.sessions.update(run.session_id, run.generation, changes, event=event)
    return Run(run.runtime, replace(run.record, **changes))


def _planned(run: Run) -> tuple[Run, RunPlan]:
    """Plan the run and give it its revision; the run that knows it, and the plan that counts."""
    earlier = run.at(run.record.run[ADOPTS]) if ADOPTS in run.record.run else None
    if earlier is not None and earlier.software_only:
        run.note_software_only()
    recording = run.read_recording()
    made = make_plan(run, recording)
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


def _decided(run: Run, made: RunPlan, earlier: Run | None) -> Run:
    """The run with its revision, going on with what an earlier one finished if that fits.

    A run that a late sign of life ended is followed by one that wants the same, or almost: late
    heartbeats are normal. Decided once for a run; adopting again does no harm.
    """
    work = run.runtime.work
    items = work.items(run.session_id, earlier.generation) if earlier else {}

    def remembered(record: SessionRecord) -> Changes:
        if is_decided(record):
            return {}
        return {"run": decided(record, made, items, published_views(record))}

    record = run.runtime.sessions.update_by(run.session_id, run.generation, remembered)
    if record is None:
        raise TransientError("the session has moved on; it is looked at again")
    if earlier is not None and record.run.get(ADOPTS) == earlier.generation:
        run.adopt(earlier.generation)
    elif earlier is not None and earlier.generation != run.generation:
        work.discard_run(run.session_id, earlier.generation)
    return replace(run, record=record)


def _missing(run: Run, standing: Standing) -> list[tuple[WorkKey, str]]:
    """The next items of work, with the identity of their input; slices up to the windows."""
    if standing.results is not None:
        return [(run.key(PUBLISH), standing.plan.identity)]
    wanted = [
        *_lacking_assemblies(standing),
        *_windowed(run, standing, PACKAGING, _lacking_copies(standing)),
        *_lacking_sounds(standing),
        *_windowed(run, standing, TRANSCODING, _lacking_encodings(standing)),
    ]
    return [(run.key(item), identity) for item, identity in wanted]


def _lacking_assemblies(standing: Standing) -> Iterator[tuple[str, str]]:
    for planned in standing.plan.renditions:
        if standing.assembled(planned) is None and standing.receipts(planned.name) is not None:
            yield assemble_item(planned.name), planned.identity


def _lacking_copies(standing: Standing) -> Iterator[tuple[str, str]]:
    for planned in standing.plan.renditions:
        if planned.kind is RenditionKind.COPY and standing.assembled(planned) is None:
            work = zip(standing.plan.work(planned), standing.first(planned), strict=True)
            yield from (item for item, result in work if result is None)


def _lacking_sounds(standing: Standing) -> Iterator[tuple[str, str]]:
    for group in standing.plan.groups:
        if group.encodes_audio and standing.open(group) and standing.sound(group) is None:
            yield group.sound_item, group.sound_identity


def _lacking_encodings(standing: Standing) -> Iterator[tuple[str, str]]:
    """Slices for the encoders; those that a rendition only waits for come first."""
    yield from _lacking_conforms(standing)
    yield from _lacking_transcodes(standing)


def _lacking_transcodes(standing: Standing) -> Iterator[tuple[str, str]]:
    """Slices that a rendition lacks which may still get parts; sound is encoded before them."""
    for group in standing.plan.groups:
        if group.encodes_audio and standing.sound(group) is None:
            continue
        lacking: dict[int, tuple[str, str]] = {}
        for planned in standing.open(group):
            work = zip(standing.plan.work(planned), standing.first(planned), strict=True)
            lacking |= {n: item for n, (item, result) in enumerate(work) if result is None}
        yield from (lacking[number] for number in sorted(lacking))


def _lacking_conforms(standing: Standing) -> Iterator[tuple[str, str]]:
    """Slices that are to be made again, conformed to the layout of their rendition; sound that is
    encoded is so before them."""
    silent = {
        each.name
        for group in standing.plan.groups
        if group.encodes_audio and standing.sound(group) is None
        for each in group.renditions
    }
    for planned in standing.plan.renditions:
        layout = standing.layout(planned)
        if layout is None or planned.name in silent or standing.assembled(planned) is not None:
            continue
        work, results = standing.work(planned), standing.slices(planned)
        yield from (work[number] for number in sorted(layout.slices) if results[number] is None)


def _windowed(
    run: Run, standing: Standing, queue: str, lacking: Iterable[tuple[str, str]]
) -> list[tuple[str, str]]:
    """The first items that nobody has, as many as the workers of their queue can soon do."""
    active = sum(standing.is_active(item) for item in standing.items if queue_of(item) == queue)
    window = max(LEAST_WINDOW, WINDOW_PER_THREAD * run.runtime.roster.threads(queue))
    free = (each for each in lacking if _freed(run, standing, *each))
    return list(islice(free, max(0, window - active)))


def _freed(run: Run, standing: Standing, item: str, identity: str) -> bool:
    """Whether a lacking item can be claimed.

    One that is done and lacks a receipt all the same was done while the rendition needed none, or
    by another version: it is forgotten first.
    """
    state = standing.items.get(item)
    if state is None or state.identity != identity:
        return True
    if state.state is State.DONE:
        return run.drop(item)
    return not standing.is_active(item)


def _next_look(run: Run, standing: Standing) -> int:
    """When to look again even if every message is lost and every worker dies, Unix ms.

    Soon while a transcode is under way: only a look shows how far it has come.
    """
    now = standing.now_ms
    held = [state.expires for state in standing.items.values() if state.active(now)]
    moves = any(
        standing.is_leased(each) for each in standing.items if queue_of(each) == TRANSCODING
    )
    return min([*held, now + (SHOWN_EVERY_MS if moves else run.runtime.lease_ms)])


def _tolerable(run: Run, key: WorkKey, refused: Refused) -> bool:
    """Whether the run goes on although an item could not be claimed; fails the session if not."""
    state = refused.state
    if refused.reason is Reason.STALE:
        return False
    if refused.reason is Reason.POISON:
        code = ErrorCode.SLICE_POISON
        message = (
            f"it ended its worker {MAX_ATTEMPTS} times; see the workers' logs (out of memory?), "
            "then run the session again"
        )
        if refused.error is not None and refused.error.code != ErrorCode.INTERRUPTED:
            code, message = known_code(refused.error.code), refused.error.message
        fail(run, code, message, key.item)
        return False
    if refused.reason is Reason.WAITING and state is not None:
        patience = run.runtime.settings.give_up_after * 1000
        now = run.runtime.sessions.now_ms()
        if state.error and state.failing_since and now - state.failing_since > patience:
            fail(run, known_code(state.error.code), f"given up: {state.error.message}", key.item)
            return False
        run.runtime.sessions.schedule(run.session_id, state.not_before, earlier_only=True)
    return True


def _wait_out(run: Run, error: TransientError) -> None:
    """Look again later, or give up after a whole day of outage."""
    now = run.runtime.sessions.now_ms()
    if now - run.record.phase_since > run.runtime.settings.give_up_after * 1000:
        fail(run, error.code, f"given up: {error.message}")
        return
    run.runtime.sessions.schedule(run.session_id, now + LOOK_AGAIN_MS)
    log.warning("The recording could not be read yet.", action="store_away", error=str(error))


def _show_progress(run: Run, standing: Standing) -> None:
    """Write what the API shows; a number of a revision under which an MP4 is finished is used up."""
    views = rendition_views(run, standing)
    finished = {
        planned.name: planned.identity
        for planned in standing.plan.renditions
        if standing.assembled(planned) is not None
    }
    if views == run.record.renditions and finished == run.record.run.get(FINISHED, {}):
        return

    def shown(record: SessionRecord) -> Changes:
        changes: Changes = {"renditions": views}
        if finished:
            before = record.run.get(FINISHED, {})
            changes["run"] = {**record.run, FINISHED: {**before, **finished}}
            changes["used_revision"] = run.revision
        return changes

    run.runtime.sessions.update_by(run.session_id, run.generation, shown)
