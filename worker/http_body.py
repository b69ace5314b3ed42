"""What a request carries: at most so many bytes, and JSON that is an object."""

from __future__ import annotations

import json
from typing import Any

from fastapi import Request  # noqa: TC002 - FastAPI reads annotations while the program runs

from worker.http_errors import ApiError

#: Largest body that is read, bytes.
MAX_BODY = 1 << 20


async def limited_body(request: Request) -> bytes:
    """The body; raises ApiError 413 as soon as it is known to be too large."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > MAX_BODY:
        raise _too_large()
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY:
            raise _too_large()
    return bytes(body)


async def json_object(request: Request) -> dict[str, Any]:
    """The body as a JSON object; an empty body is an empty one. Raises ApiError 413 or 422."""
    body = await limited_body(request)
    try:
        return parsed_object(body) if body.strip() else {}
    except ValueError as error:
        raise ApiError(422, "invalid", f"The body is no JSON object: {error}.") from None


def parsed_object(text: bytes) -> dict[str, Any]:
    """A JSON object out of hostile bytes; raises ValueError for everything else."""
    try:
        value = json.loads(text.decode("utf-8"), parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("it is of another type")
    return value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _too_large() -> ApiError:
    return ApiError(413, "too_large", f"The body is larger than {MAX_BODY} bytes.")
