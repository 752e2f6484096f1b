"""Migration of a run that is under way: suspend it, wait until no runner has a step of it, migrate, let it go on."""

import asyncio
import time
from uuid import UUID

import structlog

from leat_engine.compare import Transfer
from leat_engine.crash import crash_point
from leat_engine.job import Job
from leat_engine.plan import Plan
from leat_engine.store import Store
from leat_engine.store.versions import Claimed

_EVERY = 0.2
"""Seconds between two looks whether running steps have ended."""

log = structlog.get_logger()


async def migrate(store: Store, run_id: UUID, plans: tuple[Plan, Plan], patience: float) -> tuple[Transfer, list[Job]]:
    """Let a run go on by another plan; what became of it, and jobs to publish.

    Nothing is held up for a migration that cannot be. A run that was not suspended before goes on afterwards, whatever
    came of it; when this process dies in between, it stays suspended until somebody resumes it.

    Args:
        store: Has the run.
        run_id: The run.
        plans: Of its revision, and of the other one.
        patience: Seconds to wait for running steps to end.

    Raises:
        Rejected: It cannot go on by the other plan.
        Claimed: Steps of it still run after ``patience``.
        StoreUnavailable: Whether it was migrated is unknown; the same again tells.
    """
    old, new = plans
    transfer = await store.versions.foresee(run_id, old, new)
    run = await store.run(run_id)
    hold = run is not None and not run.suspended
    end = time.monotonic() + patience
    try:
        while True:
            if hold:  # again each time: somebody may have resumed it
                await store.suspend(run_id, suspended=True)
                crash_point("after suspend")
            try:
                jobs = await store.versions.migrate(run_id, old, new, resume=hold)
            except Claimed:
                if time.monotonic() > end:
                    raise
                await asyncio.sleep(_EVERY)
            else:
                log.info("migrated", run=str(run_id), revision=new.revision, was=old.revision)
                return transfer, jobs
    except BaseException:
        if hold:
            await store.suspend(run_id, suspended=False)
        raise
