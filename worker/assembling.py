"""Assembling and proving one rendition of a run, and having lost slices packaged again."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog

from pipelines.assemble import AssembledObject, Assembly, SlicesChanged, UploadLost, assemble
from pipelines.errors import ErrorCode, InterruptedWork, ToolError
from pipelines.mp4.codec_names import codec_names
from pipelines.report import RenditionOrigin, rendition_report
from pipelines.staging import SliceLost
from pipelines.verify import Proof, Thoroughness, Verification
from worker.planning import plan_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.playlist import Recording
    from pipelines.staging import SliceReceipt
    from worker.run import Run
    from worker.run_plan import PlannedRendition, RunPlan

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class AssembledRendition:
    """The result of an assembly that was proven, as the run's record keeps it."""

    report: dict[str, Any]
    size: int
    duration: float
    width: int
    height: int
    codecs: list[str]

    def to_json(self) -> str:
        """The stored form."""
        return json.dumps(vars(self), separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> AssembledRendition:
        """The inverse of ``to_json``."""
        return cls(**json.loads(text))


def assemble_and_prove(run: Run, rendition: str, checkpoint: Callable[[], None]) -> str:
    """Make the MP4 of all packaged slices and prove it; an ``AssembledRendition`` as JSON.

    When slices turn out to be lost they are dropped from the run, and the attempt counts: at most
    three rounds (DESIGN 5).
    """
    began = time.monotonic()
    plan = plan_of(run)
    planned = plan.rendition(rendition)
    receipts = run.standing(plan).receipts(rendition)
    if planned is None or receipts is None:
        raise InterruptedWork(f"the slices of {rendition} are not all there any more")
    assembly = _assembly(run, rendition, receipts, checkpoint)
    made = _assembled(run, plan, planned, assembly)
    recording = run.read_recording()
    _refuse_missing(recording, plan, planned, made)
    proof = _proven(run, planned, assembly, made)
    result = _result(run, recording, planned, made, proof)
    _tell(run, rendition, made, proof, time.monotonic() - began)
    return result.to_json()


def _assembly(
    run: Run, rendition: str, receipts: list[SliceReceipt], checkpoint: Callable[[], None]
) -> Assembly:
    return Assembly(
        store=run.runtime.output,
        staging=run.runtime.staging(run.session_id),
        rendition=rendition,
        location=run.mp4(rendition),
        receipts=receipts,
        upload=run.upload(rendition),
        open_upload=lambda: run.open_upload(rendition),
        max_hole=run.runtime.max_hole,
        # From the recording, never from the clock: two runs are equal bit by bit.
        creation_time=datetime.fromtimestamp(run.record.session.created_at / 1000, UTC),
        checkpoint=checkpoint,
    )


def _assembled(
    run: Run, plan: RunPlan, planned: PlannedRendition, assembly: Assembly
) -> AssembledObject:
    lost: tuple[int, ...]
    try:
        return assemble(assembly)
    except SliceLost as error:
        lost, why = (error.number,), str(error)
    except SlicesChanged as error:
        lost, why = error.numbers, str(error)
    except UploadLost as error:
        lost = tuple(each.number for each in assembly.receipts if each.payload.parts)
        why = str(error)
        if assembly.upload is not None:
            run.forget_upload(planned.name, assembly.upload)
    work = plan.work(planned)
    for number in lost:
        run.drop(work[number][0])
    raise ToolError(ErrorCode.VERIFICATION_FAILED, f"{why}; they are made again")


def _refuse_missing(
    recording: Recording, plan: RunPlan, planned: PlannedRendition, made: AssembledObject
) -> None:
    """Refuse an object of fewer (or more) segments than the recording that was planned lists."""
    if recording.fingerprint != plan.fingerprint:
        return  # it grew meanwhile: it is planned and made anew
    listed = len(recording.variant(planned.variant).playlists[0].segments)
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
    run: Run, recording: Recording, planned: PlannedRendition, made: AssembledObject, proof: Proof
) -> AssembledRendition:
    url = run.runtime.names(run.session_id).mp4_url(run.revision, planned.name)
    target = recording.variant(planned.variant).playlists[0].target_duration
    video = made.tables.tracks.get("video")
    described = [
        (each.first.codec, each.first.sample_entry) for each in made.tables.tracks.values()
    ]
    return AssembledRendition(
        report=rendition_report(_origin(planned), url, made, proof, target),
        size=made.size,
        duration=proof.duration,
        width=video.first.width if video else 0,
        height=video.first.height if video else 0,
        codecs=[*codec_names(described)],
    )


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
