"""Quotas of namespaces, in the store: which runs begin, and which steps have a seat.

Both are counted from what the runs and steps are, so nothing has to be given back by whoever had it. One namespace's
questions wait for each other, runs and steps apart; a namespace without a quota asks none.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from leat_engine.job import Job, StepKey
from leat_engine.quota import NOTHING_SAID, Allowance, Use, room, steps_waiting
from leat_engine.store.access import Connect
from leat_engine.store.rows import job_of

BATCH = 500
"""Runs that begin in one transaction at most."""
RUNS, STEPS = "quota of runs", "quota of steps"
"""The keys of a namespace's two locks."""
Claimed = tuple[StepKey, int]
"""A claim: the step and the attempt."""


@dataclass(frozen=True, slots=True)
class Limited:
    """Namespaces where a quota limits runs, and those where one limits steps."""

    runs: frozenset[str] = frozenset()
    steps: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Seating:
    """Who asks for a seat, who ran already when there came to be a quota, and who leaves."""

    asks: Sequence[Claimed] = ()
    begun: Sequence[Claimed] = ()
    leaves: Sequence[Claimed] = ()


@dataclass(frozen=True, slots=True)
class Seated:
    """Those who asked and have a seat; and steps of others that have one now, to publish."""

    seats: frozenset[StepKey]
    jobs: tuple[Job, ...]


@dataclass(frozen=True, slots=True)
class Usage:
    """What a namespace uses: runs that are active, runs let in within the last minute, steps; and what waits."""

    active_runs: int
    starts: int
    steps: int
    waiting_runs: int
    waiting_steps: int


class Quotas:
    """The crossing to the tables of the quotas. Everything raises `StoreUnavailable` when Postgres does not answer."""

    def __init__(self, connect: Connect, sql: Mapping[str, str]) -> None:
        self._connect = connect
        self._sql = sql

    # -- what is allowed ------------------------------------------------------------------------------------------

    async def allowed(self) -> dict[str, Allowance]:
        """What namespaces are allowed, of those that have a quota."""
        async with self._connect() as connection:
            rows = await connection.fetch(self._sql["quotas"])
        found = {row["namespace"]: Allowance(*tuple(row)[1:]) for row in rows}
        return {namespace: allowance for namespace, allowance in found.items() if allowance != NOTHING_SAID}

    async def limited(self) -> Limited:
        """Where runners have to ask."""
        async with self._connect() as connection:
            rows = await connection.fetch(self._sql["limited"])
        return Limited(
            frozenset(row["namespace"] for row in rows if row["runs"]),
            frozenset(row["namespace"] for row in rows if row["steps"]),
        )

    async def put(self, namespace: str, allowance: Allowance) -> list[Job]:
        """Let this hold from now on; jobs to publish. What runs goes on, whatever the quota is lowered to."""
        words = (allowance.active_runs, allowance.starts_per_minute, allowance.steps)
        async with self._connect() as connection, connection.transaction():
            for key in (RUNS, STEPS):
                await connection.fetch(self._sql["lock_key"], namespace, key)
            await connection.fetch(self._sql["set_quota"], namespace, *words)
        return [*await self.admit(namespace), *(await self.seat(namespace, 0, Seating())).jobs]

    async def usage(self, namespaces: Sequence[str]) -> dict[str, Usage]:
        """What these namespaces use."""
        async with self._connect() as connection:
            rows = await connection.fetch(self._sql["quota_usage"], namespaces)
        return {row["namespace"]: Usage(*tuple(row)[1:]) for row in rows}

    # -- runs -----------------------------------------------------------------------------------------------------

    async def admit(self, namespace: str) -> list[Job]:
        """Let as many of the namespace's held runs begin as may; jobs to publish."""
        jobs: list[Job] = []
        while True:
            begun = await self._admit(namespace)
            jobs += begun
            if len({job.key.run_id for job in begun}) < BATCH:
                return jobs

    async def _admit(self, namespace: str) -> list[Job]:
        async with self._connect() as connection, connection.transaction():
            await connection.fetch(self._sql["lock_key"], namespace, RUNS)
            (row,) = await connection.fetch(self._sql["ask_quota"], namespace)
            allowed = Allowance(row["active_runs"], row["starts_per_minute"])
            found = room(allowed, Use(row["active"], row["started"], row["spent"], row["now"]), BATCH)
            if not row["unsaid"] and not (row["awaited"] and found.starts):
                return []
            arguments = (namespace, found.starts, found.why, row["now"], allowed.interval)
            return [job_of(begun) for begun in await connection.fetch(self._sql["admit"], *arguments)]

    # -- steps ----------------------------------------------------------------------------------------------------

    async def seat(self, namespace: str, runner: int, seating: Seating) -> Seated:
        """Give the namespace's seats to those who ask and to those who wait, by priority and age."""
        asks = [*((*ask, False) for ask in seating.asks), *((*ask, True) for ask in seating.begun)]
        async with self._connect() as connection, connection.transaction():
            return await self._seat(connection, namespace, runner, asks, seating.leaves)

    async def put_back(self, namespace: str, runner: int, claims: Sequence[Claimed]) -> list[Job]:
        """Claims that got no seat wait for one, without a runner; jobs to publish."""
        async with self._connect() as connection, connection.transaction():
            await connection.fetch(self._sql["lock_key"], namespace, STEPS)
            hard = {row["namespace"]: row["steps"] for row in await connection.fetch(self._sql["quotas"])}
            why = steps_waiting(hard.get(namespace) or 0)
            rows = await connection.fetch(self._sql["put_back"], runner, *_columns(claims), why)
            seated = await self._seat(connection, namespace, runner, (), ())  # one may have become free meanwhile
            return [*map(job_of, rows), *seated.jobs]

    async def _seat(
        self,
        connection: PoolConnectionProxy,
        namespace: str,
        runner: int,
        asks: Sequence[tuple[StepKey, int, bool]],
        leaves: Sequence[Claimed],
    ) -> Seated:
        await connection.fetch(self._sql["lock_key"], namespace, STEPS)
        asking = [*_columns([(key, attempt) for key, attempt, _ in asks]), [begun for _, _, begun in asks]]
        rows: list[asyncpg.Record] = await connection.fetch(
            self._sql["seat"], namespace, runner, *asking, *_columns(leaves)
        )
        seats = (StepKey(row["run_id"], row["scope"], row["step_id"]) for row in rows if row["pool"] is None)
        return Seated(frozenset(seats), tuple(job_of(row) for row in rows if row["pool"] is not None))

    # -- caretakers -----------------------------------------------------------------------------------------------

    async def sweep(self) -> list[Job]:
        """Let what waits go on where there is room, whoever was to do it; jobs to publish."""
        async with self._connect() as connection:
            starved = [tuple(row) for row in await connection.fetch(self._sql["starved"])]
        jobs: list[Job] = []
        for namespace, runs in starved:
            jobs += await self.admit(namespace) if runs else (await self.seat(namespace, 0, Seating())).jobs
        return jobs

    async def forget(self) -> None:
        """Remove seats of steps that are over."""
        async with self._connect() as connection:
            await connection.fetch(self._sql["forget_seats"])


def _columns(claims: Iterable[Claimed]) -> list[list[Any]]:
    listed = list(claims)
    return [*([key[index] for key, _ in listed] for index in range(3)), [attempt for _, attempt in listed]]
