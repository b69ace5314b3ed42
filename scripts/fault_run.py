"""Faulty recordings on a running stack: each is finalized there, and its MP4 judged by decoding."""

from __future__ import annotations

import secrets
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scripts.api_client import ApiClient
from scripts.fault_judge import complaints
from scripts.s3_access import Credentials, s3_client
from scripts.stack_settings import stack_variables

if TYPE_CHECKING:
    from pathlib import Path

    from scripts.fault_base import Bases
    from scripts.fault_entries import Fault
    from scripts.fault_truth import Truth

_READ_S = 60.0
_LOOK_S = 0.5
#: Seconds until a session of sixteen seconds must have ended, one way or the other.
_PATIENCE_S = 300.0
#: Milliseconds since the epoch: the session was seen long ago, so that it is idle at once, and
#: segments that are not there will not come.
_LONG_AGO_MS = 1_763_794_800_000


@dataclass(frozen=True)
class Begun:
    """A fault on its way through the stack."""

    fault: str
    session_id: str
    truth: Truth


class FaultStack:
    """A running stack that recordings are put into and finalized by."""

    def __init__(self, directory: Path, bases: Bases) -> None:
        """Raises InvalidSettings when no stack runs in ``directory``."""
        facts = stack_variables(directory)
        keys = Credentials(facts["AWS_ACCESS_KEY_ID"], facts["AWS_SECRET_ACCESS_KEY"])
        self._s3: Any = s3_client(facts["AWS_ENDPOINT_URL_S3"], keys, _READ_S)
        self._api = ApiClient(facts["FINALIZER_API_URL"], facts["FINALIZER_API_TOKEN"])
        self._bases = bases

    def begin(self, fault: Fault) -> Begun:
        """Put a recording with this fault, and a session that has ended, into the stack. Raises
        ApiFailedError when that does not answer, as all of these do."""
        recording = fault.make(self._bases)
        session_id = f"fault-{fault.name}-{secrets.token_hex(3)}"
        for name, data in recording.files.items():
            self._s3.put_object(Bucket="recordings", Key=f"{session_id}/{name}", Body=data)
        seen = {"lastSeen": _LONG_AGO_MS, "createdAt": _LONG_AGO_MS}
        self._api.put_session(session_id, {"record": True, **seen})
        return Begun(fault.name, session_id, recording.truth)

    def complaints(self, begun: Begun) -> list[str]:
        """Wait for the session's end; what is not as it should be, in words."""
        session = self._ended(begun.session_id)
        if session["phase"] != "ready":
            return [f"it is {session['phase']}: {session['error']}"]
        report = self._api.report(begun.session_id)
        media = {each["name"]: each["url"] for each in report["renditions"]}
        return complaints(self._bases.tools, report, media, begun.truth)

    def _ended(self, session_id: str) -> dict[str, Any]:
        """The session once it is ready or has failed, or as it is when that takes too long."""
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            session = self._api.session(session_id)
            if session["phase"] in ("ready", "failed") or time.monotonic() > deadline:
                return session
            time.sleep(_LOOK_S)


def scratch_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder for whole recordings, which is gone afterwards."""
    return tempfile.TemporaryDirectory(prefix="faults-")
