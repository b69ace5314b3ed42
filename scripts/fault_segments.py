"""Faults of segments: they are not there, damaged, or there twice."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

from scripts.fault_bytes import (
    AUDIO_PID,
    VIDEO_PID,
    tables,
    with_stamps,
    without_bytes,
    without_parameter_sets,
)
from scripts.fault_entries import (
    ALL,
    END,
    ODD,
    ODD_BEGIN,
    ODD_END,
    WITHOUT_ODD,
    Fault,
    listed,
    with_entry,
    zero_of,
)
from scripts.fault_recording import entries_of
from scripts.fault_truth import COMPLETE, PARTIAL, REPAIRED, DueGap, DueLoss, Kept

if TYPE_CHECKING:
    from collections.abc import Callable

    from scripts.fault_base import Bases
    from scripts.fault_recording import FaultyRecording

HTML = (
    b"<!DOCTYPE html><html><head><title>503</title></head><body>Service Unavailable</body></html>"
)
_HELD = DueGap("all", ODD_BEGIN, ODD_END - ODD_BEGIN, "segment_lost")
_DAMAGED = DueLoss("segment_damaged", ODD, whole=False)


def _missing(number: int) -> Callable[[Bases], FaultyRecording]:
    def make(bases: Bases) -> FaultyRecording:
        base = bases.get()
        begin, last = 2.0 * number, len(base.segments) - 1
        kept = [each for each in (Kept(0, begin), Kept(begin + 2, END)) if each.begin < each.end]
        done = "held" if 0 < number < last else "reported"
        return listed(
            with_entry(entries_of(base), number, data=None),
            zero_of(base, 1 if number == 0 else 0),
            kept,
            PARTIAL,
            [DueGap("all", begin + 2 * (number == 0), 2.0, "segment_lost", done)],
            [DueLoss("segment_missing", number)],
        )

    return make


def _replaced(data: bytes | None, cause: str, *tags: str) -> Callable[[Bases], FaultyRecording]:
    def make(bases: Bases) -> FaultyRecording:
        base = bases.get()
        entries = with_entry(entries_of(base), ODD, data=data, tags=tags)
        return listed(entries, base.zero, WITHOUT_ODD, PARTIAL, [_HELD], [DueLoss(cause, ODD)])

    return make


def _sequence_hole(bases: Bases) -> FaultyRecording:
    base = bases.get()
    entries = entries_of(base)
    del entries[ODD]
    gap = replace(_HELD, cause="not_in_source")
    return listed(entries, base.zero, WITHOUT_ODD, PARTIAL, [gap])


def _truncated(bases: Bases) -> FaultyRecording:
    base = bases.get()
    segment = base.segments[ODD]
    cut = segment.offset_of(base.spec.start + 7.0) + 100
    entries = with_entry(entries_of(base), ODD, data=segment.data[:cut])
    kept = (Kept(0, 7), Kept(ODD_END, END))
    gap = DueGap("all", 7.0, 1.0, "segment_damaged")
    return listed(entries, base.zero, kept, PARTIAL, [gap], [_DAMAGED])


def _hole_inside(bases: Bases) -> FaultyRecording:
    """Whole groups of pictures, and the sound with them: the counters of packets tell."""
    base = bases.get()
    segment = base.segments[ODD]
    begin, end = (segment.offset_of(base.spec.start + at) for at in (6.5, 7.5))
    entries = with_entry(entries_of(base), ODD, data=segment.data[:begin] + segment.data[end:])
    kept = (Kept(0, 6.5), Kept(7.5, END))
    gap = DueGap("all", 6.5, 1.0, "segment_damaged")
    return listed(entries, base.zero, kept, PARTIAL, [gap], [_DAMAGED])


def _lost_packets(bases: Bases) -> FaultyRecording:
    base = bases.get()
    segment = base.segments[ODD]
    begin, end = (segment.offset_of(base.spec.start + at) for at in (6.7, 6.9))
    data = without_bytes(segment.data, VIDEO_PID, begin, end)
    entries = with_entry(entries_of(base), ODD, data=data)
    gap = DueGap("video", 6.7, 0.3, "segment_damaged")  # the next key frame comes at 7
    return listed(entries, base.zero, ALL, PARTIAL, [gap], [_DAMAGED])


def _late_parameter_sets(bases: Bases) -> FaultyRecording:
    base = bases.get()
    data = without_parameter_sets(base.segments[0].data)
    kept = (Kept(0, 2, pictures=False), Kept(2, END))
    return listed(
        with_entry(entries_of(base), 0, data=data),
        base.zero,
        kept,
        PARTIAL,
        [DueGap("video", 0.0, 2.0, "segment_damaged", "reported")],
        [replace(_DAMAGED, segment=0)],
    )


def _no_first_key(bases: Bases) -> FaultyRecording:
    base = bases.get()
    segment = base.segments[0]
    second = segment.offset_of(base.spec.start + 1 / 30)
    data = without_bytes(segment.data, VIDEO_PID, 0, second)
    return listed(
        with_entry(entries_of(base), 0, data=data),
        base.zero,
        ALL,
        PARTIAL,
        [DueGap("video", 0.0, 0.5, "segment_damaged", "reported")],
        [replace(_DAMAGED, segment=0)],
    )


def _backward_dts(bases: Bases) -> FaultyRecording:
    def change(number: int, pts: int, dts: int) -> tuple[int, int]:
        return pts, dts - 9000 if number in (20, 21, 22) else dts

    base = bases.get(b_frames=2)
    data = with_stamps(base.segments[ODD].data, VIDEO_PID, change)
    return listed(with_entry(entries_of(base), ODD, data=data), base.zero, ALL, REPAIRED)


def _backward_audio(bases: Bases) -> FaultyRecording:
    def change(number: int, pts: int, dts: int) -> tuple[int, int]:
        return (pts - 9000 if number in (3, 4) else pts), dts

    base = bases.get()
    data = with_stamps(base.segments[ODD].data, AUDIO_PID, change)
    return listed(with_entry(entries_of(base), ODD, data=data), base.zero, ALL, REPAIRED)


def _no_timestamps(bases: Bases) -> FaultyRecording:
    """Nothing is to be mended: a PES packet need not have them (ISO/IEC 13818-1, 2.7.4)."""

    def change(number: int, pts: int, dts: int) -> tuple[int, int] | None:
        return None if number in (20, 21, 22) else (pts, dts)

    base = bases.get(b_frames=2)
    data = with_stamps(base.segments[ODD].data, VIDEO_PID, change)
    return listed(with_entry(entries_of(base), ODD, data=data), base.zero, ALL, COMPLETE)


def _twice(name: str | None) -> Callable[[Bases], FaultyRecording]:
    def make(bases: Bases) -> FaultyRecording:
        base = bases.get()
        entries = entries_of(base)
        again = replace(entries[ODD], name=name or entries[ODD].name)
        entries.insert(ODD + 1, again)
        return listed(entries, base.zero, ALL, REPAIRED)

    return make


def _overlap(bases: Bases) -> FaultyRecording:
    base = bases.get()
    before, segment = base.segments[ODD], base.segments[ODD + 1]
    again = before.data[before.offset_of(base.spec.start + 7.5) :]
    data = tables(before.data) + again + segment.data
    return listed(with_entry(entries_of(base), ODD + 1, data=data), base.zero, ALL, REPAIRED)


SEGMENTS = (
    Fault("missing-start", "the first listed segment is not there", _missing(0)),
    Fault("missing-middle", "a listed segment is not there", _missing(ODD)),
    Fault("missing-end", "the last listed segment is not there", _missing(7)),
    Fault("gap-tag", "EXT-X-GAP says that a segment is not there", _replaced(None, "gap_tag", "#EXT-X-GAP")),
    Fault("sequence-hole", "a segment was never listed", _sequence_hole),
    Fault("empty", "a segment has no bytes", _replaced(b"", "segment_empty")),
    Fault("garbage", "a segment is random bytes", _replaced(Random(4).randbytes(20_000), "segment_unreadable")),
    Fault("html", "a segment is a server's error page", _replaced(HTML, "segment_unreadable")),
    Fault("truncated", "a segment is cut in its middle, inside a packet", _truncated),
    Fault("hole-inside", "a second inside a segment is lost", _hole_inside),
    Fault("lost-packets", "packets of pictures are lost inside a segment", _lost_packets),
    Fault("late-parameter-sets", "SPS and PPS come with the second segment", _late_parameter_sets),
    Fault("no-first-key", "the first key frame is lost", _no_first_key),
    Fault("backward-dts", "decode times step back inside a segment", _backward_dts),
    Fault("backward-audio", "times of sound step back inside a segment", _backward_audio),
    Fault("no-timestamps", "pictures without time stamps", _no_timestamps),
    Fault("twice-one-uri", "a segment is listed twice", _twice(None)),
    Fault("twice-two-uris", "a segment comes twice under two names", _twice("again.ts")),
    Fault("overlap", "a segment begins with the last half second of the one before", _overlap),
)  # fmt: skip
