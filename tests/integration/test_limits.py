"""Runs at the edges of what is allowed, by a real runner on a real Postgres."""

import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.support.queue import eventually

from leat_engine.caretakers import Caretakers
from leat_engine.job import uuid7
from leat_engine.plan import compile_plan
from leat_engine.queue.local import LocalQueue
from leat_engine.records import NewRun, Revision, Root, RunRecord
from leat_engine.result import Phase, State
from leat_engine.spec import parse_spec
from leat_engine.spec.kinds import load_models
from leat_engine.store import Store, migrate
from leat_runner.kinds import KindSettings, KindSetup, load_kinds
from leat_runner.work import Runner, RunnerOptions

Perform = Any


@pytest.fixture
async def perform(postgres_dsn) -> AsyncIterator[Perform]:
    """Runs a spec to its end and gives the run with the states of its steps."""
    await migrate(postgres_dsn)
    store = await Store.connect(postgres_dsn, size=6)
    queue = LocalQueue()
    runner = Runner(store, queue, load_kinds(KindSetup(KindSettings())), RunnerOptions("limits"))
    caretakers = Caretakers(store, queue)
    await runner.start()
    caretakers.start()

    async def play(spec: dict[str, Any], seconds: float = 60) -> tuple[RunRecord, dict[str, State]]:
        run_id = uuid7(datetime.now(UTC), os.urandom(10))
        plan = compile_plan(parse_spec(spec), load_models(), run_id.hex)
        await store.save_revision(Revision(run_id.hex, "default", "w", spec))
        roots = tuple(Root(root, "default") for root in plan.roots)
        new = NewRun(run_id, "default", "x", "w", run_id.hex, {}, roots, plan.total)
        (accepted,) = await store.accept([new])
        await queue.publish(accepted.jobs)

        async def done() -> bool:
            run = await store.run(run_id)
            return run is not None and run.phase.done

        await eventually(done, True, seconds)
        run = await store.run(run_id)
        assert run is not None
        return run, {plan.steps[step.key.step].name: step.state for step in await store.steps(run_id)}

    yield play
    await caretakers.stop()
    await runner.stop()
    await store.close()


def writing(name: str, value: str) -> dict[str, Any]:
    """A step whose output is the value of a Python expression."""
    program = f"import json, os; json.dump({value}, open(os.environ['LEAT_OUTPUT'], 'w'))"
    return {"name": name, "script": {"shell": "python", "run": program}}


async def test_an_output_of_2_mb_fails_its_step_and_names_the_limit(perform):
    run, states = await perform({"steps": [writing("big", "'x' * 2_000_000")]})
    assert (run.phase, states) == (Phase.FAILED, {"big": State.FAILED})
    assert run.error is not None
    assert run.error["type"] == "TooLarge"
    assert "1048576" in run.error["message"]


async def test_a_transform_of_more_than_the_limit_fails_its_step(perform):
    twice = ["${ steps.half.output }", "${ steps.half.output }"]
    run, _ = await perform({"steps": [writing("half", "'x' * 700_000"), {"name": "big", "transform": twice}]})
    assert run.phase is Phase.FAILED
    assert run.error is not None
    assert run.error["type"] in {"TooLarge", "Expression"}
    assert run.error["step"] == "big"


async def test_a_thousand_steps_between_a_fork_and_a_join_all_run_once(perform):
    fork = {"name": "fork", "transform": 1}
    work = [{"name": f"s{i}", "needs": ["fork"], "wait": {"duration": "1ms"}} for i in range(998)]
    join = {"name": "join", "needs": [step["name"] for step in work], "transform": "joined"}
    run, states = await perform({"steps": [fork, *work, join], "output": "${ steps.join.output }"}, 120)
    assert (run.phase, run.output, run.succeeded) == (Phase.SUCCEEDED, "joined", 1000)
    assert set(states.values()) == {State.SUCCEEDED}


async def test_a_chain_of_three_hundred_steps_ends(perform):
    steps: list[dict[str, Any]] = [{"name": "s0", "wait": {"duration": "1ms"}}]
    steps += [{"name": f"s{i}", "needs": [f"s{i - 1}"], "transform": i} for i in range(1, 300)]
    run, _ = await perform({"steps": steps, "output": "${ steps.s299.output }"})
    assert (run.phase, run.output) == (Phase.SUCCEEDED, 299)


async def test_an_expression_over_its_budget_fails_its_step_and_not_the_runner(perform):
    every = "${ steps.many.output.map(a, steps.many.output.exists(b, b == -a - 1)) }"
    run, _ = await perform({"steps": [writing("many", "list(range(20_000))"), {"name": "bomb", "transform": every}]})
    assert run.phase is Phase.FAILED
    assert run.error is not None
    assert (run.error["type"], run.error["step"]) == ("Expression", "bomb")
    after, _ = await perform({"steps": [{"name": "fine", "transform": 1}]})
    assert after.phase is Phase.SUCCEEDED


async def test_more_scripts_than_cpu_slots_wait_their_turn_and_all_run(perform):
    steps = [{"name": f"s{i}", "script": {"run": "true"}} for i in range(20)]
    run, _ = await perform({"steps": steps})
    assert (run.phase, run.succeeded) == (Phase.SUCCEEDED, 20)


def asking(answer: str) -> dict[str, Any]:
    """A step that is spared where somebody has asked the same before."""
    return {**writing("ask", repr(answer)), "cache": {"key": "same", "ttl": "1h"}}


async def test_steps_of_one_name_in_two_bodies_have_a_cache_each(perform):
    north = {"name": "north", "steps": [asking("cold")], "output": "${ steps.ask.output }"}
    south = {"name": "south", "needs": ["north"], "steps": [asking("warm")], "output": "${ steps.ask.output }"}
    run, _ = await perform({"steps": [north, south], "output": "${ [steps.north.output, steps.south.output] }"})
    assert (run.phase, run.output) == (Phase.SUCCEEDED, ["cold", "warm"])
