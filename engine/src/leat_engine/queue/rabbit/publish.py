"""Jobs into the broker, each confirmed by it."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from uuid import uuid4

from aiormq import Channel, spec
from aiormq.exceptions import DeliveryError, PublishError
from tenacity import (
    retry,
    retry_if_exception_type,
    retry_if_not_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)
from yarl import URL

from leat_engine.errors import QueueUnavailable
from leat_engine.job import Job, traceparent_of
from leat_engine.queue.rabbit.connection import BROKER_ERRORS, Link, Session, guarded
from leat_engine.queue.rabbit.topology import declare_pool, pool_queue, waiting

IN_FLIGHT = 100
"""Unconfirmed messages per call. A thousand is no faster."""

CONFIRM_TIMEOUT = 5.0
"""Seconds the broker may take to confirm one message."""


@dataclass(slots=True)
class _Outlet:
    """What publishing needs of one session."""

    channel: Channel
    declared: set[str] = field(default_factory=set)


class Publisher:
    """Publishes on a connection of its own: a broker that stops reading from publishers must not stop consumers."""

    def __init__(self, url: URL, namespace: str) -> None:
        self._namespace = namespace
        self.link: Link[_Outlet] = Link(url, _open)

    async def publish(self, jobs: Sequence[Job]) -> None:
        """Hand over ``jobs`` and return when each is confirmed.

        Raises:
            QueueUnavailable: Some were not. Each may or may not have arrived.
        """
        if not jobs:
            return
        live = self.link.live
        if live is None or not self.link.connected:
            raise QueueUnavailable(self.link.away)
        session, outlet = live
        try:
            await self._declare(session, outlet, {job.pool for job in jobs})
            await self._confirmed(outlet, jobs)
        except TimeoutError as error:
            session.doubt()
            raise QueueUnavailable(f"the broker did not confirm within {CONFIRM_TIMEOUT:.0f} s") from error
        except PublishError as error:
            outlet.declared.clear()  # a queue was deleted meanwhile: the next call declares it again
            raise QueueUnavailable(f"the broker has no such queue any more: {error}") from error
        except DeliveryError as error:
            raise QueueUnavailable("the broker refuses messages: the pool's queue has no leader") from error
        except BROKER_ERRORS as error:
            raise QueueUnavailable(f"the broker was lost while publishing: {error!r}") from error

    async def depth(self, pool: str) -> int | None:
        """Jobs of ``pool`` ready in the broker, None if it cannot be asked."""
        live = self.link.live
        if live is None or not self.link.connected:
            return None
        try:
            return await guarded(waiting(live[0].connection, self._namespace, pool))
        except BROKER_ERRORS:
            live[0].doubt()
            return None

    async def _declare(self, session: Session, outlet: _Outlet, pools: set[str]) -> None:
        for pool in pools - outlet.declared:
            await guarded(declare_pool(session.connection, self._namespace, pool))
            outlet.declared.add(pool)

    async def _confirmed(self, outlet: _Outlet, jobs: Sequence[Job]) -> None:
        rest = iter(jobs)
        workers = [asyncio.create_task(self._drain(outlet, rest)) for _ in range(min(IN_FLIGHT, len(jobs)))]
        try:
            await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for worker in workers:
                worker.cancel()
        failed = [each for each in await asyncio.gather(*workers, return_exceptions=True) if each is not None]
        for error in failed:
            if isinstance(error, Exception):
                raise error
        if failed:  # all were cancelled, and not by us: the client does that when the connection goes away
            raise ConnectionResetError("the connection was lost before the broker confirmed")

    async def _drain(self, outlet: _Outlet, rest: Iterator[Job]) -> None:
        for job in rest:
            try:
                await self._send(outlet, job)
            except PublishError:
                raise
            except DeliveryError:
                await self._insist(outlet, job)

    # A quorum queue refuses while it has no leader: just after its declaration, or when a node of the cluster went.
    @retry(
        retry=retry_if_exception_type(DeliveryError) & retry_if_not_exception_type(PublishError),
        wait=wait_random_exponential(multiplier=0.05, max=0.5),
        stop=stop_after_attempt(5),
        reraise=True,
    )
    async def _insist(self, outlet: _Outlet, job: Job) -> None:
        await self._send(outlet, job)

    async def _send(self, outlet: _Outlet, job: Job) -> None:
        await outlet.channel.basic_publish(
            job.encode(),
            routing_key=pool_queue(self._namespace, job.pool),
            properties=_properties(job),
            mandatory=True,
            timeout=CONFIRM_TIMEOUT,
            wait=False,
        )


async def _open(session: Session) -> _Outlet:
    return _Outlet(await session.channel(confirms=True))


def _properties(job: Job) -> spec.Basic.Properties:
    return spec.Basic.Properties(
        content_type="application/json",
        delivery_mode=2,  # persistent
        headers={"traceparent": job.traceparent or traceparent_of(job.key.run_id)},
        priority=job.priority,
        message_id=uuid4().hex,
    )
