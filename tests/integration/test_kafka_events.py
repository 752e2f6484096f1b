"""Records of other people's topics: committed when they have been dealt with, and there again when they were not."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from tests.support.queue import until
from tests.support.topics import Topics

from leat_engine.kafka import events as consuming_
from leat_engine.kafka.events import Events
from leat_engine.kafka.record import Subscription
from leat_engine.spec.brokers import brokers_of
from leat_engine.trigger import Fate
from leat_stack import Part, down, up
from leat_stack.daemons import Daemons
from leat_stack.stack import stop


class Desk:
    """Takes records, and deals with them when the test says so."""

    def __init__(self):
        self.seen = []
        self.held = 0
        self.most = 0
        self.rejected = set()
        self.open = asyncio.Event()

    async def take(self, record):
        self.seen.append(record)
        self.held += 1
        self.most = max(self.most, self.held)
        try:
            await self.open.wait()
        finally:
            self.held -= 1
        return Fate.REJECTED if record.value in self.rejected else Fate.DONE

    @property
    def values(self):
        return sorted(int(record.value) for record in self.seen)

    def told(self):
        return f"not so; held {self.held}, seen {self.values}"


@asynccontextmanager
async def consuming(url, topic, desk, **more):
    fields = {"group": f"of-{topic}", "from_now": False, "prefetch": 3} | more
    events = Events(brokers_of(url), Subscription(topic, **fields), handle=desk.take)
    events.start()
    try:
        yield events
    finally:
        await events.close()


async def settled(topics, topic, count):
    """Return when the group has committed so many records."""
    async with asyncio.timeout(30):
        while sum(max(0, offset) for offset in (await topics.committed(f"of-{topic}")).values()) < count:  # noqa: ASYNC110 - in another process
            await asyncio.sleep(0.05)


@pytest.fixture
def desk():
    return Desk()


async def test_no_more_than_the_prefetch_are_held_and_all_are_committed(topics, desk):
    topic = await topics.make()
    for number in range(10):
        await topics.publish(topic, number, key=b"k", headers=[("n", b"1"), ("n", b"2")])
    async with consuming(topics.url, topic, desk) as events:
        await until(lambda: desk.held == 3, 20, desk.told)
        assert events.away is None
        desk.open.set()
        await settled(topics, topic, 10)
    assert desk.most == 3
    assert desk.values == list(range(10))
    record = desk.seen[0]
    assert (record.key, record.headers) == (b"k", {"n": b"2"})
    assert record.id.startswith(f"{topic}/{record.partition}/0/")


async def test_what_was_not_committed_comes_again_to_the_next_one(topics, desk):
    topic = await topics.make()
    for number in range(2):
        await topics.publish(topic, number)
    async with consuming(topics.url, topic, desk):
        await until(lambda: desk.held == 2, 20, desk.told)
    assert desk.held == 0
    desk.open.set()
    async with consuming(topics.url, topic, desk):
        await settled(topics, topic, 2)
        first, again = desk.seen[:2], desk.seen[2:]
        assert sorted(record.id for record in first) == sorted(record.id for record in again)
    later = Desk()
    async with consuming(topics.url, topic, later) as events:
        await until(lambda: events.away is None, 20)
        await topics.publish(topic, 2)
        await until(lambda: later.seen, 20)
    assert later.values == [2]


async def test_a_group_that_begins_now_misses_nothing_between_two_starts(topics, desk):
    topic = await topics.make()
    await topics.publish(topic, 0)
    desk.open.set()
    async with consuming(topics.url, topic, desk, from_now=True) as events:
        await until(lambda: events.away is None, 20)
    assert desk.seen == []
    for number in (1, 2):  # nobody has consumed anything yet, and nobody is there
        await topics.publish(topic, number)
    async with consuming(topics.url, topic, desk, from_now=True):
        await until(lambda: desk.values == [1, 2], 20, desk.told)


async def test_a_partition_that_comes_later_is_taken_from_its_beginning(topics, desk, monkeypatch):
    monkeypatch.setattr(consuming_, "METADATA_AGE", 0.5)
    topic = await topics.make(partitions=1)
    desk.open.set()
    async with consuming(topics.url, topic, desk, from_now=True) as events:
        await until(lambda: events.away is None, 20)
        await topics.publish(topic, 0)
        await until(lambda: desk.values == [0], 20, desk.told)
        await topics.widen(topic, 3)
        await topics.producer.client.force_metadata_update()
        await until(lambda: len(topics.producer.client.cluster.partitions_for_topic(topic)) == 3, 20)
        for number in (1, 2):
            await topics.publish(topic, number, partition=number)
        await until(lambda: desk.values == [0, 1, 2], 20, desk.told)


async def test_what_is_rejected_goes_to_the_dead_letters_as_it_came(topics, desk):
    topic, dead = await topics.make(), await topics.make("dead")
    desk.open.set()
    desk.rejected = {b"1"}
    for number in range(3):
        await topics.publish(topic, number, key=b"k", headers=[("n", b"1")])
    async with consuming(topics.url, topic, desk, dead_letters=dead, origin={"leat-trigger": "shop/order/new"}):
        await settled(topics, topic, 3)
        where = next(record for record in desk.seen if record.value == b"1")
    (letter,) = await topics.records(dead)
    assert (letter.key, letter.value) == (b"k", b"1")
    headers = [("n", b"1"), ("leat-trigger", b"shop/order/new"), ("leat-record", where.id.encode())]
    assert list(letter.headers) == headers


async def test_two_members_of_a_group_share_and_whoever_goes_leaves_to_the_other(topics, desk):
    topic = await topics.make(partitions=4)
    other = Desk()
    desk.open.set()
    other.open.set()
    async with consuming(topics.url, topic, desk) as events:
        await until(lambda: events.away is None, 20)
        async with consuming(topics.url, topic, other):
            number = 0
            async with asyncio.timeout(60):
                while not (desk.seen and other.seen):  # until both have their part: when that is, the group says
                    await topics.publish(topic, number, partition=number % 4)
                    number += 1
        for more in range(number, number + 8):
            await topics.publish(topic, more, partition=more % 4)
        await until(lambda: set(range(number + 8)) <= set(desk.values + other.values), 20, desk.told)
        assert set(range(number, number + 8)) <= set(desk.values)


async def test_groups_get_all_records_each(topics, desk):
    topic = await topics.make()
    other = Desk()
    desk.open.set()
    other.open.set()
    async with consuming(topics.url, topic, desk, group="one"), consuming(topics.url, topic, other, group="two"):
        for number in range(5):
            await topics.publish(topic, number)
        await until(lambda: desk.values == other.values == list(range(5)), 20)


async def test_a_topic_that_is_not_there_is_named_and_consumed_once_it_is(topics, desk):
    desk.open.set()
    async with consuming(topics.url, f"{topics.prefix}-later", desk) as events:
        await until(lambda: "there is no topic" in (events.away or ""), 20, lambda: events.away)
        topic = await topics.make("later")
        await topics.publish(topic, 1)
        await until(lambda: desk.values == [1], 20, desk.told)
        await until(lambda: events.away is None, 20)


async def test_what_keeps_it_away_is_told_without_the_password(topics, desk):
    topic = await topics.make()
    brokers = brokers_of(topics.url, None, "hunter2")
    for found, part in (
        (brokers, "does not know this user with this password"),
        (replace(brokers, username=None, mechanism=None), "expects TLS, or somebody who logs in"),
        (replace(brokers, tls=True), "TLS"),
        (replace(brokers, servers=("127.0.0.1:1",)), "it refuses connections"),
    ):
        events = Events(found, Subscription(topic, "g", from_now=True, prefetch=1), handle=desk.take)
        events.start()
        try:
            await until(lambda: part in (events.away or ""), 30, lambda: events.away)  # noqa: B023
            assert "hunter" not in events.away
        finally:
            await events.close()


@pytest.fixture
async def home(kafka, tmp_path):  # noqa: ARG001  it skips where there can be none
    """The folder of a Kafka of this test's own."""
    home = tmp_path / "stack"
    yield home
    await asyncio.to_thread(down, home)


async def test_each_record_is_dealt_with_whatever_befalls_the_broker(home, desk, monkeypatch):
    """Killed twice and frozen once under load: what the broker confirmed is dealt with, and committed once."""
    monkeypatch.setattr(consuming_, "SILENCE", 2.0)
    url = (await asyncio.to_thread(up, home, [Part.KAFKA])).kafka_url
    desk.open.set()
    confirmed = 0
    async with Topics.at(url) as topics:
        topic = await topics.make()
        async with consuming(url, topic, desk, prefetch=5) as events:
            for blow in ("kill", "freeze", "kill"):
                await until(lambda: events.away is None, 60, lambda: events.away)
                for _ in range(20):
                    await topics.publish(topic, confirmed)
                    confirmed += 1
                if blow == "kill":
                    await asyncio.to_thread(stop, home, [Part.KAFKA], kill=True)
                else:
                    Daemons(home).find(Part.KAFKA).suspend()
                await until(lambda: events.away is not None, 60)
                if blow == "freeze":
                    Daemons(home).find(Part.KAFKA).resume()
                await asyncio.to_thread(up, home, [Part.KAFKA])
            await until(lambda: set(desk.values) == set(range(confirmed)), 60, desk.told)
            await settled(topics, topic, confirmed)
            await until(lambda: events.away is None, 60, lambda: events.away)
        committed = await topics.committed(f"of-{topic}")
    assert sum(committed.values()) == confirmed == 60
    assert len({record.id for record in desk.seen}) == confirmed
