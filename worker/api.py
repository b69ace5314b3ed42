"""The HTTP API: sessions in, their state and their recordings' places out (``uvicorn worker.api:app``)."""

from __future__ import annotations

import hashlib
import hmac
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BeforeValidator, Field, ValidationError

from pipelines.errors import PermanentError
from pipelines.location import Location, allowed
from pipelines.report import Report
from pipelines.session import FieldError, RecordingStatus
from pipelines.transcoding.ladder import DEFAULT_LADDER
from worker import http_errors, log, rerun, views, webhooks
from worker.check import readiness
from worker.finding import Finding, Level
from worker.http_body import json_object
from worker.http_errors import ApiError, documented
from worker.listing import InvalidCursor
from worker.settings import InvalidSettings, Settings, load
from worker.store import SessionStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pydantic import SecretStr

    from worker.records import SessionRecord

#: Largest page of sessions, and the usual one.
MAX_LIMIT, USUAL_LIMIT = 1000, 100
#: Longest time that ``overdue`` may ask for, seconds (three centuries).
_MAX_OVERDUE_S = 1e10


class Reconciler(Protocol):
    """Asks a worker to look at a session; losing the request costs a sweep, nothing else."""

    def request(self, session_id: str, *, delay_ms: int = 0) -> None:
        """Have the session reconciled, at the earliest in ``delay_ms``."""


def create_app(
    settings: Settings,
    store: SessionStore,
    reconciler: Reconciler,
    ready: Callable[[], Sequence[Finding]],
) -> FastAPI:
    """The application; raises InvalidSettings without an API token, for it would be open to all."""
    if not settings.api_token:
        raise InvalidSettings("FINALIZER_API_TOKEN is missing: the API would be open to everybody.")
    app = FastAPI(
        title="Recording finalizer",
        version="1",
        description="Turns live HLS recordings into verified MP4s and closed VOD playlists.",
        redoc_url=None,
    )
    app.state.settings = settings
    app.state.store = store
    app.state.reconciler = reconciler
    app.state.ready = ready
    http_errors.install(app)
    app.include_router(_probes)
    app.include_router(_profiles)
    app.include_router(_sessions)
    app.include_router(webhooks.router)
    return app


def _settings(request: Request) -> Settings:
    return request.app.state.settings  # type: ignore[no-any-return]


def _store(request: Request) -> SessionStore:
    return request.app.state.store  # type: ignore[no-any-return]


def _is_token(given: str, tokens: Sequence[SecretStr]) -> bool:
    """Compare with every token in constant time, whatever the length."""
    digest = hashlib.sha256(given.encode("latin-1", "replace")).digest()
    matches = [
        hmac.compare_digest(digest, hashlib.sha256(token.get_secret_value().encode()).digest())
        for token in tokens
    ]
    return any(matches)


_bearer = HTTPBearer(auto_error=False, description="One of FINALIZER_API_TOKEN.")


def _authorized(
    settings: Annotated[Settings, Depends(_settings)],
    given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> None:
    if given is None or not _is_token(given.credentials, settings.api_token):
        raise ApiError(401, "unauthorized", "A valid bearer token is needed.")


def _blank_is_none(value: Any) -> Any:
    return None if value == "" else value


_probes = APIRouter(tags=["probes"])
_profiles = APIRouter(
    tags=["profiles"], dependencies=[Depends(_authorized)], responses=documented(401)
)
_sessions = APIRouter(
    prefix="/sessions",
    tags=["sessions"],
    dependencies=[Depends(_authorized)],
    responses=documented(401, 422, 503),
)

SettingsOf = Annotated[Settings, Depends(_settings)]
StoreOf = Annotated[SessionStore, Depends(_store)]
Body = Annotated[dict[str, Any], Depends(json_object)]
StatusQuery = Annotated[RecordingStatus | None, BeforeValidator(_blank_is_none), Query()]
CursorQuery = Annotated[str | None, BeforeValidator(_blank_is_none), Query()]
OverdueQuery = Annotated[
    Annotated[float, Field(ge=0, le=_MAX_OVERDUE_S)] | None,
    BeforeValidator(_blank_is_none),
    Query(description="Idle for longer than this (s) and not ready."),
]


@_probes.get("/healthz")
def healthz() -> dict[str, str]:
    """Whether this process answers."""
    return {"status": "ok"}


@_probes.get("/readyz", responses={503: {"description": "Something stands in the way."}})
def readyz(request: Request) -> JSONResponse:
    """Whether the work can be done: what ``python -m worker.check`` looks at, the cheap part."""
    found: Sequence[Finding] = request.app.state.ready()
    able = all(finding.level is not Level.FAIL for finding in found)
    findings = [
        {"level": each.level, "subject": each.subject, "message": each.message} for each in found
    ]
    body = {"status": "ready" if able else "not_ready", "findings": findings}
    return JSONResponse(body, 200 if able else 503)


@_profiles.get("/profiles", response_model=views.ProfileList)
def get_profiles() -> JSONResponse:
    """The default ladder: what FINALIZER_DEFAULT_PROFILES gives to sessions without profiles."""
    ladder = [profile.model_dump(mode="json", exclude_unset=True) for profile in DEFAULT_LADDER]
    return JSONResponse({"profiles": ladder})


_PUT_BODY = {
    "requestBody": {
        "content": {
            "application/json": {
                "schema": {"type": "object", "description": "Any fields of SessionView."},
                "examples": views.PUT_EXAMPLES,
            }
        }
    }
}


@_sessions.put(
    "/{session_id}",
    response_model=views.SessionView,
    responses={201: {"model": views.SessionView, "description": "Created"}, **documented(413)},
    openapi_extra=_PUT_BODY,
)
def put_session(session_id: str, body: Body, store: StoreOf, settings: SettingsOf) -> JSONResponse:
    """Create or update a session; also the heartbeat, which may carry only ``lastSeen``.

    Fields that are not named keep their values. ``recordingStatus``, ``recordingUrl`` and
    ``mp4Url`` are ignored, so that what GET returned can be PUT back.
    """
    _refuse_source(body, settings)
    put = store.put(session_id, body)
    return JSONResponse(views.session_view(put.record, settings), 201 if put.created else 200)


def _refuse_source(body: dict[str, Any], settings: Settings) -> None:
    """Refuse a ``sourceUrl`` that would never be read, while its sender still listens."""
    url = body.get("sourceUrl")
    if not isinstance(url, str):
        return
    try:
        location = Location.parse(url)
    except PermanentError as error:
        raise FieldError("sourceUrl", error.message) from None
    if not allowed(location, settings.session_sources):
        raise FieldError("sourceUrl", f"{location} lies outside of FINALIZER_SOURCE_PREFIXES.")


@_sessions.get("", response_model=views.SessionPage)
def list_sessions(
    store: StoreOf,
    settings: SettingsOf,
    status: StatusQuery = None,
    overdue: OverdueQuery = None,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = USUAL_LIMIT,
    cursor: CursorQuery = None,
) -> JSONResponse:
    """Sessions, the newest first; with ``overdue``, the longest idle first."""
    overdue_ms = None if overdue is None else round(overdue * 1000)
    try:
        page = store.page(status=status, overdue_ms=overdue_ms, limit=limit, cursor=cursor)
    except InvalidCursor as error:
        raise ApiError(422, "invalid", str(error), "cursor") from None
    sessions = [views.session_view(record, settings) for record in page.records]
    return JSONResponse({"sessions": sessions, "nextCursor": page.next_cursor})


@_sessions.get("/{session_id}", response_model=views.SessionView, responses=documented(404))
def get_session(session_id: str, store: StoreOf, settings: SettingsOf) -> JSONResponse:
    """The session with its status, its URLs and its renditions."""
    found = _found(store, session_id)
    return JSONResponse(views.session_view(found, settings, store.refusal()))


@_sessions.delete("/{session_id}", response_model=views.SessionView, responses=documented(404))
def delete_session(
    session_id: str, store: StoreOf, settings: SettingsOf, request: Request
) -> JSONResponse:
    """Delete the session, for good: its work stops, its URLs are gone with the answer, and all that
    was written of it is removed soon. Never its source.

    Again, it answers the same. A deleted session still takes heartbeats, and stays deleted.
    """
    record = store.delete(session_id)
    if record is None:
        raise _not_found(session_id)
    request.app.state.reconciler.request(session_id)
    return JSONResponse(views.session_view(record, settings))


@_sessions.get("/{session_id}/events", response_model=views.EventList, responses=documented(404))
def get_events(session_id: str, store: StoreOf) -> JSONResponse:
    """What happened to the session, oldest first."""
    _found(store, session_id)
    return JSONResponse({"events": store.events(session_id)})


@_sessions.get("/{session_id}/report", response_model=Report, responses=documented(404))
def get_report(session_id: str, store: StoreOf) -> Response:
    """What the last run made, found and repaired; 404 ``report_not_ready`` until there is one."""
    _found(store, session_id)
    report = store.report(session_id)
    if report is None:
        raise ApiError(404, "report_not_ready", f"Session {session_id} has no report yet.")
    return Response(report, media_type="application/json")


@_sessions.post(
    "/{session_id}/rerun",
    status_code=202,
    response_model=views.RerunAccepted,
    responses=documented(404, 409, 413),
    openapi_extra={
        "requestBody": {
            "content": {
                "application/json": {
                    "schema": views.RerunRequest.model_json_schema(),
                    "example": {"force": False},
                }
            }
        }
    },
)
def post_rerun(session_id: str, body: Body, store: StoreOf, request: Request) -> JSONResponse:
    """Finalize the session again; 409 while it is live, or when it is ready, without ``force``."""
    try:
        wanted = views.RerunRequest.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise ApiError(422, "invalid", f"{field}: {first['msg']}", field) from None
    try:
        generation = rerun.start(store, session_id, force=wanted.force)
    except rerun.SessionNotFound:
        raise _not_found(session_id) from None
    except rerun.RerunRefused as error:
        raise ApiError(409, "state_refused", str(error)) from None
    request.app.state.reconciler.request(session_id)
    return JSONResponse({"generation": generation}, 202)


def _found(store: SessionStore, session_id: str) -> SessionRecord:
    record = store.get(session_id)
    if record is None:
        raise _not_found(session_id)
    return record


def _not_found(session_id: str) -> ApiError:
    return ApiError(404, "session_not_found", f"There is no session {session_id}.")


def _from_environment() -> FastAPI:
    settings = load()
    log.configure(settings)
    from worker.actors import reconciler

    return create_app(
        settings, SessionStore.open(settings), reconciler, partial(readiness, settings)
    )


def __getattr__(name: str) -> FastAPI:
    """``app``, made when it is first asked for: importing this module reads no environment."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        app = _from_environment()
    except InvalidSettings as error:
        raise SystemExit(str(error)) from None
    globals()["app"] = app
    return app
