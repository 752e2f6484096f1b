"""Runs that begin at once on a runner of their own, on a real Postgres, without a broker."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from leat_engine.caretakers import Caretakers
from leat_engine.job import uuid7
from leat_engine.plan import Plan, compile_plan
from leat_engine.queue.local import LocalQueue
from leat_engine.records import NewRun, Revision, Root
from leat_engine.spec import parse_spec
from leat_engine.spec.kinds import load_models
from leat_engine.store import Store, migrate
from leat_runner.kinds import KindSettings, KindSetup, load_kinds
from leat_runner.work import Runner, RunnerOptions


class Beginning:
    """Lets runs enter the store, and publishes jobs."""

    def __init__(self, store: Store, queue: LocalQueue, runner: Runner) -> None:
        self.store = store
        self.publish = queue.publish
        self.runner = runner

    async def __call__(self, spec: dict[str, Any], inputs: dict[str, Any] | None = None) -> tuple[UUID, Store, Plan]:
        run_id = uuid7(datetime.now(UTC), os.urandom(10))
        plan = compile_plan(parse_spec(spec), load_models(), run_id.hex)
        await self.store.save_revision(Revision(run_id.hex, "default", "w", spec))
        roots = tuple(Root(root, "default") for root in plan.roots)
        new = NewRun(run_id, "default", "x", "w", run_id.hex, inputs or {}, roots, plan.total, timeout=plan.timeout)
        (accepted,) = await self.store.accept([new])
        await self.publish(accepted.jobs)
        return run_id, self.store, plan


@asynccontextmanager
async def beginning(dsn: str) -> AsyncIterator[Beginning]:
    """Lets a run begin, on a runner that takes it."""
    await migrate(dsn)
    store = await Store.connect(dsn, size=6)
    queue = LocalQueue()
    runner = Runner(store, queue, load_kinds(KindSetup(KindSettings())), RunnerOptions("bodies", slots=20))
    caretakers = Caretakers(store, queue)
    await runner.start()
    caretakers.start()
    try:
        yield Beginning(store, queue, runner)
    finally:
        await caretakers.stop()
        await runner.stop()
        await store.close()
