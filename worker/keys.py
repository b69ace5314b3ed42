"""Names of keys in Redis that more than one module reads, so that each is spelled once."""

from __future__ import annotations


def session_key(prefix: str, session_id: str) -> str:
    """The hash of a session, with its ``generation`` and ``phase``."""
    return f"{prefix}session:{session_id}"


def run_key(prefix: str, session_id: str, generation: int) -> str:
    """The hash of one run of a session: its plan and its work items."""
    return f"{prefix}run:{session_id}:{generation}"


def report_key(prefix: str, session_id: str) -> str:
    """The session's latest report."""
    return f"{prefix}report:{session_id}"
