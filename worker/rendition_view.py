"""Which renditions were published, while a run shows its own and after one without a result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worker.run_memory import MAKES, PUBLISHED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.records import SessionRecord

#: In a view: when the multipart upload of an unfinished MP4 was opened, Unix ms, if one was.
UPLOAD_OPENED_AT = "uploadOpenedAt"


def published_views(record: SessionRecord) -> tuple[Mapping[str, Any], ...]:
    """The renditions of the published revision as they were shown then; () when there is none."""
    if not record.revision:
        return ()
    if record.run.get(MAKES, 0) > record.revision:
        return tuple(record.run.get(PUBLISHED, record.renditions))
    return record.renditions


def withdrawn(record: SessionRecord, state: str) -> tuple[Mapping[str, Any], ...]:
    """The renditions once nothing comes of a run: what was published before, unchanged.

    Of a session that has published nothing yet, those of the run, in ``state`` and without URLs.
    """
    if record.revision:
        return published_views(record)
    return tuple(unmade_view(view, state) for view in record.renditions)


def unmade_view(view: Mapping[str, Any], state: str) -> Mapping[str, Any]:
    """A rendition of a run of which nothing comes, in ``state`` and without a URL."""
    if view["state"] == "not_made":
        return view
    kept = {name: value for name, value in view.items() if name != UPLOAD_OPENED_AT}
    return {**kept, "state": state, "url": None}
