"""What a runner may rely on, whichever queue it is given."""

import asyncio
import secrets

import pytest
from tests.support.queue import Inbox, a_job, eventually, until

from leat_engine.errors import QueueUnavailable
from leat_engine.queue.local import LocalQueue
from leat_engine.queue.port import Queue
from leat_engine.queue.rabbit import RabbitQueue


@pytest.fixture(params=["local", "rabbit"])
async def queue(request):
    if request.param == "local":
        queue = LocalQueue()
    else:
        # A namespace for each test: what one leaves behind is not what the next one finds.
        queue = await RabbitQueue.connect(request.getfixturevalue("amqp_url"), f"n{secrets.token_hex(4)}")
    yield queue
    await queue.close()


async def test_a_job_arrives_as_it_was_published(queue: Queue):
    inbox = Inbox()
    await queue.consume("default", 10, inbox)
    await queue.publish([a_job(7, priority=3)])
    await inbox.holds(1)
    assert inbox.jobs == [a_job(7, priority=3)]


async def test_jobs_of_one_priority_arrive_in_order(queue: Queue):
    inbox = Inbox()
    for step in range(30):
        await queue.publish([a_job(step)])
    await queue.consume("default", 100, inbox)
    await inbox.holds(30)
    assert inbox.steps == list(range(30))


async def test_a_batch_larger_than_the_window_of_confirms_arrives_whole(queue: Queue):
    inbox = Inbox()
    await queue.publish([a_job(step) for step in range(555)])
    await queue.consume("default", 1000, inbox)
    await inbox.holds(555)
    assert sorted(inbox.steps) == list(range(555))


async def test_publishing_nothing_is_fine(queue: Queue):
    await queue.publish([])
    assert queue.connected


async def test_jobs_published_by_many_at_once_all_arrive(queue: Queue):
    inbox = Inbox()
    await queue.consume("default", 1000, inbox)
    await asyncio.gather(*(queue.publish([a_job(step), a_job(1000 + step)]) for step in range(100)))
    await inbox.holds(200)
    assert len(set(inbox.steps)) == 200


async def test_a_pool_gets_its_own_jobs_only(queue: Queue):
    default, gpu = Inbox(), Inbox()
    await queue.consume("default", 10, default)
    await queue.consume("gpu", 10, gpu)
    await queue.publish([a_job(1), a_job(2, pool="gpu"), a_job(3)])
    await default.holds(2)
    await gpu.holds(1)
    assert (sorted(default.steps), gpu.steps) == ([1, 3], [2])


async def test_jobs_wait_for_a_consumer_and_are_counted(queue: Queue):
    await queue.publish([a_job(step) for step in range(3)])
    await eventually(lambda: queue.depth("default"), 3)


async def test_the_depth_of_a_pool_nobody_published_to_is_unknown(queue: Queue):
    assert await queue.depth("nobody") is None


async def test_no_more_than_prefetch_is_delivered_unacknowledged(queue: Queue):
    inbox = Inbox()
    await queue.publish([a_job(step) for step in range(5)])
    await queue.consume("default", 2, inbox)
    await inbox.holds(2)
    await eventually(lambda: queue.depth("default"), 3)
    assert len(inbox.deliveries) == 2


async def test_acknowledgements_in_any_order_make_room_for_as_many(queue: Queue):
    inbox = Inbox()
    await queue.publish([a_job(step) for step in range(12)])
    await queue.consume("default", 4, inbox)
    first = list(await inbox.holds(4))
    for delivery in (first[2], first[0]):
        await delivery.ack()
    await inbox.holds(6)
    for delivery in (first[3], first[1], inbox.deliveries[5]):
        await delivery.ack()
    await inbox.holds(9)
    await eventually(lambda: queue.depth("default"), 3)
    assert len(inbox.deliveries) == 9


async def test_acknowledging_twice_is_as_good_as_once(queue: Queue):
    inbox = Inbox()
    await queue.publish([a_job(step) for step in range(4)])
    await queue.consume("default", 1, inbox)
    for count in range(1, 5):
        delivery = (await inbox.holds(count))[-1]
        await delivery.ack()
        await delivery.ack()
    await eventually(lambda: queue.depth("default"), 0)
    assert inbox.steps == [0, 1, 2, 3]


async def test_pausing_gives_back_what_was_not_acknowledged(queue: Queue):
    before, after = Inbox(), Inbox()
    await queue.publish([a_job(step) for step in range(6)])
    await queue.consume("default", 4, before)
    await before.holds(4)
    await before.deliveries[1].ack()
    await before.holds(5)
    await queue.pause()
    await eventually(lambda: queue.depth("default"), 5)
    await queue.consume("default", 10, after)
    await after.holds(5)
    assert sorted(after.steps) == [0, 2, 3, 4, 5]
    assert len(before.deliveries) == 5


async def test_what_is_published_while_paused_waits(queue: Queue):
    inbox = Inbox()
    await queue.consume("default", 10, inbox)
    await queue.pause()
    await queue.publish([a_job(1)])
    await eventually(lambda: queue.depth("default"), 1)
    assert inbox.deliveries == []


async def test_an_acknowledgement_after_a_pause_is_a_no_op(queue: Queue):
    before, after = Inbox(), Inbox()
    await queue.publish([a_job(1)])
    await queue.consume("default", 1, before)
    await before.holds(1)
    await queue.pause()
    await before.deliveries[0].ack()
    await queue.consume("default", 1, after)
    await after.holds(1)
    assert after.steps == [1]


async def test_consuming_a_pool_twice_is_refused(queue: Queue):
    await queue.consume("default", 1, Inbox())
    with pytest.raises(ValueError, match="'default' is consumed already"):
        await queue.consume("default", 1, Inbox())


async def test_a_closed_queue_takes_nothing_and_says_so(queue: Queue):
    await until(lambda: queue.connected, 5)
    await queue.close()
    assert not queue.connected
    with pytest.raises(QueueUnavailable, match="closed"):
        await queue.publish([a_job(1)])


async def test_closing_twice_is_as_good_as_once(queue: Queue):
    await queue.close()
    await queue.close()
    assert not queue.connected
