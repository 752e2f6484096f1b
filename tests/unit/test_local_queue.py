from tests.support.queue import Inbox, a_job

from leat_engine.queue.local import LocalQueue


async def test_a_higher_priority_is_delivered_first_then_the_older_job():
    queue, inbox = LocalQueue(), Inbox()
    await queue.publish([a_job(1), a_job(2, priority=9), a_job(3), a_job(4, priority=9), a_job(5, priority=1)])
    await queue.consume("default", 10, inbox)
    await inbox.holds(5)
    assert inbox.steps == [2, 4, 5, 1, 3]


async def test_what_a_pause_gives_back_keeps_its_place():
    queue, before, after = LocalQueue(), Inbox(), Inbox()
    await queue.publish([a_job(1), a_job(2), a_job(3)])
    await queue.consume("default", 2, before)
    await before.holds(2)
    await queue.pause()
    await queue.publish([a_job(4)])
    await queue.consume("default", 10, after)
    await after.holds(4)
    assert after.steps == [1, 2, 3, 4]
