"""The report of a whole run: all renditions, the source beside its own counters, and the verdict."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipelines.gap import GapCause
from pipelines.lost_stretches import segments_of
from pipelines.plan import SOURCE
from pipelines.rendition_report import DROPPED, UNDECODED
from pipelines.report import (
    REPORT_VERSION,
    CounterReport,
    CountersReport,
    ErrorReport,
    GapOfRendition,
    LossOfRendition,
    MadeAgainReport,
    ReencodedOfRendition,
    RepairOfRendition,
    Report,
    RunReport,
    SourceReport,
    TimingsReport,
    Verdict,
)
from pipelines.window_report import window_reasons

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pipelines.playlist import Recording, Segment
    from pipelines.report import LossReport, RenditionReport, SubtitleReport, WindowReport
    from pipelines.session import Session

#: Causes of gaps in which nothing of the recording is missing: what was never sent is not lost.
NOT_MISSING = frozenset({GapCause.WALL_CLOCK})
_NEVER_AGAIN = dict.fromkeys(MadeAgainReport.model_fields, 0)


@dataclass(frozen=True)
class RunOrigin:
    """Which run made the report, with what, and how long it took; None: not known, or not yet.

    ``timings`` are seconds by step, as in ``TimingsReport``; ``made_again`` are counts, as in
    ``MadeAgainReport``.
    """

    generation: int
    revision: int | None
    ffmpeg_version: str | None
    finalizer_version: str
    timings: Mapping[str, float | None] = field(default_factory=dict)
    made_again: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class RunError:
    """Why a run failed; ``renditions`` are those whose failure ended it, if it was theirs."""

    code: str
    message: str
    renditions: tuple[str, ...] = ()


def report(
    session: Session,
    recording: Recording | None,
    renditions: Sequence[RenditionReport],
    mp4: str | None,
    origin: RunOrigin,
    *,
    subtitles: Sequence[SubtitleReport] = (),
    window: WindowReport | None = None,
    error: RunError | None = None,
) -> Report:
    """The whole report. ``mp4`` names the rendition whose URL is the session's ``mp4_url``, the
    ``window`` is as ``window_report`` tells it.

    The same form holds for a run that failed (``error``), with what was known by then: the
    ``recording`` is None when it cannot be read, renditions say how far they came.
    """
    source = _source(recording, renditions) if recording else None
    counters = _counters(session, recording, renditions)
    verdict = Verdict.FAILED if error else verdict_of(renditions, subtitles, window)
    reasons = [
        *_reasons(renditions, subtitles),
        *(window_reasons(window) if window else ()),
        *_counter_reasons(counters),
    ]
    return Report(
        version=REPORT_VERSION,
        verdict=verdict,
        reasons=[error.message, *reasons] if error else reasons,
        error=_error(error),
        renditions=[*renditions],
        mp4=mp4,
        gaps=[
            GapOfRendition(rendition=each.name, **gap.model_dump(by_alias=False))
            for each in renditions
            for gap in each.gaps
        ],
        losses=[
            LossOfRendition(rendition=name, **loss.model_dump(by_alias=False))
            for name, losses in _all_losses(renditions, subtitles)
            for loss in losses
        ],
        repairs=[
            RepairOfRendition(rendition=each.name, **repair.model_dump(by_alias=False))
            for each in renditions
            for repair in each.repairs
        ],
        reencoded=[
            ReencodedOfRendition(rendition=each.name, **made.model_dump(by_alias=False))
            for each in renditions
            for made in each.reencoded
        ],
        subtitles=[*subtitles],
        source=source,
        window=window,
        counters=counters,
        run=_run(origin),
        session=session.model_dump(mode="json", exclude_unset=True),
    )


def _all_losses(
    renditions: Sequence[RenditionReport], subtitles: Sequence[SubtitleReport]
) -> Iterator[tuple[str, Sequence[LossReport]]]:
    for rendition in renditions:
        yield rendition.name, rendition.losses
    for subtitle in subtitles:
        yield subtitle.name, subtitle.losses


def verdict_of(
    renditions: Sequence[RenditionReport],
    subtitles: Sequence[SubtitleReport] = (),
    window: WindowReport | None = None,
) -> Verdict:
    """The verdict over all renditions: the worst of them."""
    if any(_lacks(each) for each in renditions) or any(each.losses for each in subtitles):
        return Verdict.PARTIAL
    if window and (window.never_listed or window.earlier_revisions or window.forgotten):
        return Verdict.PARTIAL
    if any(_mended(each) for each in renditions):
        return Verdict.REPAIRED
    return Verdict.COMPLETE


def _lacks(rendition: RenditionReport) -> bool:
    """Whether media of the source, or a stretch of its time, is missing from the object."""
    return (
        any(gap.cause not in NOT_MISSING for gap in rendition.gaps)
        or bool(rendition.losses)
        or any(track.dropped for track in rendition.tracks)
    )


def _mended(rendition: RenditionReport) -> bool:
    inserted = any(track.inserted for track in rendition.tracks)
    return inserted or bool(rendition.repairs or rendition.reencoded)


def _reasons(
    renditions: Sequence[RenditionReport], subtitles: Sequence[SubtitleReport]
) -> Iterator[str]:
    """Why the verdict is what it is, a sentence for each rendition and kind of finding."""
    for each in renditions:
        missing = [gap for gap in each.gaps if gap.cause not in NOT_MISSING]
        if missing:
            longest = max(gap.duration for gap in missing)
            yield f"{each.name}: {_count(missing, 'gap')}, the longest of {longest:.3f} s."
        pauses = [gap for gap in each.gaps if gap.cause in NOT_MISSING]
        if missing and pauses:
            yield f"{each.name}: {_count(pauses, 'gap')} more in which nothing was recorded."
        if each.losses:
            segments = sum(loss.segments for loss in each.losses)
            whole = sum(loss.segments for loss in each.losses if loss.whole)
            more = (
                f" {each.losses_not_listed} more are not listed." if each.losses_not_listed else ""
            )
            yield (
                f"{each.name}: {_count(range(segments), 'loss', 'losses')} in listed segments,"
                f" {whole} of them whole segments.{more}"
            )
        inserted = sum(track.inserted for track in each.tracks)
        if inserted:
            yield f"{each.name}: {inserted} samples of silence stand where there is no sound."
        dropped = sum(track.dropped for track in each.tracks)
        if dropped:
            yield f"{each.name}: {dropped} samples that nothing lets a player decode are left out."
        undecoded = sum(repair.units for repair in each.repairs if repair.kind == UNDECODED)
        if undecoded:
            yield f"{each.name}: {undecoded} samples of the source are not shown by a decoder."
        mended = [repair for repair in each.repairs if repair.kind not in (DROPPED, UNDECODED)]
        if mended:
            yield f"{each.name}: {_count(mended, 'repair')}."
        if each.reencoded:
            yield (
                f"{each.name}: {_count(each.reencoded, 'stretch', 'stretches')} encoded anew, to be"
                " like the rest of the track."
            )
    for subtitle in subtitles:
        if subtitle.losses:
            lost = range(sum(loss.segments for loss in subtitle.losses))
            yield f"Subtitles {subtitle.name!r}: {_count(lost, 'segment')} not readable."


def _count(found: Sequence[object], one: str, several: str = "") -> str:
    return f"1 {one}" if len(found) == 1 else f"{len(found)} {several or one + 's'}"


def _source(recording: Recording, renditions: Sequence[RenditionReport]) -> SourceReport:
    best = _of_best_variant(renditions)
    lost, segments = _lost(recording, best), recording.source.segments
    return SourceReport(
        playlist=str(recording.location),
        segments=recording.segment_count,
        segments_lost=len(lost),
        first_segment=segments[0].sequence if segments else None,
        last_segment=segments[-1].sequence if segments else None,
        listed_duration=round(recording.duration, 6),
        media_duration=best.duration if best else None,
        bytes=best.source_bytes if best else None,
        ended=recording.ended,
        fingerprint=recording.fingerprint,
        not_packaged=sorted(
            {angle.name for variant in recording.variants for angle in variant.angles}
        ),
    )


def _of_best_variant(renditions: Sequence[RenditionReport]) -> RenditionReport | None:
    """The rendition that tells most of the best variant: the one that is always made of it."""
    return next(iter(sorted(renditions, key=lambda each: each.name != SOURCE)), None)


def _lost(recording: Recording, rendition: RenditionReport | None) -> list[Segment]:
    """The segments of the best variant's own playlist of which nothing could be packaged."""
    whole = [loss for loss in rendition.losses if loss.whole] if rendition else []
    return [segment for segment, _ in segments_of(recording.source.segments, whole)]


def _counters(
    session: Session, recording: Recording | None, renditions: Sequence[RenditionReport]
) -> CountersReport:
    """The origin's counters beside what was found; apart by more than one segment is told."""
    found: tuple[float | None, ...] = (None, None, None)
    tolerances = (0.0, 0.0, 0.0)
    if recording is not None:
        best, segments = _of_best_variant(renditions), recording.source.segments
        lost = _lost(recording, best)
        seconds = recording.duration - sum(each.duration for each in lost)
        there = len(segments) - len(lost)
        size = best.source_bytes if best else None
        found = (there, round(seconds, 6), size)
        longest = max((each.duration for each in segments), default=0.0)
        packaged = (best.source_segments or 0) - (best.source_segments_lost or 0) if best else 0
        tolerances = (1.0, longest, (size or 0) / max(1, packaged))
    said = (session.source_segments, session.source_segments_duration, session.source_bytes)
    counts = [_counter(*each) for each in zip(said, found, tolerances, strict=True)]
    return CountersReport(
        source_segments=counts[0], source_segments_duration=counts[1], source_bytes=counts[2]
    )


def _counter(said: float, found: float | None, tolerance: float) -> CounterReport:
    """A counter of 0 says nothing: origins that count nothing send none, or 0."""
    told = said or None
    differs = told is not None and found is not None and abs(told - found) > tolerance
    return CounterReport(said=told, found=found, differs=differs)


def _counter_reasons(counters: CountersReport) -> Iterator[str]:
    for name, counter in counters:
        if counter.differs:
            field_name = type(counters).model_fields[name].alias or name
            yield (
                f"The origin's {field_name} is {counter.said:g}, {counter.found:g} was found. That"
                " alone makes no recording partial: origins count what they sent, at another time"
                " and place than they list it."
            )


def _error(error: RunError | None) -> ErrorReport | None:
    if error is None:
        return None
    return ErrorReport(code=error.code, message=error.message, renditions=[*error.renditions])


def _run(origin: RunOrigin) -> RunReport:
    seconds = {
        name: None if value is None else round(value, 3) for name, value in origin.timings.items()
    }
    nothing: dict[str, float | None] = {
        "plan": None,
        "package": 0.0,
        "transcode": 0.0,
        "assemble": 0.0,
        "verify": 0.0,
        "publish": None,
        "since_run_began": 0.0,
    }
    return RunReport(
        generation=origin.generation,
        revision=origin.revision,
        ffmpeg_version=origin.ffmpeg_version,
        finalizer_version=origin.finalizer_version,
        timings=TimingsReport.model_validate({**nothing, **seconds}),
        made_again=MadeAgainReport.model_validate({**_NEVER_AGAIN, **origin.made_again}),
    )
