"""When a silent runner is taken for dead, and when it is not."""

import asyncio

import pytest
from tests.support.hand import Hand, age
from tests.support.queue import eventually

from leat_engine.caretakers import CaretakerOptions, Caretakers
from leat_engine.errors import StoreUnavailable
from leat_engine.queue.local import LocalQueue
from leat_engine.queue.rabbit import RabbitQueue
from leat_engine.store import Store

OPTIONS = CaretakerOptions(interval=0.5, silent_for=6)


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def caretakers(store, amqp_url, clock):
    queue = await RabbitQueue.connect(amqp_url, "default")
    yield Caretakers(store, queue, OPTIONS, clock)
    await queue.close()


@pytest.fixture
async def silent(store, database):
    """A runner that gave its last sign of life a minute ago."""
    hand = await Hand.registered(store)
    await age(database, hand.runner, 60)
    return hand.runner


async def _alive(store, runner):
    rows = await store._pool.fetch("select alive from leat.runner where id = $1", runner)
    return rows[0]["alive"]


async def _pass(caretakers, clock, seconds):
    """So much time in which Postgres answers every round."""
    for _ in range(int(seconds / OPTIONS.interval)):
        clock.now += OPTIONS.interval
        await caretakers.round()


async def test_a_caretaker_counts_silence_from_its_first_round(store, caretakers, clock, silent):
    await caretakers.round()
    await _pass(caretakers, clock, 5.5)
    assert await _alive(store, silent)
    await _pass(caretakers, clock, 1)
    assert not await _alive(store, silent)


async def test_after_a_pause_in_which_no_call_has_failed_silence_is_counted_anew(store, caretakers, clock, silent):
    await caretakers.round()
    await _pass(caretakers, clock, 5)
    clock.now += 10  # Postgres, or this process, stood still
    await caretakers.round()
    await _pass(caretakers, clock, 5.5)
    assert await _alive(store, silent)
    await _pass(caretakers, clock, 1)
    assert not await _alive(store, silent)


async def test_a_leader_that_freezes_in_its_round_is_followed_by_another(store, database):
    other = await Store.connect(database)

    async def leads():
        async with other.care.leading(7) as leading:
            return leading

    async def freeze_until_followed():
        async with store.care.leading(7) as leading:
            assert leading
            assert not await leads()
            await eventually(leads, True, 10)

    with pytest.raises(StoreUnavailable):  # it wakes up, and its transaction is gone
        await freeze_until_followed()
    await other.close()


async def test_rounds_end_although_one_of_them_loses_the_cancel(store):
    began = asyncio.Event()

    class Losing(Caretakers):
        async def round(self):
            began.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise StoreUnavailable("the connection is closed") from None

    caretakers = Losing(store, LocalQueue(), CaretakerOptions(interval=0))
    caretakers.start()
    await began.wait()
    async with asyncio.timeout(10):
        await caretakers.stop()
