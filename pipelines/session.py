"""What a live session and its profiles are: the fields of Livepeer's Session, checked and merged."""

from __future__ import annotations

import json
import re
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    AfterValidator,
    Field,
    StrictBool,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel

from pipelines.errors import PermanentError
from pipelines.location import Location
from pipelines.profile import FfmpegProfile
from pipelines.wire import Number, UnixMillis, WireModel

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "FfmpegProfile",
    "FieldError",
    "Phase",
    "RecordingStatus",
    "Session",
    "merge",
    "recording_status",
]

#: How far a heartbeat's clock may run ahead of ours before it is set to ours, in milliseconds.
CLOCK_TOLERANCE_MS = 60_000
#: Largest document that a session may grow to, bytes of its JSON; what is unknown to us is kept.
LARGEST_DOCUMENT = 256 << 10
#: Wire names that we alone write: what GET returned may be PUT back, and changes none of them.
OUTPUT_ONLY = frozenset(
    {"recordingStatus", "recordingUrl", "mp4Url", "phase", "generation", "error", "renditions"}
)

_SESSION_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class FieldError(ValueError):
    """A value that a Session cannot hold; ``field`` is its path on the wire (``profiles.0.fpsDen``)."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.message = f"{field}: {problem}"


class RecordingStatus(StrEnum):
    """What the public is told about the recording of a session (Livepeer ``recordingStatus``)."""

    WAITING = "waiting"
    READY = "ready"
    FAILED = "failed"
    DELETED = "deleted"
    NONE = "none"


class Phase(StrEnum):
    """Where a session stands inside the finalizer."""

    LIVE = "live"
    FINALIZING = "finalizing"
    READY = "ready"
    FAILED = "failed"
    EMPTY = "empty"
    DELETED = "deleted"


_PUBLIC_STATUS = {
    Phase.LIVE: RecordingStatus.WAITING,
    Phase.FINALIZING: RecordingStatus.WAITING,
    Phase.READY: RecordingStatus.READY,
    Phase.FAILED: RecordingStatus.FAILED,
    Phase.EMPTY: RecordingStatus.NONE,
    Phase.DELETED: RecordingStatus.DELETED,
}


def recording_status(
    phase: Phase, *, record: bool | None, published: bool = False
) -> RecordingStatus | None:
    """Derive the public status from the phase; None when the session is not to be recorded.

    ``published`` says that a revision of the session stands in the output: it stays ``ready`` while
    the session is finalized again and when that fails, so that no re-run takes a recording away.
    """
    if not record:
        return None
    if published and phase in (Phase.FINALIZING, Phase.FAILED):
        return RecordingStatus.READY
    return _PUBLIC_STATUS[phase]


def _session_id(value: str) -> str:
    if not _SESSION_ID.fullmatch(value):
        raise ValueError("must be 1 to 64 characters out of A-Z a-z 0-9 _ -")
    return value


SessionId = Annotated[str, AfterValidator(_session_id)]
#: Human sentences about the health of the stream.
IssueList = list[str]


class Session(WireModel):
    """One live session, as origins report it and as GET returns it (Livepeer ``Session``).

    Times are Unix milliseconds, durations seconds, sizes bytes, rates bytes per second.
    """

    id: SessionId = Field(description="Id of the session.", examples=["de7818e7-610a-4057"])
    name: str = Field(
        default="", max_length=1000, description="Name of the stream; the id when not given."
    )
    last_seen: UnixMillis = Field(
        default=0, description="When the last segment was seen, Unix ms; 0: none was seen yet."
    )
    created_at: UnixMillis = Field(
        default=0, description="When the session was made, Unix ms. Taken on creation only."
    )
    source_segments: Number = Field(default=0, description="Number of source segments seen.")
    transcoded_segments: Number = Field(
        default=0, description="Number of transcoded segments, over all renditions."
    )
    source_segments_duration: Number = Field(
        default=0, description="Duration of the source segments, s."
    )
    transcoded_segments_duration: Number = Field(
        default=0, description="Duration of the transcoded segments over all renditions, s."
    )
    source_bytes: Number = Field(default=0, description="Size of the source segments, bytes.")
    transcoded_bytes: Number = Field(
        default=0, description="Size of the transcoded segments, bytes."
    )
    ingest_rate: Number = Field(default=0, description="Rate of the incoming stream, bytes/s.")
    outgoing_rate: Number = Field(default=0, description="Rate of the outgoing streams, bytes/s.")
    is_healthy: StrictBool | None = Field(
        default=None, description="Whether the stream is healthy; null when it is not active."
    )
    issues: IssueList | None = Field(
        default=None, description="What is wrong with the stream, in words; null when nothing is."
    )
    record: StrictBool | None = Field(
        default=None, description="Whether the session is recorded; absent means no."
    )
    parent_id: str | None = Field(default=None, description="Id of the stream object.")
    project_id: str | None = Field(default=None, description="Id of the project.")
    user_id: str | None = Field(default=None, description="Id of the owner (deprecated).")
    kind: str | None = Field(default=None, description="stream or session (deprecated).")
    playback_id: str | None = Field(default=None, description="Playback id of the stream object.")
    profiles: list[FfmpegProfile] = Field(
        default=[],
        max_length=100,
        description="Renditions asked for, beside the source itself; null is as if it was never"
        " given.",
    )
    recording_spec: dict[str, Any] | None = Field(
        default=None, description="Livepeer's recordingSpec, kept as given."
    )
    source_url: str | None = Field(
        default=None,
        description="Playlist of this session's recording (s3:// or https://), if not where the"
        " settings say.",
    )
    recording_status: RecordingStatus | None = Field(
        default=None, description="State of the recording; absent when record is not true."
    )
    recording_url: str | None = Field(
        default=None, description="URL of the closed HLS playlist, once ready."
    )
    mp4_url: str | None = Field(default=None, description="URL of the MP4, once ready.")

    @model_validator(mode="before")
    @classmethod
    def _null_profiles_are_absent(cls, values: Any) -> Any:
        """``null`` takes profiles back: no list, where an empty one would ask for none."""
        if isinstance(values, dict) and values.get("profiles", ()) is None:
            return {name: value for name, value in values.items() if name != "profiles"}
        return values

    @field_validator("profiles")
    @classmethod
    def _names_differ(cls, profiles: list[FfmpegProfile]) -> list[FfmpegProfile]:
        seen: set[str] = set()
        for profile in profiles:
            if profile.name.lower() in seen:
                raise ValueError(
                    f"the name {profile.name!r} is there twice; names must differ in more than case"
                )
            seen.add(profile.name.lower())
        return profiles

    @field_validator("source_url")
    @classmethod
    def _source_url_is_a_location(cls, url: str | None) -> str | None:
        if url is not None:
            try:
                Location.parse(url)
            except PermanentError as error:
                raise ValueError(error.message) from None
        return url

    @property
    def active_at(self) -> int:
        """When the session last showed life, Unix ms: idleness counts from here."""
        return max(self.last_seen, self.created_at)


def merge(
    session: Session | None, session_id: str, patch: Mapping[str, Any], now_ms: int
) -> tuple[Session, tuple[str, ...]]:
    """Create a session from a PUT body, or update the given one; unset fields keep their values.

    ``now_ms`` is the time of arrival, Unix ms. Returns the session and notes for its event log
    about values that were set right. Raises FieldError when a value is refused.
    """
    if not _SESSION_ID.fullmatch(session_id):
        raise FieldError("id", "must be 1 to 64 characters out of A-Z a-z 0-9 _ -")
    changes = _wire(patch)
    if changes.pop("id", session_id) != session_id:
        raise FieldError("id", "differs from the id in the path")
    before: dict[str, Any] = {"createdAt": now_ms}
    if session is not None:
        before = session.model_dump(exclude_unset=True)
        changes.pop("createdAt", None)
    values = before | changes | {"id": session_id}
    values["name"] = values.get("name") or session_id
    merged = _validated(values)
    _refuse_growth(merged, changes)
    return _set_clocks_right(merged, session, now_ms)


def _refuse_growth(merged: Session, changes: Mapping[str, Any]) -> None:
    """Unknown fields are kept, so a document could grow with every request."""
    size = len(merged.model_dump_json(exclude_unset=True).encode())
    if size > LARGEST_DOCUMENT:
        largest = max(changes, key=lambda name: len(name) + len(json.dumps(changes[name])))
        raise FieldError(
            largest if len(largest) <= 100 else f"{largest[:100]}…",
            f"with it the session would hold {size} bytes, {LARGEST_DOCUMENT} at most are kept;"
            " send less, or set fields to null that are no longer needed",
        )


def _wire(patch: Mapping[str, Any]) -> dict[str, Any]:
    """The patch under its wire names, without what is not the caller's to write."""
    fields = Session.model_fields
    wire = {(to_camel(name) if name in fields else name): value for name, value in patch.items()}
    for name, value in wire.items():
        try:
            json.dumps({name: value}, ensure_ascii=False, allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError):
            raise FieldError(
                name.encode(errors="replace").decode(), "cannot be stored as JSON"
            ) from None
    return {name: value for name, value in wire.items() if name not in OUTPUT_ONLY}


def _validated(values: dict[str, Any]) -> Session:
    try:
        return Session.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = ".".join(
            to_camel(part) if isinstance(part, str) else str(part) for part in first["loc"]
        )
        cause = first.get("ctx", {}).get("error")
        message = str(cause) if cause else first["msg"][:1].lower() + first["msg"][1:]
        raise FieldError(path, message) from None


def _set_clocks_right(
    session: Session, before: Session | None, now_ms: int
) -> tuple[Session, tuple[str, ...]]:
    """Move no time backwards, and none into the future: such a session would never become idle."""
    notes: list[str] = []
    times = {"last_seen": session.last_seen, "created_at": session.created_at or now_ms}
    for name, time in times.items():
        if time > now_ms + CLOCK_TOLERANCE_MS:
            ahead = (time - now_ms) / 1000
            notes.append(f"{to_camel(name)} lay {ahead:.0f} s in the future and was set to now")
            times[name] = now_ms
    if before is not None:
        times["last_seen"] = max(times["last_seen"], before.last_seen)
        times["created_at"] = before.created_at
    return session.model_copy(update=times), tuple(notes)
