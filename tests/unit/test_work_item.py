"""What the scripts wrote is read back; what others wrote is not there."""

import json

import pytest

from worker.work_item import ItemError, State, parse_item

RECORD = {
    "v": 1,
    "state": "released",
    "identity": "a",
    "token": "t",
    "attempts": 1,
    "outages": 2,
    "failing_since": 1_763_800_000_123,
    "not_before": 1_763_800_001_123,
    "code": "ffmpeg_failed",
    "message": "no",
    "progress": 61250,
}


def test_every_field_of_a_record_is_read():
    state = parse_item(json.dumps(RECORD))
    assert state is not None
    assert (state.state, state.identity, state.token) == (State.RELEASED, "a", "t")
    assert (state.attempts, state.outages, state.failing_since) == (1, 2, 1_763_800_000_123)
    assert state.not_before == 1_763_800_001_123
    assert state.error == ItemError("ffmpeg_failed", "no")
    assert state.progress == 61.25
    assert (state.owner, state.result) == (None, None)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", '{"v":2}', "{}", b"\xff"])
def test_what_is_no_record_of_this_version_is_not_there(text):
    assert parse_item(text) is None


@pytest.mark.parametrize(
    ("state", "expires", "active"),
    [
        ("claimed", 1001, True),
        ("leased", 1001, True),
        ("leased", 1000, False),
        ("released", 1001, False),
        ("done", 1001, False),
    ],
)
def test_only_a_claim_or_lease_that_has_not_run_out_is_active(state, expires, active):
    item = parse_item(json.dumps(RECORD | {"state": state, "expires": expires}))
    assert item is not None
    assert item.active(now_ms=1000) is active
