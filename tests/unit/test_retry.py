"""Retrying one I/O call: outages only, a few times, and the last outage is told."""

import gc
import threading
import weakref

import pytest

from pipelines import retry
from pipelines.errors import ErrorCode, PermanentError, TransientError
from pipelines.retry import ATTEMPTS, retrying
from pipelines.store_errors import Throttled


class Failing:
    """Raises the given errors one after the other, then answers."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.calls = 0

    def __call__(self):
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "answer"


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    """How long was waited between the calls, without waiting."""
    made = []
    monkeypatch.setattr("tenacity.nap.time.sleep", made.append)
    return made


def test_an_answer_is_handed_through():
    assert retrying(Failing()) == "answer"


def test_a_short_outage_is_not_seen():
    call = Failing(*(TransientError(f"outage {n}") for n in range(ATTEMPTS - 1)))
    assert retrying(call) == "answer"
    assert call.calls == ATTEMPTS


def test_a_long_outage_is_told_as_it_was_last():
    call = Failing(*(TransientError(f"outage {n}") for n in range(ATTEMPTS + 1)))
    with pytest.raises(TransientError, match=f"outage {ATTEMPTS - 1}"):
        retrying(call)
    assert call.calls == ATTEMPTS


@pytest.mark.parametrize(
    "error", [PermanentError(ErrorCode.SEGMENT_MISSING, "gone"), KeyError("x"), KeyboardInterrupt()]
)
def test_what_is_no_outage_comes_through_at_once(error):
    call = Failing(error)
    with pytest.raises(type(error)):
        retrying(call)
    assert call.calls == 1


def test_no_call_is_begun_once_patience_has_run_out(monkeypatch):
    monkeypatch.setattr(retry, "PATIENCE_SECONDS", 0.0)
    call = Failing(TransientError("outage"))
    with pytest.raises(TransientError):
        retrying(call)
    assert call.calls == 1


def test_an_operation_that_must_not_be_made_twice_is_not():
    call = Failing(TransientError("outage"))
    with pytest.raises(TransientError):
        retrying(call, attempts=1)
    assert call.calls == 1


def test_a_store_that_asks_for_fewer_calls_is_asked_more_often():
    call = Failing(*(Throttled("slow down") for _ in range(4 * ATTEMPTS)))
    assert retrying(call, attempts=1) == "answer"


def test_refusals_for_the_pace_are_no_outages():
    errors = [Throttled("slow down"), TransientError("away")] * (ATTEMPTS - 1)
    assert retrying(Failing(*errors)) == "answer"


def test_the_pause_that_a_store_asks_for_is_kept(pauses):
    call = Failing(Throttled("slow down", 7.0), Throttled("slow down", 3.0))
    assert retrying(call) == "answer"
    assert len(pauses) == 2
    assert pauses[0] >= 7.0
    assert 3.0 <= pauses[1] <= 3.0 + retry.THROTTLED_LONGEST_PAUSE


def test_a_store_that_wants_a_longer_pause_than_there_is_patience_is_told_at_once(pauses):
    call = Failing(Throttled("slow down", retry.THROTTLED_PATIENCE_SECONDS))
    with pytest.raises(Throttled) as told:
        retrying(call)
    assert (told.value.code, call.calls, pauses) == (ErrorCode.STORE_THROTTLED, 1, [])


def test_pauses_grow_with_every_refusal(pauses):
    retrying(Failing(*(Throttled("slow down") for _ in range(50))))
    assert max(pauses[:2]) <= 2 * retry.THROTTLED_FIRST_PAUSE
    assert 2 * retry.THROTTLED_FIRST_PAUSE < max(pauses) <= retry.THROTTLED_LONGEST_PAUSE


def test_who_is_asked_to_stop_waits_no_longer():
    stop = threading.Event()
    stop.set()
    call = Failing(Throttled("slow down"), Throttled("slow down"))
    with pytest.raises(Throttled):
        retrying(call, stop)
    assert call.calls == 1


def test_what_a_call_holds_is_let_go_with_its_answer():
    """A part is large: it must not wait until Python looks for cycles of references."""

    class Part:
        pass

    def upload(part):
        failing = Failing(TransientError("outage"))

        def call():
            failing()
            return weakref.ref(part)

        return retrying(call)

    gc.disable()
    try:
        sent = upload(Part())
        assert sent() is None
    finally:
        gc.enable()
