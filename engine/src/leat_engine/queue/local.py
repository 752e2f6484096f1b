"""The queue inside one process: for ``leat run`` and for tests."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush
from itertools import count

from leat_engine.errors import QueueUnavailable
from leat_engine.job import Job
from leat_engine.queue.port import Delivery

_Entry = tuple[int, int, Job]
"""(-priority, order of arrival, job): the smallest is next."""


@dataclass(slots=True)
class _Consumer:
    prefetch: int
    sink: Callable[[Delivery], None]
    unacknowledged: dict[int, _Entry] = field(default_factory=dict)


class LocalQueue:
    """Jobs by priority, then in order of arrival. Implements ``leat_engine.queue.port.Queue``."""

    def __init__(self) -> None:
        self._arrivals = count()
        self._waiting: dict[str, list[_Entry]] = {}
        self._consumers: dict[str, _Consumer] = {}
        self._closed = False

    @property
    def connected(self) -> bool:
        """True until it is closed."""
        return not self._closed

    async def publish(self, jobs: Sequence[Job]) -> None:
        """Queue ``jobs``. They are delivered in later turns of the loop, as a broker would.

        Raises:
            QueueUnavailable: The queue is closed.
        """
        if self._closed:
            raise QueueUnavailable("the local queue is closed")
        for job in jobs:
            heappush(self._waiting.setdefault(job.pool, []), (-job.priority, next(self._arrivals), job))
        for pool in {job.pool for job in jobs}:
            self._deliver_soon(pool)

    async def consume(self, pool: str, prefetch: int, sink: Callable[[Delivery], None]) -> None:
        """Deliver jobs of ``pool`` to ``sink``, at most ``prefetch`` unacknowledged.

        Raises:
            ValueError: This queue consumes ``pool`` already.
        """
        if pool in self._consumers:
            raise ValueError(f"pool {pool!r} is consumed already")
        self._consumers[pool] = _Consumer(prefetch, sink)
        self._deliver_soon(pool)

    async def pause(self) -> None:
        """Deliver nothing more; what was delivered and not acknowledged goes back, to its old place."""
        for pool, consumer in self._consumers.items():
            for entry in consumer.unacknowledged.values():
                heappush(self._waiting[pool], entry)
            consumer.unacknowledged.clear()
        self._consumers.clear()

    async def depth(self, pool: str) -> int | None:
        """Jobs of ``pool`` that nobody was given yet; None when nothing was ever published to it."""
        waiting = self._waiting.get(pool)
        return None if waiting is None else len(waiting)

    async def close(self) -> None:
        """Stop delivering and take nothing more."""
        await self.pause()
        self._closed = True

    def _deliver_soon(self, pool: str) -> None:
        asyncio.get_running_loop().call_soon(self._deliver, pool)

    def _deliver(self, pool: str) -> None:
        consumer, waiting = self._consumers.get(pool), self._waiting.get(pool)
        while consumer and waiting and len(consumer.unacknowledged) < consumer.prefetch:
            entry = heappop(waiting)
            consumer.unacknowledged[entry[1]] = entry
            consumer.sink(Delivery(entry[2], partial(self._ack, consumer, entry)))

    async def _ack(self, consumer: _Consumer, entry: _Entry) -> None:
        if consumer.unacknowledged.pop(entry[1], None) is not None:
            self._deliver_soon(entry[2].pool)
