"""sweep: slots that dead holders have go to those who wait; forget: what limits and caches do not need any more."""

from prometheus_client import Gauge

from leat_engine.job import Job
from leat_engine.store import Store

BREAKERS = Gauge("leat_breakers", "Breakers that are not closed, as the leading caretakers saw them last", ["state"])


async def sweep(store: Store) -> list[Job]:
    """Bring the lines of concurrency limits on their way again; jobs to publish."""
    return await store.turns.sweep()


async def forget(store: Store) -> None:
    """Remove expired results, and limits that nobody asks any more; count the breakers on the way."""
    opened, half_open = await store.turns.forget()
    BREAKERS.labels("open").set(opened)
    BREAKERS.labels("half_open").set(half_open)
