"""Slots, buckets and breakers in the store: what each question promises, and when claims are lost in between."""

import asyncio

import pytest
from tests.support.hand import CANCEL, Hand, accepted, age, done

from leat_engine.caretakers.rescue import rescue
from leat_engine.job import Job
from leat_engine.restraint import Fuse, Rate
from leat_engine.result import State
from leat_engine.store.turns import Claimed, Key, Wish
from leat_engine.store.writes import Lateness

SPEC = {"steps": [{"name": "only", "function": {"name": "add"}}]}
ONE = Wish(1)


@pytest.fixture
async def hand(store):
    return await Hand.registered(store)


@pytest.fixture
def key(request):
    return Key("test", request.node.name)


async def a_claim(store, hand, **changes) -> Claimed:
    _, jobs = await accepted(store, SPEC, **changes)
    (claim,) = await hand.claim(jobs)
    return Claimed(hand.runner, claim.key, claim.attempt, claim.attempt - claim.broken_off)


async def park(store, claim, seconds=1000.0):
    await store.delay(claim.runner, [Lateness(claim.key, claim.number, seconds, "default", None)])


async def state(store, claim):
    (step,) = await store.steps(claim.key.run_id)
    return step.state


async def test_the_first_gets_the_slot_and_the_others_wait_in_the_order_of_their_age(store, hand, key):
    first, second, third = [await a_claim(store, hand) for _ in range(3)]
    assert (await store.turns.enter(first, key, ONE)).held
    assert (await store.turns.enter(third, key, ONE)).before == 0
    assert (await store.turns.enter(second, key, ONE)).before == 0
    assert (await store.turns.enter(third, key, ONE)).before == 1
    assert (await store.turns.enter(first, key, ONE)).went_on


async def test_who_leaves_wakes_the_next_one_and_nobody_else(store, hand, key):
    first, second, third = [await a_claim(store, hand) for _ in range(3)]
    for claim in (first, second, third):
        await store.turns.enter(claim, key, ONE)
    for claim in (second, third):
        await park(store, claim)
    assert await store.turns.leave(first, key) == [Job(second.key, 1, "default")]
    assert (await state(store, second), await state(store, third)) == (State.READY, State.DELAYED)
    (claim,) = await hand.claim([Job(second.key, 1, "default")])
    assert claim.resumed
    entered = await store.turns.enter(second, key, ONE)
    assert (entered.held, entered.went_on) == (True, False)


async def test_who_is_granted_a_slot_while_it_is_being_parked_is_woken_afterwards(store, hand, key):
    first, second = [await a_claim(store, hand) for _ in range(2)]
    await store.turns.enter(first, key, ONE)
    await store.turns.enter(second, key, ONE)
    assert await store.turns.leave(first, key) == []
    await park(store, second)
    assert await store.turns.grant(key) == [Job(second.key, 1, "default")]


async def test_a_step_that_is_parked_behind_its_run_after_the_run_has_begun_is_woken(store, hand, key):
    pair = {"steps": [*SPEC["steps"], {"name": "other", "function": {"name": "add"}}]}
    whole = Wish(1, whole=True)
    first, jobs = await accepted(store, SPEC)
    (claim,) = await hand.claim(jobs)
    holder = Claimed(hand.runner, claim.key, 1, 1)
    _, jobs = await accepted(store, pair)
    quick, slow = [Claimed(hand.runner, claim.key, 1, 1) for claim in await hand.claim(jobs)]
    for claim in (holder, quick, slow):
        await store.turns.enter(claim, key, whole)
    await park(store, quick)
    await hand.end(hand.view(first, SPEC, 1, complete=True), done(1))
    assert [job.key for job in await store.turns.sweep()] == [quick.key]
    await hand.claim([Job(quick.key, 1, "default")])
    assert (await store.turns.enter(quick, key, whole)).held
    await park(store, slow)
    assert await store.turns.grant(key) == []
    assert [job.key for job in await store.turns.grant(key, [slow.key])] == [slow.key]


async def test_a_higher_priority_passes_those_who_wait(store, hand, key):
    holder, early = [await a_claim(store, hand) for _ in range(2)]
    urgent = await a_claim(store, hand, priority=5)
    for claim in (holder, early, urgent):
        await store.turns.enter(claim, key, ONE)
    await park(store, early)
    await park(store, urgent)
    assert await store.turns.leave(holder, key) == [Job(urgent.key, 1, "default", 5)]


async def test_who_does_not_queue_leaves_no_trace(store, hand, key):
    holder, other = [await a_claim(store, hand) for _ in range(2)]
    await store.turns.enter(holder, key, ONE)
    assert (await store.turns.enter(other, key, Wish(1, queue=False))).held is None
    (slots,) = [one for one in (await store.turns.show("test")).slots if one.key == key.text]
    assert (slots.held, slots.waiting) == (1, 0)
    await store.turns.leave(holder, key)
    assert (await store.turns.enter(other, key, Wish(1, queue=False))).held


async def test_the_end_of_a_step_frees_its_slot_even_if_nobody_said_so(store, hand, key):
    run, jobs = await accepted(store, SPEC)
    (claim,) = await hand.claim(jobs)
    holder = Claimed(hand.runner, claim.key, 1, 1)
    waiter = await a_claim(store, hand)
    await store.turns.enter(holder, key, ONE)
    await store.turns.enter(waiter, key, ONE)
    await park(store, waiter)
    await hand.end(hand.view(run, SPEC, 1, complete=True), done(1))
    assert await store.turns.sweep() == [Job(waiter.key, 1, "default")]


async def test_a_cancelled_run_gives_up_its_place_in_the_line(store, hand, key):
    holder, gone, last = [await a_claim(store, hand) for _ in range(3)]
    for claim in (holder, gone, last):
        await store.turns.enter(claim, key, ONE)
    await park(store, gone)
    await park(store, last)
    await store.stop(gone.key.run_id, CANCEL)
    assert await store.turns.leave(holder, key) == [Job(last.key, 1, "default")]


async def test_a_suspended_run_in_the_line_lets_others_pass(store, hand, key):
    holder, asleep, last = [await a_claim(store, hand) for _ in range(3)]
    for claim in (holder, asleep, last):
        await store.turns.enter(claim, key, Wish(1))
    await park(store, asleep)
    await park(store, last)
    await store.suspend(asleep.key.run_id, suspended=True)
    assert await store.turns.leave(holder, key) == [Job(last.key, 1, "default")]
    await store.suspend(asleep.key.run_id, suspended=False)
    assert await store.turns.leave(last, key) == []  # it is not claimed again: its slot is not given away
    (claim,) = await hand.claim([Job(last.key, 1, "default")])
    assert await store.turns.leave(last, key) == [Job(asleep.key, 1, "default")]


async def test_a_dead_runners_slot_stays_with_its_step_and_is_never_somebody_elses(store, hand, key, database):
    dying = await Hand.registered(store)
    holder = await a_claim(store, dying)
    waiter = await a_claim(store, hand)
    assert (await store.turns.enter(holder, key, ONE)).held
    await store.turns.enter(waiter, key, ONE)
    await park(store, waiter)
    await age(database, dying.runner, 100)
    (job,) = await rescue(store, 50)
    assert job.attempt == 2
    assert await store.turns.sweep() == []
    assert await store.turns.leave(holder, key) == []  # a frozen runner that wakes up takes nothing away
    (again,) = await hand.claim([job])
    heir = Claimed(hand.runner, again.key, again.attempt, again.attempt - again.broken_off)
    entered = await store.turns.enter(heir, key, ONE)
    assert (entered.held, entered.went_on) == (True, True)
    assert (await store.turns.enter(holder, key, ONE)).lost
    assert await store.turns.leave(heir, key) == [Job(waiter.key, 1, "default")]


async def test_a_retry_gives_its_slot_to_those_who_wait(store, hand, key):
    holder, waiter = [await a_claim(store, hand) for _ in range(2)]
    await store.turns.enter(holder, key, ONE)
    await store.turns.enter(waiter, key, ONE)
    await park(store, waiter)
    await store.delay(hand.runner, [Lateness(holder.key, 1, 1000.0, "default", '{"type": "X", "message": ""}')])
    assert await store.turns.leave(holder, key) == [Job(waiter.key, 1, "default")]


async def test_many_who_ask_at_once_never_hold_more_than_the_limit(store, hand, key):
    claims = [await a_claim(store, hand) for _ in range(20)]
    entered = await asyncio.gather(*(store.turns.enter(claim, key, Wish(3)) for claim in claims))
    assert sum(bool(one.held) for one in entered) == 3
    assert max(one.before for one in entered if not one.held) <= 16


async def test_tokens_are_given_in_order_and_a_claim_that_was_lost_takes_none(store, hand, key):
    rate = Rate(None, 1000.0, 2)
    first, second, third, fourth = [await a_claim(store, hand) for _ in range(4)]
    assert (await store.turns.take(first, key, rate)).counted
    assert (await store.turns.take(second, key, rate)).counted
    waits = [await store.turns.take(claim, key, rate) for claim in (third, fourth)]
    assert [round(one.wait, -2) for one in waits] == [1000, 2000]
    assert not any(one.counted for one in waits)
    assert (await store.turns.take(first, key, rate)).went_on
    stranger = Claimed(hand.runner + 1, third.key, 1, 1)
    assert (await store.turns.take(stranger, key, rate)).lost


async def test_many_who_ask_at_once_get_the_burst_and_then_one_time_after_the_other(store, hand, key):
    claims = [await a_claim(store, hand) for _ in range(15)]
    taken = await asyncio.gather(*(store.turns.take(claim, key, Rate(None, 1000.0, 3)) for claim in claims))
    assert sorted(round(one.wait, -2) for one in taken) == [0, 0, 0, *range(1000, 13_000, 1000)]
    assert sum(one.counted for one in taken) == 3


async def test_a_breaker_opens_lets_one_probe_through_and_closes(store, hand, key):
    fuse = Fuse(None, 2, 60.0, 0.01)
    bad, probe, other = [await a_claim(store, hand) for _ in range(3)]
    assert (await store.turns.ask(bad, key, fuse)).allowed
    for _ in range(2):
        await store.turns.tell(bad, key, fuse, failed=True)

    async def asked():
        return (await store.turns.ask(probe, key, fuse)).probe

    async with asyncio.timeout(10):
        while not await asked():  # noqa: ASYNC110 - it cools down by the database's clock
            await asyncio.sleep(0.005)
    assert not (await store.turns.ask(other, key, fuse)).allowed
    assert (await store.turns.ask(probe, key, fuse)).probe
    (shown,) = [one for one in (await store.turns.show("test")).breakers if one.key == key.text]
    assert shown.state == "HalfOpen"
    await store.turns.tell(probe, key, fuse, failed=False)
    assert (await store.turns.ask(other, key, fuse)).allowed


async def test_the_death_of_a_probe_lets_the_next_one_through(store, hand, key):
    fuse = Fuse(None, 1, 60.0, 0.001)
    dying = await Hand.registered(store)
    probe, other = await a_claim(store, dying), await a_claim(store, hand)
    await store.turns.tell(other, key, fuse, failed=True)
    async with asyncio.timeout(10):
        while not (await store.turns.ask(probe, key, fuse)).probe:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.005)
    assert not (await store.turns.ask(other, key, fuse)).allowed
    await store.retire(dying.runner)
    assert (await store.turns.ask(other, key, fuse)).probe


async def test_a_result_is_taken_until_it_expires(store, key):
    run, _ = await accepted(store, SPEC)
    assert await store.turns.cached(key) is None
    await store.turns.keep(key, None, 100.0, run.run_id)
    assert await store.turns.cached(key) == (None,)
    await store.turns.keep(key, {"a": 1}, 0.0, run.run_id)
    assert await store.turns.cached(key) is None
    await store.turns.forget()
