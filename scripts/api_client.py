"""Speaks to the HTTP API as an origin or a customer does."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_TIMEOUT_S = 20


class ApiFailedError(Exception):
    """The API gave no answer, or refused; the message says what it said."""


class ApiClient:
    """The API at ``url``, opened by ``token``; loopback addresses need no proxy."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def put_session(self, session_id: str, patch: Mapping[str, Any]) -> None:
        """Create or update a session; raises ApiFailedError, as all of these do."""
        self._ask("PUT", f"/sessions/{session_id}", patch)

    def session(self, session_id: str) -> dict[str, Any]:
        """The session as it is now."""
        return self._ask("GET", f"/sessions/{session_id}")

    def delete_session(self, session_id: str) -> None:
        """Have everything removed that was written of it."""
        self._ask("DELETE", f"/sessions/{session_id}")

    def events(self, session_id: str) -> list[dict[str, Any]]:
        """What happened to it, oldest first."""
        found: list[dict[str, Any]] = self._ask("GET", f"/sessions/{session_id}/events")["events"]
        return found

    def report(self, session_id: str) -> dict[str, Any]:
        """What its last run made and found."""
        return self._ask("GET", f"/sessions/{session_id}/report")

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        request = urllib.request.Request(
            self._url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"},
        )
        try:
            with self._opener.open(request, timeout=_TIMEOUT_S) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except urllib.error.HTTPError as error:
            said = error.read(2000).decode(errors="replace")
            raise ApiFailedError(f"{method} {path} was answered {error.code}: {said}") from None
        except (OSError, ValueError) as error:
            raise ApiFailedError(f"{method} {path} got no answer: {error}") from None
