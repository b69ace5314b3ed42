"""Units of work are held by one at a time and done once, whoever crashes, waits or comes late."""

import threading
import time

import pytest
import redis as redis_client

from pipelines.errors import ErrorCode
from pipelines.session import Phase
from worker.keys import session_key
from worker.store import SessionStore
from worker.work import Claim, Reason, Refused, Work
from worker.work_item import Ending, State, WorkKey

pytestmark = pytest.mark.redis

PREFIX = "test:"
SESSION = "s1"
GENERATION = 1_763_800_000_123
KEY = WorkKey(SESSION, GENERATION, "package/source/0")
LONG = 60_000
SHORT = 30
PHASES = ("finalizing",)
RUN = f"{PREFIX}run:{SESSION}:{GENERATION}"


@pytest.fixture
def client(redis_url):
    with redis_client.Redis.from_url(redis_url, decode_responses=True) as client:
        client.hset(
            session_key(PREFIX, SESSION),
            mapping={"generation": str(GENERATION), "phase": "finalizing"},
        )
        yield client


@pytest.fixture
def work(client):
    return Work(client, PREFIX)


def claim(work, key=KEY, identity="a", ttl=LONG, attempts=3, phases=PHASES):
    return work.claim(key, identity, ttl, attempts, phases)


def lease(work, key=KEY, identity="a", ttl=LONG, attempts=3):
    """Claim and lease, as soon as that is possible."""
    claimed = eventually(lambda: claim(work, key, identity, LONG, attempts), Claim)
    leased = work.lease(key, claimed.token, "worker-1", ttl)
    assert leased is not None
    return leased


def eventually(look, kind):
    """Look until the answer is of a kind: time passes by itself, here in milliseconds."""
    deadline = time.monotonic() + 20
    while not isinstance(answer := look(), kind):
        assert time.monotonic() < deadline, f"still {answer}"
        time.sleep(0.005)
    return answer


def wait_until_over(work):
    deadline = time.monotonic() + 20
    while work.active(SESSION, GENERATION):
        assert time.monotonic() < deadline
        time.sleep(0.005)


def refusal(answer):
    assert isinstance(answer, Refused), answer
    return answer.reason


def state_of(work, key=KEY):
    return work.items(SESSION, GENERATION).get(key.item)


def test_an_absent_item_is_claimed_leased_and_done_with_its_result(work):
    claimed = claim(work)
    assert state_of(work).state is State.CLAIMED
    leased = work.lease(KEY, claimed.token, "worker-1", LONG)
    assert (state_of(work).state, state_of(work).owner) == (State.LEASED, "worker-1")
    assert work.complete(leased, '{"parts": [108]}')
    done = state_of(work)
    assert (done.state, done.identity, done.result) == (State.DONE, "a", '{"parts": [108]}')
    assert done.token == leased.token, "the done item says which lease counts"
    assert done.attempts == 0


def test_a_claimed_item_is_refused_while_the_claim_holds(work):
    claim(work)
    assert refusal(claim(work)) is Reason.CLAIMED
    assert refusal(claim(work, identity="b")) is Reason.CLAIMED


def test_a_leased_item_is_refused_while_the_lease_holds(work):
    lease(work)
    assert refusal(claim(work)) is Reason.LEASED


def test_a_done_item_is_refused_until_its_identity_changes(work):
    leased = lease(work)
    work.complete(leased, "first")
    assert refusal(claim(work)) is Reason.DONE
    again = claim(work, identity="b")
    assert isinstance(again, Claim)
    assert again.state.attempts == 0


def test_a_claim_that_ran_out_is_given_again_and_counts_no_attempt(work):
    first = claim(work, ttl=SHORT)
    second = eventually(lambda: claim(work), Claim)
    assert second.token != first.token
    assert second.state.attempts == 0
    assert work.lease(KEY, first.token, "late", LONG) is None
    assert work.lease(KEY, second.token, "worker-1", LONG) is not None


def test_a_claim_that_ran_out_is_still_good_when_nobody_else_took_it(work):
    claimed = claim(work, ttl=SHORT)
    wait_until_over(work)
    assert work.lease(KEY, claimed.token, "worker-1", LONG) is not None


def test_a_message_delivered_twice_makes_one_lease(work):
    claimed = claim(work)
    assert work.lease(KEY, claimed.token, "worker-1", LONG) is not None
    assert work.lease(KEY, claimed.token, "worker-1", LONG) is None
    assert work.lease(KEY, claimed.token, "worker-2", LONG) is None


def test_a_message_of_a_done_item_makes_no_lease(work):
    claimed = claim(work)
    work.complete(work.lease(KEY, claimed.token, "worker-1", LONG), "x")
    assert work.lease(KEY, claimed.token, "worker-2", LONG) is None
    assert state_of(work).state is State.DONE


def test_of_many_claimers_at_once_exactly_one_wins(redis_url, client):
    barrier = threading.Barrier(8)
    answers = []

    def compete():
        with redis_client.Redis.from_url(redis_url, decode_responses=True) as mine:
            work = Work(mine, PREFIX)
            barrier.wait()
            answers.extend(claim(work, KEY._replace(item=f"package/source/{n}")) for n in range(20))

    run_at_once([compete] * 8)
    won = [answer.key.item for answer in answers if isinstance(answer, Claim)]
    assert sorted(won) == sorted(f"package/source/{n}" for n in range(20))


def test_of_many_leasers_of_one_claim_exactly_one_wins(redis_url, work):
    token = claim(work).token
    barrier = threading.Barrier(8)
    leases = []

    def compete():
        with redis_client.Redis.from_url(redis_url, decode_responses=True) as mine:
            other = Work(mine, PREFIX)
            barrier.wait()
            leases.append(other.lease(KEY, token, "worker", LONG))

    run_at_once([compete] * 8)
    assert sum(answer is not None for answer in leases) == 1


def test_a_lease_that_was_taken_over_can_do_nothing_any_more(work):
    old = lease(work, ttl=SHORT)
    new = lease(work)
    before = state_of(work)
    assert not work.renew(old, LONG)
    assert not work.renew(old, LONG, 12.5)
    assert not work.complete(old, "old")
    assert not work.release(old, counts=True, error=("ffmpeg_failed", "no"))
    assert state_of(work) == before
    assert work.complete(new, "new")
    assert not work.complete(old, "old")
    assert state_of(work).result == "new"


def test_a_lease_that_ran_out_but_was_not_taken_over_can_still_finish(work):
    leased = lease(work, ttl=SHORT)
    wait_until_over(work)
    assert work.complete(leased, "late")
    assert state_of(work).state is State.DONE


def test_a_lease_that_ran_out_but_was_not_taken_over_can_be_renewed(work):
    leased = lease(work, ttl=SHORT)
    wait_until_over(work)
    assert work.renew(leased, LONG)
    assert refusal(claim(work)) is Reason.LEASED


def test_a_renewed_lease_outlives_its_first_time(work):
    leased = lease(work, ttl=SHORT)
    first = state_of(work).expires
    assert work.renew(leased, LONG)
    assert state_of(work).expires > first
    assert work.active(SESSION, GENERATION) == 1


def test_a_crash_counts_as_an_attempt_and_says_whose_it_was(work):
    lease(work, ttl=SHORT)
    claimed = eventually(lambda: claim(work), Claim)
    assert claimed.state.attempts == 1
    assert claimed.state.error.code == ErrorCode.INTERRUPTED
    assert "worker-1" in claimed.state.error.message


def test_an_item_that_crashes_its_workers_is_poison_after_the_attempts(work):
    for _ in range(3):
        lease(work, ttl=SHORT)
    answer = eventually(lambda: refused_as(work, Reason.POISON), Refused)
    assert answer.attempts == 3
    assert "fell silent" in answer.error.message
    assert refusal(claim(work)) is Reason.POISON
    assert state_of(work).attempts == 3, "asking again counts nothing"


def refused_as(work, reason):
    answer = claim(work)
    return answer if isinstance(answer, Refused) and answer.reason is reason else None


def test_a_counted_release_is_an_attempt_and_the_last_error_is_kept(work):
    for attempt in (1, 2, 3):
        assert work.release(lease(work), counts=True, error=("ffmpeg_failed", f"try {attempt}"))
    answer = claim(work)
    assert refusal(answer) is Reason.POISON
    assert answer.attempts == 3
    assert answer.error == ("ffmpeg_failed", "try 3")


def test_outages_are_counted_apart_and_never_poison(work):
    since = None
    for _ in range(5):
        work.release(lease(work), counts=False, error=("store_unavailable", "away"))
        since = since or state_of(work).failing_since
    claimed = claim(work)
    assert (claimed.state.attempts, claimed.state.outages) == (0, 5)
    assert claimed.state.failing_since == since, "it says since when nothing came through"


def test_a_shutdown_counts_nothing_and_leaves_the_item_free(work):
    work.release(lease(work), counts=False, error=None)
    claimed = claim(work)
    assert (claimed.state.attempts, claimed.state.outages, claimed.state.error) == (0, 0, None)
    assert claimed.state.failing_since is None


def test_a_released_item_waits_for_its_delay(work):
    work.release(lease(work), counts=False, error=("store_unavailable", "away"), delay_ms=LONG)
    answer = claim(work)
    assert refusal(answer) is Reason.WAITING
    assert answer.state.not_before > answer.state.failing_since
    assert work.active(SESSION, GENERATION) == 0


def test_a_released_item_is_free_when_its_delay_is_over(work):
    work.release(lease(work), counts=False, error=("store_unavailable", "away"), delay_ms=SHORT)
    assert eventually(lambda: claim(work), Claim).state.outages == 1


def test_a_changed_identity_starts_afresh(work):
    for _ in range(3):
        work.release(lease(work), counts=True, error=("ffmpeg_failed", "no"), delay_ms=0)
    assert refusal(claim(work)) is Reason.POISON
    claimed = claim(work, identity="b")
    assert (claimed.state.attempts, claimed.state.error) == (0, None)
    assert claimed.state.failing_since is None


def test_a_claim_whose_message_could_not_be_sent_is_given_back(work):
    claimed = claim(work)
    assert work.release(claimed, counts=False, error=None)
    assert isinstance(claim(work), Claim)
    assert work.lease(KEY, claimed.token, "late", LONG) is None


def test_a_released_lease_cannot_be_completed_or_renewed(work):
    leased = lease(work)
    work.release(leased, counts=False, error=None)
    assert not work.renew(leased, LONG)
    assert not work.complete(leased, "x")
    assert state_of(work).state is State.RELEASED


@pytest.mark.parametrize("changed", [{"generation": str(GENERATION + 1)}, {"phase": "live"}])
def test_a_session_that_moved_on_refuses_claims(client, work, changed):
    client.hset(session_key(PREFIX, SESSION), mapping=changed)
    assert refusal(claim(work)) is Reason.STALE
    assert work.items(SESSION, GENERATION) == {}


def test_a_session_as_the_store_writes_it_can_be_worked_on_until_its_next_generation(client, work):
    store = SessionStore(client, prefix=PREFIX)
    store.put("s2", {"record": True, "lastSeen": 1_700_000_000_000})
    generation = store.begin_generation("s2", expect={Phase.LIVE}, reason="idle")
    key = WorkKey("s2", generation, "publish")
    leased = lease(work, key)
    assert store.begin_generation("s2", expect={Phase.FINALIZING}, reason="again") > generation
    assert not work.complete(leased, "x")
    assert refusal(claim(work, key)) is Reason.STALE


def test_an_unknown_session_refuses_claims(work):
    stranger = WorkKey("nobody", GENERATION, "publish")
    assert refusal(claim(work, stranger)) is Reason.STALE


def test_the_caller_says_in_which_phases_an_item_may_be_claimed(client, work):
    client.hset(session_key(PREFIX, SESSION), "phase", "live")
    assert isinstance(claim(work, phases=("live", "finalizing")), Claim)


def test_a_result_of_an_old_generation_changes_nothing(client, work):
    leased = lease(work)
    before = client.hgetall(RUN)
    client.hset(session_key(PREFIX, SESSION), "generation", str(GENERATION + 1))
    assert not work.complete(leased, "late")
    assert not work.renew(leased, LONG)
    assert client.hgetall(RUN) == before


def test_a_message_of_an_old_generation_makes_no_lease(client, work):
    claimed = claim(work)
    client.hset(session_key(PREFIX, SESSION), "generation", str(GENERATION + 1))
    assert work.lease(KEY, claimed.token, "worker-1", LONG) is None


def test_a_call_sent_twice_does_what_it_did_the_first_time(client, work):
    leased = lease(work)
    assert work.complete(leased, "x")
    assert work.complete(leased, "x"), "the first answer may have been lost"
    other = lease(work, KEY._replace(item="publish"))
    failed = {"counts": True, "error": ("ffmpeg_failed", "no")}
    assert work.release(other, **failed)
    assert work.release(other, **failed)
    assert state_of(work, other.key).attempts == 1


@pytest.mark.parametrize("record", ['{"v":2,"state":"leased"}', "{not json", '"text"', "17"])
def test_an_item_in_an_unknown_format_is_planned_again(client, work, record):
    client.hset(RUN, f"item:{KEY.item}", record)
    assert work.items(SESSION, GENERATION) == {}
    assert work.active(SESSION, GENERATION) == 0
    claimed = claim(work)
    assert isinstance(claimed, Claim)
    client.hset(RUN, f"item:{KEY.item}", record)
    assert work.lease(KEY, claimed.token, "worker-1", LONG) is None


def test_a_lease_overwritten_in_an_unknown_format_is_lost(client, work):
    leased = lease(work)
    client.hset(RUN, f"item:{KEY.item}", '{"v":2,"state":"leased"}')
    assert not work.renew(leased, LONG)
    assert not work.complete(leased, "x")
    assert not work.release(leased, counts=False, error=None)


def test_a_window_of_items_is_claimed_at_once_and_each_gets_its_own_answer(work):
    keys = [KEY._replace(item=f"package/source/{n}") for n in range(4)]
    work.complete(lease(work, keys[1]), "x")
    lease(work, keys[2])
    answers = work.claim_many([(key, "a") for key in keys], LONG, 3, PHASES)
    assert [isinstance(answer, Claim) for answer in answers] == [True, False, False, True]
    assert [refusal(answer) for answer in answers[1:3]] == [Reason.DONE, Reason.LEASED]
    assert answers[0].token != answers[3].token
    assert work.active(SESSION, GENERATION) == 3
    assert work.claim_many([], LONG, 3, PHASES) == []


def test_claims_go_on_after_redis_forgot_its_scripts(client, work):
    claim(work)
    client.script_flush()
    (answer,) = work.claim_many([(KEY._replace(item="publish"), "a")], LONG, 3, PHASES)
    assert isinstance(answer, Claim)


def test_active_counts_what_is_held_and_has_not_run_out(work):
    items = [KEY._replace(item=f"package/source/{n}") for n in range(4)]
    lease(work, items[0], ttl=SHORT)
    work.complete(lease(work, items[1]), "x")
    work.release(lease(work, items[2]), counts=False, error=None)
    wait_until_over(work)
    claim(work, items[3])
    assert work.active(SESSION, GENERATION) == 1


def test_progress_is_seen_by_whoever_looks(work):
    leased = lease(work)
    assert work.renew(leased, LONG, 61.25)
    assert state_of(work).progress == 61.25


def test_a_dropped_item_is_planned_again(work):
    work.complete(lease(work), "x")
    assert work.drop(KEY)
    assert (state_of(work).state, state_of(work).result) == (State.RELEASED, None)
    assert isinstance(claim(work), Claim)
    assert work.drop(KEY._replace(item="publish")), "an absent item is dropped already"


def test_an_item_tells_how_each_lease_ended_that_was_taken_for_it_before(work):
    lease(work, ttl=SHORT)
    wait_until_over(work)
    work.release(lease(work), counts=False, error=None)
    work.release(lease(work), counts=False, error=(ErrorCode.STORE_UNAVAILABLE, "away"))
    work.release(lease(work), counts=True, error=(ErrorCode.INTERNAL_ERROR, "failed"))
    work.complete(lease(work), "x")
    work.drop(KEY)
    work.release(claim(work), counts=False, error=None)
    assert work.complete(lease(work), "y")
    assert state_of(work).earlier == dict.fromkeys(Ending, 1)
    assert claim(work, identity="b").state.earlier == {}


def test_an_item_that_was_done_at_once_tells_of_no_lease_before(work):
    work.complete(lease(work), "x")
    assert state_of(work).earlier == {}


def test_an_item_that_somebody_holds_is_not_dropped(work):
    leased = lease(work)
    assert not work.drop(KEY)
    assert work.complete(leased, "x")


def test_the_first_value_of_a_field_counts(work):
    assert work.value(SESSION, GENERATION, "upload/source") is None
    assert work.set_if_absent(SESSION, GENERATION, "upload/source", "first") == "first"
    assert work.set_if_absent(SESSION, GENERATION, "upload/source", "second") == "first"
    assert work.value(SESSION, GENERATION, "upload/source") == "first"
    assert work.items(SESSION, GENERATION) == {}


def test_a_value_is_replaced_only_by_who_knows_the_present_one(work):
    work.set_if_absent(SESSION, GENERATION, "upload/source", "old")
    assert work.replace(SESSION, GENERATION, "upload/source", "other", "mine") == "old"
    assert work.replace(SESSION, GENERATION, "upload/source", "old", "mine") == "mine"
    assert work.replace(SESSION, GENERATION, "upload/source", "old", "theirs") == "mine"
    assert work.replace(SESSION, GENERATION, "upload/web", "old", "new") == "new"


def test_a_discarded_run_is_gone_and_its_leases_with_it(client, work):
    leased = lease(work)
    work.set_if_absent(SESSION, GENERATION, "upload/source", "x")
    work.discard_run(SESSION, GENERATION)
    assert not client.exists(RUN)
    assert not work.complete(leased, "x")
    assert not work.renew(leased, LONG)
    assert not client.exists(RUN), "a late lease does not bring the run back"


def test_a_run_that_nobody_writes_to_is_forgotten_one_day(client, work):
    claimed = claim(work)
    assert client.pttl(RUN) > 29 * 86_400_000
    client.pexpire(RUN, 1000 * 3600)
    work.lease(KEY, claimed.token, "worker-1", LONG)
    assert client.pttl(RUN) > 29 * 86_400_000, "every write puts it off"


def test_a_message_with_broken_characters_does_not_stop_the_release(work):
    assert work.release(lease(work), counts=True, error=("segment_missing", "seg\udce4.ts" * 999))
    assert state_of(work).error.message.startswith("seg?.ts")
    assert len(state_of(work).error.message) <= 2000


def run_at_once(functions):
    threads = [threading.Thread(target=function) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
