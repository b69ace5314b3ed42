"""Which revision a run makes, and whose finished work it may go on with."""

from dataclasses import replace
from typing import Any

import pytest

from pipelines.session import Phase, Session
from tests.unit.plans_by_hand import copy, done, held, plan, transcode
from worker.records import SessionRecord
from worker.run_memory import (
    ADOPTS,
    AFTER,
    CAME_LATE,
    DECIDED,
    FINISHED,
    MAKES,
    PUBLISHED,
    WROTE,
    carried_on,
    decided,
    left_behind,
    revision_made,
    runs_of,
    stopped_memory,
)
from worker.run_plan import assemble_item

SOURCE, SMALL, LARGE = copy(), transcode("small"), transcode("large")
PLAN = plan(SOURCE, SMALL)
SHOWN = {"source": SOURCE.identity}
DONE = {assemble_item("source"): done(SOURCE.identity, "{}")}
OTHER = {assemble_item("source"): done("other", "{}")}


def record(revision: int = 0, used: int = 0, generation: int = 9, **run: Any) -> SessionRecord:
    return SessionRecord(
        session=Session(id="s1"),
        phase=Phase.FINALIZING,
        phase_since=0,
        generation=generation,
        revision=revision,
        used_revision=used,
        run=run,
    )


@pytest.mark.parametrize(
    ("before", "items", "revision", "goes_on"),
    [
        (record(adopts=0), {}, 1, False),
        (record(revision=3, used=3, adopts=5), DONE, 4, False),
        (record(used=2, adopts=5), {}, 3, False),
        (record(makes=1, adopts=5), {}, 1, True),
        (record(makes=1, adopts=5, finished=SHOWN, used=1), DONE, 1, True),
        (record(makes=1, adopts=5, finished=SHOWN, used=1), {}, 2, False),
        (record(makes=1, adopts=5, finished=SHOWN, used=1), OTHER, 2, False),
        (record(makes=1, adopts=5, finished={"source": "other"}, used=1), OTHER, 2, False),
        (record(makes=1, adopts=5), OTHER, 2, False),
        (record(makes=1, adopts=5), {assemble_item("source"): held("other")}, 2, False),
        (record(makes=1, adopts=5, finished={"gone": "x"}), {}, 1, True),
        (record(makes=1, adopts=5), {assemble_item("gone"): done("x", "{}")}, 1, True),
        (record(revision=1, makes=1, adopts=5), DONE, 2, False),
    ],
)
def test_a_number_is_kept_only_with_every_mp4_that_was_finished_under_it(
    before, items, revision, goes_on
):
    memory = decided(before, PLAN, items, ())
    assert (memory[MAKES], ADOPTS in memory) == (revision, goes_on)
    assert (memory[DECIDED], memory[AFTER]) == (9, before.revision)
    assert (FINISHED in memory) == goes_on
    assert revision_made(replace(before, run=memory)) == revision


def test_all_that_was_ever_set_out_to_write_is_remembered():
    before = record(makes=1, adopts=5, wrote=["r1/a.mp4"], finished={"source": "other"})
    assert decided(before, plan(SOURCE, LARGE), {}, ())[WROTE] == [
        "r1/a.mp4", "r1/large.mp4", "r1/source.mp4", "r2/large.mp4", "r2/source.mp4",
    ]  # fmt: skip


def test_a_run_follows_the_last_one_that_was_given_a_revision():
    memory = {MAKES: 2, DECIDED: 9, AFTER: 1, PUBLISHED: [], WROTE: [], "lastPass": 5}
    carried = carried_on(record(**memory))
    assert carried == {MAKES: 2, AFTER: 1, PUBLISHED: [], WROTE: [], ADOPTS: 9}
    assert carried_on(record(generation=10, **carried))[ADOPTS] == 9


def test_nobody_goes_on_with_the_work_or_the_number_of_a_run_that_was_stopped():
    memory = {MAKES: 2, DECIDED: 9, AFTER: 1, FINISHED: SHOWN, WROTE: ["r2/source.mp4"], ADOPTS: 5}
    stopped = record(revision=1, used=2, generation=10, **stopped_memory(record(**memory)))
    assert runs_of(record(**memory)) == (9, 5)
    assert runs_of(stopped) == (10, 9, 5)
    carried = carried_on(stopped)
    assert ADOPTS not in carried
    begun = decided(replace(stopped, generation=11, run=carried), PLAN, DONE, ())
    assert (begun[MAKES], ADOPTS in begun) == (3, False)
    assert "r2/source.mp4" in begun[WROTE]


def test_a_worker_that_outlived_its_run_leaves_nothing_that_is_published_to_be_removed():
    late = {MAKES: 2, AFTER: 1, WROTE: ["r2/source.mp4"], DECIDED: 9}
    behind = left_behind(record(revision=4), late)
    assert (behind[AFTER], behind[WROTE]) == (4, ["r2/source.mp4"])
    undecided = left_behind(record(), {})
    assert MAKES not in undecided
    assert undecided, "it is cleaned all the same"


def test_late_segments_are_counted_until_the_session_is_finalized_again():
    counted = record(makes=1, adopts=5, cameLate=2)
    assert carried_on(counted)[CAME_LATE] == 2
    assert decided(counted, PLAN, {}, ())[CAME_LATE] == 2
    assert CAME_LATE not in carried_on(replace(counted, phase=Phase.READY))
