"""sweep: what a death left asleep goes on; forget: what limits, caches and parents do not need any more."""

from prometheus_client import Gauge

from leat_engine.job import Job
from leat_engine.store import Store

BREAKERS = Gauge("leat_breakers", "Breakers of the installation that are not closed", ["state"])


async def sweep(store: Store) -> list[Job]:
    """Bring the lines of limits and quotas on their way again, and steps whose child is over; jobs to publish."""
    return [*await store.turns.sweep(), *await store.children.sweep(), *await store.quotas.sweep()]


async def forget(store: Store) -> None:
    """Remove expired results, limits that nobody asks any more, and ends that no parent will ask for."""
    await store.turns.forget()
    await store.children.forget()
    await store.quotas.forget()


async def count_breakers(store: Store) -> None:
    """Tell the metrics; every runner says the same."""
    for state, count in (await store.turns.count_breakers()).items():
        BREAKERS.labels(state).set(count)
