"""How a run stands: whose slices are there, and who may still get parts."""

from tests.unit.plans_by_hand import (
    copy,
    done,
    held,
    older_result,
    plan,
    receipt,
    sliced,
    standing,
    transcode,
)
from worker.run_plan import assemble_item
from worker.standing import sound_result
from worker.work_item import State

SOURCE, SMALL, LARGE = copy(), transcode("small"), transcode("large")
PLAN = plan(SOURCE, SMALL, LARGE)
GROUP = PLAN.groups[0]


def test_a_rendition_is_packaged_when_each_of_its_slices_holds_its_own_receipt():
    items = sliced(PLAN, SOURCE, [0, 1]) | sliced(PLAN, SMALL, [0, 1, 2], "small", "large")
    now = standing(PLAN, items)
    assert now.receipts("source") == [receipt(0), receipt(1)]
    assert now.receipts("small") == now.receipts("large") == [receipt(0), receipt(1), receipt(2)]
    items |= sliced(PLAN, SMALL, [1], "large")
    now = standing(PLAN, items)
    assert now.receipts("small") is None
    assert [result is None for result in now.slices(SMALL)] == [False, True, False]
    assert now.receipts("large")
    assert now.receipts("unheard of") is None


def test_what_was_done_for_another_input_or_by_another_version_does_not_count():
    item, identity = PLAN.work(SOURCE)[0]
    for state in (done("another"), done(identity, older_result(0)), held(identity)):
        now = standing(PLAN, sliced(PLAN, SOURCE, [0, 1]) | {item: state})
        assert now.receipts("source") is None


def test_nothing_is_ready_to_be_published_before_all_is_assembled():
    items = {assemble_item(each.name): done(each.identity, each.name) for each in PLAN.renditions}
    assert standing(PLAN, items).results == {each.name: each.name for each in PLAN.renditions}
    del items["assemble/small"]
    assert standing(PLAN, items).results is None


def test_a_rendition_that_is_assembled_or_about_to_be_gets_no_more_parts():
    assert standing(PLAN, {}).open(GROUP) == (SMALL, LARGE)
    item = assemble_item("small")
    for state in (done(SMALL.identity, "{}"), held(SMALL.identity, State.CLAIMED)):
        assert standing(PLAN, {item: state}).open(GROUP) == (LARGE,)
    assert standing(PLAN, {item: done("another", "{}")}).open(GROUP) == (SMALL, LARGE)


def test_sound_is_told_slice_by_slice():
    receipts = [receipt(0), receipt(1)]
    assert standing(PLAN, {}).sound(GROUP) is None
    items = {GROUP.sound_item: done(GROUP.sound_identity, sound_result(receipts))}
    assert standing(PLAN, items).sound(GROUP) == receipts
