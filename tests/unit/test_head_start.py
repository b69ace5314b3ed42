"""The head start: one slice begins at a time, and nobody waits for one that is stuck."""

import threading
from contextlib import ExitStack

import pytest

from pipelines import head_start
from pipelines.errors import InterruptedWork
from pipelines.head_start import HeadStart
from tests.packaging import never_cancelled


@pytest.fixture
def start(monkeypatch):
    monkeypatch.setattr(head_start, "POLL_SECONDS", 0.01)
    return HeadStart()


def in_thread(start, began):
    """Begins in a thread of its own, and says so."""

    def begin():
        with start.given(never_cancelled):
            began.set()

    thread = threading.Thread(target=begin)
    thread.start()
    return thread


@pytest.mark.parametrize("early", [True, False], ids=["has something to upload", "is over"])
def test_the_next_one_begins_when_the_first(start, early):
    began = threading.Event()
    with ExitStack() as first:
        begun = first.enter_context(start.given(never_cancelled))
        with pytest.raises(InterruptedWork), start.given(interrupted):
            pass
        thread = in_thread(start, began)
        assert not began.is_set()
        if early:
            begun()
            assert began.wait(5)
    assert began.wait(5)
    thread.join()


def interrupted():
    raise InterruptedWork("the lease was lost")


def test_who_gives_up_leaves_the_others_their_turn(start):
    with start.given(never_cancelled), pytest.raises(InterruptedWork), start.given(interrupted):
        pass
    with start.given(interrupted):
        pass  # without having waited


def test_nobody_waits_for_ever_for_one_that_is_stuck(start, monkeypatch):
    monkeypatch.setattr(head_start, "LONGEST_SECONDS", 0.05)
    with ExitStack() as second:
        with start.given(never_cancelled) as stuck:
            second.enter_context(start.given(never_cancelled))
            stuck()  # which is no longer its to end
            with pytest.raises(InterruptedWork), start.given(interrupted):
                pass
        with pytest.raises(InterruptedWork), start.given(interrupted):
            pass
    with start.given(interrupted):
        pass
