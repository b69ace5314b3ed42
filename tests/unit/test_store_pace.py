"""The pace of calls to a store: halved once for each burst of refusals, regained call by call."""

import threading

import pytest

from pipelines.errors import TransientError
from pipelines.store_errors import Throttled
from pipelines.store_pace import MOST_CALLS, Pace, StorePace


def test_a_store_that_copes_is_sent_as_many_calls_as_there_are_connections():
    assert Pace().calls == MOST_CALLS
    assert Pace().answered() == Pace()
    assert not Pace().slowed


def test_a_refusal_halves_what_was_under_way():
    assert Pace().throttled(begun=1.0, in_flight=12, now=2.0) == Pace(6.0, 2.0)


def test_refusals_of_one_burst_count_once():
    once = Pace().throttled(begun=1.0, in_flight=12, now=2.0)
    assert once.throttled(begun=1.9, in_flight=11, now=2.1) == once
    assert once.throttled(begun=2.1, in_flight=6, now=2.5) == Pace(3.0, 2.5)


def test_one_call_may_always_be_made():
    assert Pace().throttled(begun=1.0, in_flight=1, now=2.0).calls == 1


def test_a_full_round_of_answers_allows_one_call_more():
    pace = Pace(4.0, 1.0)
    for _ in range(5):
        pace = pace.answered()
    assert pace.calls == 5


def test_what_was_lost_is_regained_in_the_end():
    pace, answers = Pace(1.0, 1.0), 0
    while pace.slowed:
        pace, answers = pace.answered(), answers + 1
    assert pace == Pace()
    assert MOST_CALLS < answers < MOST_CALLS**2


def refused(pace):
    with pytest.raises(Throttled), pace.turn():
        raise Throttled("slow down")


def answered(pace):
    with pace.turn():
        pass


def test_it_is_told_once_when_it_begins_and_once_when_it_ends():
    told = []
    pace = StorePace(told.append)
    for _ in range(3):
        refused(pace)
        answered(pace)
    assert told == [True]
    while pace.pace.slowed:
        answered(pace)
    assert told == [True, False]


def test_other_failures_do_not_change_the_pace():
    pace = StorePace()
    with pytest.raises(TransientError), pace.turn():
        raise TransientError("away")
    assert pace.pace == Pace()


def test_calls_beyond_the_limit_wait_for_their_turn():
    pace = StorePace()
    refused(pace)
    begun, done = threading.Event(), threading.Event()

    def call():
        begun.set()
        with pace.turn():
            done.set()

    with pace.turn():
        other = threading.Thread(target=call)
        other.start()
        begun.wait()
        assert not done.wait(0.05)
    other.join()
    assert done.is_set()
