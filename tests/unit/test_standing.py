"""How a run stands: whose slices are there, and who may still get parts."""

from tests.unit.plans_by_hand import (
    copy,
    decided,
    done,
    held,
    older_result,
    plan,
    receipt,
    result,
    sliced,
    standing,
    transcode,
)
from worker.decided_layout import DecidedLayout
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


def packaged(rendition, *numbers):
    """The first work of a rendition, done, and a layout decided upon it that makes slices odd."""
    items = sliced(PLAN, rendition, range(len(rendition.slices)))
    return items, decided(PLAN, rendition, items, *numbers)


def test_slices_that_a_layout_names_are_made_again_and_only_then_is_the_rendition_packaged():
    items, layouts = packaged(SMALL, 1)
    now = standing(PLAN, items, layouts)
    assert [item for item, _ in now.work(SMALL)] == [
        "transcode/best/0", "conform/small/1", "transcode/best/2",
    ]  # fmt: skip
    assert now.receipts("small") is None
    assert None not in now.first(SMALL)
    item, identity = now.work(SMALL)[1]
    items[item] = done(identity, result(1, "small", at="conformed"))
    assert standing(PLAN, items, layouts).receipts("small") == [
        receipt(0), receipt(1, "conformed"), receipt(2),
    ]  # fmt: skip
    items[item] = done("for another layout", result(1, "small", at="conformed"))
    assert standing(PLAN, items, layouts).receipts("small") is None


def test_a_layout_concerns_its_own_rendition():
    items, layouts = packaged(SMALL, 1)
    items |= sliced(PLAN, SMALL, [0, 1, 2], "small", "large")
    now = standing(PLAN, items, layouts)
    assert now.layout(LARGE) is None
    assert now.receipts("large") == [receipt(0), receipt(1), receipt(2)]


def test_a_layout_counts_only_while_every_slice_is_the_one_that_it_was_decided_upon():
    items, layouts = packaged(SOURCE, 0)
    assert standing(PLAN, items, layouts).layout(SOURCE) == layouts["source"].layout
    item, identity = PLAN.work(SOURCE)[1]
    for text in ("", result(1, "source", at="elsewhere")):
        changed = items | {item: done(identity, text or older_result(1))}
        now = standing(PLAN, changed, layouts)
        assert now.layout(SOURCE) is None
        assert now.work(SOURCE) == PLAN.work(SOURCE)


def test_what_is_assembled_stays_so_when_a_slice_is_made_again_for_another_rendition():
    items, layouts = packaged(SMALL, 1)
    items |= {assemble_item("small"): done(SMALL.identity, "{}")}
    items |= sliced(PLAN, SMALL, [1], "large")
    now = standing(PLAN, items, layouts)
    assert now.layout(SMALL) is None
    assert now.assembled(SMALL) == "{}"


def test_a_layout_is_read_back_as_it_was_written_and_that_of_another_version_is_not():
    _, layouts = packaged(SOURCE, 0, 1)
    written = layouts["source"].to_json()
    assert DecidedLayout.from_json(written) == layouts["source"]
    assert DecidedLayout.from_json(written.replace('"v":1', '"v":2')) is None
