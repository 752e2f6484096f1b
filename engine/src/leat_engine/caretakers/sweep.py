"""sweep: slots that dead holders have, and room in quotas, go to those who wait; forget: what these need no more."""

from prometheus_client import Gauge

from leat_engine.job import Job
from leat_engine.store import Store

BREAKERS = Gauge("leat_breakers", "Breakers of the installation that are not closed", ["state"])


async def sweep(store: Store) -> list[Job]:
    """Bring the lines of concurrency limits and quotas on their way again; jobs to publish."""
    return [*await store.turns.sweep(), *await store.quotas.sweep()]


async def forget(store: Store) -> None:
    """Remove expired results, and limits that nobody asks any more."""
    await store.turns.forget()
    await store.quotas.forget()


async def count_breakers(store: Store) -> None:
    """Tell the metrics; every runner says the same."""
    for state, count in (await store.turns.count_breakers()).items():
        BREAKERS.labels(state).set(count)
