"""Segments that are given up as encoded sound and as pictures: neither keeps what the other lacks."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from pipelines.segment_pieces import pieces_of
from pipelines.sound_samples import made_track, samples_of
from pipelines.source import fetch_segment
from pipelines.timeline import WRAP

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipelines.package import Packaged, Packager
    from pipelines.packaged_slice import PackagedRun, PackagedTrack
    from pipelines.playlist import Segment
    from pipelines.slices import Slice


def without_silenced(work: Slice, sound: Packaged | None) -> Slice:
    """The slice with those segments given up that were, for everybody, as its sound was encoded."""
    lost = {loss.sequence: loss.detail for loss in sound.tables.losses} if sound else {}
    if not lost:
        return work
    return replace(
        work,
        segments=tuple(
            replace(segment, given_up=lost.get(segment.sequence, segment.given_up))
            for segment in work.segments
        ),
    )


def spared_sound(sound: Packaged, work: Slice, packager: Packager) -> Packaged:
    """The sound in the runs that are left of a slice some of whose segments are given up.

    In a run that one of them is part of, the frames up to its first unit's time are kept, and from
    that of the segment behind it on, which begins a run of its own. The payload stays as it is.
    Raises what ``fetch_segment`` raises.
    """
    runs: Sequence[PackagedRun] = sound.tables.runs
    for position, segment in enumerate(work.segments):
        if segment.given_up:
            kept = (each for each in work.segments[position + 1 :] if not each.given_up)
            runs = _without(segment, next(kept, None), runs, sound.staged, packager)
    return replace(sound, tables=replace(sound.tables, runs=tuple(runs)))


def _without(
    lost: Segment,
    behind: Segment | None,
    runs: Sequence[PackagedRun],
    payload: bytes,
    packager: Packager,
) -> list[PackagedRun]:
    """The runs without what lies between the beginnings of two segments, or up to the end."""
    end = math.inf if behind is None else behind.sequence
    before = [run for run in runs if run.first_sequence < lost.sequence]
    inside = [run for run in runs if lost.sequence <= run.first_sequence < end]
    later = [run for run in runs if run.first_sequence >= end]
    reaching = [*before, *inside][-1:]  # what comes before ``behind``, and may go on in it
    if before and not (
        inside and inside[0].piece == 0 and inside[0].first_sequence == lost.sequence
    ):
        before[-1] = _part(before[-1], payload, {}, _begins(lost, packager))
    begins = [(run.first_sequence, run.piece) for run in later[:1]]
    if behind is not None and reaching and begins != [(behind.sequence, 0)]:
        rest = _part(reaching[0], payload, _begins(behind, packager), {})
        later.insert(0, replace(rest, first_sequence=behind.sequence, piece=0, tagged=False))
    return [*before, *later]


def _begins(segment: Segment, packager: Packager) -> dict[int, Fraction]:
    """When each track begins in a segment, by PID, seconds of its clock."""
    reader, final = packager.reader, packager.missing_is_final
    fetched = fetch_segment(reader, replace(segment, given_up=""), missing_is_final=final)
    first = next(iter(pieces_of(fetched).pieces), None)
    spans = first.spans if first else {}
    return {number: span.first_dts for number, span in spans.items()}


def _part(
    run: PackagedRun,
    payload: bytes,
    begins: Mapping[int, Fraction],
    ends: Mapping[int, Fraction],
) -> PackagedRun:
    """The run from when on and up to when its tracks are told to go; those untold stay whole."""
    tracks = []
    for track in run.tracks:
        number = track.track
        first = _frame_at(track, begins[number]) if number in begins else 0
        end = _frame_at(track, ends[number]) if number in ends else len(track.samples)
        if first < end:
            frames = samples_of(track, payload).part(first, end)
            offset = int(track.placement.offsets[0]) + int(track.samples.sizes[:first].sum())
            tracks.append(
                made_track(frames, number, track.codec, track.language, track.made, offset)
            )
    return replace(run, tracks=tuple(tracks))


def _frame_at(track: PackagedTrack, at: Fraction) -> int:
    """The number of the first frame that begins at a time, in any round of the clock, or later."""
    dts = track.samples.dts
    rounds = round((Fraction(int(dts[0]), track.timescale) - at) / WRAP)
    return int(np.searchsorted(dts, round((at + rounds * WRAP) * track.timescale)))
