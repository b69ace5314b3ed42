"""Every reader of foreign bytes reads mutated ones, or refuses them: no crash, no hang, no flood."""

from collections import Counter

import pytest

from scripts.fault_base import Bases
from scripts.fuzz import Target, attempt, fuzz

pytestmark = pytest.mark.ffmpeg

#: Mutated inputs of each reader; `./scripts/faults fuzz` goes on for longer.
INPUTS = 300


def test_mutated_recordings_are_read_or_refused(media_tools, tmp_path):
    tried, wrong = fuzz(Bases(media_tools, tmp_path), range(INPUTS))
    assert wrong == []
    assert set(tried.values()) == {INPUTS}


def _divide(data: bytes) -> float:
    return 1 / (data.count(b"a") - 4)


def test_what_a_reader_should_not_raise_is_told_with_the_number_that_makes_it_again():
    target = Target("division", (b"aaaa" + bytes(100),), _divide)
    told = [attempt(target, number) for number in range(20)]
    assert any(each and "ZeroDivisionError" in each for each in told)
    assert told == [attempt(target, number) for number in range(20)]
    allowed = Target("division", target.whole, _divide, (ZeroDivisionError,))
    assert Counter(attempt(allowed, number) for number in range(20)) == {None: 20}
