"""What a run lacks next, and who may have it: work items are claimed, up to windows, and sent."""

from __future__ import annotations

from itertools import chain, groupby, islice
from typing import TYPE_CHECKING

from dramatiq.errors import BrokerError

from pipelines.report import RenditionKind
from worker.dispatch import PACKAGING, TRANSCODING, queue_of
from worker.progress import SHOWN_EVERY_MS
from worker.run_plan import PUBLISH, assemble_item
from worker.work import Claim, Refused
from worker.work_item import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pipelines.session import Phase
    from worker.dispatch import Dispatcher
    from worker.run import Run
    from worker.standing import Standing
    from worker.work import Work
    from worker.work_item import WorkKey

#: Failures and crashes after which an item of work fails its session.
MAX_ATTEMPTS = 3
#: Slices that a session claims at a time, per live thread of their queue: bounds the queue, and is
#: fair to other sessions.
WINDOW_PER_THREAD = 2
#: The window of a queue when no worker is known to consume it.
LEAST_WINDOW = 4
#: Slices of each queue that a session claims at a time while it is live: whoever waits for the end
#: of a session that is over comes first.
LIVE_WINDOW = 2
#: How many leases the claim of a transcode lasts: its message waits behind slices of minutes.
TRANSCODE_CLAIM_LEASES = 10


def claim(
    run: Run,
    missing: Sequence[tuple[WorkKey, str]],
    dispatcher: Dispatcher,
    phases: Sequence[Phase],
) -> Iterator[tuple[WorkKey, Refused]]:
    """Claim what is missing while the session is in one of ``phases``, and send it; the items that
    could not be claimed, as they are come upon."""
    work, lease_ms = run.runtime.work, run.runtime.lease_ms
    for is_long, wanted in groupby(missing, key=lambda each: queue_of(each[0].item) == TRANSCODING):
        # A message may be on its way for as long as a worker may be silent, and wait in its queue.
        ttl_ms = lease_ms * (TRANSCODE_CLAIM_LEASES if is_long else 1)
        named = list(wanted)
        answers = work.claim_many(named, ttl_ms, MAX_ATTEMPTS, phases)
        _send([each for each in answers if isinstance(each, Claim)], work, dispatcher)
        for (key, _), answer in zip(named, answers, strict=True):
            if isinstance(answer, Refused):
                yield key, answer


def _send(claims: Sequence[Claim], work: Work, dispatcher: Dispatcher) -> None:
    """Send a message for each claim; what the queue does not take can be claimed again at once."""
    for number, claimed in enumerate(claims):
        try:
            dispatcher.perform(claimed)
        except BrokerError:
            for unsent in claims[number:]:
                work.release(unsent, counts=False, error=None)
            raise


def missing_work(run: Run, standing: Standing) -> list[tuple[WorkKey, str]]:
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


def missing_while_live(run: Run, standing: Standing) -> list[tuple[WorkKey, str]]:
    """The next slices of a session that is live, as ``missing_work`` has them: those that are settled
    and wait for nothing. Sound is encoded, and slices that need it, when all of it is there."""
    wanted: list[tuple[str, str]] = []
    for queue, items in _lacking_while_live(standing).items():
        able = (each for each in items if not standing.waits(*each))
        wanted += _first_free(run, standing, queue, able, LIVE_WINDOW)
    return [(run.key(item), identity) for item, identity in wanted]


def failed_too_often(standing: Standing) -> str | None:
    """The first slice of a live session that has: at its end the session fails of that."""
    lacking = chain.from_iterable(_lacking_while_live(standing).values())
    spent = (
        item for item, identity in lacking if standing.attempts(item, identity) >= MAX_ATTEMPTS
    )
    return next(spent, None)


def _lacking_while_live(standing: Standing) -> dict[str, Iterator[tuple[str, str]]]:
    """Slices that are lacking, by queue."""
    return {
        PACKAGING: _lacking_copies(standing),
        TRANSCODING: _lacking_transcodes(standing),
    }


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
    window = max(LEAST_WINDOW, WINDOW_PER_THREAD * run.runtime.roster.threads(queue))
    return _first_free(run, standing, queue, lacking, window)


def _first_free(
    run: Run, standing: Standing, queue: str, lacking: Iterable[tuple[str, str]], window: int
) -> list[tuple[str, str]]:
    """The first items that nobody has, so many that the session has no more than ``window``."""
    active = sum(standing.is_active(item) for item in standing.items if queue_of(item) == queue)
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


def next_look(run: Run, standing: Standing) -> int:
    """When to look again even if every message is lost and every worker dies, Unix ms.

    Soon while a transcode is under way: only a look shows how far it has come.
    """
    now = standing.now_ms
    held = [state.expires for state in standing.items.values() if state.active(now)]
    moves = any(
        standing.is_leased(each) for each in standing.items if queue_of(each) == TRANSCODING
    )
    return min([*held, now + (SHOWN_EVERY_MS if moves else run.runtime.lease_ms)])
