"""Puts a load on Leat through its store: runs are accepted in batches, their jobs published, and their ends looked for.

A run is done when the transaction that ended it is committed: Postgres keeps the moment (`track_commit_timestamp`), by
the clock that the driver starts runs by. Looking for it must not cost what is measured, so looks are rare.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from uuid import UUID

import asyncpg

from bench.load import STEPS, Load, Sample, schedule
from leat_engine.job import END, uuid7
from leat_engine.plan import Plan, compile_plan, revision_id
from leat_engine.queue.rabbit import RabbitQueue
from leat_engine.records import NewRun, Revision, Root
from leat_engine.spec import parse_spec
from leat_engine.spec.kinds import load_models
from leat_engine.store import Store
from leat_stack import Endpoints

IN_FLIGHT = 400
BATCH = 100
FEEDERS = 2  # one accepts while the other one's jobs are being confirmed
LOOK = 0.05  # seconds between two looks
DRAIN_DEADLINE = 60.0
FINISHED = (
    "select id, extract(epoch from pg_xact_commit_timestamp(xmin))::float8 as ended"
    " from leat.run where id = any($1::uuid[]) and finished_at is not null"
)


def workflow() -> dict[str, Any]:
    """Five steps in a row, each of them durable: functions, because steps without effects cost no commit."""
    steps: list[dict[str, Any]] = [{"name": f"step-{number}", "function": {"name": "noop"}} for number in range(STEPS)]
    for before, step in pairwise(steps):
        step["needs"] = [before["name"]]
    return {"steps": steps}


class Driver:
    """The clients of one installation; make it by `connected`."""

    def __init__(
        self, store: Store, queue: RabbitQueue, reader: "asyncpg.Connection[asyncpg.Record]", plan: Plan
    ) -> None:
        self._store = store
        self._queue = queue
        self._reader = reader
        self._plan = plan
        self._open: dict[UUID, float] = {}
        self._idle = asyncio.Event()
        self.done: list[Sample] = []
        self.looks = 0

    async def saturate(self, load: Load) -> list[Sample]:
        """Keep `IN_FLIGHT` runs outstanding."""
        begins = time.time() + load.warm_up
        ends = begins + load.observed
        async with self._watching():
            await asyncio.gather(*(self._feed(ends) for _ in range(FEEDERS)))
        return [sample for sample in self.done if begins <= sample.finished <= ends]

    async def pace(self, load: Load) -> list[Sample]:
        """Start runs one by one, each at its moment."""
        begins = time.time()

        async def start_at(moment: float) -> None:
            await asyncio.sleep(max(moment - time.time(), 0.0))
            await self._start(1)

        async with self._watching():
            await asyncio.gather(*(start_at(begins + offset) for offset in schedule(load.rate, load.paced)))
        return [sample for sample in self.done if sample.started >= begins + load.warm_up]

    async def once(self, seconds: float) -> Sample:
        """Start one run and wait for its end.

        Raises:
            TimeoutError: It did not end within so many seconds.
        """
        async with self._watching(seconds):
            await self._start(1)
        return self.done[-1]

    async def leave(self, count: int, seconds: float) -> None:
        """Start runs that wait for a signal, and return when all of them do.

        Raises:
            TimeoutError: They do not within so many seconds.
        """
        for first in range(0, count, BATCH):
            await self._begin([self._new_run() for _ in range(min(BATCH, count - first))])
        async with asyncio.timeout(seconds):
            await self._listened(count)

    async def _listened(self, count: int) -> None:
        waiting = 0
        while waiting < count:
            await asyncio.sleep(LOOK)
            waiting = await self._reader.fetchval("select count(*) from leat.listener where not closed")

    async def transactions(self) -> int:
        """Transactions that all clients of the database have ended, this reader's own left out."""
        await self._reader.execute("select pg_stat_force_next_flush()")
        ended = await self._reader.fetchval(
            "select xact_commit + xact_rollback from pg_stat_database where datname = current_database()"
        )
        self.looks += 2
        return int(ended) - self.looks

    def postgres_version(self) -> str:
        """Such as ``18.1``."""
        version = self._reader.get_server_version()
        return f"{version.major}.{version.minor}"

    async def _feed(self, ends: float) -> None:
        while time.time() < ends:
            room = min(IN_FLIGHT - len(self._open), BATCH)
            if room > 0:
                await self._start(room)
            else:
                await asyncio.sleep(LOOK / 10)

    async def _start(self, count: int) -> None:
        """What an accepting process does: rows first, then jobs. The moment asked for is before both."""
        runs = [self._new_run() for _ in range(count)]
        started = time.time()
        self._open |= {run.run_id: started for run in runs}
        self._idle.clear()
        await self._begin(runs)

    async def _begin(self, runs: list[NewRun]) -> None:
        accepted = await self._store.accept(runs)
        await self._queue.publish([job for one in accepted for job in one.jobs])

    def _new_run(self) -> NewRun:
        run_id = uuid7(datetime.now(UTC), os.urandom(10))
        return NewRun(
            run_id=run_id,
            namespace="bench",
            name=str(run_id),
            workflow="bench",
            revision=self._plan.revision,
            inputs={},
            roots=tuple(Root(node, self._plan.steps[node].pool) for node in self._plan.roots),
            total=self._plan.total,
            pool=self._plan.steps[END].pool,
        )

    @asynccontextmanager
    async def _watching(self, seconds: float = DRAIN_DEADLINE) -> AsyncIterator[None]:
        """Look for finished runs during the block, and after it until none is outstanding, for so many seconds."""
        watch = asyncio.create_task(self._watch())
        try:
            yield
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        finally:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch

    async def _watch(self) -> None:
        while True:
            if self._open:
                finished = await self._reader.fetch(FINISHED, list(self._open))
                self.looks += 1
                self.done += [Sample(self._open.pop(row["id"]), row["ended"]) for row in finished]
            if not self._open:
                self._idle.set()
            await asyncio.sleep(LOOK)


@asynccontextmanager
async def connected(
    endpoints: Endpoints, namespace: str, what: Mapping[str, Any] | None = None
) -> AsyncIterator[Driver]:
    """A driver of an installation in which the workflow is known: the five steps, or another one."""
    spec = parse_spec(workflow() if what is None else what)
    plan = compile_plan(spec, load_models(), revision_id(spec.as_json()))
    async with AsyncExitStack() as stack:
        store = await Store.connect(endpoints.postgres_dsn)
        stack.push_async_callback(store.close)
        queue = await RabbitQueue.connect(endpoints.amqp_url, namespace)
        stack.push_async_callback(queue.close)
        reader = await asyncpg.connect(endpoints.postgres_dsn, server_settings={"enable_seqscan": "off"})
        stack.push_async_callback(reader.close)
        await store.save_revision(Revision(plan.revision, "bench", "bench", spec.as_json()))
        yield Driver(store, queue, reader, plan)
