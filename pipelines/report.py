"""The form of the report of a finalized recording: what was made, proven, mended and found missing.

``docs/report.schema.json`` is the JSON Schema of it, ``docs/report.md`` explains every field.
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, Field
from pydantic.json_schema import GenerateJsonSchema

from pipelines.wire import WireModel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipelines.transcoding.encoding import VideoEncoding

#: Raised by one whenever the meaning of a field changes.
REPORT_VERSION = 3


class RenditionKind(StrEnum):
    """How a rendition is made of its variant."""

    COPY = "copy"  #: coded media as they are
    TRANSCODE = "transcode"  #: decoded, and encoded anew
    NONE = "none"  #: not at all


class Verdict(StrEnum):
    """In one word what the recording is, compared with its source."""

    COMPLETE = "complete"
    REPAIRED = "repaired"  #: all media is there, some of it mended or re-encoded on the way
    PARTIAL = "partial"  #: media is missing, as ``gaps``, ``losses`` and ``repairs`` tell
    FAILED = "failed"


class _Form(WireModel):
    """Fields that are all there, and no others. Times and durations are seconds."""

    model_config = ConfigDict(extra="forbid")

    def to_json(self) -> dict[str, Any]:
        """The values in JSON's own types."""
        return self.model_dump(mode="json")


class EncodingReport(_Form):
    """How pictures were encoded."""

    encoder: str
    implementation: str
    preset: str
    width: int
    height: int
    bitrate: int | None
    fps: str | None
    quality: int | None
    gop: float | None
    profile: str | None
    deinterlaced: bool
    tone_mapped: bool


class ChecksumReport(_Form):
    """A checksum of an object; ``composite``: over the checksums of its parts."""

    algorithm: str
    value: str
    composite: bool
    told_by: str


class TrackReport(_Form):
    """The units of one track in the index of the source beside the samples of the object."""

    name: str
    codec: str
    language: str
    expected: int
    copied: int
    re_encoded: int
    inserted: int
    dropped: int
    repeated: int
    seconds: float


class PeriodReport(_Form):
    """Media between two discontinuities."""

    number: int
    start: float
    tagged: bool
    segment: int


class GapReport(_Form):
    """Media that the recording does not hold, of one track or of ``all``."""

    track: str
    at: float
    duration: float
    wall_clock: str | None
    cause: str
    detail: str
    done: str
    segments: list[int]


class LossReport(_Form):
    """Listed segments, one after the other, of which nothing, or not all, could be packaged."""

    segment: int
    last_segment: int
    segments: int
    sound: str | None
    location: str
    cause: str
    detail: str
    whole: bool
    seconds: float
    units: int


class RepairReport(_Form):
    """One thing that was mended, or left out, on the way."""

    kind: str
    track: str | None
    segment: int | None
    sound: str | None
    at: float | None
    seconds: float | None
    units: int
    detail: str


class ReencodedReport(_Form):
    """A stretch of a track that was encoded anew, since the rest of the track is another way."""

    track: str
    segment: int
    at: float
    seconds: float
    was: str
    made: str


class ProofReport(_Form):
    """How much was read back."""

    seams: int
    ranges: int
    bytes_read: int


class RenditionReport(_Form):
    """One MP4: what it is made of, and what was proven of it; null and empty where it is not."""

    name: str
    kind: RenditionKind
    state: str
    reason: str
    encoding: EncodingReport | None
    encodes_audio: bool
    url: str | None
    size: int | None
    etag: str | None
    checksums: list[ChecksumReport]
    duration: float | None
    listed_duration: float | None
    duration_differs: bool
    start_skew: float | None
    end_skew: float | None
    tracks: list[TrackReport]
    periods: list[PeriodReport]
    gaps: list[GapReport]
    losses: list[LossReport]
    repairs: list[RepairReport]
    gaps_not_listed: int
    losses_not_listed: int
    repairs_not_listed: int
    reencoded: list[ReencodedReport]
    source_segments: int | None
    source_segments_lost: int | None
    source_bytes: int | None
    slices: int | None
    proof: ProofReport | None
    progress: float | None
    media_seconds: float | None
    media_seconds_done: float
    speed: float | None


class SubtitleReport(_Form):
    """One rendition of subtitles, kept beside the MP4; ``url`` is null where it could not be."""

    name: str
    language: str | None
    url: str | None
    cues: int
    left_out: int
    reason: str
    losses: list[LossReport]
    losses_not_listed: int


class CounterReport(_Form):
    """A count of the origin beside ours; ``said`` is null where the origin told none."""

    said: float | None
    found: float | None
    differs: bool


class CountersReport(_Form):
    """The origin's own counters, compared with what was found of the best variant."""

    source_segments: CounterReport
    source_segments_duration: CounterReport
    source_bytes: CounterReport


class WindowReport(_Form):
    """What the best variant's own playlist listed while it was live, and lists no longer."""

    segments: int
    seconds: float
    not_at_source: int
    never_listed: int
    forgotten: int
    restarts: list[int]
    earlier_revisions: list[int]


class SourceReport(_Form):
    """What was read; segments are told by media sequence."""

    playlist: str
    segments: int
    segments_lost: int
    first_segment: int | None
    last_segment: int | None
    listed_duration: float
    media_duration: float | None
    bytes: int | None
    ended: bool
    fingerprint: str
    not_packaged: list[str]


class TimingsReport(_Form):
    """Seconds by step; those of slices are added up, although slices are made side by side."""

    plan: float | None
    package: float
    transcode: float
    assemble: float
    verify: float
    publish: float | None
    since_run_began: float


class MadeAgainReport(_Form):
    """Slices that were begun more than once, and how often an attempt at one of them ended how."""

    slices: int
    silent: int
    handed_back: int
    outage: int
    failed: int
    lost: int


class RunReport(_Form):
    """Which run wrote the report, and with what."""

    generation: int
    revision: int | None
    ffmpeg_version: str | None
    finalizer_version: str
    timings: TimingsReport
    made_again: MadeAgainReport


class ErrorReport(_Form):
    """Why there is no result; ``renditions`` are those whose failure ended the run."""

    code: str
    message: str
    renditions: list[str]


class GapOfRendition(GapReport):
    """A gap, and where."""

    rendition: str


class LossOfRendition(LossReport):
    """A loss, and where; subtitles stand by their name."""

    rendition: str


class RepairOfRendition(RepairReport):
    """A repair, and where."""

    rendition: str


class ReencodedOfRendition(ReencodedReport):
    """A stretch that was encoded anew, and where."""

    rendition: str


class Report(_Form):
    """The whole report; the session is part of it, so that objects can rebuild the store."""

    model_config = ConfigDict(title="Report of a finalized recording")

    version: int = Field(json_schema_extra={"const": REPORT_VERSION})
    verdict: Verdict
    reasons: list[str]
    error: ErrorReport | None
    renditions: list[RenditionReport]
    mp4: str | None
    gaps: list[GapOfRendition]
    losses: list[LossOfRendition]
    repairs: list[RepairOfRendition]
    reencoded: list[ReencodedOfRendition]
    subtitles: list[SubtitleReport]
    source: SourceReport | None
    window: WindowReport | None
    counters: CountersReport
    run: RunReport
    session: dict[str, Any]


class StoredReport(Report):
    """The report as ``recording.json`` holds it: with the text of its ``index.m3u8``."""

    multivariant_playlist: str | None = Field(default=None, exclude_if=lambda text: text is None)


class _Untitled(GenerateJsonSchema):
    """Names of fields say what their titles would."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def schema_text() -> str:
    """The JSON Schema (2020-12) of ``recording.json``, and of the API's answer."""
    form = StoredReport.model_json_schema(by_alias=True, schema_generator=_Untitled)
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", **form}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def encoding_view(video: VideoEncoding | None) -> dict[str, Any] | None:
    """How pictures are encoded, in JSON's own types; None when they are copied."""
    if video is None:
        return None
    rate = video.nominal_rate
    return EncodingReport(
        encoder=video.encoder,
        implementation=video.implementation,
        preset=video.preset,
        width=video.width,
        height=video.height,
        bitrate=video.bitrate,
        fps=f"{rate.numerator}/{rate.denominator}" if video.constant_rate else None,
        quality=video.quality,
        gop=video.gop,
        profile=video.profile,
        deinterlaced=video.deinterlace,
        tone_mapped=video.tone_map,
    ).to_json()


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
