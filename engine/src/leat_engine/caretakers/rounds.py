"""The rounds of the caretakers, and who does them."""

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from prometheus_client import Counter

from leat_engine.caretakers.rescue import rescue
from leat_engine.caretakers.resend import resend
from leat_engine.caretakers.wake import wake
from leat_engine.errors import QueueUnavailable, StoreUnavailable
from leat_engine.job import Job
from leat_engine.queue.port import Queue
from leat_engine.store import Store

LEADER_LOCK = 0x1EA7_0002
CARED = Counter("leat_caretaker_jobs", "Steps that the caretakers made ready or published again", ["caretaker"])
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class CaretakerOptions:
    """Seconds.

    Attributes:
        interval: Between two rounds.
        silent_for: A runner that gave no sign of life for so long is dead: three heartbeats.
        patience: A ready step unclaimed for so long, while its queue is empty, lost its message.
        forget_after: Dead runners are remembered for so long.
    """

    interval: float = 0.5
    silent_for: float = 6.0
    patience: float = 5.0
    prune_interval: float = 3600.0
    forget_after: float = 86400.0


class Caretakers:
    """Does the rounds while it leads."""

    def __init__(self, store: Store, queue: Queue, options: CaretakerOptions | None = None) -> None:
        self._store = store
        self._queue = queue
        self._options = options or CaretakerOptions()
        self._in_touch_since: float | None = None
        self._last: dict[str, float] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin the rounds."""
        self._task = asyncio.create_task(self._loop(), name="caretakers")

    async def stop(self) -> None:
        """End the rounds; one that is under way is broken off, which harms nothing."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _loop(self) -> None:
        while True:
            await asyncio.sleep(self._options.interval)
            try:
                await self.round(time.monotonic())
            except StoreUnavailable as error:
                self._in_touch_since = None
                log.warning("round_held", reason=str(error))
            except Exception:
                log.exception("round_failed")

    async def round(self, now: float) -> None:
        """One round at ``now`` (monotonic seconds), if nobody else leads."""
        async with self._store.leading(LEADER_LOCK) as leads:
            # Silence counts only while Postgres was in reach: after an outage everybody was silent.
            if self._in_touch_since is None:
                self._in_touch_since = now
            if not leads:
                return
            options = self._options
            await self._care("wake", wake(self._store))
            if now - self._in_touch_since >= options.silent_for and self._turn("rescue", now, 1.0):
                await self._care("rescue", rescue(self._store, options.silent_for))
            if self._turn("resend", now, options.patience / 2):
                await self._care("resend", resend(self._store, self._queue, options.patience))
            if self._turn("prune", now, options.prune_interval):
                await self._store.prune(datetime.now(UTC), options.forget_after)

    async def _care(self, caretaker: str, work: Awaitable[list[Job]]) -> None:
        jobs = await work
        if not jobs:
            return
        CARED.labels(caretaker).inc(len(jobs))
        try:
            await self._queue.publish(jobs)
        except QueueUnavailable as error:
            log.warning("publish_failed", jobs=len(jobs), caretaker=caretaker, reason=str(error))

    def _turn(self, name: str, now: float, every: float) -> bool:
        if now - self._last.get(name, float("-inf")) < every:
            return False
        self._last[name] = now
        return True
