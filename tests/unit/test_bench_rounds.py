"""Rounds of a bench: turns in order, the same results everywhere, and an end in time."""

import time

import pytest

from scripts.bench_result import BenchFailedError
from scripts.bench_rounds import CPU, Clock, Ratio, take_rounds
from scripts.measure import Usage

RATIOS = {"bToA": Ratio(CPU, "b", "a"), "cToA": Ratio(CPU, "c", "a")}


class ByHand:
    """Ways are (CPU seconds, packets) here; taking one adds it to ``taken``."""

    def __init__(self):
        self.taken = []

    def take(self, way, *, count):
        self.taken.append(way)
        cpu, packets = way
        return Usage(1.0, cpu, 1, 0), packets if count else {}


def held(ways, *, rounds=1, limit=3600.0):
    contest = ByHand()
    clock = Clock(time.monotonic(), limit)
    return contest, take_rounds(contest, ways, rounds, clock, lambda _words: None)


MADE = {"720p0": {"video": 9000}}


def test_every_way_comes_first_in_one_of_the_rounds():
    ways = {name: (cpu, MADE) for cpu, name in enumerate("abc", start=1)}
    contest, rounds = held(ways, rounds=3)
    assert [cpu for cpu, _ in contest.taken] == [1, 2, 3, 2, 3, 1, 3, 1, 2]
    assert [row.name for row in rounds.rows] == ["a", "b", "c"]
    assert [len(row.rounds) for row in rounds.rows] == [3, 3, 3]
    assert rounds.ratios(RATIOS) == {"bToA": 2.0, "cToA": 3.0}
    assert not rounds.shortage


def test_when_time_is_short_ways_are_left_out_and_named():
    contest, rounds = held({"a": (1.0, MADE), "b": (2.0, MADE)}, limit=-1.0)
    assert len(contest.taken) == 1
    assert [row.name for row in rounds.rows] == ["a"]
    assert rounds.ratios(RATIOS) == {}
    assert rounds.shortage == ["Time is short: b was left out."]


def test_ways_that_make_something_else_are_not_compared():
    with pytest.raises(BenchFailedError, match=r"c made .*8999.*a has .*9000"):
        held({"a": (1.0, MADE), "b": (1.0, MADE), "c": (1.0, {"720p0": {"video": 8999}})})


def test_a_way_that_makes_no_mp4_is_compared_with_those_that_do():
    _, rounds = held({"a": (4.0, MADE), "b": (2.0, {})})
    assert rounds.ratios(RATIOS) == {"bToA": 0.5}
