"""follow: child runs that are waited for do what is asked of their parents, and end with them."""

from leat_engine.child import Astray, forsaken
from leat_engine.job import Job
from leat_engine.limits import CHILD_DEPTH
from leat_engine.records import Stop
from leat_engine.result import Phase
from leat_engine.store import Store


async def follow(store: Store) -> list[Job]:
    """Cancel, suspend, resume and reorder children as their parents are; jobs to publish.

    What is done to a child is asked of its own children next, so it is looked again as long as there are any.
    """
    jobs: list[Job] = []
    for _ in range(CHILD_DEPTH + 1):
        astray = await store.children.astray()
        for child in astray:
            jobs += await _bring(store, child)
        if not astray:
            break
    return jobs


async def _bring(store: Store, child: Astray) -> list[Job]:
    jobs: list[Job] = []
    if child.priority is not None:
        jobs += await store.prioritise(child.run_id, child.priority)
    if child.stop:
        stop = Stop(Phase.CANCELLED, interrupt=True, error=forsaken(child.parent).as_json())
        jobs += await store.stop(child.run_id, stop)
    elif child.suspended is not None:
        jobs += await store.suspend(child.run_id, child.suspended)
    return jobs
