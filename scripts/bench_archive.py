"""Sessions that were finished long ago, written as the product writes them, but in bulk."""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING

from pipelines.session import Phase, Session
from worker.guarded import Due, GuardedRecords, Write
from worker.records import SessionRecord
from worker.store import open_redis
from worker.transitions import entering

if TYPE_CHECKING:
    from worker.settings import Settings

_BATCH = 500
_PROCESSES = 2
_DAY_MS = 86_400_000
#: Over so many days the sessions were created.
_DAYS = 365
_POLL_S = 0.2


def store_finished(settings: Settings, count: int) -> None:
    """Store ``count`` sessions in phase ``ready``, in the product's own form, with one event each.

    Returns when Redis has also finished rewriting its file.
    """
    share = -(-count // _PROCESSES)
    with ProcessPoolExecutor(_PROCESSES) as pool:
        firsts = range(0, count, share)
        shares = [(settings, first, min(count, first + share)) for first in firsts]
        for _ in pool.map(_store_some, shares):
            pass
    client = open_redis(settings)
    while client.info("persistence")["aof_rewrite_in_progress"]:
        time.sleep(_POLL_S)


def _store_some(share: tuple[Settings, int, int]) -> None:
    settings, first, end = share
    client = open_redis(settings)
    records = GuardedRecords(client, settings.redis_prefix)
    now = round(time.time() * 1000)
    for begin in range(first, end, _BATCH):
        with client.pipeline(transaction=False) as pipe:
            for number in range(begin, min(end, begin + _BATCH)):
                at = now - _DAYS * _DAY_MS + number * (_DAYS - 1) * _DAY_MS // max(1, end)
                write = Write(_finished(settings, number, at), (entering(Phase.READY),), Due.KEPT)
                for command in records.commands(None, write, at):
                    pipe.execute_command(*command)  # type: ignore[no-untyped-call]
            pipe.execute()


def _finished(settings: Settings, number: int, at: int) -> SessionRecord:
    """A session as it is after its first run: a recording of an hour, one rendition."""
    session_id = f"stored-{number:08d}"
    public = f"{settings.public_url.rstrip('/')}/{session_id}/"
    document = {
        "id": session_id, "name": session_id, "record": True, "createdAt": at,
        "lastSeen": at + 3_600_000, "parentId": f"stream-{number % 10_000}",
        "sourceSegments": 900, "sourceSegmentsDuration": 3600.0, "sourceBytes": 2_700_000_000,
        "transcodedSegments": 900, "isHealthy": True, "issues": [],
    }  # fmt: skip
    rendition = {
        "name": "source", "kind": "copy", "state": "ready", "url": f"{public}r1/source.mp4",
        "reason": "the source itself", "progress": 1.0, "mediaSeconds": 3600.0,
        "mediaSecondsDone": 3600.0, "speed": 40.0, "encoding": None,
    }  # fmt: skip
    return SessionRecord(
        session=Session.model_validate(document),
        phase=Phase.READY,
        phase_since=at + 3_700_000,
        generation=at + 3_660_000,
        revision=1,
        used_revision=1,
        version=8,
        recording_url=f"{public}index.m3u8",
        mp4_url=f"{public}r1/source.mp4",
        renditions=(rendition,),
    )
