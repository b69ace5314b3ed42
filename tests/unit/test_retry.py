"""Retrying one I/O call: outages only, a few times, and the last outage is told."""

import pytest

from pipelines import retry
from pipelines.errors import ErrorCode, PermanentError, TransientError
from pipelines.retry import ATTEMPTS, retrying


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
def _without_waiting(monkeypatch):
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _seconds: None)


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
