"""A connection kept for one verb of the hot path."""

import asyncio
from typing import Any

import asyncpg
from asyncpg.pool import PoolConnectionProxy


class Lane:
    """One connection that its caller never gives back: borrowing one costs as much as a small statement.

    Statements on a lane wait for each other. A connection that was lost is replaced at the next statement.
    """

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", timeout: float) -> None:
        self._pool = pool
        self._timeout = timeout
        self._lock = asyncio.Lock()
        self._held: PoolConnectionProxy | None = None

    async def fetch(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        """Run a statement; what asyncpg raises comes through."""
        async with self._lock:
            if self._held is None:
                self._held = await self._pool.acquire(timeout=self._timeout)
            try:
                return await self._held.fetch(statement, *arguments)
            except BaseException:
                # Lost, perhaps, and then taken away by the pool already: nothing can be asked of it any more.
                lost, self._held = self._held, None
                await self._pool.release(lost)
                raise
