"""fold: what runs that are over tell of how long their steps take."""

from datetime import datetime

from prometheus_client import Counter

from leat_engine.store import Store

FOLDED = Counter("leat_folded_runs", "Runs from which was learned how long their steps take")


async def fold(store: Store, now: datetime) -> None:
    """Learn from the runs that have ended; a bounded number of them at a time."""
    FOLDED.inc(await store.durations.fold(now))
