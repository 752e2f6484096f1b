"""The port between a runner and its broker. Two implementations, one conformance suite."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from leat_engine.job import Job


@dataclass(frozen=True, slots=True)
class Delivery:
    """A job that the broker handed over.

    Attributes:
        ack: To be called when the claim is durable; without it the job is delivered again. In any order, more than once
            and after a reconnect: what is no longer there to be acknowledged is left alone.
    """

    job: Job
    ack: Callable[[], Awaitable[None]]


class Queue(Protocol):
    """Jobs, by pool."""

    @property
    def connected(self) -> bool:
        """Whether publishing and consuming are likely to work now. While False, runners poll the store."""
        ...

    async def publish(self, jobs: Sequence[Job]) -> None:
        """Hand jobs to the broker; returns when it has confirmed all of them.

        Raises:
            QueueUnavailable: Some were not confirmed in time. Publishing them again is harmless.
        """
        ...

    async def consume(self, pool: str, prefetch: int, sink: Callable[[Delivery], None]) -> None:
        """Deliver jobs of ``pool`` to ``sink``, at most ``prefetch`` unacknowledged. Goes on across reconnects.

        Returns at once, also while the broker is away. ``sink`` takes the delivery in: it neither blocks nor raises.

        Raises:
            ValueError: This queue consumes ``pool`` already. After ``pause`` it may again.
        """
        ...

    async def pause(self) -> None:
        """Deliver nothing more; what was delivered and not acknowledged goes back to the queue."""
        ...

    async def depth(self, pool: str) -> int | None:
        """Jobs of ``pool`` that wait in the broker, or None when it cannot be asked."""
        ...

    async def close(self) -> None:
        """Stop consuming and disconnect."""
        ...
