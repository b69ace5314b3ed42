"""What the API shows of renditions: state, share, speed; and what stays when a run ends badly."""

from dataclasses import replace

import pytest

from pipelines.assemble import OpenUpload
from pipelines.location import Location
from pipelines.publish import OutputNames
from pipelines.session import Phase, Session
from tests.unit.plans_by_hand import (
    copy,
    decided,
    done,
    held,
    plan,
    result,
    sliced,
    standing,
    transcode,
)
from worker.progress import media_speed, rendition_views
from worker.records import SessionRecord
from worker.rendition_view import UPLOAD_OPENED_AT, published_views, unmade_view, withdrawn
from worker.run_memory import MAKES, PUBLISHED
from worker.run_plan import assemble_item
from worker.slice_result import SliceResult
from worker.transitions import merged
from worker.work_item import State

SOURCE, SMALL = copy(), transcode("small")
PLAN = plan(SOURCE, SMALL)
GROUP = PLAN.groups[0]
BASE = "https://vod.example/s1"


class RunByHand:
    """As much of a run as views are made of."""

    session_id = "s1"

    def __init__(self, record):
        self.record = record
        self.revision = record.revision + 1
        self.runtime = self
        self.opened = {}

    def uploads(self, plan):
        return self.opened

    def names(self, session_id):
        return OutputNames(Location.parse(f"s3://vod/{session_id}/"), f"{BASE}/")


def record(*renditions, published=()):
    """A session that is finalized for the first time, or again when something was published."""
    session = Session(id="s1", record=True, last_seen=1_763_794_800_000)
    revision = int(bool(published))
    memory = {MAKES: revision + 1, PUBLISHED: list(published)}
    return SessionRecord(
        session=session, phase=Phase.FINALIZING, phase_since=0, revision=revision,
        renditions=renditions, run=memory,
    )  # fmt: skip


def shown(items, *, before=None, layouts=None, **options):
    now = standing(PLAN, items, layouts)
    views = rendition_views(RunByHand(before or record()), now, **options)
    return {view["name"]: view for view in views}


def test_while_a_session_is_live_no_rendition_is_assembled_and_its_upload_is_told():
    items = {item: done(identity, result(n, "source")) for n, (item, identity) in
             enumerate(PLAN.work(SOURCE))}  # fmt: skip
    assert states(items)["source"] == "assembling"
    live = replace(standing(PLAN, items), plan=replace(PLAN, final=False))
    run = RunByHand(record())
    run.opened = {"source": OpenUpload("u", "n", 1_763_794_800_000)}
    source, small, _ = rendition_views(run, live)
    assert (source["state"], source["progress"]) == ("packaging", 1.0)
    assert source[UPLOAD_OPENED_AT] == 1_763_794_800_000
    assert UPLOAD_OPENED_AT not in small
    assert UPLOAD_OPENED_AT not in unmade_view(source, "waiting")


def states(items):
    return {name: view["state"] for name, view in shown(items).items()}


def test_each_rendition_goes_from_waiting_to_ready_by_itself():
    items = {}
    assert states(items) == {"source": "waiting", "small": "waiting", "none": "not_made"}
    item, identity = PLAN.work(SOURCE)[1]
    items[item] = held(identity, State.CLAIMED)
    assert states(items)["source"] == "waiting"
    items[item] = held(identity)
    assert states(items)["source"] == "packaging"
    items |= sliced(PLAN, SOURCE, [0, 1])
    assert states(items) == {"source": "assembling", "small": "waiting", "none": "not_made"}
    items[GROUP.sound_item] = held(GROUP.sound_identity)
    items[assemble_item("source")] = done(SOURCE.identity, "{}")
    assert states(items) == {"source": "ready", "small": "transcoding", "none": "not_made"}
    items |= sliced(PLAN, SMALL, [0, 1, 2])
    assert states(items)["small"] == "assembling"


def test_slices_that_are_to_be_conformed_are_not_done():
    items = sliced(PLAN, SOURCE, [0, 1])
    layouts = decided(PLAN, SOURCE, items, 1)
    view = shown(items, layouts=layouts)["source"]
    assert (view["state"], view["mediaSecondsDone"]) == ("conforming", 4.0)
    item, identity = standing(PLAN, items, layouts).work(SOURCE)[1]
    under_way = {**items, item: replace(held(identity), progress=1.5)}
    assert shown(under_way, layouts=layouts)["source"]["mediaSecondsDone"] == 5.5
    items[item] = done(identity, result(1, "source"))
    view = shown(items, layouts=layouts)["source"]
    assert (view["state"], view["progress"]) == ("assembling", 1.0)


def test_progress_is_media_and_not_slices():
    view = shown(sliced(PLAN, SOURCE, [0], began=10_000, ended=12_000))["source"]
    assert (view["mediaSeconds"], view["mediaSecondsDone"]) == (6.0, 4.0)
    assert (view["progress"], view["speed"]) == (0.6667, 2.0)
    assert (view["kind"], view["encoding"], view["url"]) == ("copy", None, None)


def test_a_slice_that_a_worker_is_on_counts_as_far_as_it_has_come():
    (_, identity), (item, later) = PLAN.work(SMALL)[:2]
    items = sliced(PLAN, SMALL, [0])
    before = shown(items)["small"]["mediaSecondsDone"]
    seconds = SMALL.slices[1].seconds
    for noted, counted in ((None, 0.0), (seconds / 2, seconds / 2), (99.0, seconds)):
        under_way = {**items, item: replace(held(later), progress=noted)}
        view = shown(under_way)["small"]
        assert view["mediaSecondsDone"] == pytest.approx(before + counted, abs=0.001)
        assert view["progress"] == pytest.approx((before + counted) / SMALL.seconds, abs=0.001)
    for stale in (held(identity), held(later, State.CLAIMED), held(later, State.RELEASED)):
        view = shown({**items, item: replace(stale, progress=1.0)})["small"]
        assert view["mediaSecondsDone"] == before


def test_a_transcode_shows_how_it_is_encoded():
    view = shown({})["small"]
    assert (view["kind"], view["progress"], view["speed"]) == ("transcode", 0.0, None)
    assert view["encoding"]["encoder"] == "H.264"
    assert (view["encoding"]["width"], view["encoding"]["height"]) == (640, 360)
    assert (view["encoding"]["fps"], view["encoding"]["bitrate"]) == (None, 800_000)


READY = {assemble_item("source"): done(SOURCE.identity, "{}")}


def test_what_is_proven_has_its_url_before_the_session_is_ready():
    view = shown(READY)["source"]
    assert (view["state"], view["url"]) == ("ready", f"{BASE}/r1/source.mp4")
    assert (view["progress"], view["mediaSecondsDone"]) == (1.0, 6.0)


def ready(name, revision):
    return {"name": name, "state": "ready", "url": f"{BASE}/r{revision}/{name}.mp4", "speed": 2.0}


def under_way(name):
    return {"name": name, "state": "transcoding", "url": None, "speed": 1.0}


def test_while_it_is_finalized_again_what_was_published_keeps_its_url_until_the_commit():
    before = record(published=[ready("source", 1)])
    assert shown({}, before=before)["source"]["url"] == f"{BASE}/r1/source.mp4"
    assert shown(READY, before=before)["source"]["url"] == f"{BASE}/r1/source.mp4"
    views = shown(READY, before=before, committed=True)
    assert views["source"]["url"] == f"{BASE}/r2/source.mp4"
    assert views["small"]["url"] is None


def test_the_url_of_an_unpublished_revision_is_not_taken_for_a_published_one():
    views = shown({}, before=record(ready("source", 1), ready("small", 1)))
    assert (views["source"]["url"], views["small"]["url"]) == (None, None)


def test_when_a_first_run_fails_nothing_of_it_can_be_played():
    not_made = {"name": "none", "state": "not_made"}
    source, small, none = withdrawn(
        record(ready("source", 1), under_way("small"), not_made), "failed"
    )
    assert (source["state"], source["url"]) == ("failed", None)
    assert (small["state"], small["url"]) == ("failed", None)
    assert none == not_made


def test_when_a_later_run_fails_what_was_published_is_shown_as_before():
    published = [ready("source", 1)]
    now = record(ready("source", 2), under_way("small"), published=published)
    assert withdrawn(now, "failed") == tuple(published)
    planless = replace(now, renditions=tuple(published), run={})
    assert withdrawn(planless, "failed") == tuple(published)


def test_what_was_published_is_the_newest_revision():
    committed = replace(record(ready("source", 2), published=[ready("source", 1)]), revision=2)
    assert published_views(committed) == (ready("source", 2),)


def test_a_sign_of_life_takes_back_what_an_unfinished_run_has_shown():
    for before, expected in (
        (record(ready("source", 1)), ("waiting", None)),
        (
            record(under_way("source"), published=[ready("source", 1)]),
            ("ready", f"{BASE}/r1/source.mp4"),
        ),
    ):
        later = before.session.model_copy(update={"last_seen": before.session.last_seen + 1})
        after, _ = merged(before, later, 5)
        assert after.phase is Phase.LIVE
        assert [(view["state"], view["url"]) for view in after.renditions] == [expected]


def worked(began, ended):
    return SliceResult.from_json(result(0, "source", began=began, ended=ended)), 60.0


@pytest.mark.parametrize(
    ("spans", "speed"),
    [
        ([], None),
        ([(5, 5)], None),
        ([(0, 60_000)], 1.0),
        ([(0, 60_000), (0, 60_000)], 2.0),
        ([(0, 60_000), (30_000, 60_000)], 2.0),
        ([(0, 30_000), (100_000, 130_000)], 2.0),
        ([(0, 90_000), (30_000, 60_000), (60_000, 120_000)], 1.5),
    ],
)
def test_speed_counts_the_time_in_which_somebody_worked(spans, speed):
    assert media_speed([worked(*span) for span in spans]) == speed
