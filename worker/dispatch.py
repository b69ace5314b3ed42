"""How work is handed on: reconcile decides what is missing, a dispatcher brings it to a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from worker.run_plan import CONFORM, PACKAGE, SOUND, TRANSCODE

if TYPE_CHECKING:
    from worker.work import Claim

#: Queue of short messages: reconcile, assemble, publish. One process consumes it alone.
CONTROL = "control"
#: Queue of slices that are copied, one a message.
PACKAGING = "package"
#: Queue of slices that are transcoded or conformed, and of sound that is encoded: a copy never
#: waits for them.
TRANSCODING = "transcode"

#: Threads of a process by its queue. Copies wait for the store: while one slice begins, which only
#: reads, and one ends, which only writes, a third keeps the link busy. A transcode keeps several
#: processors busy. A process takes no more messages than that, so that work spreads.
THREADS = {CONTROL: 2, PACKAGING: 3, TRANSCODING: 1}

_QUEUES = {
    PACKAGE: PACKAGING,
    TRANSCODE: TRANSCODING,
    CONFORM: TRANSCODING,
    SOUND: TRANSCODING,
}


def queue_of(item: str) -> str:
    """The queue on which messages for an item of work go."""
    return _QUEUES.get(item.partition("/")[0], CONTROL)


class Dispatcher(Protocol):
    """Brings hints to workers; one that is lost costs a sweep, nothing else."""

    def reconcile(self, session_id: str) -> None:
        """Have the session looked at."""
        ...

    def perform(self, claim: Claim) -> None:
        """Have a claimed item of work done."""
        ...


class QueueDispatcher(Dispatcher, Protocol):
    """A dispatcher whose hints wait in a queue."""

    def waiting(self) -> int:
        """Short messages that no worker has taken yet."""
        ...
