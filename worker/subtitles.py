"""The subtitles of a run's recording: read, put on the timeline of the MP4, and named."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.publish import PublishedSubtitles, subtitle_files
from pipelines.rendition_report import MOST_LISTED, loss_reports, not_listed
from pipelines.report import SubtitleReport
from pipelines.subtitles import SubtitleBudget, clock_stretches, read_subtitles, retimed, vod_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipelines.clock_point import ClockPoint
    from pipelines.playlist import SubtitleRendition
    from pipelines.publish import PublishedRendition
    from worker.run import Run


@dataclass(frozen=True)
class FoundSubtitles:
    """One rendition of subtitles: what is to be published of it, if anything, and the report."""

    published: PublishedSubtitles | None
    report: SubtitleReport


def subtitles_of(
    run: Run,
    mp4: PublishedRendition,
    clocks: Sequence[ClockPoint],
    checkpoint: Callable[[], None],
) -> list[FoundSubtitles]:
    """The subtitles of the variant that an MP4 was made of, in the order in which they are listed.

    ``clocks`` are those of the MP4. What cannot be read is told in the report and takes nothing
    else away. Raises ``TransientError`` when the source does not answer.
    """
    listed = mp4.variant.subtitles
    files = subtitle_files(mp4.name, listed)
    budget = SubtitleBudget()
    return [
        _found(run, rendition, mp4, clocks, file, budget, checkpoint)
        for rendition, file in zip(listed, files, strict=True)
    ]


def _found(
    run: Run,
    rendition: SubtitleRendition,
    mp4: PublishedRendition,
    clocks: Sequence[ClockPoint],
    file: str,
    budget: SubtitleBudget,
    checkpoint: Callable[[], None],
) -> FoundSubtitles:
    if rendition.playlist is None:
        return _not_published(rendition, f"its playlist {rendition.location} cannot be read")
    read = read_subtitles(run.runtime.reader, rendition.playlist, budget, checkpoint)
    losses = loss_reports(read.losses)
    if losses and not read.texts:
        unread = _not_published(rendition, "none of its segments can be read")
        told = {"losses": losses[:MOST_LISTED], "losses_not_listed": not_listed(losses)}
        return FoundSubtitles(None, unread.report.model_copy(update=told))
    # Of its own tags, a playlist of subtitles can know those of the recording alone.
    stretches = clock_stretches(clocks, mp4.variant.segments, mp4.duration)
    subtitles = retimed(read.texts, stretches)
    segments = mp4.vod_segments
    marked = clock_stretches(clocks, segments, mp4.duration)
    published = PublishedSubtitles(
        rendition=rendition,
        mp4=mp4.name,
        file=file,
        cues=subtitles.cues,
        texts=vod_texts(subtitles.cues, marked, segments),
    )
    names = run.runtime.names(run.session_id)
    report = SubtitleReport(
        name=rendition.name,
        language=rendition.language,
        url=names.subtitles_url(run.revision, file),
        reason="",
        cues=len(subtitles.cues),
        left_out=subtitles.left_out,
        losses=losses[:MOST_LISTED],
        losses_not_listed=not_listed(losses),
    )
    return FoundSubtitles(published, report)


def _not_published(rendition: SubtitleRendition, reason: str) -> FoundSubtitles:
    report = SubtitleReport(
        name=rendition.name,
        language=rendition.language,
        url=None,
        reason=reason,
        cues=0,
        left_out=0,
        losses=[],
        losses_not_listed=0,
    )
    return FoundSubtitles(None, report)
