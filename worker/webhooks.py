"""Inbound webhooks: an authentic Livepeer event updates its session and asks for a look at it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import structlog
from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse

from pipelines.session import FieldError, Phase
from worker.http_body import limited_body, parsed_object
from worker.http_errors import ApiError, documented
from worker.signature import BadSignature, check_time, signed_at

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.api import Reconciler
    from worker.records import SessionRecord
    from worker.settings import Settings
    from worker.store import SessionStore

_log = structlog.get_logger(__name__)

#: How long a finished event is remembered: Livepeer tries again for a day.
REMEMBERED_S = 48 * 3600
#: Longest id of an event.
_MAX_EVENT_ID = 200

_STREAM_EVENTS = frozenset({"stream.started", "stream.idle"})
_SESSION_EVENTS = frozenset({"recording.started", "recording.waiting"})

router = APIRouter(prefix="/webhooks", tags=["webhooks"])


class MalformedEvent(ValueError):
    """The body is signed, and is no event as Livepeer sends them."""


@router.post("/livepeer", responses=documented(400, 401, 413, 503))
def receive(request: Request, body: Annotated[bytes, Depends(limited_body)]) -> JSONResponse:
    """Take an event of Livepeer's, signed in ``Livepeer-Signature``; duplicates are harmless.

    ``stream.started``, ``stream.idle``, ``recording.started`` and ``recording.waiting`` have an
    effect; every other event is acknowledged and ignored.
    """
    state = request.app.state
    event = _authentic(state.settings, state.store, request.headers, body)
    try:
        outcome = _take(event, Effects(state.store, state.reconciler, state.settings))
    except (MalformedEvent, FieldError) as error:
        raise ApiError(400, "malformed", f"The event cannot be used: {error}.") from None
    _log.info("webhook taken", action="webhook", webhook_event=event["event"], outcome=outcome)
    return JSONResponse({"outcome": outcome})


def _authentic(
    settings: Settings, store: SessionStore, headers: Mapping[str, str], body: bytes
) -> dict[str, Any]:
    """The event in a body that is signed, recent and well-formed; raises ApiError."""
    if not settings.webhook_secret:
        raise ApiError(503, "webhooks_off", "FINALIZER_WEBHOOK_SECRET is not set.")
    try:
        header_ms = signed_at(headers.get("livepeer-signature"), body, settings.webhook_secret)
        event = _well_formed(body)
        check_time(header_ms, event["timestamp"], store.now_ms())
    except BadSignature as error:
        raise ApiError(401, "bad_signature", str(error)) from None
    except ValueError as error:
        raise ApiError(400, "malformed", f"The body is no event: {error}.") from None
    return event


def _well_formed(body: bytes) -> dict[str, Any]:
    event = parsed_object(body)
    if type(event.get("timestamp")) is not int:
        raise MalformedEvent("its timestamp is no whole number")
    for name in ("event", "id"):
        value = event.get(name)
        if not isinstance(value, str) or not 0 < len(value) <= _MAX_EVENT_ID:
            raise MalformedEvent(f"its {name} is no text of at most {_MAX_EVENT_ID} characters")
    return event


def _take(event: Mapping[str, Any], effects: Effects) -> str:
    """Do what the event asks for, and only then remember that it is done.

    After a crash in between, the event comes again and does the same again: a merge that is
    repeated changes nothing, and one look more at a session costs nothing.
    """
    name = event["event"]
    if name not in _STREAM_EVENTS | _SESSION_EVENTS:
        return "ignored"
    if effects.store.is_remembered(event["id"]):
        return "duplicate"
    if name in _STREAM_EVENTS:
        effects.look_at_stream(_object(event, "stream"))
    else:
        snapshot = _object(_object(event, "payload"), "session")
        if not effects.merge(snapshot):
            return "ignored"
    effects.store.remember(event["id"], REMEMBERED_S)
    return "accepted"


def _object(parent: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = parent.get(name)
    if not isinstance(value, dict):
        raise MalformedEvent(f"its {name} is no object")
    return value


def _id(thing: Mapping[str, Any], what: str) -> str:
    value = thing.get("id")
    if not isinstance(value, str) or not value:
        raise MalformedEvent(f"its {what} has no id")
    return value


class Effects:
    """What an event may do: merge a snapshot, and have sessions looked at when they may be idle.

    No event makes a session idle by itself: the time of the last sign of life decides.
    """

    def __init__(self, store: SessionStore, reconciler: Reconciler, settings: Settings) -> None:
        self.store = store
        self._reconciler = reconciler
        self._idle_ms = round(settings.idle_timeout * 1000)

    def merge(self, snapshot: Mapping[str, Any]) -> bool:
        """Merge a session's snapshot like a PUT; its status and URLs are not taken.

        False for a session that is deleted, and stays so.
        """
        record = self.store.put(_id(snapshot, "session"), snapshot).record
        self._look_when_idle(record)
        return record.phase is not Phase.DELETED

    def look_at_stream(self, stream: Mapping[str, Any]) -> None:
        """Have the stream's live sessions looked at; the event says nothing else about them."""
        for session_id in self.store.live_sessions_of(_id(stream, "stream")):
            record = self.store.get(session_id)
            if record is not None:
                self._look_when_idle(record)

    def _look_when_idle(self, record: SessionRecord) -> None:
        if record.phase is not Phase.LIVE or not record.session.record:
            return
        due = record.session.active_at + self._idle_ms
        self.store.schedule(record.id, due, earlier_only=True)
        self._reconciler.request(record.id, delay_ms=max(0, due - self.store.now_ms()))
