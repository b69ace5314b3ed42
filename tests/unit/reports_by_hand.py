"""Reports made by hand: a rendition of which nothing is missing, and changes to it."""

from __future__ import annotations

from typing import Any

from pipelines.report import (
    GapReport,
    LossReport,
    PeriodReport,
    ProofReport,
    RenditionKind,
    RenditionReport,
    RepairReport,
    TrackReport,
)


def rendition(**changes: Any) -> RenditionReport:
    """A copy of twelve seconds in six segments of 100 bytes each."""
    whole: dict[str, Any] = {
        "name": "source",
        "kind": RenditionKind.COPY,
        "state": "ready",
        "reason": "The recording has this one variant.",
        "encoding": None,
        "encodes_audio": False,
        "url": "https://vod.example/s1/r1/source.mp4",
        "size": 600,
        "etag": '"e"',
        "checksums": [],
        "duration": 12.0,
        "listed_duration": 12.0,
        "duration_differs": False,
        "start_skew": 0.0,
        "end_skew": 0.0,
        "tracks": [track()],
        "periods": [PeriodReport(number=0, start=0.0, tagged=False, segment=0)],
        "gaps": [],
        "losses": [],
        "repairs": [],
        "gaps_not_listed": 0,
        "losses_not_listed": 0,
        "repairs_not_listed": 0,
        "reencoded": [],
        "source_segments": 6,
        "source_segments_lost": 0,
        "source_bytes": 600,
        "slices": 1,
        "proof": ProofReport(seams=0, ranges=1, bytes_read=600),
        "progress": 1.0,
        "media_seconds": 12.0,
        "media_seconds_done": 12.0,
        "speed": None,
    }
    return RenditionReport(**{**whole, **changes})


def track(**changes: Any) -> TrackReport:
    """A track of 360 pictures, all of them copied."""
    whole: dict[str, Any] = {
        "name": "video",
        "codec": "h264",
        "language": "und",
        "expected": 360,
        "copied": 360,
        "re_encoded": 0,
        "inserted": 0,
        "dropped": 0,
        "repeated": 0,
        "seconds": 12.0,
    }
    return TrackReport(**{**whole, **changes})


def gap(**changes: Any) -> GapReport:
    """Two seconds of a segment that is lost."""
    whole: dict[str, Any] = {
        "track": "all",
        "at": 4.0,
        "duration": 2.0,
        "wall_clock": None,
        "cause": "segment_lost",
        "detail": "segment 2 is not there",
        "done": "held",
        "segments": [2],
    }
    return GapReport(**{**whole, **changes})


def loss(**changes: Any) -> LossReport:
    """A segment that is not there."""
    whole: dict[str, Any] = {
        "segment": 2,
        "last_segment": 2,
        "segments": 1,
        "sound": None,
        "location": "s3://recordings/s1/2.ts",
        "cause": "segment_missing",
        "detail": "listed, and not there",
        "whole": True,
        "seconds": 2.0,
        "units": 0,
    }
    return LossReport(**{**whole, **changes})


def repair(**changes: Any) -> RepairReport:
    """Times that were set anew."""
    whole: dict[str, Any] = {
        "kind": "timestamps",
        "track": None,
        "segment": 3,
        "sound": None,
        "at": None,
        "seconds": None,
        "units": 4,
        "detail": "4 pictures without a time",
    }
    return RepairReport(**{**whole, **changes})
