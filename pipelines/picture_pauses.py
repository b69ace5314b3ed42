"""Pauses between pictures: those in which some are missing, and those that make up for others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pipelines.timeline import GAP_SAMPLES
from pipelines.track_cut import even_duration, usual_duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.gap import GapReason
    from pipelines.packaged_slice import PackagedTrack
    from pipelines.placed_samples import PlacedSamples


@dataclass(frozen=True)
class LastPicture:
    """The picture before a run; media ticks."""

    dts: int  #: at which it is decoded
    end_pts: int  #: at which the one that is shown last ends


@dataclass(frozen=True)
class Pause:
    """Media ticks from when to when pictures are missing."""

    begin: int
    end: int
    behind: int  #: number of the sample that is shown next


def missing_pictures(
    placed: PlacedSamples, before: LastPicture | None, limit: int
) -> Iterator[Pause]:
    """Where pictures are missing, before those of a run and between them.

    Only where none is decoded, either, can that be told: others may be shown there. ``limit`` is
    the longest pause (ticks) of pictures that may pause.
    """
    samples, usual = placed.track.samples, usual_duration(placed.track)
    dts, pts, added = samples.dts, samples.pts, 0
    first = int(pts.min())
    if before and first - before.end_pts > _longest_pause(placed.track, placed.hole, limit):
        yield Pause(before.end_pts, first, int(np.argmin(pts)))
    if before and first < before.end_pts:
        # The picture behind the pause may have been decoded before it, and before these.
        dts, pts = np.append(before.dts, dts), np.append(before.end_pts - usual, pts)
        added = 1
    longest = usual + _longest_pause(placed.track, placed.inner, limit)
    if not (np.diff(dts) > longest).any():
        return
    order = np.argsort(pts, kind="stable")
    for at in np.flatnonzero(np.diff(pts[order]) > longest).tolist():
        begin, end = (int(pts[order[each]]) for each in (at, at + 1))
        yield Pause(begin + usual, end, int(order[at + 1]) - added)


def _longest_pause(track: PackagedTrack, reason: GapReason | None, limit: int) -> int:
    """Ticks beyond which a pause of the pictures is a hole. They may pause, unless they never do
    and there is a ``reason`` why some should be missing."""
    even = even_duration(track) if reason is not None else None
    return limit if even is None else min(limit, GAP_SAMPLES * even)


def decoded_later(placed: PlacedSamples, end_dts: int) -> PlacedSamples:
    """Pictures of an encoder that decodes further ahead than the one before it, whose first ones
    would be decoded while its last ones still are, up to tick ``end_dts``: all come later, until a
    pause makes up for it. When they are shown stays the same.
    """
    samples, usual = placed.track.samples, usual_duration(placed.track)
    behind = end_dts - int(samples.dts[0])
    if behind <= usual // 2:
        return placed
    pauses = np.maximum(np.diff(samples.dts, prepend=samples.dts[0] + usual) - usual, 0)
    later = np.maximum(behind - np.cumsum(pauses), 0)
    composition = (samples.composition - later).astype(np.int32)
    moved = replace(samples, dts=samples.dts + later, composition=composition)
    return replace(placed, track=replace(placed.track, samples=moved))
