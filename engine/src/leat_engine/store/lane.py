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
            if self._held is None or self._held.is_closed():
                await self._renew()
            assert self._held is not None  # noqa: S101  for the type checker: _renew has just set it
            return await self._held.fetch(statement, *arguments)

    async def _renew(self) -> None:
        if self._held is not None:
            lost, self._held = self._held, None
            await self._pool.release(lost)
        self._held = await self._pool.acquire(timeout=self._timeout)
