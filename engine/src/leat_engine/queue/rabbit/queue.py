"""The port, composed of a publisher and of a consumer per pool."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Self

from yarl import URL

from leat_engine.errors import QueueUnavailable
from leat_engine.job import Job
from leat_engine.queue.port import Delivery
from leat_engine.queue.rabbit.connection import HEARTBEAT
from leat_engine.queue.rabbit.consume import Consumer
from leat_engine.queue.rabbit.publish import Publisher

FIRST_CONNECT_TIMEOUT = 10.0


class RabbitQueue:
    """Jobs over RabbitMQ. Implements ``leat_engine.queue.port.Queue``.

    Attributes:
        url: ``amqp://user:password@host:port/vhost`` or ``amqps://``.
        namespace: Part of every queue's name, so that installations can share a broker.
    """

    def __init__(self, url: str, namespace: str) -> None:
        self._url = _parse(url)
        self._namespace = namespace
        self._publisher = Publisher(self._url, namespace)
        self._consumers: dict[str, Consumer] = {}

    @classmethod
    async def connect(cls, url: str, namespace: str) -> Self:
        """Return a queue that is connected.

        Raises:
            QueueUnavailable: The broker could not be reached within ten seconds.
            ValueError: The URL is not one.
        """
        queue = cls(url, namespace)
        await queue.start()
        try:
            async with asyncio.timeout(FIRST_CONNECT_TIMEOUT):
                await queue._publisher.link.up()
        except TimeoutError as error:
            away = queue._publisher.link.away
            await queue.close()
            raise QueueUnavailable(away) from error
        return queue

    async def start(self) -> None:
        """Begin to connect, and keep trying while the broker is away. Returns at once."""
        self._publisher.link.start()

    @property
    def connected(self) -> bool:
        """Whether the broker is there and takes messages, and all consumers are attached to it."""
        return self._publisher.link.connected and all(each.link.connected for each in self._consumers.values())

    async def publish(self, jobs: Sequence[Job]) -> None:
        """Hand jobs to the broker; returns when it has confirmed all of them.

        Raises:
            QueueUnavailable: At once when the broker is away; after five seconds when it does not confirm.
        """
        await self._publisher.publish(jobs)

    async def consume(self, pool: str, prefetch: int, sink: Callable[[Delivery], None]) -> None:
        """Deliver jobs of ``pool`` to ``sink``, now or as soon as the broker is there.

        Raises:
            ValueError: This queue consumes ``pool`` already.
        """
        if pool in self._consumers:
            raise ValueError(f"pool {pool!r} is consumed already")
        consumer = Consumer(self._url, (self._namespace, pool), prefetch, sink)
        self._consumers[pool] = consumer
        consumer.link.start()

    async def pause(self) -> None:
        """Deliver nothing more; what was delivered and not acknowledged goes back to the queue."""
        consumers = list(self._consumers.values())
        self._consumers.clear()
        await asyncio.gather(*(each.close() for each in consumers))

    async def depth(self, pool: str) -> int | None:
        """Jobs of ``pool`` that are ready in the broker, or None when it cannot be asked."""
        return await self._publisher.depth(pool)

    async def close(self) -> None:
        """Give back what is not acknowledged and disconnect."""
        await self.pause()
        await self._publisher.link.close()


def _parse(url: str) -> URL:
    parsed = URL(url)
    if parsed.scheme not in {"amqp", "amqps"} or not parsed.host:
        found = f"{parsed.scheme}://{parsed.host or ''}"
        raise ValueError(f"the broker's URL starts with {found!r}; expected amqp://HOST or amqps://HOST")
    return parsed.update_query({"heartbeat": str(HEARTBEAT), "name": "leat", **parsed.query})
