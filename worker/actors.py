"""The actors that Dramatiq runs: ``dramatiq worker.actors``, configured by the environment."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import dramatiq
import structlog
from dramatiq.errors import BrokerError
from dramatiq.middleware import Middleware
from structlog.contextvars import bound_contextvars

from pipelines.errors import FinalizerError, ToolError
from pipelines.transcoding.kit import probe_kit
from worker.broker import make_broker, waiting_messages
from worker.dispatch import CONTROL, PACKAGING, THREADS, TRANSCODING, queue_of
from worker.finding import Level
from worker.log import configure
from worker.perform import perform
from worker.presence import Presence, WorkerProcess
from worker.reconcile import reconcile
from worker.redis_check import redis_findings
from worker.runtime import Runtime
from worker.settings import InvalidSettings, load
from worker.sweep import Sweep
from worker.work_item import WorkKey

if TYPE_CHECKING:
    from collections.abc import Collection

    from worker.settings import Settings
    from worker.work import Claim

log = structlog.get_logger(__name__)

#: The variable by which Dramatiq is told how many messages a process takes at a time.
PREFETCH = "dramatiq_queue_prefetch"


class Queue:
    """The dispatcher of production: every hint becomes a message."""

    def reconcile(self, session_id: str) -> None:
        """Have a worker look at the session."""
        reconcile_session.send(session_id)

    def perform(self, claim: Claim) -> None:
        """Have a worker do a claimed item, on the queue of its kind."""
        actors = {PACKAGING: package_slice, TRANSCODING: transcode_slice, CONTROL: finish}
        actors[queue_of(claim.key.item)].send(*claim.key, claim.token)

    def waiting(self) -> int:
        """Short messages that no worker has taken yet."""
        return waiting_messages(broker, CONTROL)

    def request(self, session_id: str, *, delay_ms: int = 0) -> None:
        """Have the session looked at, at the earliest in ``delay_ms``: the API's way in.

        The due time in the store carries the delay: a queue would keep it in a worker's memory.
        """
        if delay_ms > 0:
            return
        try:
            self.reconcile(session_id)
        except BrokerError as error:
            message = "The queue does not answer: the sweep has the session looked at."
            log.warning(message, action="hint_lost", error=type(error).__name__)


class ProcessLife(Middleware):
    """What a worker process does besides its messages: presence, sweep, stopping in time."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._sweep: Sweep | None = None
        self._presence: Presence | None = None

    def after_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Begin to sweep and to be seen."""
        queues = worker.consumer_whitelist or broker.get_declared_queues()
        warn_of_prefetch(worker.worker_threads, os.environ.get(PREFETCH), queues)
        warn_of_queues(queues)
        warn_of_redis(self._runtime.settings)
        probe_encoders(self._runtime.tools.ffmpeg)
        process = WorkerProcess.this(queues, worker.worker_threads)
        self._presence = Presence(self._runtime.roster, process)
        self._presence.__enter__()
        self._sweep = Sweep(self._runtime, queue, prompt=CONTROL in queues)
        self._sweep.start()

    def before_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Have unfinished work handed back at once."""
        self._runtime.stop.set()
        if self._sweep is not None:
            self._sweep.stop()

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Be seen no more."""
        if self._presence is not None:
            self._presence.__exit__(None, None, None)


def warn_of_prefetch(threads: int, prefetch: str | None, queues: Collection[str]) -> None:
    """Warn when this process would hold messages that idle workers could do (DESIGN 9)."""
    if threads <= max(THREADS.values()) and prefetch == str(threads):
        return
    advised = max((THREADS[queue] for queue in queues if queue in THREADS), default=1)
    message = (
        f"Slices will not spread evenly: run `dramatiq -t {advised}` with "
        f"dramatiq_queue_prefetch={advised}."
    )
    log.warning(
        message,
        action="prefetch_uneven",
        threads=threads,
        prefetch=prefetch or "twice the threads",
    )


def warn_of_queues(queues: Collection[str]) -> None:
    """Warn when short work would wait behind longer work in this process (DESIGN 9)."""
    mixed = [queue for queue in (CONTROL, PACKAGING, TRANSCODING) if queue in queues]
    if len(mixed) < 2:
        return
    log.warning(
        "This process consumes several queues: reconciling waits behind slices, and copies behind "
        "transcodes. Run processes with `--queues control`, `--queues package` and "
        "`--queues transcode`.",
        action="queues_mixed",
        queues=mixed,
    )


def probe_encoders(ffmpeg: str) -> None:
    """Ask ffmpeg once, at the start, what it can encode; every plan goes by the answer."""
    try:
        kit = probe_kit(ffmpeg)
    except ToolError as error:
        log.warning("ffmpeg does not say what it can encode.", action="kit_away", error=str(error))
        return
    log.debug("ffmpeg was asked what it can encode.", encoders=len(kit.encoders))


def warn_of_redis(settings: Settings) -> None:
    """Warn when Redis would forget sessions: it is the session store."""
    for finding in redis_findings(settings):
        if finding.level is not Level.OK:
            log.warning(str(finding), action="redis_unsafe")


def _opened() -> Runtime:
    try:
        settings = load()
        configure(settings)
        return Runtime.open(settings)
    except (InvalidSettings, FinalizerError) as error:
        sys.exit(str(error))


def _broker() -> dramatiq.Broker:
    try:
        return make_broker(runtime.settings, ProcessLife(runtime))
    except InvalidSettings as error:
        sys.exit(str(error))


runtime = _opened()
queue = Queue()
reconciler = queue
broker = _broker()
dramatiq.set_broker(broker)


@dramatiq.actor(queue_name=CONTROL, broker=broker)
def reconcile_session(session_id: str) -> None:
    """Do for one session what is due now."""
    with bound_contextvars(session_id=session_id):
        reconcile(session_id, runtime, queue)


@dramatiq.actor(queue_name=PACKAGING, broker=broker)
def package_slice(session_id: str, generation: int, item: str, token: str) -> None:
    """Package one slice."""
    perform(WorkKey(session_id, generation, item), token, runtime, queue)


@dramatiq.actor(queue_name=TRANSCODING, broker=broker)
def transcode_slice(session_id: str, generation: int, item: str, token: str) -> None:
    """Transcode one slice for all renditions of its variant, or encode the variant's sound."""
    perform(WorkKey(session_id, generation, item), token, runtime, queue)


@dramatiq.actor(queue_name=CONTROL, broker=broker)
def finish(session_id: str, generation: int, item: str, token: str) -> None:
    """Assemble and prove a rendition, or publish and commit."""
    perform(WorkKey(session_id, generation, item), token, runtime, queue)
