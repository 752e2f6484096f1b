"""Pools of runners: what they can do, who is in them, and what waits for them."""

from leat_engine.pools import Announced, Backlog, Member
from leat_engine.store.access import Fetch
from leat_engine.store.rows import announced_of


class Pools:
    """Pools. Every method raises `StoreUnavailable` when Postgres does not answer."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    async def announced(self) -> dict[str, Announced]:
        """What pools said last that they can do, by name."""
        return {row["name"]: announced_of(row) for row in await self._fetch("announced")}

    async def members(self) -> list[Member]:
        """Runners that are alive."""
        return [Member(**row) for row in await self._fetch("members")]

    async def backlog(self) -> dict[str, Backlog]:
        """What waits for a slot, by pool."""
        return {row["pool"]: Backlog(row["waiting"], row["oldest_seconds"]) for row in await self._fetch("backlog")}

    async def needed(self, pool: str, slots: int) -> int:
        """Runners, of so many slots each, that the pool needs for what is held; what `scaling` lets a scaler ask."""
        return int((await self._fetch("needed", pool, slots))[0]["needed"])

    async def ready(self) -> list[str]:
        """Pools that have ready attempts."""
        return [row["pool"] for row in await self._fetch("pools")]
