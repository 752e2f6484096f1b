"""What a run costs: statements and messages, to the last one. And that a join is begun once, whoever counts it."""

import asyncio
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
from tests.support.fleet import FUNCTIONS, NAMESPACE
from tests.support.hand import accepted
from tests.support.load import Load, a_run, revision_of, witnessed
from tests.support.queue import eventually

from leat_engine.queue.rabbit import RabbitQueue
from leat_engine.result import Phase
from leat_engine.store import Store
from leat_runner.kinds import KindSettings, KindSetup, load_kinds
from leat_runner.work import Runner, RunnerOptions

LONG = 1000.0


class CountingQueue(RabbitQueue):
    """Counts the messages it publishes."""

    published = 0

    async def publish(self, jobs):
        CountingQueue.published += len(jobs)
        await super().publish(jobs)


@pytest.fixture(scope="module")
def database(database):
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as loop:
        loop.run(witnessed(database))
    return database


@pytest.fixture
def effects(tmp_path, monkeypatch):
    path = tmp_path / "effects"
    monkeypatch.setenv("LEAT_TEST_EFFECTS", str(path))
    monkeypatch.setattr(CountingQueue, "published", 0)
    return path


@asynccontextmanager
async def a_runner(database, amqp_url, *, slots):
    """A runner that never has a reason to look at its clock, and the store through which it works."""
    store = await Store.connect(database)
    queue = await CountingQueue.connect(amqp_url, NAMESPACE)
    kinds = load_kinds(KindSetup(KindSettings(functions=(str(FUNCTIONS),))))
    runner = Runner(store, queue, kinds, RunnerOptions("counted", slots=slots, heartbeat=LONG))
    await runner.start()
    await eventually(_said(lambda: bool(queue._consumers) and queue.connected), True)
    try:
        yield store
    finally:
        await runner.stop()
        await queue.close()
        await store.close()


def chain(length):
    names = [f"s{number}" for number in range(length)]
    after = {later: [earlier] for earlier, later in pairwise(names)}
    return {
        "steps": [
            {"name": name, "needs": after.get(name, []), "function": {"name": "add", "with": {"values": []}}}
            for name in names
        ]
    }


async def test_five_steps_in_a_row_cost_seven_statements_and_one_message(database, amqp_url, effects):
    """Accept, claim, and one commit per step, the last of which ends the run."""
    spec = chain(5)
    async with Load.connected(database, amqp_url, effects) as load, a_runner(database, amqp_url, slots=10) as store:
        warm, jobs = await accepted(load.store, spec)
        await load.publish(jobs)  # the runner reads a revision once
        await eventually(_phase(load.store, warm), Phase.SUCCEEDED)
        before, accepting = store.statements, load.store.statements
        run = a_run(spec)
        (one,) = await load.store.accept([run])
        accepting = load.store.statements - accepting
        await load.publish(list(one.jobs))
        await eventually(_phase(load.store, run), Phase.SUCCEEDED)
        assert (accepting, store.statements - before) == (1, 6)
        assert (len(one.jobs), CountingQueue.published) == (1, 0)


async def test_every_step_of_a_fan_wider_than_all_slots_runs_once_and_so_does_its_join(database, amqp_url, effects):
    names = [f"f{number}" for number in range(40)]
    add = {"name": "add", "with": {"values": ["${ steps.first.output }"], "seconds": 0.01}}
    every = [f"${{ steps.{name}.output }}" for name in names]
    spec = {
        "steps": [
            {"name": "first", "function": {"name": "add", "with": {"values": []}}},
            *({"name": name, "function": add} for name in names),
            {"name": "join", "function": {"name": "add", "with": {"values": every}}},
        ],
        "output": "${ steps.join.output }",
    }
    async with (
        Load.connected(database, amqp_url, effects) as load,
        a_runner(database, amqp_url, slots=3),
        a_runner(database, amqp_url, slots=3),
        a_runner(database, amqp_url, slots=3),
    ):
        runs = []
        await load.store.save_revision(revision_of(spec))
        for _ in range(4):
            run, jobs = await accepted(load.store, spec)
            await load.publish(jobs)
            runs.append(run)
        for run in runs:
            await eventually(_phase(load.store, run), Phase.SUCCEEDED, 40)
            assert (await load.store.run(run.run_id)).output == 2 * len(names) + 1
        lines = effects.read_text().splitlines()
        assert len(lines) == len(set(lines)) == len(runs) * (len(names) + 2)
        assert CountingQueue.published > 0


def _said(look):
    async def ask():
        return look()

    return ask


def _phase(store, run):
    async def ask():
        return (await store.run(run.run_id)).phase

    return ask
