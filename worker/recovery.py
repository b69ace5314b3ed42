"""What the output bucket knows of a session that the store forgot: its published revision."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from pipelines.plan import SOURCE
from worker.run_memory import MAKES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipelines.publish import OutputNames
    from worker.records import Changes, SessionRecord
    from worker.runtime import Runtime

_REVISION = re.compile(r"r(\d+)/")
_REPORT = re.compile(r"r(\d+)/recording\.json")


def published_before(runtime: Runtime, record: SessionRecord) -> Changes:
    """The changes that give a record back what was published under its id; {} when nothing was.

    A Redis that lost its data knows no revision, and a run would write over ``r1`` and clean up
    what viewers are given. Only asked while the store remembers no run that made a revision.
    """
    if record.revision or record.used_revision or MAKES in record.run:
        return {}
    names = runtime.names(record.id)
    objects = runtime.output.list(names.folder.child("r"))
    keys = [each.key.removeprefix(names.folder.key) for each in objects]
    used = max((int(found.group(1)) for key in keys if (found := _REVISION.match(key))), default=0)
    reached = [int(found.group(1)) for key in keys if (found := _REPORT.fullmatch(key))]
    if not reached:
        return {"used_revision": used} if used else {}
    revision = max(reached)
    report = json.loads(runtime.output.read(names.folder.child(f"r{revision}/recording.json")))
    return {"used_revision": used, **_changes(names, revision, report)}


def _changes(names: OutputNames, revision: int, report: Mapping[str, Any]) -> Changes:
    renditions: tuple[Mapping[str, Any], ...] = tuple(
        {
            "name": each["name"],
            "kind": each["kind"],
            "state": each["state"],
            "url": each["url"],
            "reason": each["reason"],
            "progress": 1.0 if each["url"] else None,
            "mediaSeconds": each.get("listedDuration"),
            "mediaSecondsDone": each.get("listedDuration") or 0.0,
            "speed": None,
            "encoding": each.get("encoding"),
        }
        for each in report["renditions"]
    )
    return {
        "revision": revision,
        "recording_url": names.recording_url,
        "mp4_url": names.mp4_url(revision, report.get("mp4", SOURCE)),
        "renditions": renditions,
    }
