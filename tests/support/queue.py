"""What tests of queues share: jobs, and somebody who takes them."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

from leat_engine.job import Job, StepKey
from leat_engine.queue.port import Delivery

RUN = UUID("0190a6c0-0000-7000-8000-000000000001")


def a_job(step: int = 1, *, pool: str = "default", priority: int = 0) -> Job:
    return Job(
        StepKey(RUN, 0, step), attempt=1, pool=pool, priority=priority, traceparent=f"00-{step:032x}-{1:016x}-01"
    )


class Inbox:
    """A sink that keeps what it was given, in order."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []

    def __call__(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)

    @property
    def jobs(self) -> list[Job]:
        return [delivery.job for delivery in self.deliveries]

    @property
    def steps(self) -> list[int]:
        return [job.key.step for job in self.jobs]

    async def holds(self, count: int, seconds: float = 20) -> list[Delivery]:
        """Return all deliveries once there are ``count`` of them."""
        await until(lambda: len(self.deliveries) >= count, seconds, lambda: f"{self.steps}, expected {count} jobs")
        return self.deliveries


async def until(condition: Callable[[], bool], seconds: float, found: Callable[[], object] = lambda: "False") -> None:
    """Return as soon as the condition holds; fail with what was ``found`` instead when it does not in time."""
    try:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - what is waited for happens in another process
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"after {seconds} s: {found()}") from None


async def eventually(ask: Callable[[], Awaitable[object]], expected: object, seconds: float = 20) -> None:
    """Return as soon as the answer is the expected one; fail with the last answer when it is not in time."""
    answer = await ask()
    try:
        async with asyncio.timeout(seconds):
            while (answer := await ask()) != expected:  # noqa: ASYNC110 - the same
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"after {seconds} s: {answer!r}, expected {expected!r}") from None
