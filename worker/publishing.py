"""Publishing a run: playlists and report are written, then one commit makes them count."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import structlog

import worker
from pipelines.errors import InterruptedWork
from pipelines.lost_stretches import segments_of
from pipelines.publish import PublishedRendition
from pipelines.rendition_report import unproven_report
from pipelines.report import RenditionKind, not_made_views
from pipelines.run_report import RunOrigin, report
from pipelines.session import Phase
from pipelines.slid_segments import gone_from_source
from pipelines.store_errors import ObjectMissing
from pipelines.window_report import window_report
from worker.assembled_rendition import AssembledRendition
from worker.cleanup import restore_published
from worker.late_segments import begin_anew_if_any_came
from worker.longer_revision import earlier_revisions, forgotten_segments
from worker.made_again import made_again_of
from worker.planning import plan_of
from worker.progress import rendition_views
from worker.run_plan import asked_of, assemble_item
from worker.subtitles import subtitles_of
from worker.timings import timings_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pipelines.location import Location
    from pipelines.object_store import ObjectStore
    from pipelines.playlist import Recording, Variant
    from pipelines.report import RenditionReport, WindowReport
    from worker.assembled_rendition import RepeatedPlace
    from worker.run import Run
    from worker.run_plan import PlannedRendition, RunPlan
    from worker.standing import Standing
    from worker.subtitles import FoundSubtitles

log = structlog.get_logger(__name__)


def publish_and_commit(run: Run, checkpoint: Callable[[], None]) -> str:
    """Write what refers to the proven MP4s, then commit; ``ready`` is the last write.

    Hands the work back (``InterruptedWork``) when the recording or the session has changed since
    the plan was made, or a segment has come that was missing.
    """
    began = time.monotonic()
    plan = plan_of(run)
    standing = run.standing(plan)
    renditions = _required(run, standing)
    recording = _unchanged(run, plan)
    proven = _proven(run, standing, renditions)
    begin_anew_if_any_came(run, recording, proven, checkpoint)
    gone = gone_from_source(run.runtime.reader, recording)
    copies = [each for each in plan.renditions if each.kind is RenditionKind.COPY]
    shown = {each.variant: renditions[each.name] for each in copies}
    made = {
        planned.name: _published(
            recording,
            planned,
            renditions[planned.name],
            shown.get(planned.variant, renditions[planned.name]),
            gone,
        )
        for planned in plan.renditions
    }
    clocks = renditions[plan.mp4].clocks
    subtitles = subtitles_of(run, made[plan.mp4], clocks, checkpoint)
    timings = timings_of(run, standing, renditions, publish=time.monotonic() - began)
    earlier = earlier_revisions(run, recording)
    window = window_report(recording, gone, earlier, forgotten_segments(run, recording))
    written = _report(run, recording, standing, proven, subtitles, window, timings)
    publisher = run.runtime.publisher(run.session_id)
    texts = [each.published for each in subtitles if each.published is not None]
    vods = [made[each.name] for each in copies]
    publisher.publish(run.revision, vods, texts, written, checkpoint)
    _commit(run, standing, written, time.monotonic() - began)
    return ""


def _unchanged(run: Run, plan: RunPlan) -> Recording:
    """The recording, which is still what was planned upon; another run follows where it is not."""
    if plan.asked != asked_of(run.record.session):
        run.begin_anew("other profiles are asked for")
        raise InterruptedWork("the session asks for other profiles than those that were made")
    recording = run.read_recording()
    if recording.fingerprint != plan.fingerprint:
        run.begin_anew("the recording is another one by now")
        raise InterruptedWork("the recording lists other segments than those that were packaged")
    return recording


def _required(run: Run, standing: Standing) -> dict[str, AssembledRendition]:
    """The proven renditions, whose MP4s are still there; one that is not is assembled again."""
    results = standing.results
    if results is None:
        raise InterruptedWork("the renditions are not all there any more")
    read = {name: AssembledRendition.from_json(text) for name, text in results.items()}
    there = {
        name: rendition
        for name, rendition in read.items()
        if rendition and _is_there(run.runtime.output, run.mp4(name), rendition.proven.etag)
    }
    lost = [name for name in read if name not in there]
    for name in lost:
        run.drop(assemble_item(name))
    if lost:
        raise InterruptedWork(f"the MP4s of {', '.join(lost)} are gone")
    return there


def _proven(
    run: Run, standing: Standing, renditions: Mapping[str, AssembledRendition]
) -> list[RenditionReport]:
    """What was proven of each rendition, with the speed at which it was made."""
    views = {view["name"]: view for view in rendition_views(run, standing, committed=True)}
    return [
        renditions[planned.name].proven.model_copy(update={"speed": views[planned.name]["speed"]})
        for planned in standing.plan.renditions
    ]


def _is_there(store: ObjectStore, location: Location, etag: str | None) -> bool:
    try:
        return store.head(location).etag == etag
    except ObjectMissing:
        return False


def _report(
    run: Run,
    recording: Recording,
    standing: Standing,
    proven: Sequence[RenditionReport],
    subtitles: Sequence[FoundSubtitles],
    window: WindowReport | None,
    timings: Mapping[str, float | None],
) -> dict[str, Any]:
    origin = RunOrigin(
        generation=run.generation,
        revision=run.revision,
        ffmpeg_version=run.runtime.tools.version(),
        finalizer_version=worker.__version__,
        timings=timings,
        made_again=made_again_of(standing),
    )
    plan = standing.plan
    told = report(
        run.record.session,
        recording,
        [*proven, *(unproven_report(view) for view in not_made_views(plan.not_made))],
        plan.mp4,
        origin,
        subtitles=[each.report for each in subtitles],
        window=window,
    )
    return told.to_json()


def _published(
    recording: Recording,
    planned: PlannedRendition,
    made: AssembledRendition,
    shown: AssembledRendition,
    gone: frozenset[tuple[int, str]],
) -> PublishedRendition:
    """A rendition with the playlists that it was made of: those are what the VOD of a copy plays.

    ``shown`` is the copy of its variant, if there is one: how the segments themselves go on, what
    is encoded anew does not tell, and subtitles follow the VOD's pictures. ``gone`` are segments
    that were packaged, and that nobody can be given any more.
    """
    variant = recording.variant(planned.variant)
    return PublishedRendition(
        planned.name,
        variant,
        made.size,
        made.duration,
        made.width,
        made.height,
        tuple(made.codecs),
        lost=frozenset(
            (segment.sequence, str(segment.location))
            for playlist in recording.media_playlists
            for segment, _ in segments_of(playlist.segments, shown.lost)
        )
        | gone,
        repeated=frozenset(_repeated(variant, shown.repeated)),
        starts=frozenset(shown.starts),
    )


def _repeated(variant: Variant, places: Sequence[RepeatedPlace]) -> Iterator[tuple[int, str]]:
    """Media sequence and location of the segments of a variant that came before."""
    own = [("", variant.playlists[0])]
    sounds = [(each.name, each.playlist) for each in variant.sound if each.playlist is not None]
    for name, playlist in (*own, *sounds):
        numbers = {place.segment for place in places if place.sound == name}
        for segment in playlist.segments if numbers else ():
            if segment.sequence in numbers:
                yield segment.sequence, str(segment.location)


def _commit(run: Run, standing: Standing, written: Mapping[str, Any], seconds: float) -> None:
    sessions = run.runtime.sessions
    names = run.runtime.names(run.session_id)
    now = sessions.now_ms()
    revision = sessions.commit(
        run.session_id,
        run.generation,
        recording_url=names.recording_url,
        mp4_url=names.mp4_url(run.revision, standing.plan.mp4),
        renditions=rendition_views(run, standing, committed=True),
        report=json.dumps(written, ensure_ascii=False),
        due_ms=now,
        event={
            "action": Phase.READY,
            "revision": run.revision,
            "verdict": written["verdict"],
            "publishSeconds": round(seconds, 3),
            "runSeconds": round((now - run.record.phase_since) / 1000, 3),
        },
    )
    if revision is None:
        # Woken up between the last look and the commit: viewers keep what was published before.
        record = sessions.get(run.session_id)
        if record is not None:
            restore_published(run.runtime, record)
        raise InterruptedWork("the session moved on before the commit")
    log.info(
        "The recording is ready.",
        action="ready",
        revision=revision,
        verdict=written["verdict"],
        renditions=len(standing.plan.renditions),
    )
