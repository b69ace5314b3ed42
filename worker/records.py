"""What the store knows of one session: the record, its allowed transitions, its form in Redis."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypedDict

from pipelines.session import Phase, RecordingStatus, Session, recording_status

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Version of the stored form; raise it when an older reader would misunderstand a newer record.
FORMAT = "1"

#: Fields that the finalizer writes: an origin's document can neither hold nor change them.
_NOT_IN_DOCUMENT = {"recording_status", "recording_url", "mp4_url"}


class UnknownFormat(Exception):
    """The record was written by a version of ours that this one does not understand."""

    def __init__(self, session_id: str, found: str) -> None:
        super().__init__(
            f"The record of session {session_id} has format {found!r}, this version reads "
            f"{FORMAT!r}: leave it to a newer worker."
        )


@dataclass(frozen=True)
class RecordedError:
    """Why the last run failed: a stable code and a sentence that a customer may read."""

    code: str
    message: str


@dataclass(frozen=True)
class Waiting:
    """What work waits for: a code, a sentence that a customer may read, since when (Unix ms), and
    the item of work (None: the recording cannot be read)."""

    code: str
    message: str
    since: int
    item: str | None = None


class Changes(TypedDict, total=False):
    """The fields of a record that a run may write; a field that is not named keeps its value."""

    error: RecordedError | None
    waiting: Waiting | None
    revision: int
    used_revision: int
    recording_url: str | None
    mp4_url: str | None
    renditions: tuple[Mapping[str, Any], ...]
    run: Mapping[str, Any]
    look_at: int


@dataclass(frozen=True, kw_only=True)
class SessionRecord:
    """One session as it was read, at ``version``; every write of it makes the next version.

    ``generation`` is the fencing token of the current run (0: none yet), ``revision`` counts
    published results (numbers may be skipped), ``used_revision`` is the highest under which an MP4
    was finished. ``phase_since`` is when the phase was entered (Unix ms). ``renditions`` are shown
    by the API as they are. ``run`` is what is remembered between two rounds of reconcile
    (``worker.run_memory``). ``look_at`` is when the playlist of a live session is to be read next
    (Unix ms; 0: at the next occasion), see ``worker.live_pace``.
    """

    session: Session
    phase: Phase
    phase_since: int
    generation: int = 0
    revision: int = 0
    used_revision: int = 0
    version: int = 0
    error: RecordedError | None = None
    recording_url: str | None = None
    mp4_url: str | None = None
    renditions: tuple[Mapping[str, Any], ...] = ()
    run: Mapping[str, Any] = field(default_factory=dict)
    look_at: int = 0
    waiting: Waiting | None = None  #: only while it is at work

    @property
    def id(self) -> str:
        """The session's id."""
        return self.session.id

    @property
    def status(self) -> RecordingStatus | None:
        """What the public is told; None when the session is not recorded."""
        return recording_status(self.phase, record=self.session.record, published=self.revision > 0)


def encode(record: SessionRecord) -> dict[str, str]:
    """The fields of the session's hash in Redis; a field without a value is left out."""
    fields = {
        "v": FORMAT,
        "version": str(record.version),
        "doc": record.session.model_dump_json(exclude_unset=True, exclude=_NOT_IN_DOCUMENT),
        "record": "1" if record.session.record else "0",
        "phase": record.phase.value,
        "phase_since": str(record.phase_since),
        "generation": str(record.generation),
        "revision": str(record.revision),
        "used_revision": str(record.used_revision) if record.used_revision else None,
        "last_seen": str(record.session.last_seen),
        "recording_url": record.recording_url,
        "mp4_url": record.mp4_url,
        "renditions": json_text(record.renditions) if record.renditions else None,
        "run": json_text(record.run) if record.run else None,
        "look_at": str(record.look_at) if record.look_at else None,
        "error": json_text(vars(record.error)) if record.error else None,
        "waiting": json_text(vars(record.waiting)) if record.waiting else None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def is_readable(fields: Mapping[str, str]) -> bool:
    """Whether a hash holds a record in the form of this version."""
    return fields.get("v") == FORMAT


def decode(session_id: str, fields: Mapping[str, str]) -> SessionRecord:
    """The record in a session's hash; raises UnknownFormat for one of another version of ours."""
    if not is_readable(fields):
        raise UnknownFormat(session_id, fields.get("v", ""))
    return SessionRecord(
        session=Session.model_validate_json(fields["doc"]),
        phase=Phase(fields["phase"]),
        phase_since=int(fields["phase_since"]),
        generation=int(fields["generation"]),
        revision=int(fields["revision"]),
        used_revision=int(fields.get("used_revision", "0")),
        version=int(fields["version"]),
        error=RecordedError(**json.loads(fields["error"])) if "error" in fields else None,
        waiting=Waiting(**json.loads(fields["waiting"])) if "waiting" in fields else None,
        recording_url=fields.get("recording_url"),
        mp4_url=fields.get("mp4_url"),
        renditions=tuple(json.loads(fields.get("renditions", "[]"))),
        run=json.loads(fields.get("run", "{}")),
        look_at=int(fields.get("look_at", "0")),
    )


def json_text(value: Any) -> str:
    """Compact JSON; raises ValueError for what JSON cannot hold."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
