"""The embedded stack as the demo's child: started, asked where it is, ended with the demo."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from pipelines.location import Location
from scripts.api_client import ApiClient
from scripts.child import Child, ChildFailedError
from scripts.embedded import child_environment
from scripts.s3_access import Credentials, s3_client
from scripts.stack import ROOT
from scripts.stack_settings import stack_variables

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

WORKERS = 2
_READY_S = 120.0
_STOP_S = 30.0
_READ_S = 60.0

_CONTENT_TYPES = {
    "m3u8": "application/vnd.apple.mpegurl",
    "ts": "video/mp2t",
    "mp4": "video/mp4",
    "m4s": "video/iso.segment",
    "aac": "audio/aac",
}


class DemoStack:
    """A context in which a stack runs on ``directory``; sessions are idle after ``idle_timeout`` s.

    It knows nothing of the caller's settings and credentials: the demo is the same everywhere.
    """

    def __init__(self, directory: Path, log: Path, idle_timeout: float) -> None:
        self.directory = directory
        self._child = Child(
            "stack",
            [
                sys.executable, "-P", "-m", "scripts.stack",
                "--dir", str(directory), "--workers", str(WORKERS),
            ],
            environment=child_environment()
            | {
                "PYTHONPATH": str(ROOT),
                "FINALIZER_IDLE_TIMEOUT": f"{idle_timeout:g}",
                # Whatever will ever come was uploaded before the session became idle.
                "FINALIZER_MISSING_GRACE": f"{idle_timeout:g}",
            },
            log=log,
            probe=lambda _pid: self._child.said("ready\n"),
            cwd=log.parent,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._child.stop(_STOP_S)

    def start(self) -> None:
        """Start everything and wait until every part answers; raises ChildFailedError."""
        self._child.start()
        try:
            self._child.wait_until_ready(_READY_S)
        except ChildFailedError as error:
            raise ChildFailedError(self.last_words() or str(error)) from None
        variables = stack_variables(self.directory)
        self.api_url = variables["FINALIZER_API_URL"]
        self.api = ApiClient(self.api_url, variables["FINALIZER_API_TOKEN"])
        self.s3_url = variables["AWS_ENDPOINT_URL_S3"]
        credentials = Credentials(
            variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"]
        )
        self._s3: Any = s3_client(self.s3_url, credentials, _READ_S)

    def running(self) -> bool:
        """Whether it has not ended."""
        return self._child.running()

    def last_words(self) -> str:
        """The end of what it has said."""
        return self._child.last_words()

    def put(self, session_id: str, name: str, body: bytes | BinaryIO) -> None:
        """Write a file of a session's recording."""
        kind = _CONTENT_TYPES.get(name.rpartition(".")[2].lower(), "application/octet-stream")
        self._s3.put_object(
            Bucket="recordings", Key=f"{session_id}/{name}", Body=body, ContentType=kind
        )


def recording_url(session_id: str, name: str) -> str:
    """Where a file of a session's recording lies."""
    return str(Location.parse(f"s3://recordings/{session_id}/").child(name))
