"""What happens when the broker does not do its part. A broker of this module's own is killed, frozen and starved."""

import asyncio
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import aiormq
import psutil
import pytest
from tests.support.queue import Inbox, a_job, eventually, until

from leat_engine.errors import QueueUnavailable
from leat_engine.queue.rabbit import RabbitQueue
from leat_engine.queue.rabbit.topology import dead_letters, pool_queue
from leat_stack import Part, down, up
from leat_stack.daemons import Daemons
from leat_stack.rabbitmq_source import USUAL_PLACES, find_server
from leat_stack.stack import stop

AWAY_SECONDS = 2
"""Within which a runner knows that its broker was killed."""

FROZEN_SECONDS = 15
BACK_SECONDS = 20
"""Within which everything runs again after the broker answers again."""


@dataclass
class Broker:
    home: Path
    url: str = ""

    def start(self) -> None:
        self.url = up(self.home, [Part.RABBITMQ]).amqp_url

    def restart(self) -> None:
        stop(self.home, [Part.RABBITMQ])
        self.start()

    def signal(self, number: signal.Signals) -> None:
        for process in self._processes():
            with suppress(psutil.NoSuchProcess):  # a helper of the broker's that had just ended
                process.send_signal(number)

    def kill(self) -> None:
        processes = self._processes()
        self.signal(signal.SIGKILL)
        psutil.wait_procs(processes, timeout=10)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        self.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)

    @contextmanager
    def short_of_memory(self) -> Iterator[None]:
        self._control("set_vm_memory_high_watermark", "absolute", "1")
        try:
            yield
        finally:
            self._control("set_vm_memory_high_watermark", "0.4")

    def _control(self, *arguments: str) -> None:
        env = self._processes()[0].environ()
        server = find_server(env["PATH"], USUAL_PLACES)
        assert server is not None
        program = server.with_name("rabbitmqctl")
        subprocess.run([program, "--node", env["RABBITMQ_NODENAME"], *arguments], env=env, check=True)

    def _processes(self) -> list[psutil.Process]:
        found = Daemons(self.home).find(Part.RABBITMQ)
        return [found, *found.children(recursive=True)] if found else []


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("broker")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("LEAT_AMQP_URL", raising=False)  # whoever owns that broker wants it alive
        yield home
        down(home)


@pytest.fixture
def broker(home):
    broker = Broker(home)
    broker.start()
    if not any("beam" in process.name() for process in broker._processes()):
        pytest.skip("the broker runs in a container: its processes are not ours to kill")
    return broker


@pytest.fixture
async def queue(broker, request):
    queue = await RabbitQueue.connect(broker.url, namespace_of(request))
    yield queue
    await queue.close()


@pytest.fixture
async def channel(broker):
    """A stranger's channel to the same broker."""
    connection = await aiormq.connect(broker.url)
    yield await connection.channel()
    await connection.close()


@pytest.fixture
def namespace(request):
    return namespace_of(request)


def namespace_of(request) -> str:
    return f"n{abs(hash(request.node.name)):x}"


async def test_a_killed_broker_is_noticed_and_everything_resumes_when_it_is_back(broker, queue):
    inbox = Inbox()
    await queue.consume("default", 10, inbox)
    await queue.publish([a_job(1), a_job(2)])
    one, two = await inbox.holds(2)
    await one.ack()
    await eventually(lambda: queue.depth("default"), 0)
    broker.restart()  # RabbitMQ 3.10 forgets a quorum queue when it is killed within seconds of the declaration
    await until(lambda: queue.connected, BACK_SECONDS)
    await inbox.holds(3)
    broker.kill()
    await until(lambda: not queue.connected, AWAY_SECONDS)
    asked = time.monotonic()
    with pytest.raises(QueueUnavailable, match=r"RabbitMQ at 127\.0\.0\.1"):
        await queue.publish([a_job(3)])
    assert time.monotonic() - asked < AWAY_SECONDS
    assert await queue.depth("default") is None
    broker.start()
    await until(lambda: queue.connected, BACK_SECONDS)
    await inbox.holds(4)  # the job that nobody acknowledged, from the disk
    await two.ack()  # means nothing any more, and must not acknowledge another
    await queue.publish([a_job(4)])
    await inbox.holds(5)
    await queue.pause()
    await eventually(lambda: queue.depth("default"), 2)
    assert inbox.steps == [1, 2, 2, 2, 4]


async def test_a_publish_that_the_broker_dies_under_fails_at_once(broker, queue):
    await queue.publish([a_job(0)])
    with broker.frozen():
        publishing = asyncio.create_task(queue.publish([a_job(step) for step in range(500)]))
        await until(lambda: not publishing.done(), 1)
        broker.kill()
        await until(publishing.done, AWAY_SECONDS)
    with pytest.raises(QueueUnavailable, match="lost"):
        await publishing


async def test_a_queue_starts_while_its_broker_is_down_and_works_once_it_is_up(broker, namespace):
    broker.kill()
    inbox = Inbox()
    queue = RabbitQueue(broker.url, namespace)
    try:
        await queue.start()
        await queue.consume("default", 10, inbox)
        assert not queue.connected
        with pytest.raises(QueueUnavailable):
            await queue.publish([a_job(1)])
        broker.start()
        await until(lambda: queue.connected, BACK_SECONDS)
        await queue.publish([a_job(1)])
        await inbox.holds(1)
    finally:
        await queue.close()


async def test_connecting_to_nobody_says_where_and_why(monkeypatch):
    monkeypatch.setattr("leat_engine.queue.rabbit.queue.FIRST_CONNECT_TIMEOUT", 0.5)
    with pytest.raises(QueueUnavailable, match=r"RabbitMQ at 127\.0\.0\.1:1 is away: .*Connect"):
        await RabbitQueue.connect("amqp://guest:guest@127.0.0.1:1/", "default")


@pytest.mark.parametrize("url", ["http://broker/", "amqp://", "", "broker:5672"])
async def test_a_url_that_is_none_is_refused_with_what_was_found(url):
    with pytest.raises(ValueError, match="expected amqp://HOST or amqps://HOST"):
        RabbitQueue(url, "default")


async def test_a_frozen_broker_is_given_up_and_taken_up_again(broker, queue):
    inbox = Inbox()
    await queue.consume("default", 1, inbox)
    await queue.publish([a_job(1), a_job(2)])
    await inbox.holds(1)
    with broker.frozen():
        with pytest.raises(QueueUnavailable):
            await queue.publish([a_job(3)])
        await until(lambda: not any(link.live for link in links_of(queue)), FROZEN_SECONDS)
    await until(lambda: queue.connected, BACK_SECONDS)
    await inbox.holds(2)  # the unacknowledged one again: the broker has seen its consumer go
    await queue.publish([a_job(4)])
    await inbox.deliveries[-1].ack()
    await inbox.holds(3)


async def test_closing_does_not_hang_on_a_frozen_broker(broker, queue):
    inbox = Inbox()
    await queue.consume("default", 1, inbox)
    await queue.publish([a_job(1)])
    await inbox.holds(1)
    with broker.frozen():
        closing = asyncio.create_task(queue.close())
        await until(closing.done, FROZEN_SECONDS)
    await closing


async def test_an_idle_queue_notices_a_frozen_broker_too(broker, queue):
    with broker.frozen():
        await until(lambda: not queue.connected, FROZEN_SECONDS)
    await until(lambda: queue.connected, BACK_SECONDS)
    await queue.publish([a_job(1)])
    await eventually(lambda: queue.depth("default"), 1)


async def test_a_broker_short_of_memory_stops_publishers_and_no_consumer(broker, queue):
    inbox = Inbox()
    await queue.consume("default", 1, inbox)
    await queue.publish([a_job(1), a_job(2)])
    await inbox.holds(1)
    with broker.short_of_memory():
        with pytest.raises(QueueUnavailable):
            await queue.publish([a_job(3)])
        await until(lambda: not queue.connected, FROZEN_SECONDS)
        with pytest.raises(QueueUnavailable, match="short of memory or disk"):
            await queue.publish([a_job(4)])
        await inbox.deliveries[0].ack()
        await inbox.holds(2)
    await until(lambda: queue.connected, BACK_SECONDS)
    await queue.publish([a_job(5)])


async def test_what_cannot_be_read_becomes_a_dead_letter_and_stops_nobody(queue, channel, namespace):
    inbox = Inbox()
    await queue.consume("default", 1, inbox)
    await queue.publish([a_job(1)])
    await inbox.holds(1)
    name = pool_queue(namespace, "default")
    for body in (
        b"",
        b"{",
        b"null",
        b"[1]",
        b'"sevenup"',
        b"\xff" * 7,
        b'["x",0,1,1,"default",0,""]',
        b"[[],{},1,1,1,1e999,1]",
    ):
        await channel.basic_publish(body, routing_key=name, properties=aiormq.spec.Basic.Properties(delivery_mode=2))
    await queue.publish([a_job(2)])
    await inbox.deliveries[0].ack()
    await inbox.holds(2)
    await inbox.deliveries[1].ack()
    assert inbox.steps == [1, 2]
    dead = dead_letters(namespace)
    await eventually(lambda: waiting_in(channel, dead), 8)
    letter = await channel.basic_get(dead, no_ack=True)
    assert letter.header.properties.headers["x-first-death-queue"] == name


async def test_a_job_that_kills_its_consumers_becomes_a_dead_letter(queue, channel, namespace, monkeypatch):
    monkeypatch.setattr("leat_engine.queue.rabbit.topology.DELIVERY_LIMIT", 2)
    await queue.publish([a_job(1)])
    name = pool_queue(namespace, "default")
    for _ in range(3):
        message = await channel.basic_get(name)
        await channel.basic_nack(message.delivery_tag)
    await eventually(lambda: waiting_in(channel, dead_letters(namespace)), 1)


async def test_a_deleted_queue_is_declared_again_by_its_consumer(queue, channel, namespace):
    inbox = Inbox()
    await queue.consume("default", 1, inbox)
    await queue.publish([a_job(1)])
    await (await inbox.holds(1))[0].ack()
    await channel.queue_delete(pool_queue(namespace, "default"))
    await until(lambda: not queue.connected, AWAY_SECONDS)
    await until(lambda: queue.connected, BACK_SECONDS)
    await queue.publish([a_job(2)])
    await inbox.holds(2)


async def test_a_job_for_a_deleted_queue_is_not_confirmed_and_the_next_one_is(queue, channel, namespace):
    await queue.publish([a_job(1)])
    await channel.queue_delete(pool_queue(namespace, "default"))
    with pytest.raises(QueueUnavailable, match="no such queue"):
        await queue.publish([a_job(2)])
    await queue.publish([a_job(2)])
    await eventually(lambda: queue.depth("default"), 1)


async def test_a_queue_somebody_else_declared_is_taken_as_it_is(queue, channel, namespace):
    await channel.queue_declare(pool_queue(namespace, "default"), durable=True, arguments={"x-max-length": 7})
    await queue.publish([a_job(1)])
    await eventually(lambda: queue.depth("default"), 1)


async def test_a_message_is_persistent_unique_and_traced(queue, channel, namespace):
    await queue.publish([a_job(1, priority=6), a_job(1, priority=6)])
    one = await channel.basic_get(pool_queue(namespace, "default"))
    two = await channel.basic_get(pool_queue(namespace, "default"))
    properties = one.header.properties
    assert (properties.delivery_mode, properties.priority) == (2, 6)
    assert properties.headers["traceparent"] == a_job(1).traceparent
    assert properties.message_id != two.header.properties.message_id


async def test_the_jobs_of_a_consumer_that_vanished_go_to_another(broker, queue, namespace):
    vanished, inbox = Inbox(), Inbox()
    other = await RabbitQueue.connect(broker.url, namespace)
    await other.consume("default", 10, vanished)
    await queue.publish([a_job(step) for step in range(5)])
    await vanished.holds(5)
    await queue.consume("default", 10, inbox)
    await other.close()
    await inbox.holds(5)
    assert sorted(inbox.steps) == list(range(5))


async def test_those_who_meet_a_pool_for_the_first_time_at_once_are_all_heard(broker, namespace):
    queues = await asyncio.gather(*(RabbitQueue.connect(broker.url, namespace) for _ in range(6)))
    try:
        await asyncio.gather(
            *(each.consume("default", 1, Inbox()) for each in queues[:3]),
            *(each.publish([a_job(1)]) for each in queues[3:]),
        )
        pools = [f"p{number}" for number in range(5)]
        await asyncio.gather(*(each.publish([a_job(1, pool=pool) for pool in pools]) for each in queues))
        for pool in pools:
            await eventually(lambda pool=pool: queues[0].depth(pool), 6)
    finally:
        await asyncio.gather(*(each.close() for each in queues))


async def waiting_in(channel, queue: str) -> int:
    return (await channel.queue_declare(queue, passive=True)).message_count


def links_of(queue: RabbitQueue):
    return [queue._publisher.link, *(consumer.link for consumer in queue._consumers.values())]
