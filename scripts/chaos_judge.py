"""Judges what came out of chaos: every object beside the undisturbed run's, and what was left over."""

from __future__ import annotations

import hashlib
import json
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scripts.chaos_work import WorkInFlight, patiently

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from scripts.chaos_sessions import Origin
    from scripts.chaos_stack import ChaosStack

_OUTPUT, _STAGING = "vod", "staging"
_REVISION = re.compile(r"\br(\d+)/")
_LOOK_S = 0.5
#: What of a report is another one in every run: who made it, when, and how fast.
_OF_THE_RUN = ("run", "session")
_OF_SPEED = "speed"


@dataclass(frozen=True)
class Outcome:
    """What became of a session: its objects by name, each as a digest, or as text if it is one.

    Ids and numbers of revisions are left out, so that equal recordings have equal outcomes.
    ``made_again`` is that of its report.
    """

    objects: Mapping[str, str]
    made_again: Mapping[str, int]


def outcome_of(
    stack: ChaosStack, origin: Origin, session: Mapping[str, Any]
) -> tuple[Outcome, list[str]]:
    """The outcome of a session that is ready; and what is not as it should be, in words."""
    session_id = str(session["id"])
    revision = int(_REVISION.search(session["mp4Url"]).group(1))  # type: ignore[union-attr]
    report = origin.patiently(lambda: stack.api.report(session_id))
    events = origin.patiently(lambda: stack.api.events(session_id))
    earlier = {each["revision"] for each in events if each["action"] == "ready"} - {revision}
    objects, complaints = {}, []
    for key in origin.patiently(lambda: _keys(stack, _OUTPUT, f"{session_id}/")):
        name = key.removeprefix(f"{session_id}/")
        found = _REVISION.match(name)
        if found is None or int(found.group(1)) == revision:
            body = origin.patiently(lambda key=key: _read(stack, key))  # type: ignore[misc]
            objects[_REVISION.sub("r/", name)] = normal(name, body, session_id)
        elif int(found.group(1)) not in earlier:
            complaints.append(f"{key} belongs to no revision that was ever published")
    if report["verdict"] != "complete":
        complaints.append(f"the verdict is {report['verdict']}: {report['reasons']}")
    return Outcome(objects, report["run"]["madeAgain"]), complaints


def differences(found: Outcome, undisturbed: Outcome) -> list[str]:
    """How the objects differ from those of the undisturbed run, in words."""
    names = sorted({*found.objects, *undisturbed.objects})
    return [
        f"{name} is {_how(found.objects.get(name), undisturbed.objects.get(name))}"
        for name in names
        if found.objects.get(name) != undisturbed.objects.get(name)
    ]


def leftovers(
    stack: ChaosStack, origin: Origin, patience: float, kept: tuple[str, ...]
) -> list[str]:
    """What is left in the store and in Redis once ``patience`` seconds, or all of it, are over.

    ``kept`` are the beginnings of ids of sessions that were not deleted.
    """
    deadline = time.monotonic() + patience
    while (left := origin.patiently(lambda: [*_left(stack, kept)])) and time.monotonic() < deadline:
        time.sleep(_LOOK_S)
    return left


def _left(stack: ChaosStack, kept: tuple[str, ...]) -> Iterator[str]:
    deleted = (key for key in _keys(stack, _OUTPUT, "") if not key.startswith(kept))
    yield from (f"object {key} of a deleted session" for key in deleted)
    yield from (f"staged object {key}" for key in _keys(stack, _STAGING, ""))
    uploads = stack.s3.list_multipart_uploads(Bucket=_OUTPUT).get("Uploads", ())
    yield from (f"open upload of {upload['Key']}" for upload in uploads)
    work = WorkInFlight(stack.redis, stack.settings.redis_prefix)
    yield from (f"run {key}" for key in work.runs())
    yield from (f"messages in {key}" for key in work.messages())
    # Revisions that were replaced are due to be removed much later.
    soon = round((time.time() + stack.settings.keep_old / 2) * 1000)
    due = patiently(
        lambda: stack.redis.zrangebyscore(f"{stack.settings.redis_prefix}due", "-inf", soon)
    )
    yield from (f"due session {session_id}" for session_id in due)


def _keys(stack: ChaosStack, bucket: str, prefix: str) -> list[str]:
    pages = stack.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [item["Key"] for page in pages for item in page.get("Contents", ())]


def _read(stack: ChaosStack, key: str) -> bytes:
    body: bytes = stack.s3.get_object(Bucket=_OUTPUT, Key=key)["Body"].read()
    return body


def normal(name: str, body: bytes, session_id: str) -> str:
    """What must be equal in every run: all bytes of media, all of a text but ids and times."""
    if name.endswith(".mp4"):
        return hashlib.sha256(body).hexdigest()
    text = _REVISION.sub("r/", body.decode().replace(session_id, "ID"))
    if not name.endswith(".json"):
        return text
    report = {name: told for name, told in json.loads(text).items() if name not in _OF_THE_RUN}
    del report["source"]["fingerprint"]  # of where the segments lie, too
    for rendition in report["renditions"]:
        del rendition[_OF_SPEED]
    return json.dumps(report, indent=1)


def _how(found: str | None, expected: str | None) -> str:
    if found is None:
        return "missing"
    if expected is None:
        return "one too many"
    lines = zip(found.splitlines(), expected.splitlines(), strict=False)
    first = next((pair for pair in lines if pair[0] != pair[1]), ("shorter", "or longer"))
    return f"another one: {first[0].strip()!r} instead of {first[1].strip()!r}"
