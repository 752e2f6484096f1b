"""The store through PgBouncer in transaction mode, without its memory for prepared statements."""

import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from tests.support.pgbouncer import pooled
from tests.support.queue import eventually

from leat_engine.caretakers import Caretakers
from leat_engine.job import uuid7
from leat_engine.plan import compile_plan
from leat_engine.queue.local import LocalQueue
from leat_engine.records import NewRun, Revision, Root
from leat_engine.result import Phase, State
from leat_engine.spec import parse_spec
from leat_engine.spec.kinds import load_models
from leat_engine.store import Store, migrate
from leat_runner.kinds import KindSettings, KindSetup, load_kinds
from leat_runner.work import Runner, RunnerOptions

RETRY = {"max": 1, "backoff": {"initial": "10ms"}}
SPEC = {
    "steps": [
        {"name": "a", "wait": {"duration": "10ms"}},
        {"name": "b", "wait": {"duration": "20ms"}},
        {
            "name": "c",
            "needs": ["a", "b"],
            "script": {"run": "exit 1"},
            "retry": {"max": 1, "backoff": {"initial": "10ms"}},
        },
        {"name": "d", "needs": [{"step": "c", "on": ["Failed"]}], "transform": "${ steps.c.error.exitCode }"},
    ],
    "output": "${ steps.d.output }",
}


@pytest.fixture
async def store(postgres_dsn, tmp_path) -> AsyncIterator[Store]:
    with pooled(postgres_dsn, tmp_path) as dsn:
        await migrate(dsn)
        store = await Store.connect(dsn, size=6)
        yield store
        await store.close()


async def test_a_run_with_a_join_timers_and_a_retry_ends_through_a_transaction_mode_pooler(store):
    plan = compile_plan(parse_spec(SPEC), load_models(), "pooled")
    await store.save_revision(Revision("pooled", "default", "w", SPEC))
    queue = LocalQueue()
    runner = Runner(store, queue, load_kinds(KindSetup(KindSettings())), RunnerOptions("pooled"))
    caretakers = Caretakers(store, queue)
    await runner.start()
    caretakers.start()
    run_id = uuid7(datetime.now(UTC), os.urandom(10))
    roots = tuple(Root(root, "default") for root in plan.roots)
    (accepted,) = await store.accept([NewRun(run_id, "default", "x", "w", "pooled", {}, roots, 4)])
    await queue.publish(accepted.jobs)

    async def phase() -> Phase | None:
        run = await store.run(run_id)
        return run.phase if run else None

    await eventually(phase, Phase.SUCCEEDED)
    await caretakers.stop()
    await runner.stop()
    run = await store.run(run_id)
    assert run is not None
    assert run.output == 1
    states = {step.key.step: (step.state, step.attempt) for step in await store.steps(run_id)}
    assert states[3] == (State.FAILED, 2)
