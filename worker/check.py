"""Preflight: can this machine, with these settings, do the work? ``python -m worker.check``.

One line per finding. Exit code 0: nothing stands in the way; 1: something must be mended first;
2: the settings themselves, or the command line, are wrong.
"""

from __future__ import annotations

import sys
import threading
import time
from functools import lru_cache
from typing import TYPE_CHECKING

from pipelines.object_store import connect
from worker.broker_check import broker_findings
from worker.ffmpeg_check import ffmpeg_findings
from worker.finding import Finding, Level
from worker.redis_check import redis_answers, redis_findings
from worker.settings import InvalidSettings, Settings, load
from worker.store import open_redis
from worker.store_check import output_findings, source_findings, tried

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Seconds that an answer of ``readiness`` is good for.
_READINESS_KEPT_S = 3.0


def run_checks(settings: Settings) -> list[Finding]:
    """Look at everything that the work needs; a failing part does not hide the others."""
    return [
        *redis_findings(settings),
        *broker_findings(settings),
        *source_findings(settings),
        *output_findings(settings),
        *ffmpeg_findings(settings),
    ]


def readiness(settings: Settings) -> list[Finding]:
    """The cheap part, for ``/readyz``: Redis answers, the output bucket is there.

    The answer is kept for a few seconds, so that a probe cannot load the stores.
    """
    return _readiness_of(settings).findings()


class Readiness:
    """What ``readiness`` found last, and when."""

    def __init__(self, settings: Settings, kept: float = _READINESS_KEPT_S) -> None:
        self._settings = settings
        self._redis = open_redis(settings)
        self._s3 = connect(settings.output_profile)
        self._kept = kept
        self._lock = threading.Lock()
        self._found: list[Finding] = []
        self._looked: float | None = None

    def findings(self) -> list[Finding]:
        """Fresh findings, or those of a moment ago."""
        with self._lock:
            if self._looked is None or time.monotonic() - self._looked >= self._kept:
                self._found = [
                    *redis_answers(self._redis, self._settings.redis_prefix),
                    *self._bucket(),
                ]
                self._looked = time.monotonic()
            return list(self._found)

    def _bucket(self) -> Iterator[Finding]:
        bucket = self._settings.output.bucket
        yield tried("output", f"bucket {bucket} is there", self._s3.head_bucket, Bucket=bucket)


@lru_cache(maxsize=4)
def _readiness_of(settings: Settings) -> Readiness:
    return Readiness(settings)


def main(arguments: Sequence[str]) -> int:
    """Print one line per finding; the exit code says whether the work can begin."""
    if arguments:
        print(__doc__, file=sys.stderr)  # noqa: T201
        return 2
    try:
        settings = load()
    except InvalidSettings as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    found = run_checks(settings)
    print("\n".join(str(finding) for finding in found))  # noqa: T201
    return int(any(finding.level is Level.FAIL for finding in found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
