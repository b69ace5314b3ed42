"""Work in flight as Redis tells it while chaos reigns: who holds what, and what has failed before."""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from worker.dispatch import CONTROL, PACKAGING, TRANSCODING
from worker.run_plan import ASSEMBLE, CONFORM, PACKAGE, TRANSCODE
from worker.work_item import State, parse_item

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import TypeVar

    from redis import Redis

    from worker.work_item import ItemState

    Answer = TypeVar("Answer")

_SLICES = (f"{PACKAGE}/", f"{TRANSCODE}/", f"{CONFORM}/")
_ITEM = "item:"
_LOOK_S = 0.02
_PATIENCE_S = 60.0


@dataclass(frozen=True)
class HeldItem:
    """A work item of any session's run."""

    run: str
    name: str
    state: ItemState

    @property
    def is_slice(self) -> bool:
        """Whether it makes a slice."""
        return self.name.startswith(_SLICES)

    @property
    def is_assembly(self) -> bool:
        """Whether it makes an object of slices."""
        return self.name.startswith(f"{ASSEMBLE}/")

    @property
    def owner(self) -> int | None:
        """The process of the worker that has leased it."""
        leased = self.state.state is State.LEASED and self.state.owner is not None
        return int(str(self.state.owner).rpartition(":")[2]) if leased else None


class WorkInFlight:
    """All work of a deployment whose keys in Redis start with ``prefix``; waits while Redis is away."""

    def __init__(self, client: Redis[str], prefix: str) -> None:
        self._client = client
        self._prefix = prefix
        self._queue = f"{prefix}queue"

    def slices_held(self, owners: Collection[int] | None = None) -> int:
        """How many slices are leased: by these processes, or by any."""
        return sum(
            each.is_slice and each.owner is not None and (owners is None or each.owner in owners)
            for each in self.items()
        )

    def holders(self) -> set[int]:
        """The processes that have leased a slice."""
        return {each.owner for each in self.items() if each.is_slice and each.owner is not None}

    def slices_done(self) -> int:
        """How many slices are packaged in runs that have not ended."""
        return sum(each.is_slice and each.state.state is State.DONE for each in self.items())

    def most_failures(self, which: Callable[[HeldItem], bool]) -> int:
        """The most failures that any of these unfinished items has had."""
        unfinished = (each for each in self.items() if each.state.state is not State.DONE)
        return max((each.state.attempts for each in unfinished if which(each)), default=0)

    def items(self) -> list[HeldItem]:
        """Every work item of every run."""
        return patiently(self._items)

    def drop_messages(self) -> int:
        """Take every message that waits in a queue away; how many there were."""
        return patiently(lambda: sum(map(self._drop, (CONTROL, PACKAGING, TRANSCODING))))

    def double_messages(self, known: set[str]) -> int:
        """Send every message again that is not ``known`` yet, be it waiting or being worked on."""
        return patiently(
            lambda: sum(self._double(name, known) for name in (CONTROL, PACKAGING, TRANSCODING))
        )

    def messages(self) -> list[str]:
        """The keys of queues that are not empty, and of messages that nobody has acknowledged."""
        return patiently(
            lambda: [
                key
                for key in self._client.scan_iter(f"{self._queue}:*", 1000)
                if not key.endswith(("__heartbeats__", ".XQ", ".XQ.msgs"))
            ]
        )

    def runs(self) -> list[str]:
        """The keys of runs that have not been forgotten."""
        return patiently(lambda: [*self._client.scan_iter(f"{self._prefix}run:*", 1000)])

    def _items(self) -> list[HeldItem]:
        found = []
        for run in self._client.scan_iter(f"{self._prefix}run:*", 1000):
            for name, text in self._client.hgetall(run).items():
                state = parse_item(text) if name.startswith(_ITEM) else None
                if state is not None:
                    found.append(HeldItem(run, name.removeprefix(_ITEM), state))
        return found

    def _drop(self, queue: str) -> int:
        key = f"{self._queue}:{queue}"
        dropped = 0
        while (message := self._client.lpop(key)) is not None:
            self._client.hdel(f"{key}.msgs", str(message))
            dropped += 1
        return dropped

    def _double(self, queue: str, known: set[str]) -> int:
        key = f"{self._queue}:{queue}"
        waiting = self._client.hgetall(f"{key}.msgs")
        fresh = [text for name, text in waiting.items() if name not in known]
        known.update(waiting)
        for text in fresh:
            again = uuid.uuid4().hex
            known.add(again)
            message = json.loads(text)
            message["options"]["redis_message_id"] = again
            self._client.hset(f"{key}.msgs", again, json.dumps(message))
            self._client.rpush(key, again)
        return len(fresh)


def patiently(ask: Callable[[], Answer]) -> Answer:
    """The answer of a Redis that may be away for a while; raises RedisError when it stays away."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return ask()
        except RedisError:
            if time.monotonic() > deadline:
                raise
        time.sleep(_LOOK_S)
