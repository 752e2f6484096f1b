"""Jobs out of the broker. The callback hands over and returns: the client cancels callbacks when a channel closes."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import structlog
from aiormq import Channel
from aiormq.abc import DeliveredMessage
from prometheus_client import Counter
from yarl import URL

from leat_engine.job import Job
from leat_engine.queue.port import Delivery
from leat_engine.queue.rabbit.connection import BROKER_ERRORS, Link, Session, guarded
from leat_engine.queue.rabbit.topology import RPC_TIMEOUT, declare_pool, pool_queue

log = structlog.get_logger()
UNREADABLE = Counter("leat_queue_unreadable", "Messages that were no jobs, and became dead letters")


class Ack(NamedTuple):
    """One frame: acknowledges ``tag``, and with ``multiple`` all tags below it."""

    tag: int
    multiple: bool


class Ledger:
    """Which deliveries of one channel are settled, and in how few frames the broker can be told so.

    Delivery tags count up from 1 without gaps. ``multiple`` is used only for a tag with nothing unsettled below it, and
    only for one that the broker has not heard of yet: the broker takes one it no longer knows for an error, and
    acknowledges everything on the way there.
    """

    def __init__(self) -> None:
        self._frontier = 0  # everything up to here is settled
        self._beyond: set[int] = set()
        self._unsent: list[int] = []

    def acknowledge(self, tag: int) -> bool:
        """Note that ``tag`` is done with. False when it was settled before."""
        settled = self.settle(tag)
        if settled:
            self._unsent.append(tag)
        return settled

    def settle(self, tag: int) -> bool:
        """Note that the broker need not be told about ``tag``. False when it was settled before."""
        if tag <= self._frontier or tag in self._beyond:
            return False
        self._beyond.add(tag)
        while self._frontier + 1 in self._beyond:
            self._frontier += 1
            self._beyond.remove(self._frontier)
        return True

    def take(self) -> list[Ack]:
        """The frames that tell the broker about every acknowledgement since the last call."""
        below = [tag for tag in self._unsent if tag <= self._frontier]
        beyond = [Ack(tag, multiple=False) for tag in self._unsent if tag > self._frontier]
        self._unsent.clear()
        return [Ack(max(below), multiple=len(below) > 1), *beyond] if below else beyond


class Subscription:
    """The consumer of one session."""

    def __init__(self, session: Session, channel: Channel, sink: Callable[[Delivery], None]) -> None:
        self._session = session
        self._channel = channel
        self._sink = sink
        self._ledger = Ledger()
        self._acknowledged = asyncio.Event()
        self._stopped = False

    async def deliver(self, message: DeliveredMessage) -> None:
        """Hand a message over as a job, or reject it to the dead letters."""
        tag = message.delivery_tag
        if self._stopped or tag is None:
            return
        try:
            job = Job.decode(message.body)
        except ValueError as error:
            UNREADABLE.inc()
            log.warning("job undecodable", error=str(error), message_id=message.header.properties.message_id)
            await self._channel.basic_reject(tag, requeue=False, wait=False)
            self._ledger.settle(tag)
            return
        self._sink(Delivery(job, partial(self._ack, tag)))

    async def send_acks(self) -> None:
        """Tell the broker of acknowledgements as they come, those of one turn of the loop together."""
        while self._session.alive:
            await self._acknowledged.wait()
            self._acknowledged.clear()
            await self._flush()

    async def stop(self, consumer_tag: str) -> None:
        """Take nothing more, and give back what is not acknowledged."""
        self._stopped = True
        await self._channel.basic_cancel(consumer_tag, timeout=RPC_TIMEOUT)
        await self._flush()
        await self._channel.basic_nack(0, multiple=True, requeue=True)  # 0: all that are left

    async def _ack(self, tag: int) -> None:
        # After a loss the broker has given the job to somebody else already, and tags mean something else.
        if self._session.alive and self._ledger.acknowledge(tag):
            self._acknowledged.set()

    async def _flush(self) -> None:
        for ack in self._ledger.take():
            await self._channel.basic_ack(ack.tag, multiple=ack.multiple, wait=False)


class Consumer:
    """Consumes one pool on a connection of its own, anew on every reconnect."""

    def __init__(self, url: URL, queue: tuple[str, str], prefetch: int, sink: Callable[[Delivery], None]) -> None:
        self._namespace, self._pool = queue
        self._prefetch = prefetch
        self._sink = sink
        self.link: Link[Subscription] = Link(url, self._subscribe)

    async def close(self) -> None:
        """Give back what is not acknowledged and disconnect."""
        if (live := self.link.live) is not None:
            try:
                await guarded(live[1].stop(self._consumer_tag))
            except BROKER_ERRORS as error:
                log.debug("queue consumer did not stop cleanly; the broker requeues by itself", error=repr(error))
        await self.link.close()

    @property
    def _consumer_tag(self) -> str:
        return f"leat-{self._pool}"

    async def _subscribe(self, session: Session) -> Subscription:
        await declare_pool(session.connection, self._namespace, self._pool)
        channel = await session.channel(confirms=False)
        channel.on_consumer_cancel_callbacks.add(lambda _: session.lose("the broker cancelled the consumer"))
        await channel.basic_qos(prefetch_count=self._prefetch, timeout=RPC_TIMEOUT)
        subscription = Subscription(session, channel, self._sink)
        await channel.basic_consume(
            pool_queue(self._namespace, self._pool),
            subscription.deliver,
            consumer_tag=self._consumer_tag,
            timeout=RPC_TIMEOUT,
        )
        session.run(subscription.send_acks())
        return subscription
