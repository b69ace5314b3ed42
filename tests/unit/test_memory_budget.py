"""The budget of memory: who fits is admitted, in order; large work is alone and never kept out."""

import threading
from contextlib import ExitStack

import pytest

from pipelines.errors import InterruptedWork
from pipelines.memory_budget import MemoryBudget
from tests.packaging import never_cancelled
from tests.stack import eventually


class Waiting:
    """Asks for room in a thread of its own, and keeps it until it is let go."""

    def __init__(self, budget, need, checkpoint=never_cancelled):
        self.asked, self.admitted, self.done = (threading.Event() for _ in range(3))
        self._thread = threading.Thread(target=self._work, args=(budget, need, checkpoint))
        self._thread.start()

    def _work(self, budget, need, checkpoint):
        def asked():
            self.asked.set()
            checkpoint()

        try:
            with budget.admitted(need, asked):
                self.admitted.set()
                self.done.wait()
        except InterruptedWork:
            pass

    def end(self):
        self.done.set()
        self._thread.join()


@pytest.fixture
def waiting(monkeypatch):
    monkeypatch.setattr("pipelines.memory_budget.POLL_SECONDS", 0.01)
    made = []

    def start(*arguments):
        made.append(Waiting(*arguments))
        return made[-1]

    yield start
    for each in made:
        each.end()


def test_without_a_limit_everything_is_admitted():
    budget = MemoryBudget()
    with budget.admitted(1 << 50, never_cancelled), budget.admitted(1 << 50, never_cancelled):
        assert budget.taken == 1 << 51


def test_what_is_left_is_given_back_even_by_a_failure():
    budget = MemoryBudget(10)
    with pytest.raises(ValueError, match="failed"), budget.admitted(10, never_cancelled):
        raise ValueError("failed")
    assert budget.taken == 0


def test_who_does_not_fit_waits_until_there_is_room(waiting):
    budget = MemoryBudget(10)
    with ExitStack() as first:
        first.enter_context(budget.admitted(6, never_cancelled))
        second = waiting(budget, 5)
        assert second.asked.wait(5)
        assert not second.admitted.is_set()
        assert budget.taken == 6
    assert second.admitted.wait(5)
    assert budget.taken == 5


def test_larger_than_all_of_it_is_admitted_alone(waiting):
    budget = MemoryBudget(10)
    with ExitStack() as first:
        first.enter_context(budget.admitted(1, never_cancelled))
        large = waiting(budget, 25)
        assert large.asked.wait(5)
        assert not large.admitted.is_set()
    assert large.admitted.wait(5)
    small = waiting(budget, 1)
    assert small.asked.wait(5)
    assert not small.admitted.is_set()
    large.end()
    assert small.admitted.wait(5)


def test_nobody_overtakes_who_waits_for_more(waiting):
    budget = MemoryBudget(10)
    with budget.admitted(6, never_cancelled):
        large = waiting(budget, 8)
        assert large.asked.wait(5)
        small = waiting(budget, 1)
        assert small.asked.wait(5)
        assert not small.admitted.is_set()
    assert large.admitted.wait(5)
    assert small.admitted.wait(5)


def test_who_is_interrupted_while_waiting_leaves_the_others_their_turn(waiting):
    budget = MemoryBudget(10)
    lost = threading.Event()

    def lease_lost():
        if lost.is_set():
            raise InterruptedWork("lost")

    with budget.admitted(6, never_cancelled):
        large = waiting(budget, 8, lease_lost)
        assert large.asked.wait(5)
        small = waiting(budget, 1)
        assert small.asked.wait(5)
        lost.set()
        assert small.admitted.wait(5)
    assert not large.admitted.is_set()
    eventually(lambda: budget.taken == 1)
