"""Which key frames a movie lists: those with which a player can begin."""

import numpy as np
import pytest

from pipelines.entry_points import EntryPoints

SECOND = 90_000


def left_out(*pieces):
    entries = EntryPoints(SECOND)
    for shown, keys in pieces:
        sync = np.zeros(len(shown), np.bool_)
        sync[list(keys)] = True
        entries.append(np.array(shown, np.int64) * SECOND, sync)
    return entries.left_out().tolist()


CLOSED = [0, 3, 1, 2]
OPEN = [7, 5, 6, 9, 8]  # after its key frame come two pictures that are shown before it


def test_a_key_frame_before_which_others_are_shown_is_none():
    assert left_out(([*CLOSED, *OPEN, 10, 11], [0, 4, 9])) == [4]


def test_it_is_the_same_wherever_runs_are_cut():
    shown, keys = [*CLOSED, *OPEN, 10, 12, 11], {0, 4, 9}
    for cut in range(1, len(shown)):
        pieces = (
            (shown[:cut], [each for each in keys if each < cut]),
            (shown[cut:], [each - cut for each in keys if each >= cut]),
        )
        assert left_out(*pieces) == [4]


def test_the_last_one_may_be_open():
    assert left_out((CLOSED, [0]), ([6, 4, 5], [0])) == [4]


def test_all_closed_is_nothing_left_out():
    assert left_out((list(range(50)), range(50))) == []


@pytest.mark.parametrize(("end", "found"), [(20, [1]), (21, [])])
def test_they_stay_where_closed_ones_are_too_far_apart(end, found):
    assert left_out(([0, 9, 8, end], [0, 1])) == found
    assert left_out(([0, 9, 8, end, end + 1], [0, 1, 3])) == found


def test_sound_alone_and_nothing_have_none():
    assert left_out() == []
    assert left_out(([], [])) == []
    assert left_out(([5, 3, 4], [])) == []
