"""Plans of runs and the state of their work, made by hand."""

import json
from fractions import Fraction

from pipelines.layout import SlicePayload
from pipelines.media import Codec
from pipelines.profile import Encoder, H264Profile
from pipelines.rendition_layout import OddRun, RenditionLayout, TrackLayout
from pipelines.report import RenditionKind
from pipelines.staging import SliceReceipt
from pipelines.transcoding.encoding import VideoEncoding
from worker.decided_layout import DecidedLayout
from worker.run_plan import PlannedRendition, PlannedSlice, RunPlan
from worker.slice_result import SliceResult
from worker.standing import Standing
from worker.work_item import ItemState, State

NOW = 1_000_000
VARIANT = "best"
H264 = VideoEncoding(
    Encoder.H264, "libx264", "fast", 640, 360, 800_000, Fraction(30), False, gop=2.0,
    profile=H264Profile.HIGH,
)  # fmt: skip


def slices(*seconds):
    """Planned slices that last as given."""
    return tuple(PlannedSlice(f"slice-{n}", length) for n, length in enumerate(seconds))


def copy(name="source", variant=VARIANT, cut=(4.0, 2.0)):
    return PlannedRendition(name, RenditionKind.COPY, variant, "why", slices(*cut))


def transcode(name, variant=VARIANT, cut=(2.0, 2.0, 2.0), video=H264, encodes_audio=False):
    kind = RenditionKind.TRANSCODE
    return PlannedRendition(name, kind, variant, "why", slices(*cut), video, encodes_audio)


def plan(*renditions):
    return RunPlan(
        "fingerprint", renditions, ({"name": "none", "reason": "no"},), "source", "asked"
    )


def receipt(number, at="staged"):
    return SliceReceipt(number, f"{at}/{number}", SlicePayload(number, 10, ()))


def result(number, *names, began=0, ended=1000, at="staged"):
    """The result of a slice's item, with receipts of the named renditions."""
    return SliceResult(began, ended, {name: receipt(number, at) for name in names}).to_json()


def done(identity, text=""):
    return ItemState(State.DONE, identity, "token", result=text)


def held(identity, state=State.LEASED):
    return ItemState(state, identity, "token", expires=NOW + 1)


def standing(planned, items, layouts=None):
    return Standing(planned, items, NOW, layouts or {})


def layout(*numbers, silent=True):
    """A layout of one track of sound, which slices of those numbers lack."""
    track = TrackLayout("audio", Codec.AAC, 48_000, b"entry", "und")
    absent = ("audio",) if silent else ()
    return RenditionLayout(
        (track,), {n: (OddRun(n, 0, {256: "video"}, (), absent),) for n in numbers}
    )


def decided(planned, rendition, items, *numbers):
    """The layout of a rendition, decided upon what ``items`` hold of its slices."""
    basis = standing(planned, items).basis(rendition)
    return {rendition.name: DecidedLayout(basis, layout(*numbers))}


def sliced(planned, rendition, numbers, *names, **times):
    """Items of a rendition's slices that are done, with receipts of ``names`` (its own)."""
    work = planned.work(rendition)
    return {
        work[n][0]: done(work[n][1], result(n, *(names or [rendition.name]), **times))
        for n in numbers
    }


def older_result(number):
    """What a slice's item held before renditions were made together."""
    return json.dumps({"n": number, "at": "x", "s": 1, "p": []})
