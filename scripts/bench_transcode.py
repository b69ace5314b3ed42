"""``bench transcode``: a recording's way to the default ladder, by the product and by ffmpeg alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pipelines.object_store import ObjectStore
from pipelines.plan import Transcode
from pipelines.session import Phase, merge
from pipelines.source import SourceReader
from pipelines.transcoding.ladder import DEFAULT_LADDER
from scripts.bench_contest import ContestBench
from scripts.bench_result import BenchFailedError
from scripts.bench_rounds import CPU, WALL, Ratio
from scripts.recordings import MOTION
from worker.planning import decide
from worker.records import SessionRecord
from worker.run import Run
from worker.runtime import Runtime

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from scripts.bench_turn import Contest, Turn, Way

OURS1, OURS2, EACH, FLOOR = "ours1", "ours2", "each", "floor"

_FIELDS = {
    "profiles": [
        profile.model_dump(mode="json", by_alias=True, exclude_unset=True)
        for profile in DEFAULT_LADDER
    ]
}
#: A process each, as in production; ``transcode`` once or twice.
_QUEUES = ("control", "package", "transcode")


def _ways(contest: Contest) -> Mapping[str, Way]:
    encodings = _encodings(contest)

    def ours(*queues: str) -> Way:
        def turn(scratch: Path) -> Turn:
            made = contest.ours(queues, _FIELDS, scratch)
            # The recipes make no copy of the source, so that one is not compared.
            return replace(made, urls={name: made.urls[name] for name in encodings})

        return turn

    def recipe(name: str) -> Way:
        return lambda scratch: contest.recipe(f"transcode/{name}", encodings, scratch)

    return {
        OURS1: ours(*_QUEUES),
        OURS2: ours(*_QUEUES, _QUEUES[-1]),
        EACH: recipe(EACH),
        FLOOR: recipe(FLOOR),
    }


def _encodings(contest: Contest) -> Mapping[str, Mapping[str, Any]]:
    """How the product would encode each rung of the ladder: what the recipes are told to do.

    Raises BenchFailedError when it would encode none, because the recording holds them all.
    """
    settings = contest.site.settings
    reader = SourceReader(ObjectStore(contest.site.s3.client()))
    runtime = replace(Runtime.open(settings), reader=reader, tools=contest.tools)
    fields = {"record": True, "sourceUrl": contest.recording_url, **_FIELDS}
    session, _ = merge(None, "bench", fields, runtime.sessions.now_ms())
    run = Run(runtime, SessionRecord(session=session, phase=Phase.FINALIZING, phase_since=0))
    encodings = {
        rendition.name: rendition.video.to_json()
        for rendition in decide(run, run.read_recording()).renditions
        if isinstance(rendition, Transcode) and rendition.video
    }
    if not encodings:
        raise BenchFailedError("nothing is to be encoded of such a recording; set another --size")
    return encodings


BENCH = ContestBench(
    name="transcode",
    scene=MOTION,
    ways=_ways,
    ratios={
        "cpuToFloor1": Ratio(CPU, OURS1, FLOOR),
        "cpuToFloor2": Ratio(CPU, OURS2, FLOOR),
        "eachToFloor": Ratio(CPU, EACH, FLOOR),
        "wall2to1": Ratio(WALL, OURS2, OURS1),
        "wallToFloor": Ratio(WALL, OURS1, FLOOR),
    },
    notes=(
        "The default ladder, decoded, filtered and encoded by the same options everywhere; the "
        "sound is copied.",
        "ours1, ours2: a control process, one for copies, and one or two that transcode, new and "
        "idle, from the session's PUT to `ready`: survey, source.mp4 (which nobody else makes) and "
        "proof included. The recipes prove nothing.",
        "each: one ffmpeg per profile on the whole file, one after the other. floor: one ffmpeg "
        "with all outputs. Both download all segments first, and upload the files at the end.",
    ),
    minutes=5,
    rounds=1,
    # Input, output, the recipes' segments and files, a file being made faststart; and a fifth.
    copies=5 * 1.2,
    limit=2400,
)
