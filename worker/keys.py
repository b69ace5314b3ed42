"""Names of keys in Redis that more than one module reads, so that each is spelled once."""

from __future__ import annotations


def session_key(prefix: str, session_id: str) -> str:
    """The hash of a session, with its ``generation`` and ``phase``."""
    return f"{prefix}session:{session_id}"
