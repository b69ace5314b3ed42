"""The report of a finalized recording: what was made, what was proven, what was found missing."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipelines.assemble import AssembledObject
    from pipelines.playlist import Recording
    from pipelines.session import Session
    from pipelines.transcoding.encoding import VideoEncoding
    from pipelines.verify import Proof

#: Raised by one whenever the meaning of a field changes.
REPORT_VERSION = 1


class RenditionKind(StrEnum):
    """How a rendition is made of its variant."""

    COPY = "copy"  #: coded media as they are
    TRANSCODE = "transcode"  #: decoded, and encoded anew
    NONE = "none"  #: not at all


class Verdict(StrEnum):
    """In one word what the recording is, compared with its source."""

    COMPLETE = "complete"
    REPAIRED = "repaired"  #: nothing is missing, but clocks had to be mended
    PARTIAL = "partial"  #: media is missing, at the times that ``gaps`` tells
    FAILED = "failed"


@dataclass(frozen=True)
class RunOrigin:
    """Which run made the report, and with what."""

    generation: int
    revision: int
    ffmpeg_version: str
    finalizer_version: str
    timings: Mapping[str, float]  #: seconds by step


@dataclass(frozen=True)
class RenditionOrigin:
    """What was decided of a rendition; ``video`` and ``encodes_audio`` as in a ``Transcode``."""

    name: str
    kind: RenditionKind
    reason: str
    video: VideoEncoding | None = None
    encodes_audio: bool = False


def rendition_report(
    origin: RenditionOrigin, url: str, made: AssembledObject, proof: Proof, target_duration: float
) -> dict[str, Any]:
    """What was made and proven of one rendition, in JSON's own types.

    EXTINF is a hint: its sum is told beside the media's duration, and ``durationDiffers`` says
    when the two are apart by more than one target duration.
    """
    tables = made.tables
    return {
        "name": origin.name,
        "kind": origin.kind,
        "state": "ready",
        "reason": origin.reason,
        "encoding": encoding_view(origin.video),
        "encodesAudio": origin.encodes_audio,
        "url": url,
        "size": made.size,
        "etag": made.etag,
        "checksumCrc32": proof.checksum,
        "duration": round(proof.duration, 6),
        "listedDuration": round(made.listed_seconds, 6),
        "durationDiffers": abs(proof.duration - made.listed_seconds) > target_duration,
        "startSkew": proof.start_skew,
        "endSkew": proof.end_skew,
        "tracks": [asdict(track) for track in proof.tracks],
        "periods": [asdict(period) for period in tables.periods],
        "gaps": [asdict(gap) for gap in tables.gaps],
        "repairs": _repairs(made),
        "sourceSegments": made.source_segments,
        "sourceBytes": made.source_bytes,
        "slices": len(tables.seams),
        "proof": {
            "seams": proof.seams,
            "ranges": proof.ranges,
            "bytesRead": proof.bytes_read,
        },
    }


def encoding_view(video: VideoEncoding | None) -> dict[str, Any] | None:
    """How pictures are encoded, in JSON's own types; None when they are copied."""
    if video is None:
        return None
    rate = video.nominal_rate
    return {
        "encoder": video.encoder,
        "implementation": video.implementation,
        "preset": video.preset,
        "width": video.width,
        "height": video.height,
        "bitrate": video.bitrate,
        "fps": f"{rate.numerator}/{rate.denominator}" if video.constant_rate else None,
        "quality": video.quality,
        "gop": video.gop,
        "profile": video.profile,
        "deinterlaced": video.deinterlace,
        "toneMapped": video.tone_map,
    }


def _repairs(made: AssembledObject) -> list[dict[str, Any]]:
    dropped = [
        {
            "kind": "dropped_leading_samples",
            "track": each.track,
            "at": round(each.at, 6),
            "samples": each.samples,
            "cause": each.cause,
        }
        for each in made.tables.dropped
    ]
    stepped = [
        {
            "kind": "audio_clock_step",
            "track": name,
            "at": round(step.at, 6),
            "seconds": round(step.by, 6),
            "cause": "the clock of the sound stepped; counting began anew there",
        }
        for name, tables in made.tables.tracks.items()
        for step in tables.audio_steps
    ]
    return [*dropped, *stepped]


def verdict_of(renditions: Sequence[Mapping[str, Any]]) -> Verdict:
    """The verdict over all renditions: the worst of them."""
    dropped = any(
        repair["kind"] == "dropped_leading_samples"
        for rendition in renditions
        for repair in rendition["repairs"]
    )
    if dropped or any(rendition["gaps"] for rendition in renditions):
        return Verdict.PARTIAL
    if any(rendition["repairs"] for rendition in renditions):
        return Verdict.REPAIRED
    return Verdict.COMPLETE


def report(
    session: Session,
    recording: Recording,
    renditions: Sequence[Mapping[str, Any]],
    not_made: Sequence[Mapping[str, str]],
    mp4: str,
    origin: RunOrigin,
) -> dict[str, Any]:
    """The whole report; the session itself is part of it, so that objects can rebuild the store.

    ``mp4`` names the rendition whose URL is the session's ``mp4Url``.
    """
    return {
        "version": REPORT_VERSION,
        "verdict": verdict_of(renditions),
        "error": None,
        "renditions": [*renditions, *not_made_views(not_made)],
        "mp4": mp4,
        "gaps": [
            {"rendition": rendition["name"], **gap}
            for rendition in renditions
            for gap in rendition["gaps"]
        ],
        "repairs": [
            {"rendition": rendition["name"], **repair}
            for rendition in renditions
            for repair in rendition["repairs"]
        ],
        "source": {
            "playlist": str(recording.location),
            "segments": recording.segment_count,
            "listedDuration": round(recording.duration, 6),
            "ended": recording.ended,
            "fingerprint": recording.fingerprint,
        },
        "run": _run(origin),
        "session": session.model_dump(mode="json", exclude_unset=True),
    }


def failed_report(
    session: Session,
    code: str,
    message: str,
    failed: Sequence[str],
    renditions: Sequence[Mapping[str, Any]],
    generation: int,
) -> dict[str, Any]:
    """The report of a run that could not finish: the same shape, with the reason.

    ``renditions`` are those that were planned, as far as they came; ``failed`` names the ones whose
    failure ended the run, as far as it was one of theirs.
    """
    return {
        "version": REPORT_VERSION,
        "verdict": Verdict.FAILED,
        "error": {"code": code, "message": message, "renditions": [*failed]},
        "renditions": [*renditions],
        "gaps": [],
        "repairs": [],
        "run": {"generation": generation},
        "session": session.model_dump(mode="json", exclude_unset=True),
    }


def not_made_views(not_made: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    """Profiles that were asked for and are not made, as renditions without a URL."""
    return [
        {
            "name": each["name"],
            "kind": RenditionKind.NONE,
            "state": "not_made",
            "url": None,
            "reason": each["reason"],
            "progress": None,
            "mediaSeconds": None,
            "mediaSecondsDone": 0.0,
            "speed": None,
            "encoding": None,
        }
        for each in not_made
    ]


def _run(origin: RunOrigin) -> dict[str, Any]:
    return {
        "generation": origin.generation,
        "revision": origin.revision,
        "ffmpegVersion": origin.ffmpeg_version,
        "finalizerVersion": origin.finalizer_version,
        "timings": {name: round(value, 3) for name, value in origin.timings.items()},
    }
