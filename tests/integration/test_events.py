"""Messages of other people's queues: each is settled when it has been dealt with, and comes again when it was not."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from tests.support.queue import until
from tests.support.queues import DEAD, Queues

from leat_engine.queue.rabbit import Events
from leat_engine.trigger import Fate


@pytest.fixture
def queues(rabbitmq, amqp_url, request):
    queues = Queues(rabbitmq, amqp_url)
    queues.declare(request.node.name)
    return queues


@pytest.fixture
def queue(request):
    return request.node.name


class Desk:
    """Takes messages, and settles them when the test says so."""

    def __init__(self):
        self.seen = []
        self.held = 0
        self.most = 0
        self.fates = {}
        self.open = asyncio.Event()

    async def take(self, message):
        self.seen.append(message)
        self.held += 1
        self.most = max(self.most, self.held)
        try:
            await self.open.wait()
        finally:
            self.held -= 1
        return self.fates.get(message.id, Fate.DONE)


@asynccontextmanager
async def consuming(url, queue, desk, prefetch=3):
    events = Events(url, queue, prefetch=prefetch, handle=desk.take)
    events.start()
    try:
        yield events
    finally:
        await events.close()


async def test_no_more_than_the_prefetch_are_held_and_all_are_settled(queues, queue):
    for number in range(10):
        queues.publish(queue, {"n": number}, f"m-{number}", headers={"n": number}, content_type="application/json")
    desk = Desk()
    desk.fates = {"m-4": Fate.REJECTED}
    async with consuming(queues.url, queue, desk) as events:
        await until(lambda: desk.held == 3, 20, lambda: f"not so: as many as the prefetch are held, {desk.seen}")
        assert events.away is None
        desk.open.set()
        await until(lambda: len(desk.seen) == 10 and desk.held == 0, 20, lambda: f"not so: all are taken, {desk.seen}")
    assert desk.most == 3
    assert (desk.seen[7].id, desk.seen[7].body, desk.seen[7].headers) == ("m-7", b'{"n": 7}', {"n": 7})
    assert queues.bodies(queue) == []
    assert queues.bodies(DEAD) == ['{"n": 4}']


async def test_what_was_not_settled_comes_again_after_a_loss_and_after_the_end(queues, queue):
    for number in range(2):
        queues.publish(queue, number, f"m-{number}")
    desk = Desk()
    async with consuming(queues.url, queue, desk) as events:
        await until(lambda: desk.held == 2, 20, lambda: f"not so: both are held, {desk.seen}")
        events._link.live[0].lose("a test")
        await until(lambda: len(desk.seen) == 4, 20, lambda: f"not so: both come again, {desk.seen}")
    assert desk.held == 0
    assert sorted(queues.bodies(queue)) == ["0", "1"]
    desk.open.set()
    async with consuming(queues.url, queue, desk):
        await until(
            lambda: len(desk.seen) == 6 and desk.held == 0, 20, lambda: f"not so: both are settled, {desk.seen}"
        )
    assert queues.bodies(queue) == []


async def test_a_queue_that_is_not_there_is_named_and_consumed_once_it_is(queues, queue):
    desk = Desk()
    desk.open.set()
    async with consuming(queues.url, f"{queue}-later", desk) as events:
        await until(lambda: "no queue" in (events.away or ""), 20, lambda: events.away)
        queues.declare(f"{queue}-later")
        queues.publish(f"{queue}-later", "hello")
        await until(
            lambda: [message.id for message in desk.seen] == [None], 20, lambda: f"not so: it is consumed, {desk.seen}"
        )
