"""Livepeer's webhook signature: who sent this body, and when.

``Livepeer-Signature: t=<Unix ms>,v1=<hex HMAC-SHA256 of the raw body>``. The digest covers the
body alone, so ``t`` counts only when the signed body's own ``timestamp`` says the same.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import SecretStr

#: How far the sender's time may lie from ours, in milliseconds.
TOLERANCE_MS = 300_000

_TIME = re.compile(r"[0-9]{1,16}", re.ASCII)


class BadSignature(Exception):
    """The request does not come from who holds a secret, or it is too old."""


def signed_at(header: str | None, body: bytes, secrets: Sequence[SecretStr]) -> int:
    """The header's time (Unix ms) of a body that one of the secrets signed.

    Several ``v1`` values may be given, as while a secret is replaced. Raises BadSignature.
    """
    times, digests = _parts(header or "")
    if len(times) != 1 or not _TIME.fullmatch(times[0]) or not digests:
        raise BadSignature("The Livepeer-Signature header is missing or malformed.")
    if not _is_signed(body, digests, secrets):
        raise BadSignature("The signature does not belong to this body and a known secret.")
    return int(times[0])


def check_time(header_ms: int, body_ms: int, now_ms: int) -> None:
    """Raise BadSignature unless header and signed body tell one time, and that is about now."""
    if header_ms != body_ms:
        raise BadSignature("The time in the header is not the timestamp that was signed.")
    if abs(now_ms - body_ms) > TOLERANCE_MS:
        raise BadSignature("The request was signed too long ago, or its clock is wrong.")


def _parts(header: str) -> tuple[list[str], list[str]]:
    pairs = [part.strip().partition("=") for part in header.split(",")]
    times = [value for name, _, value in pairs if name == "t"]
    return times, [value for name, _, value in pairs if name == "v1"]


def _is_signed(body: bytes, digests: Sequence[str], secrets: Sequence[SecretStr]) -> bool:
    expected = [
        hmac.new(secret.get_secret_value().encode(), body, hashlib.sha256).hexdigest().encode()
        for secret in secrets
    ]
    given = [digest.strip().lower().encode() for digest in digests]
    matches = [hmac.compare_digest(ours, theirs) for ours in expected for theirs in given]
    return any(matches)
