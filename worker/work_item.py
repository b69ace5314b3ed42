"""One unit of work of a run, as it is written down: who holds it, how often it failed, its result."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The format that this version writes (``FORMAT`` in work_item.lua) and the only one it reads.
FORMAT = 1


class WorkKey(NamedTuple):
    """Names one unit of work; ``item`` is such as ``package/source/17`` or ``publish``.

    ``generation`` names the run: it is the fencing token of the session (DESIGN 3).
    """

    session_id: str
    generation: int
    item: str


class State(StrEnum):
    """What can be said of an item; one that is not there has no state."""

    CLAIMED = "claimed"  #: a message for it is on its way
    LEASED = "leased"  #: a worker is on it
    RELEASED = "released"  #: given back undone, with or without an error
    DONE = "done"


class Ending(StrEnum):
    """How a lease ended that gave no result, or none that lasted."""

    SILENT = "silent"  #: its worker fell silent until the lease ran out: a crash, or a long pause
    HANDED_BACK = "handed_back"  #: the worker was asked to stop, or could not hold the lease
    OUTAGE = "outage"  #: something that the work needs was away
    FAILED = "failed"  #: the work itself failed
    LOST = "lost"  #: it was done, and what it had made was not all there any more


class ItemError(NamedTuple):
    """The last failure of an item: an ``ErrorCode`` and a sentence."""

    code: str
    message: str


@dataclass(frozen=True)
class ItemState:
    """An item as it was found. Times are Unix milliseconds of Redis' clock.

    ``identity`` says which input the work is for; another identity is other work. ``attempts``
    counts crashes of workers and counted releases, ``outages`` the uncounted releases with an
    error, ``failing_since`` is when the first of either happened: all three start afresh when the
    identity changes. ``earlier`` counts the leases that were taken for this identity before, by how
    they ended. ``progress`` is in seconds of media.
    """

    state: State
    identity: str
    token: str
    attempts: int = 0
    outages: int = 0
    failing_since: int | None = None
    owner: str | None = None
    expires: int = 0
    not_before: int = 0
    error: ItemError | None = None
    result: str | None = None
    progress: float | None = None
    earlier: Mapping[Ending, int] = field(default_factory=dict)

    def active(self, now_ms: int) -> bool:
        """Whether somebody holds a claim or a lease that has not run out."""
        return self.state in (State.CLAIMED, State.LEASED) and self.expires > now_ms


def parse_item(text: str | bytes) -> ItemState | None:
    """Read what the scripts wrote; None when it was written in a format that we do not know."""
    try:
        record = json.loads(text)
    except ValueError:
        return None
    if not isinstance(record, dict) or record.get("v") != FORMAT:
        return None
    progress = record.get("progress")
    error = ItemError(record["code"], record["message"]) if "code" in record else None
    return ItemState(
        state=State(record["state"]),
        identity=record["identity"],
        token=record["token"],
        attempts=record["attempts"],
        outages=record["outages"],
        failing_since=record.get("failing_since"),
        owner=record.get("owner"),
        expires=record.get("expires", 0),
        not_before=record.get("not_before", 0),
        error=error,
        result=record.get("result"),
        progress=None if progress is None else progress / 1000,
        earlier={Ending(how): count for how, count in record.get("earlier", {}).items()},
    )
