"""Every answer that is no success: one shape, a stable code, no stack and no secret."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import redis
import structlog
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from pipelines.errors import FinalizerError
from pipelines.session import FieldError
from worker.records import UnknownFormat
from worker.redis_refusal import refusal_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI, Request

_log = structlog.get_logger(__name__)

#: Codes of answers that no route of ours gives.
_CODES = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}


class ErrorDetail(BaseModel):
    """What was wrong: a stable code, a sentence, and the field concerned if there is one."""

    code: str = Field(examples=["invalid"])
    message: str = Field(examples=["lastSeen: looks like seconds; milliseconds are expected"])
    field: str | None = Field(default=None, examples=["lastSeen"])


class ErrorBody(BaseModel):
    """The body of every answer that is no success."""

    error: ErrorDetail


class ApiError(Exception):
    """An answer that is no success, decided by a route of ours."""

    def __init__(self, status: int, code: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.detail = ErrorDetail(code=code, message=message, field=field)


def answer(
    status: int,
    code: str,
    message: str,
    field: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """The answer to a request that did not succeed."""
    body = ErrorBody(error=ErrorDetail(code=code, message=message, field=field))
    return JSONResponse(body.model_dump(exclude_none=True), status, headers)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI entries of answers in the shape of an error."""
    return {
        status: {"model": ErrorBody, "description": HTTPStatus(status).phrase}
        for status in statuses
    }


def install(app: FastAPI) -> None:
    """Give every failure of the app the one shape."""
    app.exception_handler(ApiError)(_api_error)
    app.exception_handler(FieldError)(_field_error)
    app.exception_handler(RequestValidationError)(_validation_error)
    app.exception_handler(HTTPException)(_http_exception)
    app.exception_handler(redis.RedisError)(_store_away)
    app.exception_handler(FinalizerError)(_busy)
    app.exception_handler(UnknownFormat)(_unknown_format)
    app.exception_handler(Exception)(_internal_error)


def _api_error(_: Request, error: ApiError) -> JSONResponse:
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else None
    detail = error.detail
    return answer(error.status, detail.code, detail.message, detail.field, headers)


def _field_error(_: Request, error: FieldError) -> JSONResponse:
    return answer(422, "invalid", error.message, error.field)


def _validation_error(_: Request, error: RequestValidationError) -> JSONResponse:
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"][1:])
    return answer(422, "invalid", f"{field}: {first['msg']}", field)


def _http_exception(_: Request, error: HTTPException) -> JSONResponse:
    code = _CODES.get(error.status_code, "refused")
    return answer(error.status_code, code, str(error.detail), None, error.headers)


def _store_away(_: Request, error: redis.RedisError) -> JSONResponse:
    if (refusal := refusal_of(error)) is not None:
        _log.error("Redis takes no writes", action="store_full", error=type(error).__name__)
        message = f"Nothing was changed: the session store {refusal}"
        return answer(503, "store_full", message, None, {"Retry-After": "30"})
    _log.error("Redis did not answer", action="store_away", error=type(error).__name__)
    message = "The session store does not answer; try again."
    return answer(503, "store_unavailable", message, None, {"Retry-After": "5"})


def _busy(_: Request, error: FinalizerError) -> JSONResponse:
    return answer(503, error.code.value, error.message, None, {"Retry-After": "5"})


def _unknown_format(_: Request, error: UnknownFormat) -> JSONResponse:
    return answer(503, "unknown_format", str(error))


def _internal_error(_: Request, error: Exception) -> JSONResponse:
    return answer(500, "internal_error", "Something went wrong on our side; the log says what.")
