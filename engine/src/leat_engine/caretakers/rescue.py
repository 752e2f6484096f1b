"""rescue: the steps of runners that fell silent are handed on, as next attempts."""

import structlog

from leat_engine.job import Job
from leat_engine.result import ErrorType, StepError
from leat_engine.store import Store

log = structlog.get_logger()


async def rescue(store: Store, silent_for: float) -> list[Job]:
    """Declare silent runners dead, then hand their claims on; jobs to publish.

    Two transactions, in this order: once a runner is dead no commit of its can follow, so what it holds stands still.
    Who was buried by a caretaker that died before the second one is found by the claims it still holds.
    """
    names = {dead.id: dead.name for dead in await store.care.bury(silent_for)}
    jobs: list[Job] = []
    for runner in {*names, *await store.care.forsaken()}:
        error = StepError(ErrorType.RUNNER_LOST, f"runner {names.get(runner, runner)} fell silent")
        handed = await store.care.rescue(runner, error.as_json())
        log.warning("rescued", runner=runner, steps=len(handed))
        jobs += handed
    return jobs
