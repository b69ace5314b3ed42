"""What the API shows: the session with its public status, and the documented shapes of answers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, Field

from pipelines.errors import ErrorCode, PermanentError
from pipelines.location import source_location
from pipelines.session import FfmpegProfile, Phase, Session
from pipelines.wire import WireModel
from worker.rendition_view import UPLOAD_OPENED_AT
from worker.transitions import is_at_work

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.records import SessionRecord
    from worker.settings import Settings

#: What a PUT may look like, and what GET then answers.
PUT_EXAMPLES: dict[str, Any] = {
    "creation": {
        "summary": "A new session that is recorded",
        "value": {
            "name": "camera 1",
            "record": True,
            "lastSeen": 1763794800000,
            "playbackId": "eaw4nk06ts2d0mzb",
            "profiles": [
                {"name": "720p0", "width": 1280, "height": 720, "bitrate": 3000000, "fps": 0}
            ],
        },
    },
    "heartbeat": {"summary": "A heartbeat", "value": {"lastSeen": 1763794860000}},
}


class RunError(WireModel):
    """Why the last run failed."""

    code: str = Field(examples=["playlist_missing"])
    message: str


class WaitingView(WireModel):
    """What the session's work waits for."""

    code: str = Field(examples=["store_full"])
    message: str
    since: int | None = Field(description="Unix ms; null when it could not be written down.")


class EncodingView(WireModel):
    """How the pictures of a transcode are encoded."""

    encoder: str = Field(examples=["H.264"])
    implementation: str = Field(description="ffmpeg's name of the encoder.", examples=["libx264"])
    preset: str = Field(examples=["fast"])
    width: int = Field(description="Pixels, square ones.")
    height: int
    bitrate: int = Field(description="Target, or with quality the cap, bit/s.")
    fps: str | None = Field(
        description="Constant frame rate as a fraction; null: the source's times are kept.",
        examples=["30000/1001"],
    )
    quality: int | None = Field(description="Constant rate factor; null: the bit rate decides.")
    gop: float | None = Field(
        description="Seconds between key frames; 0: all are; null: the encoder decides."
    )
    profile: str | None = Field(description="H.264 profile.", examples=["H264High"])
    deinterlaced: bool
    tone_mapped: bool = Field(description="Whether an HDR source was brought down to BT.709.")


class RenditionView(WireModel):
    """One MP4: where it is, how far it has come, or why there is none."""

    name: str = Field(examples=["source"])
    kind: str = Field(description="copy, transcode, or none: not made.", examples=["copy"])
    state: str = Field(
        description="waiting, packaging (copies), transcoding, conforming (slices that are not as "
        "the others are), assembling (and proving), ready, failed, or not_made.",
        examples=["ready"],
    )
    url: str | None = Field(
        default=None, description="The MP4, as soon as it is proven: before the session is ready."
    )
    reason: str | None = None
    progress: float | None = Field(default=None, ge=0, le=1, description="Share that is done.")
    media_seconds: float | None = Field(default=None, description="Media to be done, s.")
    media_seconds_done: float | None = Field(default=None, description="Media that is done, s.")
    speed: float | None = Field(
        default=None, description="Seconds of media per second in which it was worked on."
    )
    encoding: EncodingView | None = Field(
        default=None, description="Of the pictures; null when they are copied."
    )
    upload_age: float | None = Field(
        default=None,
        description="Seconds for which the multipart upload of the unfinished MP4 has been open: "
        "stores expire open uploads. Absent when none is.",
    )


class ProfileList(WireModel):
    """Profiles, as a session may carry them."""

    profiles: list[FfmpegProfile]


class SessionView(Session):
    """The session as GET shows it: the origin's fields at top level, and ours beside them."""

    phase: Phase
    generation: int = Field(description="Fencing token of the last run; 0: there was none.")
    error: RunError | None = Field(description="Why the last run failed; null when it did not.")
    waiting_for: WaitingView | None = Field(
        description="An outage that work waits for, then goes on by itself; null when there is none."
    )
    renditions: list[RenditionView] = Field(description="Where the MP4 of each profile is found.")


class SessionPage(WireModel):
    """Some sessions, and the cursor of the next page."""

    sessions: list[SessionView]
    next_cursor: str | None


class Event(WireModel):
    """One step of a session: what was done, and when (Unix ms)."""

    at: int = Field(examples=[1763794800000])
    action: str = Field(examples=["finalizing"])


class EventList(WireModel):
    """The last events of a session, oldest first."""

    events: list[Event]


class RerunRequest(WireModel):
    """How to run again."""

    model_config = ConfigDict(extra="forbid", strict=True)

    force: bool = Field(default=False, description="Also when the session is ready or running.")


class RerunAccepted(WireModel):
    """The run that was started or joined."""

    generation: int = Field(examples=[1763794920123])


def session_view(
    record: SessionRecord, settings: Settings, refusal: str | None = None
) -> dict[str, Any]:
    """The JSON of a session, as SessionView; a status or URL that there is not is left out.

    ``refusal`` is why the session store takes no writes just now: then all work waits for that.
    """
    view = record.session.model_dump(mode="json", exclude_unset=True)
    public = {
        "recordingStatus": record.status,
        "recordingUrl": record.recording_url,
        "mp4Url": record.mp4_url,
    }
    if record.status is not None:
        view |= {name: value for name, value in public.items() if value is not None}
    return view | {
        "phase": record.phase,
        "generation": record.generation,
        "sourceUrl": _source_url(record.session, settings),
        "error": vars(record.error) if record.error else None,
        "waitingFor": _waiting_view(record, refusal),
        "renditions": [_rendition_view(view) for view in record.renditions],
    }


def _rendition_view(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A rendition as GET shows it: an upload with its age, seconds."""
    view = dict(stored)
    opened_at = view.pop(UPLOAD_OPENED_AT, None)
    if opened_at is not None:
        view["uploadAge"] = round(max(0.0, time.time() - opened_at / 1000), 3)
    return view


def _waiting_view(record: SessionRecord, refusal: str | None) -> dict[str, Any] | None:
    if not is_at_work(record):
        return None
    if refusal is not None:
        message = f"The session store {refusal}"
        return {"code": ErrorCode.STORE_FULL, "message": message, "since": None}
    waiting = record.waiting
    if waiting is None:
        return None
    return {"code": waiting.code, "message": waiting.message, "since": waiting.since}


def _source_url(session: Session, settings: Settings) -> str | None:
    """Where the recording is read from; None while the session lacks a value for the template."""
    if session.source_url is not None:
        return session.source_url
    try:
        return str(source_location(settings.source_url, session))
    except PermanentError:
        return None
