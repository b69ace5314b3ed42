"""The plan of a run: what it keeps, what its work is called, and when work has to be done again."""

import json
from dataclasses import replace

import pytest

from pipelines.location import Location
from pipelines.plan import Copy, Plan
from pipelines.playlist import MediaPlaylist, PlaylistKind, Segment, recording
from pipelines.session import Session
from tests.unit.plans_by_hand import H264, copy, layout, plan, slices, transcode
from worker.dispatch import TRANSCODING, queue_of
from worker.ending import work_in_words
from worker.run_plan import RunPlan, conform_item

SMALL, LARGE = transcode("small"), transcode("large", video=replace(H264, width=1280, height=720))


def test_a_plan_is_read_back_as_it_was_written():
    made = plan(copy(), SMALL, LARGE, transcode("web", video=None, encodes_audio=True))
    assert RunPlan.from_json(made.to_json()) == made
    assert RunPlan.from_json(made.to_json(by="me")) == made
    assert made.to_json(by="me") != made.to_json(by="you")


def test_a_plan_of_another_version_is_not_there():
    assert RunPlan.from_json(json.dumps({"v": 1, "renditions": []})) is None


def test_slices_of_one_cut_are_written_once():
    written = json.loads(plan(copy(), SMALL, LARGE).to_json())
    assert [each["slices"] for each in written["renditions"]] == [0, 1, 1]
    assert len(written["slices"]) == 2


def test_transcodes_of_one_variant_are_one_work_and_copies_are_each_their_own():
    made = plan(copy(), copy("360p", "middle"), SMALL, LARGE, transcode("other", "middle"))
    assert [[each.name for each in group.renditions] for group in made.groups] == [
        ["small", "large"], ["other"],
    ]  # fmt: skip
    assert made.work(SMALL) == made.work(LARGE)
    assert [item for item, _ in made.work(SMALL)] == [f"transcode/best/{n}" for n in range(3)]
    assert [item for item, _ in made.work(copy("360p", "middle"))] == [
        "package/360p/0", "package/360p/1",
    ]  # fmt: skip
    assert made.groups[0].sound_item == "sound/best"
    assert made.group("middle") is made.groups[1]
    assert made.group("gone") is None


@pytest.mark.parametrize("name", ["", "a/b", "720p 0", "ü" * 80, "x" * 65, "~x", "../..", "\udc80"])
def test_a_variant_may_have_any_name_and_its_work_a_plain_one(name):
    group = plan(transcode("small", name)).groups[0]
    assert group.key.isascii()
    assert len(group.key) == 17
    assert "/" not in group.key
    assert plan(transcode("small", name)).group(group.key) == group
    assert group.key != plan(transcode("small", f"{name}!")).groups[0].key


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (replace(SMALL, reason="because"), True),
        (replace(SMALL, video=replace(H264, implementation="h264_nvenc")), False),
        (replace(SMALL, video=replace(H264, bitrate=1)), False),
        (replace(SMALL, video=None), False),
        (replace(SMALL, encodes_audio=True), False),
        (replace(SMALL, name="tiny"), False),
    ],
)
def test_another_encoding_is_other_work(other, same):
    ours, theirs = plan(SMALL, LARGE), plan(other, LARGE)
    assert (ours.work(SMALL) == theirs.work(other)) is same
    assert (SMALL.identity == other.identity) is same
    assert LARGE.identity == theirs.renditions[1].identity
    assert (ours.identity == theirs.identity) is same


def test_other_slices_are_other_work_for_copies_transcodes_and_sound():
    longer = replace(SMALL, slices=slices(2.0, 2.0, 2.0, 2.0))
    ours, theirs = plan(SMALL), plan(longer)
    assert ours.work(SMALL) == theirs.work(longer)[:3]
    assert ours.groups[0].sound_identity != theirs.groups[0].sound_identity
    assert SMALL.identity != longer.identity
    assert copy().identity != copy(cut=(4.0, 2.0, 1.0)).identity


def test_conforming_is_for_one_slice_of_one_rendition_and_goes_to_the_encoders():
    made, item = plan(copy(), SMALL, LARGE), conform_item("small", 2)
    assert item == "conform/small/2"
    assert made.made_by(item) == ("small",)
    assert queue_of(item) == TRANSCODING
    assert work_in_words(item, ("small",)) == "conforming slice 2 of small"


def test_conforming_is_done_again_for_other_media_another_encoding_or_another_layout_of_the_slice():
    before = SMALL.conformed("slice-1", 1, layout(1))
    assert SMALL.conformed("slice-1", 1, layout(0, 1, 2)) == before
    others = [
        SMALL.conformed("slice-2", 1, layout(1)),
        SMALL.conformed("slice-1", 1, layout(1, silent=False)),
        LARGE.conformed("slice-1", 1, layout(1)),
    ]
    assert len({before, *others}) == 4


def listed(*seconds, ended=False, name="index"):
    """A recording whose segments last as given, of which one slice is four seconds."""
    place = Location.parse(f"s3://recordings/s1/{name}.m3u8")
    segments = tuple(
        Segment(number, place.folder.child(f"{name}{number}.ts"), length)
        for number, length in enumerate(seconds)
    )
    return recording(MediaPlaylist(place, segments, ended, 2.0, PlaylistKind.EVENT))


DECIDED = Plan((Copy("source", "source", "why"),), ())


def planned(listed, *, final):
    return RunPlan.make(listed, Session(id="s1"), DECIDED, 4.0, final=final)


def test_a_plan_that_is_not_final_holds_the_settled_slices_and_grows_by_more():
    first = planned(listed(2, 2, 2), final=False)
    assert [each.seconds for each in first.renditions[0].slices] == [4.0]
    assert RunPlan.from_json(first.to_json()) == first
    grown = first.grown(listed(2, 2, 2, 2, 2), 4.0)
    assert [each.seconds for each in grown.renditions[0].slices] == [4.0, 4.0]
    assert grown.renditions[0].slices[:1] == first.renditions[0].slices
    assert not grown.final
    whole = planned(listed(2, 2, 2, 2, 2), final=True)
    assert whole.final
    assert whole.renditions[0].slices[:2] == grown.renditions[0].slices
    assert whole.renditions[0].slices[2].seconds == 2.0


def test_nothing_is_settled_at_first_and_all_of_it_once_the_playlist_has_ended():
    assert planned(listed(2, 2), final=False).renditions[0].slices == ()
    assert len(planned(listed(2, 2, 2, ended=True), final=False).renditions[0].slices) == 2


def test_slices_of_a_playlist_that_was_rewritten_are_other_work():
    before = planned(listed(2, 2, 2), final=False)
    after = before.grown(listed(2, 2, 2, name="other"), 4.0)
    assert before.work(before.renditions[0]) != after.work(after.renditions[0])


def test_a_playlist_that_shrinks_leaves_what_is_still_settled():
    long = planned(listed(2, 2, 2, 2, 2), final=False)
    short = long.grown(listed(2, 2, 2), 4.0)
    assert short.renditions[0].slices == long.renditions[0].slices[:1]
