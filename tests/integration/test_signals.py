"""Signals and waits in the store: each wait gets one signal, whatever comes first, twice, or in the same moment."""

import asyncio
import random

import asyncpg
import pytest
from tests.support.hand import CANCEL, Hand, accepted, job, waits_for_a_lock

from leat_engine.result import State
from leat_engine.store.signals import Mine
from leat_engine.store.store import SQL
from leat_engine.store.writes import Lateness
from leat_engine.waits import Fate, Heard, Signal, Wanted


def waits(*names):
    """A workflow of steps that wait at the same time, each for a signal of its name."""
    return {"steps": [{"name": f"s{number}", "signal": {"name": name}} for number, name in enumerate(names)]}


def wanted(name="paid", *, approval=False, seconds=None, **rule):
    return Wanted(name, approval, rule, seconds, f"waits for {name}")


class Waiter:
    """A step of a run, in the hands of one runner after the other."""

    def __init__(self, store, hand, run, step):
        self.store = store
        self.hand = hand
        self.run_id = run.run_id
        self.step = step
        self.attempt = 1

    @property
    def mine(self):
        return Mine(self.hand.runner, job(self.run_id, self.step).key, self.attempt)

    async def claim(self):
        return await self.hand.claim([job(self.run_id, self.step, self.attempt)])

    async def hear(self, *arguments, **rule):
        return await self.store.signals.hear(self.mine, wanted(*arguments, **rule))

    async def park(self, seconds=1000.0):
        late = Lateness(self.mine.key, self.attempt, seconds, "default", None)
        return await self.store.delay(self.hand.runner, [late])

    async def woken(self):
        """Jobs of this run whose time has come; other tests leave timers of their own."""
        return [job for job in await self.store.care.wake(1000) if job.key.run_id == self.run_id]

    async def deliver(self, signal_id="1", name="paid", payload=None, **changes):
        return await self.store.signals.deliver(self.run_id, Signal(signal_id, name, payload, **changes))


@pytest.fixture
async def waiter(store):
    run, _ = await accepted(store, waits("paid"))
    waiter = Waiter(store, await Hand.registered(store), run, 1)
    await waiter.claim()
    return waiter


def payloads(heard: Heard):
    return [signal.payload for signal in heard.signals]


async def test_what_came_before_the_wait_is_taken_first_come_first_served(waiter):
    for number in range(3):
        assert (await waiter.deliver(str(number), payload=number)).fate is Fate.DELIVERED
    heard = await waiter.hear()
    assert (payloads(heard), heard.over) == ([0], True)
    assert payloads(await waiter.hear()) == [0]


async def test_a_parked_step_is_due_when_its_signal_comes_and_goes_on_as_the_same_attempt(waiter):
    assert await waiter.hear() == Heard((), False, pytest.approx(100 * 366 * 86_400, rel=1e-3))
    (parked,) = await waiter.park()
    assert parked.seconds == 1000
    assert await waiter.woken() == []
    await waiter.deliver("other", "another")
    assert await waiter.woken() == []
    await waiter.deliver(payload=7)
    assert await waiter.woken() == [job(waiter.run_id, 1)]
    (claim,) = await waiter.claim()
    assert claim.resumed
    assert payloads(await waiter.hear()) == [7]


async def test_a_signal_between_hearing_and_parking_makes_the_step_due_at_once(waiter):
    await waiter.hear()
    await waiter.deliver()
    (parked,) = await waiter.park()
    assert parked.seconds == 0
    assert await waiter.woken() == [job(waiter.run_id, 1)]


async def test_a_signal_that_is_being_written_while_the_step_parks_is_not_lost(waiter, database):
    await waiter.hear()
    connection = await asyncpg.connect(database)
    async with connection.transaction():
        await connection.fetch(SQL["lock_run"], waiter.run_id)
        parking = asyncio.create_task(waiter.park())
        await waits_for_a_lock(database, parking)
        sent = (waiter.run_id, "1", "paid", "null", None, "", "ann", None, None)
        await connection.fetch(SQL["deliver"], *sent)
    await connection.close()
    (parked,) = await parking
    assert parked.seconds == 0


async def test_a_step_that_is_being_parked_while_a_signal_comes_is_due(waiter, database):
    await waiter.hear()
    connection = await asyncpg.connect(database)
    async with connection.transaction():
        late = ([waiter.run_id], [0], [1], [1], [None], [1000.0], ["default"], [0])
        await connection.fetch(SQL["delay"], waiter.hand.runner, *late)
        telling = asyncio.create_task(waiter.deliver())
        await waits_for_a_lock(database, telling)
    await connection.close()
    await telling
    assert await waiter.woken() == [job(waiter.run_id, 1)]


async def test_the_same_signal_twice_is_told_once(waiter):
    await waiter.deliver("same", payload=1)
    again = await waiter.deliver("same", payload=2)
    assert (again.fate, again.message) == (Fate.DELIVERED, "the run has this signal already")
    assert [signal.payload for signal in await waiter.store.signals.sent(waiter.run_id)] == [1]


async def test_whoever_takes_a_step_over_gets_the_signal_that_it_had(waiter):
    await waiter.deliver("1", payload=1)
    await waiter.deliver("2", payload=2)
    assert payloads(await waiter.hear()) == [1]
    await waiter.store.care.rescue(waiter.hand.runner, {"type": "RunnerLost", "message": "gone"})
    zombie, waiter.hand, waiter.attempt = waiter.mine, await Hand.registered(waiter.store), 2
    await waiter.claim()
    assert await waiter.store.signals.hear(zombie, wanted()) == Heard()
    assert payloads(await waiter.hear()) == [1]


async def test_a_payload_that_is_dismissed_is_not_taken_again_and_the_wait_goes_on(waiter):
    await waiter.deliver("1", payload="bad")
    await waiter.deliver("2", payload="good")
    (bad,) = (await waiter.hear()).signals
    await waiter.store.signals.dismiss(waiter.mine, bad.id, "it is bad")
    assert payloads(await waiter.hear()) == ["good"]


async def test_a_wait_ends_at_its_time_counted_from_its_beginning(waiter):
    assert not (await waiter.hear("paid", seconds=0.01)).over
    await waiter.park(0)
    await waiter.store.care.wake(100)
    await waiter.claim()
    heard = await waiter.hear("paid", seconds=1000)
    assert (heard.signals, heard.over) == ((), True)
    await waiter.deliver()
    assert (await waiter.hear("paid")).signals == ()


async def test_a_stopped_run_hears_nothing_and_its_waits_are_cancelled(waiter):
    await waiter.hear()
    await waiter.park()
    await waiter.store.stop(waiter.run_id, CANCEL)
    assert await waiter.deliver() == pytest.approx(await waiter.deliver("2"))
    assert (await waiter.deliver()).message == "the run is being stopped"
    (step,) = await waiter.store.steps(waiter.run_id)
    assert step.state is State.CANCELLED


async def test_a_suspended_run_keeps_what_it_is_told_and_goes_on_with_it_when_it_is_resumed(waiter):
    await waiter.hear()
    await waiter.park()
    await waiter.store.suspend(waiter.run_id, suspended=True)
    await waiter.deliver(payload=7)
    assert await waiter.woken() == []
    assert await waiter.store.suspend(waiter.run_id, suspended=False) == [job(waiter.run_id, 1)]
    await waiter.claim()
    assert payloads(await waiter.hear()) == [7]


async def test_a_parked_step_says_what_it_waits_for(waiter):
    await waiter.hear()
    await waiter.park()
    (step,) = await waiter.store.steps(waiter.run_id)
    assert (step.state, step.note) == (State.DELAYED, "waits for paid")
    assert [(each.name, each.approval) for each in await waiter.store.signals.awaited([waiter.run_id])] == [
        ("paid", False)
    ]


async def test_votes_are_given_to_the_step_that_waits_and_to_no_later_one(waiter):
    early = await waiter.deliver("0", "review", approve=True, by="ann")
    assert early.fate is Fate.REFUSED
    await waiter.hear("review", approval=True, users=["ann"])
    await waiter.park()
    assert (await waiter.deliver("1", "review", approve=True, by="bob")).fate is Fate.REFUSED
    assert (await waiter.deliver("2", "", approve=True, by="ann")).fate is Fate.DELIVERED
    assert await waiter.woken() == [job(waiter.run_id, 1)]
    await waiter.claim()
    heard = await waiter.hear("review", approval=True, users=["ann"])
    assert [(vote.by, vote.approve) for vote in heard.signals] == [("ann", True)]
    await waiter.store.signals.close(waiter.mine)
    assert (await waiter.deliver("3", "review", approve=False, by="ann")).fate is Fate.REFUSED
    assert (await waiter.hear("review", approval=True)).over


async def test_a_signal_for_a_run_that_is_not_there_is_early(store, waiter):
    nobody = job(waiter.run_id, 1).key.run_id.int ^ 1
    delivery = await store.signals.deliver(type(waiter.run_id)(int=nobody), Signal("1", "paid"))
    assert delivery.fate is Fate.EARLY


# -- the law ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(25))
async def test_each_wait_gets_exactly_one_signal_in_the_order_in_which_they_came(seed, store):
    """Signals before, after and during the waits, doubled, with runners that die anywhere, all at the same time."""
    draw = random.Random(seed)
    names = [draw.choice("ab") for _ in range(draw.randint(1, 6))]
    run, _ = await accepted(store, waits(*names))
    sent = [(name, f"{name}{number}") for name in "ab" for number in range(names.count(name) + draw.randint(0, 2))]
    told: dict[str, str] = {}

    async def tell():
        for name, signal_id in sent:
            await asyncio.sleep(draw.random() * 0.01)
            for _ in range(draw.choice((1, 1, 2))):
                await store.signals.deliver(run.run_id, Signal(signal_id, name, signal_id))

    async def wait(step, name):
        waiter = Waiter(store, await Hand.registered(store), run, step)
        await waiter.claim()
        while True:
            heard = await waiter.hear(name)
            dies = draw.random() < 0.3
            if not dies and heard.signals:
                told[f"s{step}"] = heard.signals[0].payload
                return
            if dies:
                await store.care.rescue(waiter.hand.runner, {"type": "RunnerLost", "message": "gone"})
                waiter.hand, waiter.attempt = await Hand.registered(store), waiter.attempt + 1
            else:
                await waiter.park()
            while not await waiter.claim():
                await store.care.wake(100)

    async with asyncio.timeout(30):
        await asyncio.gather(tell(), *(wait(number, name) for number, name in enumerate(names, start=1)))
    for name in "ab":
        taken = sorted(told[f"s{step}"] for step, wanted_name in enumerate(names, start=1) if wanted_name == name)
        assert taken == [signal_id for _, signal_id in sent if signal_id[0] == name][: len(taken)]
        assert len(taken) == names.count(name)
