"""How far the schedules of Workflows are settled: the crossing of `schedule`."""

from collections.abc import Sequence
from datetime import datetime

from leat_engine.schedule import Settled, TriggerKey
from leat_engine.store.access import Fetch


class Schedules:
    """Schedules. Every method raises `StoreUnavailable` when Postgres does not answer."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    async def enroll(self, key: TriggerKey, now: datetime) -> Settled:
        """How far a schedule is settled. One that is new is so up to ``now``."""
        row = (await self._fetch("enroll", *key, now))[0]
        return Settled(row["settled_at"], row["fired_at"])

    async def settle(self, key: TriggerKey, until: datetime, fired: datetime | None) -> None:
        """Every moment up to ``until`` is done with; the last run was that of ``fired``, if there was one."""
        await self._fetch("settle", *key, until, fired)

    async def forget(self, namespace: str, workflow: str, but: Sequence[str] = ()) -> None:
        """Forget the schedules of a workflow that it has no longer."""
        await self._fetch("forget_schedules", namespace, workflow, list(but))
