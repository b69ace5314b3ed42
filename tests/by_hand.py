"""A worker that a test plays by hand: it looks at a session, and does the work that was claimed."""

from typing import Any

import redis as redis_client

from pipelines.session import Phase
from worker.perform import perform
from worker.reconcile import reconcile
from worker.runtime import Runtime
from worker.work import Claim

ID = "s1"
LONG_AGO = 1_763_794_800_000


class Recorder:
    """A dispatcher that keeps what it is given: the test is the worker."""

    def __init__(self) -> None:
        self.looks: list[str] = []
        self.claims: list[Claim] = []
        self.others = 0  #: messages that wait besides

    def reconcile(self, session_id: str) -> None:
        self.looks.append(session_id)

    def perform(self, claim: Claim) -> None:
        self.claims.append(claim)

    def waiting(self) -> int:
        return self.others


class Worker:
    """One process, opened by hand; its sessions have been silent for long."""

    def __init__(self, runtime: Runtime, s3: Any, client: redis_client.Redis) -> None:
        self.runtime = runtime
        self.s3 = s3
        self.redis = client
        self.sent = Recorder()

    def look(self, session_id: str = ID) -> Phase:
        reconcile(session_id, self.runtime, self.sent)
        return self.record(session_id).phase

    def record(self, session_id: str = ID):
        return self.runtime.sessions.get(session_id)

    def put(self, session_id: str = ID, **fields: Any) -> None:
        seen = {"record": True, "lastSeen": LONG_AGO, "createdAt": LONG_AGO}
        self.runtime.sessions.put(session_id, {**seen, **fields})

    def due_in_ms(self, session_id: str = ID) -> int | None:
        due = self.runtime.sessions.due_ms(session_id)
        return None if due is None else due - self.runtime.sessions.now_ms()

    def lease_first(self):
        """Lease the item that was claimed first."""
        claim = self.sent.claims.pop(0)
        return self.runtime.work.lease(claim.key, claim.token, "tests:1", self.runtime.lease_ms)

    def claims_of(self, item: str) -> list[Claim]:
        return [claim for claim in self.sent.claims if claim.key.item == item]

    def finalize(self) -> None:
        """Look and work until there is nothing more to do."""
        self.look()
        while self.sent.claims:
            claim = self.sent.claims.pop(0)
            perform(claim.key, claim.token, self.runtime, self.sent)
            self.look()

    def items(self):
        return self.runtime.work.items(ID, self.record().generation)
