"""expire: objects that no run needs go: of attempts that did not count, and of runs that are gone from the history."""

from datetime import datetime

import structlog
from prometheus_client import Counter

from leat_engine.artifacts import ArtifactsRefused, ArtifactsUnavailable, Objects
from leat_engine.crash import crash_point
from leat_engine.reference import prefix_of
from leat_engine.store import Store

BATCH = 100
"""Leftovers, and runs, of one round."""

SETTLED = 10_000
"""Objects of one round that are not looked at again, as they count."""

EXPIRED = Counter("leat_artifacts_expired", "Objects that were removed from the artifact store", ["why"])
log = structlog.get_logger()


async def expire(store: Store, objects: Objects, before: datetime) -> None:
    """Remove a batch of each. A row goes after its object, so that whatever breaks off is done again.

    ``before``: younger runs are not looked for, as the retention has not let them go.
    """
    rows = store.artifacts
    try:
        await rows.settle(SETTLED)
        for this, key in await rows.leftovers(BATCH):
            await objects.remove(key)
            await rows.drop(this)
            EXPIRED.labels("leftover").inc()
        for namespace, run_id in await rows.expired(before, BATCH):
            count = await objects.remove_below(prefix_of(namespace, run_id))
            crash_point("after expire")
            await rows.drop_run(run_id)
            EXPIRED.labels("run").inc(count)
            log.info("expired", run=str(run_id), objects=count)
    except (ArtifactsUnavailable, ArtifactsRefused) as error:
        log.warning("expire_held", reason=str(error))  # the rows are there yet
