"""What the report says of one rendition: its object, its tracks, what it lacks, what was mended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pipelines.gap import GapDone
from pipelines.lost_stretches import folded
from pipelines.object_checksum import crc64nvme
from pipelines.report import (
    ChecksumReport,
    EncodingReport,
    GapReport,
    LossReport,
    PeriodReport,
    ProofReport,
    ReencodedReport,
    RenditionKind,
    RenditionReport,
    RepairReport,
    TrackReport,
    encoding_view,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pipelines.assemble import AssembledObject
    from pipelines.conformance import Conformed
    from pipelines.gap import Gap
    from pipelines.loss import Loss
    from pipelines.transcoding.encoding import VideoEncoding
    from pipelines.verify import Proof, TrackProof, Undecoded

#: Gaps, losses and repairs that a report lists of each rendition, and segments of a gap.
MOST_LISTED = 1000
#: The end of a period that one track does not reach, too short to be called a gap.
FILLED = "period_filled"
_FILLED_WITH = {
    GapDone.HELD: "the last picture lasts longer",
    GapDone.SILENCE: "encoded silence",
    GapDone.REPORTED: "nothing stands there, since no encoder makes silence like it",
}
#: Media of the source, kept bit by bit, that a decoder does not show.
UNDECODED = "undecodable_samples"
#: Leading pictures that nothing before them lets a decoder read: media that is missing.
DROPPED = "dropped_leading_samples"


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
) -> RenditionReport:
    """What was made and proven of one rendition.

    EXTINF is a hint: its sum is told beside the media's duration, and ``duration_differs`` says
    when the two are apart by more than one target duration.
    """
    listed = round(made.listed_seconds, 6)
    losses, repairs = loss_reports(made.losses), [*_repairs(made)]
    repairs += map(_undecoded, proof.undecoded)
    gaps = made.tables.gaps
    return RenditionReport(
        name=origin.name,
        kind=origin.kind,
        state="ready",
        reason=origin.reason,
        encoding=_encoding(encoding_view(origin.video)),
        encodes_audio=origin.encodes_audio,
        url=url,
        size=made.size,
        etag=made.etag,
        checksums=[*_checksums(proof.checksum, made)],
        duration=round(proof.duration, 6),
        listed_duration=listed,
        duration_differs=abs(proof.duration - made.listed_seconds) > target_duration,
        start_skew=proof.start_skew,
        end_skew=proof.end_skew,
        tracks=[_track(track) for track in proof.tracks],
        periods=[
            PeriodReport(
                number=each.number,
                start=round(each.start, 6),
                tagged=each.tagged,
                segment=each.sequence,
            )
            for each in made.tables.periods
        ],
        gaps=[_gap(gap) for gap in gaps[:MOST_LISTED]],
        losses=losses[:MOST_LISTED],
        repairs=repairs[:MOST_LISTED],
        gaps_not_listed=not_listed(gaps),
        losses_not_listed=not_listed(losses),
        repairs_not_listed=not_listed(repairs),
        reencoded=[_reencoded(each, made) for each in made.tables.conformance.conformed],
        source_segments=made.source_segments,
        source_segments_lost=sum(loss.whole for loss in made.losses),
        source_bytes=made.source_bytes,
        slices=len(made.tables.seams),
        proof=ProofReport(seams=proof.seams, ranges=proof.ranges, bytes_read=proof.bytes_read),
        progress=1.0,
        media_seconds=listed,
        media_seconds_done=listed,
        speed=None,
    )


def unproven_report(view: Mapping[str, Any], losses: Sequence[Loss] = ()) -> RenditionReport:
    """What is known of a rendition that was not made, or whose run has ended without it.

    ``view`` is how the API shows it.
    """
    told = loss_reports(losses)
    return RenditionReport(
        name=view["name"],
        kind=view["kind"],
        state=view["state"],
        reason=view["reason"],
        encoding=_encoding(view["encoding"]),
        encodes_audio=False,
        url=None,
        size=None,
        etag=None,
        checksums=[],
        duration=None,
        listed_duration=view["mediaSeconds"],
        duration_differs=False,
        start_skew=None,
        end_skew=None,
        tracks=[],
        periods=[],
        gaps=[],
        losses=told[:MOST_LISTED],
        repairs=[],
        gaps_not_listed=0,
        losses_not_listed=not_listed(told),
        repairs_not_listed=0,
        reencoded=[],
        source_segments=None,
        source_segments_lost=sum(loss.whole for loss in losses) if losses else None,
        source_bytes=None,
        slices=None,
        proof=None,
        progress=view["progress"],
        media_seconds=view["mediaSeconds"],
        media_seconds_done=view["mediaSecondsDone"],
        speed=view["speed"],
    )


def loss_reports(losses: Iterable[Loss]) -> list[LossReport]:
    """Losses as the report tells them, neighbours of the same cause as one; all of them."""
    return [
        LossReport(
            segment=each.loss.sequence,
            last_segment=each.last,
            segments=each.segments,
            sound=each.loss.rendition or None,
            location=each.loss.location,
            cause=each.loss.cause,
            detail=each.loss.detail,
            whole=each.loss.whole,
            seconds=round(each.loss.seconds, 6),
            units=each.loss.units,
        )
        for each in folded(losses)
    ]


def not_listed(found: Sequence[object]) -> int:
    """How many entries of a list are beyond those that a report lists."""
    return max(0, len(found) - MOST_LISTED)


def _encoding(view: Mapping[str, Any] | None) -> EncodingReport | None:
    return None if view is None else EncodingReport.model_validate(view)


def _checksums(told: str | None, made: AssembledObject) -> Iterator[ChecksumReport]:
    """The checksum of the object that was packaged, and what the store tells of the one it has."""
    groups = (each for placed in made.tables.groups.values() for each in placed)
    yield ChecksumReport(
        algorithm="CRC64NVME",
        value=crc64nvme(made.header, groups, made.layout.payload_size),
        composite=False,
        told_by="finalizer",
    )
    if told is not None:
        yield ChecksumReport(
            algorithm="CRC32",
            value=told.partition("-")[0],  # AWS appends the number of parts
            composite=not made.written_whole,
            told_by="store",
        )


def _track(track: TrackProof) -> TrackReport:
    return TrackReport(
        name=track.name,
        codec=track.codec,
        language=track.language,
        expected=track.expected,
        copied=track.copied,
        re_encoded=track.encoded,
        inserted=track.inserted,
        dropped=track.dropped,
        repeated=track.repeated,
        seconds=track.seconds,
    )


def _gap(gap: Gap) -> GapReport:
    return GapReport(
        track=gap.track,
        at=round(gap.at, 6),
        duration=round(gap.duration, 6),
        wall_clock=None if gap.wall_clock is None else _wall_clock(gap.wall_clock),
        cause=gap.cause,
        detail=gap.detail,
        done=gap.done,
        segments=[*gap.segments[:MOST_LISTED]],
    )


def _wall_clock(seconds: float) -> str | None:
    """Unix seconds as a time of day (UTC); None beyond the calendar."""
    try:
        clock = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return clock.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _reencoded(stretch: Conformed, made: AssembledObject) -> ReencodedReport:
    track = made.tables.tracks[stretch.track].first
    size = f" {track.width}x{track.height}" if track.width else ""
    return ReencodedReport(
        track=stretch.track,
        segment=stretch.sequence,
        at=round(stretch.at, 6),
        seconds=round(stretch.seconds, 6),
        was=stretch.was,
        made=f"{track.codec}{size}",
    )


def _undecoded(stretch: Undecoded) -> RepairReport:
    return RepairReport(
        kind=UNDECODED,
        track=stretch.track,
        segment=None,
        sound=None,
        at=round(stretch.at, 6),
        seconds=None,
        units=stretch.units,
        detail=f"the source's own media, which a decoder does not show all of: {stretch.said}",
    )


def _repairs(made: AssembledObject) -> Iterator[RepairReport]:
    for repair in made.repairs:
        yield RepairReport(
            kind=repair.kind,
            track=None,
            segment=repair.sequence,
            sound=repair.rendition or None,
            at=None,
            seconds=None,
            units=repair.units,
            detail=repair.detail,
        )
    for dropped in made.tables.dropped:
        yield RepairReport(
            kind=DROPPED,
            track=dropped.track,
            segment=None,
            sound=None,
            at=round(dropped.at, 6),
            seconds=None,
            units=dropped.samples,
            detail=dropped.cause,
        )
    for name, tables in made.tables.tracks.items():
        for step in tables.audio_steps:
            yield RepairReport(
                kind="audio_clock_step",
                track=name,
                segment=None,
                sound=None,
                at=round(step.at, 6),
                seconds=round(step.by, 6),
                units=0,
                detail="the clock of the sound stepped; counting began anew there",
            )
        for filled in tables.holes.filled:
            yield RepairReport(
                kind=FILLED,
                track=name,
                segment=None,
                sound=None,
                at=round(filled.at, 6),
                seconds=round(filled.seconds, 6),
                units=filled.samples,
                detail=f"{name} ends before the period does: {_FILLED_WITH[filled.done]}",
            )
