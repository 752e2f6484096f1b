"""wake: timers that are due make their steps ready, and end runs and bodies that took too long."""

from leat_engine.crash import crash_point
from leat_engine.job import Job
from leat_engine.records import Stop
from leat_engine.result import ErrorType, Phase, StepError
from leat_engine.store import Store

BATCH = 500
BODIES = 5_000
"""Bodies of one round whose time is over; most of them have ended long before."""


async def wake(store: Store) -> list[Job]:
    """Everything that is due by now; jobs to publish."""
    jobs: list[Job] = []
    while True:
        woken = await store.care.wake(BATCH)
        jobs += woken
        if len(woken) < BATCH:
            break
    error = StepError(ErrorType.TIMEOUT, "the run's timeout passed", "RunTimeout", retriable=False)
    for run_id in await store.care.overdue(BATCH):
        jobs += await store.stop(run_id, Stop(Phase.FAILED, interrupt=True, error=error.as_json()))
    for body in await store.bodies.outlasted(BODIES):
        crash_point("before shut")
        jobs += await store.bodies.shut(body)
        crash_point("after shut")
    return jobs
