"""The rounds of the caretakers, and who does them."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from prometheus_client import Counter

from leat_engine.artifacts import Objects
from leat_engine.caretakers.expire import expire
from leat_engine.caretakers.fold import fold
from leat_engine.caretakers.follow import follow
from leat_engine.caretakers.rescue import rescue
from leat_engine.caretakers.resend import resend
from leat_engine.caretakers.sweep import count_breakers, forget, sweep
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
        interval: Between two rounds; a fraction of a heartbeat, so that an outage between two rounds is noticed.
        silent_for: A runner that gave no sign of life for so long is dead: three heartbeats.
        patience: A ready step unclaimed for so long, while its queue is empty, lost its message.
        sweep_interval: Between two looks for what sleeps, though it could go on, and for children that do not follow.
        count_interval: Between two counts of what the metrics tell.
        forget_interval: Between two looks for what limits, caches and parents do not need any more.
        fold_interval: Between two looks for runs whose steps tell how long they took.
        expire_interval: Between two looks for objects of the artifact store that nothing needs.
        forget_after: Dead runners are remembered for so long.
        retention: Runs are kept for so long; then their whole month goes, once all of it is that old and over.
    """

    interval: float = 0.5
    silent_for: float = 6.0
    patience: float = 5.0
    sweep_interval: float = 1.0
    count_interval: float = 10.0
    forget_interval: float = 30.0
    fold_interval: float = 5.0
    prune_interval: float = 3600.0
    expire_interval: float = 60.0
    forget_after: float = 86_400.0
    retention: float = 90 * 86_400.0


class Caretakers:
    """Does the rounds while it leads."""

    def __init__(
        self,
        store: Store,
        queue: Queue,
        options: CaretakerOptions | None = None,
        clock: Callable[[], float] = time.monotonic,
        objects: Objects | None = None,
    ) -> None:
        self._store = store
        self._queue = queue
        self._options = options or CaretakerOptions()
        self._clock = clock
        self._in_touch_since = float("inf")
        self._touched = float("-inf")
        self._last: dict[str, float] = {}
        self._task: asyncio.Task[None] | None = None
        self._publishing: set[asyncio.Task[None]] = set()
        self._objects = objects
        self._expiring: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin the rounds."""
        self._task = asyncio.create_task(self._loop(), name="caretakers")

    async def stop(self) -> None:
        """End the rounds; one that is under way is broken off, which harms nothing."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.gather(*self._publishing)
        if self._expiring is not None:
            self._expiring.cancel()
            await asyncio.gather(self._expiring, return_exceptions=True)

    async def _loop(self) -> None:
        me = asyncio.current_task()
        while me is None or not me.cancelling():  # what fails in the moment of a cancel hides it, but for this count
            await asyncio.sleep(self._options.interval)
            try:
                await self.round()
            except StoreUnavailable as error:
                self._touched = float("-inf")
                log.warning("round_held", reason=str(error))
            except Exception:
                log.exception("round_failed")

    async def round(self) -> None:
        """One round, if nobody else leads."""
        async with self._store.care.leading(LEADER_LOCK) as leads:
            now = self._clock()
            in_touch_for = self._touch(now)
            if self._turn("count", now, self._options.count_interval):
                await count_breakers(self._store)
            if not leads:
                return
            options = self._options
            await self._care("wake", wake(self._store))
            if in_touch_for >= options.silent_for and self._turn("rescue", now, 1.0):
                await self._care("rescue", rescue(self._store, options.silent_for))
            if self._turn("sweep", now, options.sweep_interval):
                await self._care("follow", follow(self._store))
                await self._care("sweep", sweep(self._store))
            if self._turn("forget", now, options.forget_interval):
                await forget(self._store)
            if self._turn("resend", now, options.patience / 2):
                await self._care("resend", resend(self._store, self._queue, options.patience))
            if self._turn("fold", now, options.fold_interval):
                await fold(self._store, datetime.now(UTC))
            if self._turn("prune", now, options.prune_interval):
                await self._prune()
            if self._objects is not None and self._turn("expire", now, options.expire_interval):
                self._expire(self._objects)

    def _touch(self, now: float) -> float:
        """Postgres answers at ``now``: for how long it has done so without a pause.

        Silence counts only while Postgres was in reach of everybody. After an outage all runners were silent; and so
        they were when Postgres, or this process, stood still for a heartbeat without any call having failed.
        """
        if now - self._touched > self._options.silent_for / 3:
            self._in_touch_since = now
        self._touched = now
        return now - self._in_touch_since

    async def _prune(self) -> None:
        options = self._options
        kept, runners = timedelta(seconds=options.retention), timedelta(seconds=options.forget_after)
        for month in await self._store.care.prune(datetime.now(UTC), kept, runners):
            log.info("pruned", month=month)
        await self._store.durations.forget(kept)

    def _expire(self, objects: Objects) -> None:
        """Aside: an object store that stands still must not keep the other rounds waiting."""
        if self._expiring is None or self._expiring.done():
            self._expiring = asyncio.create_task(self._expired(objects), name="expire")

    async def _expired(self, objects: Objects) -> None:
        try:
            kept = timedelta(seconds=self._options.retention)
            await expire(self._store, objects, datetime.now(UTC) - kept)
        except StoreUnavailable as error:
            log.warning("round_held", reason=str(error))
        except Exception:
            log.exception("round_failed")

    async def _care(self, caretaker: str, work: Awaitable[list[Job]]) -> None:
        jobs = await work
        self._touch(self._clock())
        if jobs:
            CARED.labels(caretaker).inc(len(jobs))
            # Aside: a broker that stands still must not keep timers and the steps of the dead waiting.
            publishing = asyncio.create_task(self._publish(caretaker, jobs))
            self._publishing.add(publishing)
            publishing.add_done_callback(self._publishing.discard)

    async def _publish(self, caretaker: str, jobs: list[Job]) -> None:
        try:
            await self._queue.publish(jobs)
        except QueueUnavailable as error:
            log.warning("publish_failed", jobs=len(jobs), caretaker=caretaker, reason=str(error))

    def _turn(self, name: str, now: float, every: float) -> bool:
        if now - self._last.get(name, float("-inf")) < every:
            return False
        self._last[name] = now
        return True
