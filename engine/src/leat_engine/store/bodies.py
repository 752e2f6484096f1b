"""Bodies that take too long: which they are, and what becomes of what is inside. Each question has the run's lock."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

from asyncpg.pool import PoolConnectionProxy

from leat_engine.job import Job, StepKey
from leat_engine.store.access import Connect
from leat_engine.store.rows import job_of


class Bodies:
    """Every method raises `StoreUnavailable` when Postgres does not answer; what was asked may be asked again."""

    def __init__(self, connection: Connect, sql: Mapping[str, str]) -> None:
        self._connection = connection
        self._sql = sql

    async def outlasted(self, limit: int) -> list[StepKey]:
        """Steps whose bodies take longer than they may; of so many due ones those that are not over."""
        async with self._connection() as connection:
            rows = await connection.fetch(self._sql["outlasted"], limit)
        return [StepKey(row["run_id"], row["scope"], row["step_id"]) for row in rows]

    async def shut(self, key: StepKey) -> list[Job]:
        """Let nothing begin any more inside of a step's body, and have the step look; jobs to publish."""
        async with self._locked(key.run_id) as connection:
            rows = await connection.fetch(self._sql["shut"], *key)
            await connection.fetch(self._sql["still"], *key)
        return [job_of(row) for row in rows]

    async def still(self, key: StepKey) -> int:
        """How many steps run yet inside of a body that is shut; their runners are told to interrupt them."""
        async with self._locked(key.run_id) as connection:
            await connection.fetch(self._sql["shut"], *key)  # what was begun, parked or rescued there since
            (row,) = await connection.fetch(self._sql["still"], *key)
        running: int = row["running"]
        return running

    async def left(self, key: StepKey, nodes: Sequence[int]) -> list[StepKey]:
        """Steps inside, of these nodes, that were cancelled and may have left something behind."""
        async with self._connection() as connection:
            rows = await connection.fetch(self._sql["left_within"], *key, nodes)
        return [StepKey(key.run_id, row["scope"], row["id"]) for row in rows]

    @asynccontextmanager
    async def _locked(self, run_id: UUID) -> AsyncIterator[PoolConnectionProxy]:
        """A transaction that nobody else changes the run in; the statements in it see what was written before."""
        async with self._connection() as connection, connection.transaction():
            await connection.fetch(self._sql["lock_run"], run_id)
            yield connection
