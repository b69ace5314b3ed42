"""Leaving nothing behind: staging, open uploads and unpublished objects of runs that have ended, and
all that was written of sessions that were deleted."""

from __future__ import annotations

import contextlib
import json
import re
from typing import TYPE_CHECKING, Any

import structlog
from redis.exceptions import LockError

from pipelines.errors import TransientError
from pipelines.object_store import DELETE_BATCH
from pipelines.publish import MULTIVARIANT
from pipelines.session import Phase
from pipelines.store_errors import ObjectMissing
from worker.longer_revision import published_report, revisions_kept
from worker.run_memory import AFTER, LISTED, MAKES, WROTE, runs_of
from worker.transitions import is_at_work

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redis.lock import Lock

    from pipelines.location import Location
    from worker.records import SessionRecord
    from worker.run import Run
    from worker.runtime import Runtime

log = structlog.get_logger(__name__)

#: In an ended run's record: when the last pass is due, Unix ms. Until then, workers that lost their
#: lease may still write a little.
LAST_PASS = "lastPass"
_REVISION = re.compile(r"r(\d+)/")


def clean(runtime: Runtime, record: SessionRecord) -> None:
    """Remove what an ended run left, once now and once when every lease of it has run out.

    Also removes revisions that were replaced long ago, and of a deleted session every revision. An
    outage of the store only postpones it. No run begins meanwhile (``cleanup_lock``): it would
    write under the very same names.
    """
    lock = runtime.sessions.cleanup_lock(record.id)
    if not lock.acquire():
        return
    try:
        current = runtime.sessions.get(record.id)
        if current is not None and _may_clean(record, current):
            _clean(runtime, current, lock)
    except (TransientError, LockError) as error:
        log.warning("Cleaning up has to wait.", action="cleanup_postponed", error=str(error))
        runtime.sessions.schedule(record.id, runtime.sessions.now_ms() + 2 * runtime.lease_ms)
    finally:
        with contextlib.suppress(LockError):
            lock.release()


def clean_after(run: Run) -> None:
    """Remove what a worker may have left that outlived its run.

    A worker that stood still may go on after the last pass: a session at rest is cleaned again.
    """
    runtime = run.runtime
    record = runtime.sessions.get(run.session_id)
    if record is None:
        return
    if run.generation not in runs_of(record):
        runtime.work.discard_run(run.session_id, run.generation)
    if not is_at_work(record) and runtime.sessions.clean_again(run.session_id, run.record.run):
        log.warning(
            "A run was outlived by a worker; its session is cleaned again.", action="cleaned_again"
        )


def _may_clean(seen: SessionRecord, current: SessionRecord) -> bool:
    """Whether the run that is to be cleaned up after is still the last, and no other may begin."""
    return current.generation == seen.generation and not is_at_work(current)


def _clean(runtime: Runtime, record: SessionRecord, lock: Lock) -> None:
    """One pass of cleaning; then note whether another one is to come, and when."""
    now = runtime.sessions.now_ms()
    run: Mapping[str, Any] = {}
    due: int | None = now  # for the old revisions, as soon as the run is done with
    last_pass = record.run.get(LAST_PASS)
    if not record.run:
        gone = record.phase is Phase.DELETED
        due = None if gone else _remove_old_revisions(runtime, record, now)
    elif last_pass is None:
        _remove_leftovers(runtime, record, lock)
        due = now + 2 * runtime.lease_ms
        left = {name: value for name, value in record.run.items() if name != LISTED}
        run = {**left, LAST_PASS: due}
    elif now < last_pass:
        due, run = last_pass, record.run
    else:
        _remove_leftovers(runtime, record, lock)
        restore_published(runtime, record)
    lock.reacquire()
    runtime.sessions.settle(record.id, record.generation, run=run, due_ms=due)


def _remove_leftovers(runtime: Runtime, record: SessionRecord, lock: Lock) -> None:
    folder = runtime.names(record.id).folder
    for generation in runs_of(record):
        runtime.work.discard_run(record.id, generation)
    for name in record.run.get(WROTE, ()):
        lock.reacquire()
        _abort_uploads(runtime, folder.child(name))
    lock.reacquire()
    runtime.staging(record.id).remove()
    lock.reacquire()
    if record.phase is Phase.DELETED:
        _remove_published(runtime, record, lock)
    elif MAKES in record.run:  # else nothing was ever written there
        _remove_unpublished(runtime, record)


def _abort_uploads(runtime: Runtime, location: Location) -> None:
    for upload_id in runtime.output.open_uploads(location):
        runtime.output.abort_upload(location, upload_id)


def _remove_published(runtime: Runtime, record: SessionRecord, lock: Lock) -> None:
    """Remove every object of a deleted session: first what refers to the others.

    Only names that we give: whatever else lies in the folder is not ours.
    """
    folder = runtime.names(record.id).folder
    index = folder.child("index.m3u8")
    objects = [
        each
        for each in runtime.output.list(folder)
        if each.key == index.key or _revision_of(each, folder) is not None
    ]
    objects.sort(key=lambda each: each.key != index.key)
    for first in range(0, len(objects), DELETE_BATCH):
        lock.reacquire()
        runtime.output.delete(objects[first : first + DELETE_BATCH])
    if objects:
        runtime.sessions.add_event(record.id, "removed", objects=len(objects))
        log.info("A deleted session's objects are removed.", action="removed", count=len(objects))


def _remove_unpublished(runtime: Runtime, record: SessionRecord) -> None:
    """Remove objects of revisions that were not reached, and what refers to them; also objects in
    the reached one of renditions that were given up on the way."""
    folder = runtime.names(record.id).folder
    objects = [
        each
        for each in runtime.output.list(folder.child("r"))
        if _is_unpublished(record, each.key.removeprefix(folder.key))
    ]
    if not objects:
        return
    restore_published(runtime, record)
    runtime.output.delete(objects)


def _is_unpublished(record: SessionRecord, name: str) -> bool:
    """Whether an object of the session was written by the record's run, and not published."""
    found = _REVISION.match(name)
    if found is None or int(found.group(1)) <= record.run[AFTER]:
        return False
    if int(found.group(1)) != record.revision:
        return True
    inside, slash, _ = name[found.end() :].partition("/")
    made = {view["name"] for view in record.renditions if view["url"]}
    if inside.endswith(".vtt") and not slash:
        return not any(inside.startswith(f"{rendition}.") for rendition in made)
    rendition = inside if slash else inside.removesuffix(".mp4")
    return inside != "recording.json" and rendition not in made


def restore_published(runtime: Runtime, record: SessionRecord) -> None:
    """Make ``index.m3u8`` and the report those of the published revision again.

    Without a published revision, and of a deleted session, there is no ``index.m3u8``.
    """
    folder = runtime.names(record.id).folder
    index = folder.child("index.m3u8")
    if not record.revision or record.phase is Phase.DELETED:
        runtime.output.delete([index])
        return
    report = published_report(runtime, record)
    if report is None:  # nothing tells what index.m3u8 was: it is left as it is
        return
    playlist = report.pop("multivariantPlaylist").encode()
    if not _holds(runtime, index, playlist):
        runtime.output.write(index, playlist, MULTIVARIANT)
    runtime.sessions.set_report(record.id, json.dumps(report, ensure_ascii=False))


def _holds(runtime: Runtime, location: Location, body: bytes) -> bool:
    try:
        return runtime.output.read(location) == body
    except ObjectMissing:
        return False


def _remove_old_revisions(runtime: Runtime, record: SessionRecord, now_ms: int) -> int | None:
    """Remove revisions that were replaced more than ``FINALIZER_KEEP_OLD`` ago, but for those that
    hold media which the published one lacks.

    When to look again (Unix ms); None when nothing is left that will ever have to go.
    """
    if record.revision < 2:
        return None
    keep_until = record.phase_since + round(runtime.settings.keep_old * 1000)
    if now_ms < keep_until:
        return keep_until
    published = published_report(runtime, record)
    if published is None:
        return None
    folder = runtime.names(record.id).folder
    kept = revisions_kept(published)
    old = [
        each
        for each in runtime.output.list(folder.child("r"))
        if (revision := _revision_of(each, folder)) is not None
        and revision < record.revision
        and revision not in kept
    ]
    runtime.output.delete(old)
    return None


def _revision_of(location: Location, folder: Location) -> int | None:
    found = _REVISION.match(location.key.removeprefix(folder.key))
    return int(found.group(1)) if found else None
