"""Transcoding for a run: one slice of all renditions that are made from one variant, and its sound."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import structlog

from pipelines.errors import ErrorCode, InterruptedWork, ToolError
from pipelines.package import Packaged
from pipelines.staging import SliceLost
from pipelines.transcoding.sound import encode_sound
from pipelines.transcoding.transcode import HardwareFailed, RenditionOutput, transcode_slice
from worker.planning import current_slice, current_slices, plan_of, tell_fallback
from worker.progress import SHOWN_EVERY_MS
from worker.rendition_upload import RenditionUpload
from worker.run_plan import sound_identity
from worker.slice_result import SliceResult
from worker.standing import sound_result

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence

    from pipelines.slices import Slice
    from pipelines.staging import SliceReceipt
    from worker.run import Run
    from worker.run_plan import PlannedRendition, RunPlan, TranscodeGroup
    from worker.work import Lease

log = structlog.get_logger(__name__)

#: Folder of encoded sound in staging, beside those of renditions; no rendition has such a name.
_SOUND_FOLDER = ".sound"


def transcode_one(
    run: Run,
    lease: Lease,
    key: str,
    number: int,
    checkpoint: Callable[[], None],
    progress: Callable[[float], None],
) -> str:
    """Transcode slice ``number`` of a group; a ``SliceResult`` as JSON.

    ``progress`` is told how many seconds of the slice's media are done. Only renditions that may
    still get parts are made. When the hardware fails, a run without it follows this one and the
    work is handed back.
    """
    began = run.runtime.sessions.now_ms()
    plan = plan_of(run)
    group = _group(plan, key)
    work = current_slice(
        run,
        group.renditions[0],
        number,
        lambda each: group.identity(each.identity) == lease.state.identity,
    )
    # Only a look shows how far it has come; from the first on, each asks for the next.
    run.runtime.sessions.schedule(run.session_id, began + SHOWN_EVERY_MS, earlier_only=True)
    wanted = run.standing(plan).open(group)
    receipts: dict[str, SliceReceipt] = {}
    size = 0
    staging = run.runtime.staging(run.session_id)
    with contextlib.closing(
        _transcoded(run, plan, group, work, wanted, checkpoint, progress)
    ) as transcoded:
        for name, packaged in transcoded:
            checkpoint()
            receipts[name] = staging.write(run.generation, name, lease.token, packaged)
            size += packaged.tables.payload_bytes
    ended = run.runtime.sessions.now_ms()
    _tell(run, work, receipts, size, (ended - began) / 1000)
    return SliceResult(began, ended, receipts).to_json()


def encode_sound_of(run: Run, lease: Lease, key: str, checkpoint: Callable[[], None]) -> str:
    """Encode the sound of a whole variant, once for all slices; their receipts as JSON."""
    began = run.runtime.sessions.now_ms()
    group = _group(plan_of(run), key)

    def is_claimed(slices: tuple[Slice, ...]) -> bool:
        return sound_identity(each.identity for each in slices) == lease.state.identity

    slices = current_slices(run, group.renditions[0], is_claimed)
    staging = run.runtime.staging(run.session_id)
    receipts: dict[int, SliceReceipt] = {}  # by slice: the sound may be encoded once more

    def stage(packaged: Packaged) -> None:
        checkpoint()
        receipt = staging.write(run.generation, _SOUND_FOLDER, lease.token, packaged)
        receipts[packaged.tables.number] = receipt

    encode_sound(slices, run.packager, stage, checkpoint)
    details = {
        "variant": key,
        "slices": len(receipts),
        "seconds": (run.runtime.sessions.now_ms() - began) / 1000,
        "mediaSeconds": round(sum(each.duration for each in slices), 3),
    }
    log.info("The sound of a variant is encoded.", action="sound_encoded", **details)
    run.runtime.sessions.add_event(run.session_id, "sound_encoded", **details)
    return sound_result([receipts[each.number] for each in slices])


def _group(plan: RunPlan, key: str) -> TranscodeGroup:
    """The group that an item names; hands the work back when the plan has none such any more."""
    group = plan.group(key)
    if group is None:
        raise InterruptedWork("the run was planned anew since the work was claimed")
    return group


def _transcoded(
    run: Run,
    plan: RunPlan,
    group: TranscodeGroup,
    work: Slice,
    wanted: Sequence[PlannedRendition],
    checkpoint: Callable[[], None],
    progress: Callable[[float], None],
) -> Generator[tuple[str, Packaged]]:
    if not wanted:
        return
    outputs = [
        RenditionOutput(
            each.name, each.video, each.encodes_audio, RenditionUpload(run, plan, each, work)
        )
        for each in wanted
    ]
    sound = encoded_sound(run, plan, group, work.number) if group.encodes_audio else None
    try:
        yield from transcode_slice(work, run.packager, outputs, sound, checkpoint, progress)
    except HardwareFailed as error:
        go_on_in_software(run, wanted, error)
        raise InterruptedWork(f"hardware failed, software goes on: {error.message}") from error


def encoded_sound(run: Run, plan: RunPlan, group: TranscodeGroup, number: int) -> Packaged:
    """The encoded sound of one slice; when it is lost, all of it is encoded again."""
    receipts = run.standing(plan).sound(group)
    if receipts is None:
        raise InterruptedWork(f"the sound of {group.variant} is not there any more")
    staging = run.runtime.staging(run.session_id)
    try:
        tables = staging.tables(receipts[number])
        return Packaged(tables, staging.payload(receipts[number]))
    except SliceLost as error:
        run.drop(group.sound_item)
        message = f"the encoded sound of slice {number} is lost; it is encoded again"
        raise ToolError(ErrorCode.VERIFICATION_FAILED, message) from error


def go_on_in_software(run: Run, wanted: Sequence[PlannedRendition], error: HardwareFailed) -> None:
    """Have a run without hardware follow; told once, by the first slice that finds it failing."""
    run.note_software_only()
    if run.now().begin_anew("hardware failed"):
        failed = {each.video.implementation for each in wanted if each.video}
        tell_fallback(run, failed, error.message)


def _tell(run: Run, work: Slice, renditions: Iterable[str], size: int, seconds: float) -> None:
    details = {
        "renditions": sorted(renditions),
        "slice": work.number,
        "seconds": seconds,
        "mediaSeconds": round(work.duration, 3),
        "bytes": size,
    }
    log.info("A slice is transcoded.", action="slice_transcoded", **details)
    run.runtime.sessions.add_event(run.session_id, "slice_transcoded", **details)
