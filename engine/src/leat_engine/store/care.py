"""What a death, a lost message or a passed hour left behind: the crossing of `caretakers`."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from leat_engine.job import Job, dumps
from leat_engine.records import Dead
from leat_engine.store import schema
from leat_engine.store.access import Connect, Fetch
from leat_engine.store.rows import job_of


class Care:
    """The rounds. Every method raises `StoreUnavailable` when Postgres does not answer."""

    def __init__(self, connect: Connect, sql: Mapping[str, str], fetch: Fetch) -> None:
        self._connect = connect
        self._sql = sql
        self._fetch = fetch

    @asynccontextmanager
    async def leading(self, key: int) -> AsyncIterator[bool]:
        """Whether this process leads now: true for one holder of ``key`` at a time, until the block is left.

        A lock of the transaction, not of the session, so that it works through a transaction-mode pooler.
        """
        async with self._connect() as connection, connection.transaction():
            yield bool(await connection.fetchval("select pg_try_advisory_xact_lock($1)", key))

    async def wake(self, limit: int) -> list[Job]:
        """Make steps ready whose time has come; jobs to publish."""
        return [job_of(row) for row in await self._fetch("wake", limit)]

    async def overdue(self, limit: int) -> list[UUID]:
        """Runs whose own timeout has passed."""
        return [row["run_id"] for row in await self._fetch("overdue", limit)]

    async def next_due(self) -> float | None:
        """Seconds until the next timer, or None without one."""
        value: float | None = (await self._fetch("next_due"))[0][0]
        return value

    async def bury(self, silent_for: float) -> list[Dead]:
        """Declare runners dead that were silent for so many seconds."""
        return [Dead(row["id"], row["name"]) for row in await self._fetch("bury", silent_for)]

    async def forsaken(self) -> list[int]:
        """Dead runners that still hold runs: buried, and not rescued to the end."""
        return [row["runner"] for row in await self._fetch("forsaken")]

    async def rescue(self, runner: int, error: Mapping[str, Any], *, lost: bool = True) -> list[Job]:
        """Hand the claims of a dead runner on, as next attempts; jobs to publish."""
        jobs: list[Job] = []
        while True:
            rows = await self._fetch("rescue", runner, dumps(error), 1000, int(lost))
            jobs += [job_of(row) for row in rows if row["run_id"] is not None]
            if not rows[0]["runs"]:
                return jobs

    async def resend(self, pool: str, older_than: float, limit: int) -> list[Job]:
        """Ready attempts that were published so many seconds ago and nobody claimed; jobs to publish."""
        return [job_of(row) for row in await self._fetch("resend", pool, older_than, limit)]

    async def prune(self, now: datetime, retention: timedelta, runners: timedelta) -> list[str]:
        """Make room for the months to come and drop those that are older than ``retention``; names of these.

        Runners that are dead for longer than ``runners``, and have no claims, are forgotten.
        """
        async with self._connect() as connection:
            await schema.add_months(connection, now)
            await connection.execute(self._sql["forget"], runners.total_seconds())
            return await schema.drop_months(connection, now - retention)
