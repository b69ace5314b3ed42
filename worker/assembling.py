"""Assembling and proving one rendition of a run, and having lost slices packaged again."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog

from pipelines.assemble import (
    AssembledObject,
    Assembly,
    LayoutNeeded,
    SlicesChanged,
    UploadLost,
    assemble,
)
from pipelines.errors import ErrorCode, InterruptedWork, ToolError
from pipelines.lost_stretches import lost_places
from pipelines.mp4.codec_names import codec_names
from pipelines.rendition_report import RenditionOrigin, rendition_report
from pipelines.staging import SliceLost
from pipelines.transcoding.conforming_encoding import conforming_encoding
from pipelines.transcoding.kit import probe_kit
from pipelines.verify import Proof, Thoroughness, Verification
from worker.assembled_rendition import AssembledRendition, RepeatedPlace
from worker.decided_layout import DecidedLayout
from worker.planning import plan_of
from worker.rendition_upload import chosen_scheme

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.playlist import Recording, Variant
    from pipelines.staging import SliceReceipt
    from worker.run import Run
    from worker.run_plan import PlannedRendition, RunPlan
    from worker.standing import Standing

log = structlog.get_logger(__name__)

#: Reasons for a layout that an event tells.
MOST_REASONS = 20


def assemble_and_prove(run: Run, rendition: str, checkpoint: Callable[[], None]) -> str:
    """Make the MP4 of all packaged slices and prove it; an ``AssembledRendition`` as JSON.

    When slices turn out to be lost they are dropped from the run, and the attempt counts: at most
    three rounds (DESIGN 5). When their runs turn out not to be alike, a layout is decided for all of
    them and the work is handed back, until the odd ones are conformed to it.
    """
    began = time.monotonic()
    plan = plan_of(run)
    planned = plan.rendition(rendition)
    standing = run.standing(plan)
    receipts = standing.receipts(rendition)
    if planned is None or receipts is None:
        raise InterruptedWork(f"the slices of {rendition} are not all there any more")
    recording = run.read_recording()
    variant = recording.variant(planned.variant)
    assembly = _assembly(run, standing, planned, receipts, variant, checkpoint)
    made = _assembled(run, standing, planned, assembly)
    assembled = time.monotonic()
    _refuse_missing(recording, plan, planned, made)
    proof = _proven(run, planned, assembly, made)
    proven = time.monotonic()
    seconds = round(assembled - began, 3), round(proven - assembled, 3)
    result = _result(run, recording, planned, made, proof, seconds)
    _tell(run, rendition, made, proof, time.monotonic() - began)
    return result.to_json()


def _assembly(
    run: Run,
    standing: Standing,
    planned: PlannedRendition,
    receipts: list[SliceReceipt],
    variant: Variant,
    checkpoint: Callable[[], None],
) -> Assembly:
    rendition, upload = planned.name, run.upload(planned.name)
    largest = max(receipt.payload.size for receipt in receipts)
    scheme = upload.scheme if upload else chosen_scheme(run, standing.plan, planned, largest)
    settings, ffmpeg = run.runtime.settings, run.runtime.tools.ffmpeg
    return Assembly(
        store=run.runtime.output,
        staging=run.runtime.staging(run.session_id),
        rendition=rendition,
        location=run.mp4(rendition),
        receipts=receipts,
        upload=upload,
        open_upload=lambda: run.open_upload(rendition, scheme),
        max_hole=run.runtime.max_hole,
        # From the recording, never from the clock: two runs are equal bit by bit.
        creation_time=datetime.fromtimestamp(run.record.session.created_at / 1000, UTC),
        checkpoint=checkpoint,
        gap_policy=settings.gap_policy,
        ffmpeg=ffmpeg,
        layout=standing.layout(planned),
        encoding_of=lambda main: conforming_encoding(main, probe_kit(ffmpeg), settings.preset),
        sound=variant.sound,
        listed=variant.segments,
        scheme=scheme,
    )


def _assembled(
    run: Run, standing: Standing, planned: PlannedRendition, assembly: Assembly
) -> AssembledObject:
    lost: tuple[int, ...]
    try:
        return assemble(assembly)
    except LayoutNeeded as needed:
        assembly.checkpoint()
        _keep_layout(run, standing, planned, needed)
        raise InterruptedWork(f"odd runs of {planned.name} are conformed first") from needed
    except SliceLost as error:
        lost, why = (error.number,), str(error)
    except SlicesChanged as error:
        lost, why = error.numbers, str(error)
    except UploadLost as error:
        lost = tuple(each.number for each in assembly.receipts if each.payload.parts)
        why = str(error)
        if assembly.upload is not None:
            run.forget_upload(planned.name, assembly.upload)
    work = standing.work(planned)
    for number in lost:
        run.drop(work[number][0])
    raise ToolError(ErrorCode.VERIFICATION_FAILED, f"{why}; they are made again")


def _keep_layout(
    run: Run, standing: Standing, planned: PlannedRendition, needed: LayoutNeeded
) -> None:
    """Keep the layout that the slices, as they were first made, have to be conformed to."""
    basis = standing.basis(planned)
    if basis is None or standing.layout(planned) is not None:
        message = f"{planned.name} does not fit the layout that was decided for it: {needed}"
        raise ToolError(ErrorCode.VERIFICATION_FAILED, message)
    run.keep_layout(planned.name, DecidedLayout(basis, needed.layout))
    details = {
        "rendition": planned.name,
        "reasons": [*needed.reasons[:MOST_REASONS]],
        "slices": len(needed.layout.slices),
        "runs": sum(map(len, needed.layout.slices.values())),
    }
    log.info("Odd runs are to be conformed.", action="layout_decided", **details)
    run.runtime.sessions.add_event(run.session_id, "layout_decided", **details)


def _refuse_missing(
    recording: Recording, plan: RunPlan, planned: PlannedRendition, made: AssembledObject
) -> None:
    """Refuse an object of fewer (or more) segments than the recording that was planned lists."""
    if recording.fingerprint != plan.fingerprint:
        return  # it grew meanwhile: it is planned and made anew
    variant = recording.variant(planned.variant)
    sound = [each.playlist for each in variant.sound if each.playlist is not None]
    listed = sum(len(playlist.segments) for playlist in (variant.playlists[0], *sound))
    if made.source_segments != listed:
        message = f"{planned.name} holds {made.source_segments} of {listed} listed segments"
        raise ToolError(ErrorCode.VERIFICATION_FAILED, message)


def _proven(
    run: Run, planned: PlannedRendition, assembly: Assembly, made: AssembledObject
) -> Proof:
    """Prove the object; one that fails is removed, so that the next attempt makes it anew.

    A store that tells no checksum has every byte read back instead.
    """
    thoroughness = Thoroughness(run.runtime.settings.verify)
    if made.told_checksum is None:
        thoroughness = Thoroughness.FULL
    store, ffmpeg = run.runtime.output, run.runtime.tools.ffmpeg
    try:
        return Verification(store, made, ffmpeg, thoroughness, assembly.checkpoint).prove()
    except ToolError:
        assembly.checkpoint()
        store.delete([made.location])
        upload = run.upload(planned.name)
        if upload is not None:
            run.forget_upload(planned.name, upload)
        raise


def _result(
    run: Run,
    recording: Recording,
    planned: PlannedRendition,
    made: AssembledObject,
    proof: Proof,
    seconds: tuple[float, float],
) -> AssembledRendition:
    url = run.runtime.names(run.session_id).mp4_url(run.revision, planned.name)
    target = recording.variant(planned.variant).playlists[0].target_duration
    video = made.tables.tracks.get("video")
    described = [
        (each.first.codec, each.first.sample_entry) for each in made.tables.tracks.values()
    ]
    return AssembledRendition(
        proven=rendition_report(_origin(planned), url, made, proof, target),
        size=made.size,
        duration=proof.duration,
        width=video.first.width if video else 0,
        height=video.first.height if video else 0,
        codecs=[*codec_names(described)],
        clocks=tuple(made.tables.clocks),
        starts=_starts(made),
        repeated=tuple(
            RepeatedPlace(each.sequence, each.rendition) for each in made.repairs if each.whole
        ),
        lost=lost_places(made.losses),
        assembling=seconds[0],
        proving=seconds[1],
    )


def _starts(made: AssembledObject) -> list[int]:
    """Media sequences of the segments before which players must be told to begin anew: of what
    begins inside a segment, the next one."""
    periods = [(period.sequence, period.piece) for period in made.tables.periods]
    return sorted({sequence + (piece > 0) for sequence, piece in (*periods, *made.tables.breaks)})


def _origin(planned: PlannedRendition) -> RenditionOrigin:
    return RenditionOrigin(
        planned.name, planned.kind, planned.reason, planned.video, planned.encodes_audio
    )


def _tell(run: Run, rendition: str, made: AssembledObject, proof: Proof, seconds: float) -> None:
    details = {
        "rendition": rendition,
        "seconds": round(seconds, 3),
        "bytes": made.size,
        "mediaSeconds": round(proof.duration, 3),
        "rangesRead": proof.ranges,
    }
    log.info("A rendition is assembled and proven.", action="rendition_verified", **details)
    run.runtime.sessions.add_event(run.session_id, "rendition_verified", **details)
