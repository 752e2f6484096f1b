"""resend: ready steps whose message nobody seems to have are published again."""

from leat_engine.job import Job
from leat_engine.queue.port import Queue
from leat_engine.store import Store

BATCH = 1000
MUCH_LATER = 10.0
"""A row this many times older than the patience is sent again even if the queue is not empty."""


async def resend(store: Store, queue: Queue, patience: float) -> list[Job]:
    """Jobs to publish again: ready for ``patience`` seconds while their queue is empty, or for ever so long.

    A queue that still holds messages explains why nobody has claimed yet; sending more would only make it longer.
    """
    jobs: list[Job] = []
    for pool in await store.pools.ready():
        depth = await queue.depth(pool)
        jobs += await store.care.resend(pool, patience if depth == 0 else patience * MUCH_LATER, BATCH)
    return jobs
