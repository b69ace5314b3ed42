"""Losses folded into stretches, and the segments that those stand for."""

from dataclasses import replace

from pipelines.location import Location
from pipelines.loss import Loss, LossCause
from pipelines.lost_stretches import LostPlace, folded, lost_places, segments_of
from pipelines.playlist import Segment
from pipelines.rendition_report import MOST_LISTED, loss_reports, not_listed

MISSING, EMPTY = LossCause.SEGMENT_MISSING, LossCause.SEGMENT_EMPTY


def lost(sequence, cause=MISSING, **fields):
    place = f"s3://recordings/s1/{sequence}.ts"
    return Loss(sequence, place, cause, f"{place} is not there", whole=True, seconds=2.0, **fields)


def listed(count, folder="s1"):
    return [
        Segment(number, Location.parse(f"s3://recordings/{folder}/{number}.ts"), 2.0)
        for number in range(count)
    ]


def test_neighbours_of_one_cause_and_playlist_are_one():
    losses = [lost(3), lost(2), lost(4, EMPTY), lost(6, EMPTY), lost(2, rendition="English")]
    found = [(each.loss.sequence, each.last, each.loss.seconds) for each in folded(losses)]
    assert found == [(2, 3, 4.0), (4, 4, 2.0), (6, 6, 2.0), (2, 2, 2.0)]


def test_neighbours_that_need_other_keys_stay_apart():
    one, other = lost(1, LossCause.NOT_DECRYPTED), lost(2, LossCause.NOT_DECRYPTED)
    assert len(folded([one, other])) == 2
    assert len(folded([one, replace(other, detail=one.detail)])) == 1


def test_a_stretch_stands_for_the_segments_of_its_own_playlist_alone():
    places = lost_places([lost(1), lost(2, EMPTY), replace(lost(3), whole=False)])
    assert places == (LostPlace(1, 2, "s3://recordings/s1/1.ts"),)
    assert [segment.sequence for segment, _ in segments_of(listed(9), places)] == [1, 2]
    assert [*segments_of(listed(9, "other"), places)] == []


def test_thousands_of_losses_are_one_entry_and_scattered_ones_are_counted():
    (told,) = loss_reports(lost(number) for number in range(5000))
    assert (told.segment, told.last_segment, told.segments, told.seconds) == (0, 4999, 5000, 1e4)
    scattered = loss_reports(lost(number) for number in range(0, 5000, 2))
    assert not_listed(scattered) == 2500 - MOST_LISTED
